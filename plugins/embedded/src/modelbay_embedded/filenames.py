"""What the names of model files tell: the model, the tag, its parts and its companions. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

# Companions of a model, not models: projectors and draft heads. llama-server skips the same ones.
_COMPANION = re.compile(r"^(?:mtp|eagle3|dflash|dspark)-|mmproj", re.IGNORECASE)
_PROJECTOR = re.compile(r"mmproj", re.IGNORECASE)
_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")
# llama-server's rule for a tag: what follows the last dash or dot, if it is one word.
_TAG = re.compile(r"[-.](?P<tag>[A-Za-z0-9_]+)$")
_PRECISION = re.compile(
    r"(?:^|[-._])(?:ud|bf16|fp?16|fp?32|i?q\d(?:_[0-9a-z]+)*|tq\d_\d|mxfp4(?:_moe)?|nvfp4)"
    r"(?=$|[-._])"
)
_PROJECTOR_PRECISIONS = ("f16", "bf16", "q8_0", "f32")  # the first is wanted most
_MAX_SHARDS = 10_000


def is_companion(path: Path) -> bool:
    """Whether the file goes beside a model and is none itself."""
    return bool(_COMPANION.search(path.name))


def stem(path: Path) -> str:
    """The file's name without ``.gguf`` and without shard numbers."""
    name = _without_suffix(path)
    shard = _SHARD.match(name)
    return shard["stem"] if shard else name


def tagged(repo: str, path: Path) -> str:
    """``owner/repo:TAG``; a file without a tag gets its whole name, so that it can be asked for."""
    match = _TAG.search(stem(path))
    return f"{repo}:{match['tag'].upper() if match else stem(path)}"


def shards(path: Path) -> tuple[Path, ...] | None:
    """All files of the model that this one belongs to.

    Returns:
        Empty for a model in one file; None for a second or later shard.
    """
    shard = _SHARD.match(_without_suffix(path))
    if shard is None:
        return ()
    if int(shard["number"]) != 1:
        return None
    end = path.name[len(shard[0]) :]
    return tuple(
        path.with_name(f"{shard['stem']}-{number:05}-of-{shard['count']}{end}")
        for number in range(1, min(int(shard["count"]), _MAX_SHARDS) + 1)
    )


def projector_for(model: Path, group: Sequence[Path]) -> Path | None:
    """The projector that belongs to a model, out of the files it lies among.

    One whose name holds nothing but ``mmproj`` and a precision (``mmproj-model-f16.gguf`` in most
    repositories) belongs to the group's model, if the group is about one model; one with a name of
    its own belongs to the model of that name. Of several precisions, F16 is wanted first.
    """
    projectors = [path for path in group if _PROJECTOR.search(path.name)]
    if not projectors:
        return None
    families = {_words(path) for path in group if not is_companion(path)}
    own = _words(model)
    fitting = []
    for path in projectors:
        words = _words(path)
        if words == own[: len(words)] if words else len(families) == 1:
            fitting.append((-len(words), _rank(path), path.name, path))
    return min(fitting)[-1] if fitting else None


def _words(path: Path) -> tuple[str, ...]:
    """A name's words without the projector's mark, precisions and shard numbers."""
    name = _PRECISION.sub("-", stem(path).lower().replace("mmproj", "-"))
    return tuple(word for word in re.split(r"[-._]", name) if word and word != "model")


def _rank(path: Path) -> int:
    parts = re.split(r"[-.]", path.name.lower())
    for rank, precision in enumerate(_PROJECTOR_PRECISIONS):
        if precision in parts:
            return rank
    return len(_PROJECTOR_PRECISIONS)


def _without_suffix(path: Path) -> str:
    return path.name[:-5] if path.name.lower().endswith(".gguf") else path.name
