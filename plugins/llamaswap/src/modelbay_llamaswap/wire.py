"""llama-swap's own answers: structs for them, and what they mean. Pure.

Read from commit 0bdb3720 (five after v250), and from tags back to v100 for what was different.
Fields have defaults because older servers lack some; only a field of a wrong type is an error.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, cast
from urllib.parse import quote

import msgspec

from modelbay.errors import (
    BackendBusyError,
    BackendError,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
)
from modelbay.models.catalog import ModelState
from modelbay.models.frozen import JsonObject
from modelbay.wire.errors import ErrorBody

OWNER = "llama-swap"

EntryType = Literal["model", "alias", "peer", "selector", "profile"]
VIRTUAL = ("peer", "selector", "profile")  # they have no process of their own

# --- GET /v1/models -------------------------------------------------------------------------------


class Architecture(msgspec.Struct):
    """Declared in the config (v225), never probed."""

    input_modalities: list[str] | None = None
    output_modalities: list[str] | None = None


class Status(msgspec.Struct):
    """Since v236; ``loaded`` for starting, ready and stopping alike."""

    value: str | None = None


class Meta(msgspec.Struct):
    """``llamaswap`` is what a user wrote under ``metadata``, with keys of the server's own in it.

    Before v241 it was there only with user metadata, and had no ``type``.
    """

    n_ctx: int | None = None
    llamaswap: dict[str, object] | None = None


_OWN_KEYS = (
    *("type", "aliases", "modelID", "peerID"),
    *("strategy", "targets", "spillover"),
)


class Entry(msgspec.Struct):
    """One record. ``created`` is the moment of the call and says nothing (trap 9)."""

    id: str
    owned_by: str | None = None
    name: str | None = None
    description: str | None = None
    architecture: Architecture | None = None
    capabilities: dict[str, object] | None = None
    context_length: int | None = None
    context_window: int | None = None
    meta: Meta | None = None
    status: Status | None = None

    @property
    def own(self) -> Mapping[str, object]:
        """What stands under ``meta.llamaswap``."""
        return (self.meta.llamaswap if self.meta is not None else None) or {}

    @property
    def type(self) -> EntryType:
        """The server's word (v241); before, a peer is known by its ``peerID`` alone."""
        said = self.own.get("type")
        if self._is_typed:
            return cast(EntryType, said)
        return "peer" if "peerID" in self.own else "model"

    @property
    def _is_typed(self) -> bool:
        return self.own.get("type") in ("model", "alias", *VIRTUAL)

    @property
    def aliases(self) -> tuple[str, ...]:
        return _texts(self.own.get("aliases"))

    @property
    def targets(self) -> tuple[str, ...]:
        """Of a selector."""
        return _texts(self.own.get("targets"))

    @property
    def alias_of(self) -> str | None:
        return _text(self.own.get("modelID"))

    @property
    def peer(self) -> str | None:
        return _text(self.own.get("peerID"))

    @property
    def metadata(self) -> JsonObject:
        """The user's own part of it."""
        own = () if self._is_typed else ("type",)  # before v241 that word was the user's
        kept = {key: value for key, value in self.own.items() if key not in _OWN_KEYS or key in own}
        return cast(JsonObject, kept)

    @property
    def context(self) -> tuple[int, str] | None:
        """Tokens as declared in the config, and where it stood."""
        said = (
            (self.context_length, "data[].context_length"),
            (self.meta.n_ctx if self.meta is not None else None, "data[].meta.n_ctx"),
            (self.context_window, "data[].context_window"),
        )
        return next(((n, where) for n, where in said if n is not None and n > 0), None)


class ModelsAnswer(msgspec.Struct):
    data: list[Entry] | None = None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


# --- GET /running ---------------------------------------------------------------------------------


class RunningEntry(msgspec.Struct):
    """One process.

    Attributes:
        model: The real id, never an alias.
        state: ``starting``, ``ready`` or ``stopping``; up to v217 only ready ones are listed, and
            the oldest versions say no state.
        cmd: The command line with its macros filled in. May hold secrets: never show it.
        ttl: Seconds idle until it is unloaded; 0 is never.
    """

    model: str
    state: str | None = None
    cmd: str | None = None
    proxy: str | None = None
    ttl: float | None = None
    name: str | None = None
    description: str | None = None

    @property
    def is_ready(self) -> bool:
        return self.state in (None, "", "ready")


