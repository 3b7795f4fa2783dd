"""What the conformance kit is to test: real engines behind files made for the purpose."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import Ability, Calls, Target, Thinks
from modelbay_embedded.testing.tiny_gguf import write_tiny_gguf

SAYS = "Hello from a file on this very machine."
OTHER = "The second folder speaks."
THOUGHT = "First I think."
CANNOT: dict[Ability, str] = {
    "address": "it starts its own children",
    "faults": "there is no server to go wrong, only a child",
    "requests": "nobody stands between the host and its child",
    "streams": "nobody stands between the host and its child",
    "loads": "nobody stands between the host and its child",
    "rerank": "none of its files is for reranking",
}


@dataclass(kw_only=True)
class FolderTarget(Target):
    """Files in a folder; the other folder is the second server."""

    other: "FolderTarget | None" = None

    def second(self) -> Target:
        return super().second() if self.other is None else self.other


@contextmanager
def target() -> Iterator[Target]:
    """Two folders; written once in a process, and removed when it ends."""
    folders = Path(_made().name)
    first = _target_for(
        folders / "first",
        SAYS,
        endless="endless",
        json_model="noise",
        embedder="vectors",
        calls=Calls("caller", "weather", {"city": "Oslo"}),
        thinks=Thinks("thinker", THOUGHT, SAYS),
    )
    first.other = _target_for(folders / "second", OTHER)
    yield first


@cache
def _made() -> "tempfile.TemporaryDirectory[str]":
    made = tempfile.TemporaryDirectory(prefix="modelbay-tiny-")
    first, second = Path(made.name, "first"), Path(made.name, "second")
    first.mkdir()
    second.mkdir()
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    thought = f"<think>\n{THOUGHT}\n</think>\n\n{SAYS}"
    write_tiny_gguf(first / "tiny.gguf", say=SAYS)
    write_tiny_gguf(first / "endless.gguf", say="Never ending, ", endless=True, slow=True)
    write_tiny_gguf(first / "noise.gguf")
    write_tiny_gguf(first / "vectors.gguf", pooling="mean", template=None)
    write_tiny_gguf(first / "caller.gguf", say=call, template="tools")
    write_tiny_gguf(first / "thinker.gguf", say=thought, template="tools")
    write_tiny_gguf(second / "tiny.gguf", say=OTHER)
    return made


def _target_for(folder: Path, says: str, **more: object) -> FolderTarget:
    config = ProviderConfig.model_validate(
        {
            "id": "files",
            "kind": "embedded",
            "folders": [str(folder)],
            "threads": 1,
            "probeTimeoutS": 20,
        }
    )
    return FolderTarget(
        plugin="modelbay_embedded.plugin",
        config=config,
        model="tiny",
        says=says,
        cannot=CANNOT,
        **more,  # type: ignore[arg-type]
    )
