"""A model list as servers send it, to models as modelbay lists them. Pure.

The standard has four fields; each server adds its own. All known ones are read, whoever sends
them, and every fact says in which field it stood.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

import msgspec

from modelbay.errors import ProtocolError
from modelbay.models.capabilities import Facts, Prices
from modelbay.models.catalog import DiscoveredModel, ModelState, Origin
from modelbay.models.frozen import JsonObject
from modelbay.wire.errors import shorten

Entry = Mapping[str, object]
Path = tuple[str | int, ...]

LIST = "/models data[]"

# Where a number of tokens stands, the one that says most about a request first.
_NUMBERS: Mapping[str, Sequence[Path]] = {
    "context_window": (
        ("max_model_len",),  # vLLM, SGLang
        ("loaded_context_length",),  # LM Studio, REST API v0
        ("loaded_instances", 0, "config", "context_length"),  # LM Studio, REST API v1
        ("meta", "n_ctx"),  # llama.cpp
        ("parameters", "max_seq_len"),  # TabbyAPI
        ("top_provider", "context_length"),  # OpenRouter: of who would answer
        ("context_length",),
        ("context_window",),
    ),
    "trained_context": (("meta", "n_ctx_train"), ("max_context_length",)),
    "max_output_tokens": (
        ("top_provider", "max_completion_tokens"),
        ("max_completion_tokens",),
        ("max_output_tokens",),
    ),
}
_FLAGS: Mapping[str, Sequence[Path]] = {
    "tools": (("capabilities", "tools"), ("capabilities", "trained_for_tool_use")),
    "vision": (("capabilities", "vision"),),
    "reasoning": (("capabilities", "reasoning"),),
    "embeddings": (("capabilities", "embeddings"),),
}
_INPUTS: Sequence[Path] = (("architecture", "input_modalities"), ("input_modalities",))
_OUTPUTS: Sequence[Path] = (("architecture", "output_modalities"), ("output_modalities",))
# Named in a list of parameters, a feature is there. Only of tools and reasoning the absence counts:
# a list may leave a format out and the server take it all the same.
_PARAMETERS: Sequence[tuple[str, str, bool]] = (
    ("tools", "tools", True),
    ("reasoning", "reasoning", True),
    ("parallel_tool_calls", "parallel_tools", False),
    ("response_format", "json_mode", False),
    ("structured_outputs", "json_schema", False),
)
_FEATURES: Mapping[str, str] = {
    "tools": "tools",
    "reasoning": "reasoning",
    "json_mode": "json_mode",
    "structured_outputs": "json_schema",
}
_PRICES: Mapping[str, str] = {
    "prompt": "input_per_mtok",
    "completion": "output_per_mtok",
    "input_cache_read": "cached_input_per_mtok",
}
_STATES: Mapping[str, ModelState] = {
    "loaded": "loaded",
    "sleeping": "loaded",
    "not-loaded": "unloaded",
    "unloaded": "unloaded",
    "loading": "loading",
    "downloading": "downloading",
    "failed": "failed",
}
_DETAILS = ("owned_by", "publisher", "type", "compatibility_type", "format", "canonical_slug")


def read_list(body: object) -> list[Entry]:
    """The entries of a list, each id once, in the list's order.

    Raises:
        ProtocolError: It is no list of models.
    """
    found = body
    if isinstance(body, dict):
        error = body.get("error")
        if error and "data" not in body:
            raise ProtocolError(
                f"the model list is an error: {shorten(str(error), 200)}", stage="decode"
            )
        if "data" not in body:
            raise ProtocolError("the model list has no 'data'", stage="decode")
        found = body["data"] or []  # some send null for none
    if not isinstance(found, list):
        raise ProtocolError("the model list is no list", stage="decode")
    entries: dict[str, Entry] = {}
    for entry in found:
        if isinstance(entry, dict) and (name := _text(entry.get("id"))):
            entries.setdefault(name, entry)
    return list(entries.values())


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What every list has of a model, and no fact."""

    id: str
    object: Literal["model"] = "model"
    created: int | None = None
    owned_by: str | None = ""