class RunningAnswer(msgspec.Struct):
    running: list[dict[str, object]] | None = None


_STATES: Mapping[str, ModelState] = {
    "": "loaded",
    "ready": "loaded",
    "starting": "loading",
    "stopping": "unloading",
    "stopped": "unloaded",
    "shutdown": "unloaded",
    "failed": "failed",  # up to v124
}


def model_state(word: str | None) -> ModelState:
    """Our word for a process's state; a word we do not know is ``unknown``, not an error."""
    return _STATES.get(word or "", "unknown")


def running_entry(raw: Mapping[str, object]) -> RunningEntry:
    """Raises ProtocolError: it is no process."""
    try:
        return msgspec.convert(raw, RunningEntry)
    except msgspec.ValidationError as exc:
        raise ProtocolError(f"/running lists something unexpected: {exc}", stage="decode") from exc


# --- GET /api/profiles ----------------------------------------------------------------------------


class _Profile(msgspec.Struct):
    id: str = ""
    pins: dict[str, str | None] | None = None


class ProfilesAnswer(msgspec.Struct):
    """The profiles (v241), of which one may be active for all callers."""

    active: str | None = None
    profiles: list[_Profile] | None = None

    @property
    def pins(self) -> dict[str, str]:
        """What the active one makes of names; those that it turns off are left out."""
        for profile in self.profiles or ():
            if profile.id == self.active:
                return {name: target for name, target in (profile.pins or {}).items() if target}
        return {}


# --- GET /upstream/{id}/props ---------------------------------------------------------------------


class _Generation(msgspec.Struct):
    n_ctx: int | None = None


class _Modalities(msgspec.Struct):
    vision: bool | None = None
    audio: bool | None = None


class _TemplateCaps(msgspec.Struct):
    supports_tools: bool | None = None
    supports_tool_calls: bool | None = None


class Props(msgspec.Struct):
    """What a llama-server says of its model. Other servers have no such route."""

    default_generation_settings: _Generation | None = None
    total_slots: int | None = None
    modalities: _Modalities | None = None
    chat_template_caps: _TemplateCaps | None = None

    @property
    def n_ctx(self) -> int | None:
        """Context of one slot, in tokens."""
        settings = self.default_generation_settings
        return None if settings is None or not settings.n_ctx else settings.n_ctx

    @property
    def tools(self) -> bool | None:
        """Whether tools reach the prompt, and calls can be read from the answer."""
        caps = self.chat_template_caps
        if caps is None or caps.supports_tools is None or caps.supports_tool_calls is None:
            return None
        return caps.supports_tools and caps.supports_tool_calls


# --- GET /api/events ------------------------------------------------------------------------------


class _Envelope(msgspec.Struct):
    type: str = ""
    data: str = ""


class ModelStatus(msgspec.Struct):
    """One model in a ``modelStatus`` event; a peer has no state."""

    id: str
    state: str = ""


class _InFlight(msgspec.Struct):
    model: str = ""


class _InFlightEvent(msgspec.Struct):
    """v192 had a total, v235 a list, v240 an operation; an empty list is left out."""

    total: int | None = None
    operation: str = "snapshot"
    requests: list[_InFlight] | None = None


def model_statuses(data: bytes) -> dict[str, str] | None:
    """The state of every model, from a ``modelStatus`` event; ``None`` for any other event.

    An event's payload is JSON inside a JSON string (trap 18). What cannot be read is no event:
    the events are hints, `/running` is the truth.
    """
    inner = _inner(data, "modelStatus")
    if inner is None:
        return None
    try:
        listed = msgspec.json.decode(inner, type=list[ModelStatus])
    except msgspec.DecodeError:
        return None
    return {model.id: model.state for model in listed}


