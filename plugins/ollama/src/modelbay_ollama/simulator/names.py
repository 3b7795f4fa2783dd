"""Model names as Ollama reads them: grammar, defaults, display form, and where a model runs."""

import re
from dataclasses import dataclass, replace
from typing import Literal

from modelbay_ollama.simulator.answer import ApiError
from modelbay_ollama.simulator.versions import Release

Source = Literal["cloud", "local", ""]

_HOST = "registry.ollama.ai"
_NAMESPACE = "library"
_HOST_RULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_NAMESPACE_RULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_PART_RULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, slots=True)
class Name:
    """A fully qualified name. Case is kept; `key` is what two spellings of one model share."""

    model: str
    tag: str = "latest"
    namespace: str = _NAMESPACE
    host: str = _HOST
    scheme: str = "https"

    @property
    def full(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def key(self) -> str:
        return self.full.casefold()

    @property
    def short(self) -> str:
        """As the cloud calls its models: no ``:latest``."""
        return self.model if self.tag == "latest" else f"{self.model}:{self.tag}"

    @property
    def display(self) -> str:
        """What lists print: as short as possible, always with the tag."""
        short = f"{self.model}:{self.tag}"
        if self.host.casefold() != _HOST:
            return self.full
        return short if self.namespace.casefold() == _NAMESPACE else f"{self.namespace}/{short}"


def parse_name(text: str) -> Name | None:
    """Read a name from the right; None for one that Ollama refuses."""
    rest, name = text, Name("")
    if rest.rfind(":") > rest.rfind("/"):
        rest, _, tag = rest.rpartition(":")
        name = replace(name, tag=tag)
    rest, slash, model = rest.rpartition("/")
    name = replace(name, model=model)
    if slash:
        rest, slash, namespace = rest.rpartition("/")
        name = replace(name, namespace=namespace)
        if slash:
            scheme, mark, host = rest.partition("://")
            name = replace(name, host=host if mark else rest)
            name = replace(name, scheme=scheme) if mark else name
    parts = (
        (_HOST_RULE, name.host),
        (_NAMESPACE_RULE, name.namespace),
        (_PART_RULE, name.model),
        (_PART_RULE, name.tag),
    )
    return name if all(rule.fullmatch(part) for rule, part in parts) else None


def known_name(text: str, message: str = "invalid model name") -> Name:
    """The name, parsed.

    Raises:
        ApiError: 400 with `message`.
    """
    name = parse_name(text)
    if name is None:
        raise ApiError(400, message)
    return name


def split_source(text: str, release: Release) -> tuple[str, Source]:
    """A name without its ``:cloud`` or ``:local``, and which of them it had (since 0.18.0).

    Raises:
        ApiError: 400 for both at once.
    """
    if not release.since("0.18.0"):
        return text, ""
    base, found = _strip_source(text)
    if found and _strip_source(base)[1] not in ("", found):
        raise ApiError(400, f'use either :local or :cloud, not both: "{text}"')
    return base, found


def _strip_source(text: str) -> tuple[str, Source]:
    head, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        return text, ""
    match tag.casefold():
        case "cloud":
            return head, "cloud"
        case "local":
            return head, "local"
    # "-cloud" counts inside a tag only: "my-cloud-model" is nobody's cloud model.
    return (text[: -len("-cloud")], "cloud") if tag.casefold().endswith("-cloud") else (text, "")


def stub_name(text: str, release: Release) -> str:
    """The name a model is pulled and deleted under: ``m:20b:cloud`` is kept as ``m:20b-cloud``."""
    base, source = split_source(text, release)
    if source == "local":
        return base
    if source == "cloud":
        return f"{base}-cloud" if ":" in base.rpartition("/")[2] else f"{base}:cloud"
    return text
