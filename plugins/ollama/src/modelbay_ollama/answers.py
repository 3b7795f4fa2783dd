"""What the server's listings say: structs for them, and the text of ``parameters``. Pure.

Fields have defaults because older servers lack them; one of a wrong type is an error. Source:
Ollama's ``api/types.go`` at v0.33.0-rc2.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from pydantic import JsonValue

from modelbay.models.frozen import JsonObject
from modelbay_ollama.names import identity, is_cloud

FOREVER_S = 10 * 365 * 86400.0  # the server writes "kept for ever" as some 292 years


class Details(msgspec.Struct):
    """``context_length`` and ``embedding_length`` are told by 0.30 and later, in the list only."""

    parent_model: str | None = None
    format: str | None = None
    family: str | None = None
    families: list[str] | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None
    context_length: int | None = None
    embedding_length: int | None = None


class Listed(msgspec.Struct):
    """An entry of ``/api/tags``. ``digest`` is of the manifest: bare hex, no ``sha256:``."""

    name: str
    model: str | None = None
    modified_at: str | None = None
    size: int | None = None
    digest: str | None = None
    remote_model: str | None = None
    remote_host: str | None = None
    details: Details | None = None
    capabilities: list[str] | None = None

    @property
    def is_remote(self) -> bool:
        """It is a stub of a model in the cloud, or its name says so."""
        return bool(self.remote_host or self.remote_model) or is_cloud(self.name)


class Tags(msgspec.Struct):
    models: list[Listed] | None


class Loaded(msgspec.Struct):
    """An entry of ``/api/ps``, under the name it was loaded as.

    Attributes:
        size: Bytes in memory; ``size_vram`` of them on the graphics card.
        context_length: What a request gets now, in tokens; since 0.10.0.
    """

    name: str
    size: int | None = None
    size_vram: int | None = None
    digest: str | None = None
    details: Details | None = None
    expires_at: str | None = None
    context_length: int | None = None

    def expires_in_s(self, now: datetime) -> float | None:
        """Seconds until it is unloaded; ``None`` if it is kept for ever or nobody says."""
        try:
            left = (datetime.fromisoformat(self.expires_at or "") - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
        return None if left > FOREVER_S else max(0.0, left)


class Running(msgspec.Struct):
    models: list[Loaded] | None


class VersionBody(msgspec.Struct):
    version: str


_WEIGHTS = re.compile(r"^FROM\s+\S*sha256[-:]([0-9a-f]{64})\s*$", re.MULTILINE)


class Shown(msgspec.Struct):
    """``/api/show``. Without ``verbose`` the big arrays in ``model_info`` are empty or null.

    Attributes:
        modelfile: Repeats the rest at length; only what it says of the weights is kept.
    """

    parameters: str | None = None
    template: str | None = None
    system: str | None = None
    license: str | None = None
    details: Details | None = None
    model_info: dict[str, object] | None = None
    projector_info: dict[str, object] | None = None
    capabilities: list[str] | None = None
    remote_model: str | None = None
    remote_host: str | None = None
    modified_at: str | None = None
    requires: str | None = None
    modelfile: str | None = None

    def __post_init__(self) -> None:
        found = _WEIGHTS.search(self.modelfile or "")
        self.modelfile = None if found is None else found[0]

    @property
    def weights(self) -> str | None:
        """The digest of its weights' file, where it names one: two models may share it."""
        found = _WEIGHTS.search(self.modelfile or "")
        return None if found is None else found[1]

    def length(self, what: str) -> int | None:
        """``<architecture>.<what>`` in ``model_info``, such as ``context_length``."""
        info = self.model_info or {}
        return whole(info.get(f"{info.get('general.architecture')}.{what}"))

    @property
    def parameter_count(self) -> int | None:
        return whole((self.model_info or {}).get("general.parameter_count"))

    @property
    def configured_window(self) -> int | None:
        """``PARAMETER num_ctx`` of its Modelfile."""
        return whole(parse_parameters(self.parameters or "").get("num_ctx"))


def whole(value: object) -> int | None:
    """A positive number as an integer; the server writes large ones as ``1.048576e+06``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if math.isfinite(value) and value >= 1 else None


def parse_parameters(text: str) -> JsonObject:
    """The text of ``parameters``: a name and a Go literal on each line, lists as repeated names.

    Numbers that are whole become integers, also from the exponent form (trap 40).
    """
    found: JsonObject = {}
    for line in text.splitlines():
        name, *rest = line.split(None, 1)[:2] if line.strip() else [""]
        if not name or not rest:
            continue
        value = _literal(rest[0].strip())
        if name == "stop" or name in found:
            before = found.get(name, [])
            found[name] = [*(before if isinstance(before, list) else [before]), value]
        else:
            found[name] = value
    return found


def _literal(text: str) -> JsonValue:
    if text.startswith('"'):
        try:
            value: JsonValue = json.loads(text)
        except ValueError:
            return text.strip('"')
        return value
    if text in ("true", "false"):
        return text == "true"
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() else number


# --- which entry is meant ------------------------------------------------------------------------


def find_listed(entries: Sequence[Listed], name: str) -> Listed | None:
    """The entry of this name, else the one it is another spelling of."""
    for entry in entries:
        if entry.name == name:
            return entry
    key = identity(name)
    return next((entry for entry in entries if identity(entry.name) == key), None)


def find_loaded(entries: Sequence[Loaded], name: str, digest: str | None = None) -> Loaded | None:
    """The runner of a model: by name, else by digest; it may run under another name (trap 24)."""
    key = identity(name)
    for entry in entries:
        if identity(entry.name) == key:
            return entry
    if digest is None:
        return None
    return next((entry for entry in entries if entry.digest == digest), None)


def capability_facts(capabilities: Sequence[str] | None) -> Mapping[str, bool]:
    """Facts in a list of capabilities: what is not named the model does not have."""
    if not capabilities:
        return {}
    names = set(capabilities)
    return {
        "tools": "tools" in names,
        "vision": "vision" in names,
        "audio": "audio" in names,
        "reasoning": "thinking" in names,
        "embeddings": "embedding" in names,
    }