def in_flight(data: bytes) -> tuple[int, dict[str, int]] | None:
    """Requests being answered now: all of them, and by model where the server says (v235).

    ``None`` for an event that is no snapshot of them.
    """
    inner = _inner(data, "inflight")
    if inner is None:
        return None
    try:
        event = msgspec.json.decode(inner, type=_InFlightEvent)
    except msgspec.DecodeError:
        return None
    if event.operation != "snapshot":
        return None
    by_model: dict[str, int] = {}
    for request in event.requests or ():
        by_model[request.model] = by_model.get(request.model, 0) + 1
    return event.total or sum(by_model.values()), by_model


def _inner(data: bytes, wanted: str) -> str | None:
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return envelope.data if envelope.type == wanted else None


# --- versions, paths ------------------------------------------------------------------------------

REWRITE = 218  # JSON errors with `src`, 404 for unknown models, /running shows starting
LOG_PER_MODEL = 177


class Version(msgspec.Struct):
    """``GET /api/version`` (v173)."""

    version: str = ""
    commit: str = ""
    build_date: str = ""


def version_number(text: str) -> int | None:
    """``v250``, ``217``, ``v250-5-g0bdb372`` -> 250, 217, 250; ``None`` for an unstamped build."""
    found = re.match(r"v?(\d+)", text)
    return (int(found[1]) or None) if found else None


def upstream(wire_id: str, path: str) -> str:
    """A route of a model's own server. It **loads the model** and pushes others out (trap 8).

    Slashes and colons of an id stay as they are (trap 24): every version since v159 knows them.
    """
    return f"upstream/{in_path(wire_id)}/{path}"


def in_path(wire_id: str) -> str:
    """An id as part of a path.

    A path with an empty part or with dots is answered by a redirect to the clean one, so the
    slashes of such an id are encoded.
    """
    is_clean = not any(part in ("", ".", "..") for part in wire_id.split("/"))
    return quote(wire_id, safe="/:" if is_clean else ":")


# --- errors ---------------------------------------------------------------------------------------

NO_ROUTE = "404 page not found"
EMPTY = "no reason given"
TOO_MANY = "Too many requests"
_UNKNOWN_MODEL = (
    "no router for requested model",  # v218
    "could not find suitable inference handler for ",  # up to v217, with 400
    "could not find real modelID for ",  # older
)
_UNLOADED = re.compile(r"(unspecific error: )?((group|matrix): model unloaded|aborted)$")
_STOPPING = re.compile(r"(unspecific error: )?\w+ is shutting down$")


def classify(status: int, body: ErrorBody) -> type[BackendError] | None:
    """The class of an error answer, where llama-swap's words say more than its status.

    Its shape is an object after v250, a string from v218 on, plain text before (trap 7); the words
    are the same in all three.
    """
    text = body.message.removeprefix("llama-swap: ")
    if text.startswith(_UNKNOWN_MODEL):
        return ModelNotFoundError
    if text == NO_ROUTE or (status == 404 and text == "File Not Found"):
        return ProtocolError  # no such route, at llama-swap or at the model's own server
    if text.startswith(("no model id could be identified", "missing or invalid 'model' key")):
        return InvalidRequestError
    if body.code == "concurrency_limit" or (status in (429, 500) and text == TOO_MANY):
        return BackendBusyError  # the model's places are taken; 429 of anybody else is a rate limit
    if _UNLOADED.match(text) or _STOPPING.match(text):
        return BackendBusyError  # somebody else wanted the memory; the next try loads it again
    return None


def without_command(message: str) -> str:
    """A failed start names the command line, which may hold a key: it is not for a message."""
    head, found, rest = message.partition("command '")
    if not found:
        return message
    # A long message is cut, and a command may hold quotes of its own.
    tail = "" if "…" in rest else rest.rpartition("'")[2]
    return f"{head}its command{tail}"


def known_names(names: Iterable[str], limit: int = 8) -> str:
    """Names for a hint; the first few of many."""
    ids: Sequence[str] = list(names)
    more = f", ... ({len(ids)} in all)" if len(ids) > limit else ""
    return f"{', '.join(ids[:limit])}{more}" if ids else "none"