class _PlainList(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    data: list[_Plain]
    object: Literal["list"] = "list"


_PLAIN = frozenset(_Plain.__struct_fields__)
_plain_list = msgspec.json.Decoder(_PlainList)


@dataclass(frozen=True, slots=True)
class Listed:
    """A model list.

    Attributes:
        names: Each once, in the list's order.
        owners: Whose the models are said to be, in lower case.
        entries: One for each name; ``None`` if none says more than every list does.
    """

    names: Sequence[str]
    owners: frozenset[str]
    entries: Sequence[Entry] | None = None

    def of_all(self) -> Sequence[Entry]:
        """The entries; of those that say nothing more the name alone."""
        return [{"id": name} for name in self.names] if self.entries is None else self.entries


def decode_list(body: bytes) -> Listed:
    """Read a list off the wire. Most say no more than names, and are read as that.

    Raises:
        ProtocolError: It is no list of models.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: It is no JSON.
    """
    try:
        plain = _plain_list.decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        plain = []
    names = [entry.id for entry in plain]
    if names and all(names) and len(set(names)) == len(names):
        return Listed(names, _owners({entry.owned_by for entry in plain}))
    entries = read_list(msgspec.json.decode(body))
    return Listed(
        [str(entry["id"]) for entry in entries],
        _owners([entry.get("owned_by", "") for entry in entries]),
        entries,
    )


def _owners(said: Iterable[object]) -> frozenset[str]:
    return frozenset({str(owner).lower() for owner in said})


def same_in_all(entry: Entry) -> bytes:
    """What an entry says of its model beside the name; equal ones describe equal models."""
    if entry.keys() <= _PLAIN:
        return b""
    said = {name: value for name, value in entry.items() if name != "created"}
    if "name" not in said and "display_name" not in said:  # these are held against the id
        del said["id"]
    return msgspec.json.encode(said)


_NO_FACTS = Facts()


class Description:
    """One model, put together from all that tell about it; who speaks first is right."""

    def __init__(self, wire_id: str) -> None:
        self.wire_id = wire_id
        self.state: ModelState = "unknown"
        self._name = ""
        self._values: dict[str, object] = {}
        self._evidence: dict[str, str] = {}
        self._size: int | None = None
        self._family: str | None = None
        self._quantization: str | None = None
        self._details: JsonObject = {}

    def fact(self, name: str, value: object, evidence: str) -> None:
        """Add a fact, unless somebody has stated it already or it states nothing."""
        if value is not None and name not in self._values:
            self._values[name] = value
            self._evidence[name] = evidence

    def read(self, entry: Entry, where: str = LIST) -> None:
        """Take from an entry all it tells."""
        if entry.keys() <= _PLAIN:
            return
        for name, paths in _NUMBERS.items():
            self._first(name, entry, paths, where, tokens)
        for name, paths in _FLAGS.items():
            self._first(name, entry, paths, where, flag)
        self._modalities(entry, where)
        self._kind(entry, where)
        self._parameters(entry, where)
        self.fact("prices", _prices(entry.get("pricing")), f"{where}.pricing")
        if self.state == "unknown":
            self.state = _state(entry)
        self._name = self._name or _text(entry.get("display_name")) or _text(entry.get("name"))
        self._size = (
            self._size or tokens(entry.get("size_bytes")) or tokens(_at(entry, ("meta", "size")))
        )
        self._family = self._family or _text(entry.get("arch")) or _text(entry.get("architecture"))
        quantization = entry.get("quantization")
        if isinstance(quantization, dict):
            quantization = quantization.get("name")
        self._quantization = self._quantization or _text(quantization) or None
        for name in _DETAILS:
            if text := _text(entry.get(name)):
                self._details.setdefault(name, text)
        if text := _text(entry.get("params_string")):
            self._details.setdefault("parameters", text)

    def model(self, origin: Origin, more: JsonObject | None = None) -> DiscoveredModel:
        """What has been put together.

        Args:
            more: More details, of the server as a whole.
        """
        context = self._values.get("context_window")
        facts = Facts.model_validate(self._values) if self._values else _NO_FACTS
        # All of it is of its type already: the readers below see to that.
        return DiscoveredModel.assembled(
            {
                "wire_id": self.wire_id,
                "name": "" if self._name == self.wire_id else self._name,
                "aliases": (),
                "facts": facts,
                "evidence": self._evidence,
                "origin": origin,
                "state": self.state,
                "loaded_context": context
                if self.state == "loaded" and isinstance(context, int)
                else None,
                "size_bytes": self._size,
                "digest": None,
                "family": self._family or None,
                "quantization": self._quantization,
                "problem": None,
                "details": {**self._details, **(more or {})},
            }
        )

    def _first(
        self,
        name: str,
        entry: Entry,
        paths: Sequence[Path],
        where: str,
        read: Callable[[object], object],
    ) -> None:
        for path in paths:
            value = read(_at(entry, path))
            if value is not None:
                self.fact(name, value, f"{where}{_shown(path)}")
                return

    def _modalities(self, entry: Entry, where: str) -> None:
        for path in _INPUTS:
            inputs = _words(_at(entry, path))
            if inputs is not None:
                self.fact("vision", "image" in inputs, f"{where}{_shown(path)}")
                self.fact("audio", "audio" in inputs, f"{where}{_shown(path)}")
        for path in _OUTPUTS:
            outputs = _words(_at(entry, path))
            if outputs and "text" not in outputs:
                for word, name in (
                    ("embeddings", "embeddings"),
                    ("rerank", "rerank"),
                    ("image", "image_generation"),
                ):
                    if word in outputs:
                        self.fact(name, True, f"{where}{_shown(path)}")

    def _kind(self, entry: Entry, where: str) -> None:
        """LM Studio's ``type``; its v0 also has a list of capabilities."""
        kind = _text(entry.get("type"))
        if kind == "vlm":
            self.fact("vision", True, f"{where}.type")
        elif kind in ("embedding", "embeddings"):
            self.fact("embeddings", True, f"{where}.type")
        elif kind == "llm" and "compatibility_type" in entry:  # v1 calls both kinds llm
            self.fact("vision", False, f"{where}.type")
        named = _words(entry.get("capabilities"))
        if named is not None:
            self.fact("tools", "tool_use" in named, f"{where}.capabilities")

    def _parameters(self, entry: Entry, where: str) -> None:
        if named := _words(entry.get("supported_parameters")):
            for parameter, fact, absence_counts in _PARAMETERS:
                if parameter in named or absence_counts:
                    self.fact(fact, parameter in named, f"{where}.supported_parameters")
        for feature in _words(entry.get("supported_features")) or ():
            if feature in _FEATURES:
                self.fact(_FEATURES[feature], True, f"{where}.supported_features")


def tokens(value: object) -> int | None:
    """A number of tokens or bytes; ``None`` for less than one and for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 1 <= value < 1 << 53 else None


def flag(value: object) -> bool | None:
    """A yes or no; some put an object with more about it in the place of yes."""
    if isinstance(value, dict):
        return bool(value)
    return value if isinstance(value, bool) else None


def _at(entry: object, path: Path) -> object:
    for step in path:
        if isinstance(step, int):
            entry = entry[step] if isinstance(entry, list) and len(entry) > step else None
        else:
            entry = entry.get(step) if isinstance(entry, dict) else None
    return entry


def _shown(path: Path) -> str:
    return "".join("[]" if isinstance(step, int) else f".{step}" for step in path)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _words(value: object) -> set[str] | None:
    return {word for word in value if isinstance(word, str)} if isinstance(value, list) else None


def _state(entry: Entry) -> ModelState:
    instances = entry.get("loaded_instances")
    if isinstance(instances, list):
        return "loaded" if instances else "unloaded"
    if isinstance(loaded := entry.get("loaded"), bool):
        return "loaded" if loaded else "unloaded"
    status = entry.get("status")
    word = _text(entry.get("state")) or _text(
        status.get("value") if isinstance(status, dict) else status
    )
    return _STATES.get(word, "unknown")


def _prices(value: object) -> Prices | None:
    """Dollars per token, written as text as OpenRouter does it.

    Numbers are left alone: some services write dollars per million tokens that way.
    """
    if not isinstance(value, dict):
        return None
    found = {}
    for theirs, ours in _PRICES.items():
        text = value.get(theirs)
        if isinstance(text, str):
            try:
                price = Decimal(text)
            except InvalidOperation:
                continue
            if price.is_finite() and 0 <= price < 1:  # -1: it depends on the model that is chosen
                found[ours] = float(price * 1_000_000)
    return Prices.model_validate(found) if found else None
