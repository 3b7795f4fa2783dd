"""llama-server's own answers: structs for them, and what they mean. Pure.

Source of every fact here: transcripts of llama.cpp 0.5.0-dev (commit 0c1e57098). Fields have
defaults because older servers lack some; only a field of a wrong type is an error.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlencode

import msgspec

from modelbay.errors import ProtocolError
from modelbay.models.catalog import ModelState
from modelbay.models.frozen import JsonObject

Mode = Literal["single", "router"]

RUNNING = ("loading", "loaded", "sleeping")  # what the server means by "already running"
IN_MEMORY = ("loaded", "sleeping")
ARRIVING = ("downloading", "downloaded")
CONTEXT_STEP = 256  # the server rounds a slot's context up to a multiple of it


# --- GET /models ---------------------------------------------------------------------------------


class Status(msgspec.Struct):
    """Where a router's model stands.

    Attributes:
        args: The child's command line. Holds paths and maybe a token: never show it.
        preset: The same as INI text: never show it either.
        exit_code: Of the child, when it was not 0.
    """

    value: str = ""
    args: list[str] | None = None
    preset: str | None = None
    failed: bool | None = None
    exit_code: int | None = None


class Architecture(msgspec.Struct):
    input_modalities: list[str] | None = None
    output_modalities: list[str] | None = None


class Meta(msgspec.Struct):
    """Facts of a model in memory.

    Attributes:
        n_ctx: Context of one slot, in tokens: what a request can use.
        n_ctx_train: What the model was trained for.
        size: Of the weights, in bytes.
        ftype: Quantization, such as ``Q4_K - Medium``.
    """

    n_ctx: int | None = None
    n_ctx_train: int | None = None
    n_params: int | None = None
    n_embd: int | None = None
    n_vocab: int | None = None
    size: int | None = None
    ftype: str | None = None


class Entry(msgspec.Struct):
    """One model. `status` is there in a router only, `meta` only while the model runs."""

    id: str
    aliases: list[str] | None = None
    tags: list[str] | None = None
    owned_by: str | None = None
    status: Status | None = None
    architecture: Architecture | None = None
    source: str | None = None
    can_remove: bool | None = None
    meta: Meta | None = None

    @property
    def state(self) -> str:
        """The server's word; a single model that is listed is loaded."""
        return "loaded" if self.status is None else self.status.value

    @property
    def failed(self) -> bool:
        return self.status is not None and bool(self.status.failed)

    @property
    def exit_code(self) -> int | None:
        return None if self.status is None else self.status.exit_code

    @property
    def names(self) -> tuple[str, ...]:
        """Every name a request may use, the id first."""
        return (self.id, *(alias for alias in self.aliases or () if alias != self.id))


class ModelsAnswer(msgspec.Struct):
    """``GET /models`` and ``GET /v1/models``: the same answer."""

    data: list[Entry] | None = None


_STATES: Mapping[str, ModelState] = {
    "unloaded": "unloaded",
    "loading": "loading",
    "loaded": "loaded",
    "sleeping": "loaded",  # it keeps its place and wakes with the next request
    "downloading": "downloading",
    "downloaded": "downloading",  # until the next scan makes it unloaded, or drops it
}


def model_state(entry: Entry) -> ModelState:
    """Our word for an entry's state; a word we do not know is ``unknown``, not an error (U1)."""
    if entry.state == "unloaded" and entry.failed:
        return "failed"
    return _STATES.get(entry.state, "unknown")


def find(entries: Sequence[Entry], name: str) -> Entry | None:
    """The entry with this id, else with this alias; exactly as spelt."""
    for entry in entries:
        if entry.id == name:
            return entry
    return next((entry for entry in entries if name in (entry.aliases or ())), None)


def was_pulled(entry: Entry, name: str) -> bool:
    """Whether an entry is what ``owner/repo[:TAG]`` asked for; the server adds the tag itself."""
    if ":" in name:
        return entry.id == name
    return entry.id == name or entry.id.startswith(f"{name}:")


# --- GET /props ----------------------------------------------------------------------------------


class GenerationSettings(msgspec.Struct):
    n_ctx: int | None = None
    params: dict[str, object] | None = None


class Modalities(msgspec.Struct):
    vision: bool | None = None
    video: bool | None = None
    audio: bool | None = None


class TemplateCaps(msgspec.Struct):
    """What the chat template can express. Without tools in it, tools never reach the prompt."""

    supports_tools: bool | None = None
    supports_tool_calls: bool | None = None
    supports_parallel_tool_calls: bool | None = None
    supports_system_role: bool | None = None
    supports_preserve_reasoning: bool | None = None
    supports_reasoning_effort: bool | None = None

    @property
    def tools(self) -> bool | None:
        """Both directions are needed: offering functions, and reading calls."""
        if self.supports_tools is None or self.supports_tool_calls is None:
            return None
        return self.supports_tools and self.supports_tool_calls


class Props(msgspec.Struct):
    """``GET /props`` of a single-model server, of a router, or of one of a router's models.

    Attributes:
        role: ``router`` in a router, absent elsewhere.
        max_instances: Most models running at once, 0 without limit.
        default_generation_settings: Its ``n_ctx`` is 0 in a router: a dummy, never a size.
        total_slots: How many requests run at once.
    """

    role: str | None = None
    max_instances: int | None = None
    models_autoload: bool | None = None
    default_generation_settings: GenerationSettings | None = None
    total_slots: int | None = None
    model_path: str | None = None
    model_alias: str | None = None
    model_ftype: str | None = None
    modalities: Modalities | None = None
    chat_template_caps: TemplateCaps | None = None
    build_info: str | None = None
    is_sleeping: bool | None = None
    endpoint_slots: bool | None = None
    endpoint_props: bool | None = None
    endpoint_metrics: bool | None = None

    @property
    def is_llama_cpp(self) -> bool:
        """Any server may answer ``{}`` or ``{"error": ...}`` with 200; ours says more."""
        return self.role == "router" or self.default_generation_settings is not None

    @property
    def n_ctx(self) -> int | None:
        """Context of one slot; ``None`` in a router, whose 0 is a dummy."""
        settings = self.default_generation_settings
        return None if settings is None or not settings.n_ctx else settings.n_ctx


def sampling_defaults(props: Props) -> JsonObject:
    """The sampling fields in force: numbers and switches, and the order of the samplers.

    Texts and objects stay out: prompts, grammars and file names are among them.
    """
    settings = props.default_generation_settings
    params = (settings.params if settings is not None else None) or {}
    shown: JsonObject = {}
    for name, value in params.items():
        if isinstance(value, (bool, int)):
            shown[name] = value
        elif isinstance(value, float):
            shown[name] = round(value, 6)  # float32 noise: 0.949999988079071
        elif name == "samplers" and isinstance(value, list):
            shown[name] = [str(item) for item in value]
    return shown


# --- what a child was told at its start ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What of a child's command line matters to a client.

    Attributes:
        ctx_size: ``--ctx-size`` in tokens; ``None`` or 0: from the model file.
        parallel: ``--parallel``; ``None`` or less than 1: the slots share one context.
    """

    ctx_size: int | None = None
    parallel: int | None = None
    kv_unified: bool = False
    embeddings: bool = False
    reranking: bool = False


_NUMBERS = {
    "ctx-size": "ctx_size",
    "c": "ctx_size",
    "llama_arg_ctx_size": "ctx_size",
    "parallel": "parallel",
    "np": "parallel",
    "llama_arg_n_parallel": "parallel",
}
_SWITCHES = {
    "kv-unified": "kv_unified",
    "kvu": "kv_unified",
    "llama_arg_kv_unified": "kv_unified",
    "embeddings": "embeddings",
    "embedding": "embeddings",
    "llama_arg_embeddings": "embeddings",
    "reranking": "reranking",
    "rerank": "reranking",
    "llama_arg_reranking": "reranking",
}
_ON = ("1", "true", "on", "enabled")


def start_options(status: Status | None) -> StartOptions:
    """Read ``status.args``; where they are missing, ``status.preset``."""
    if status is None:
        return StartOptions()
    numbers: dict[str, int] = {}
    switches: dict[str, bool] = {}
    args = status.args or []
    for at, arg in enumerate(args):
        name, equals, value = arg.lstrip("-").partition("=")
        if not arg.startswith("-"):
            continue
        if name in _SWITCHES:
            switches[_SWITCHES[name]] = True
        elif name in _NUMBERS:
            _number(numbers, name, value if equals else "".join(args[at + 1 : at + 2]))
    if not args:
        for line in (status.preset or "").splitlines():
            key, equals, value = (part.strip() for part in line.partition("="))
            key = key.lower()
            if equals and key in _SWITCHES:
                switches[_SWITCHES[key]] = value.lower() in _ON
            elif equals and key in _NUMBERS:
                _number(numbers, key, value)
    return StartOptions(
        ctx_size=numbers.get("ctx_size"),
        parallel=numbers.get("parallel"),
        kv_unified=switches.get("kv_unified", False),
        embeddings=switches.get("embeddings", False),
        reranking=switches.get("reranking", False),
    )


def _number(numbers: dict[str, int], name: str, text: str) -> None:
    if re.fullmatch(r"-?\d+", text):
        numbers[_NUMBERS[name]] = int(text)


def estimated_context(options: StartOptions, trained: int | None) -> int | None:
    """What one slot will have after a load, as far as the command line tells; an estimate.

    The context asked for is divided among the slots unless they share it, rounded up to a multiple
    of 256 (384 became 512, 128 became 256) and capped at what the model was trained for.
    """
    size = options.ctx_size
    if not size or size < 0:
        return None
    slots = options.parallel or 0
    if slots > 1 and not options.kv_unified:
        size = -(-size // slots)
    size = -(-size // CONTEXT_STEP) * CONTEXT_STEP
    return min(size, trained) if trained else size


# --- GET /models/sse -----------------------------------------------------------------------------


class ModelEvent(msgspec.Struct):
    """One event about a model; ``*`` is all of them.

    The README knows other names than the server and nests the progress one level higher (trap 34);
    both are read.

    Attributes:
        event: ``status_change`` and ``model_status`` mean the same.
    """

    model: str = ""
    event: str = ""
    data: dict[str, object] | None = None
    progress: dict[str, object] | None = None

    @property
    def _told(self) -> Mapping[str, object]:
        data = self.data or {}
        inner = data.get("progress", self.progress)
        return inner if isinstance(inner, dict) else data

    @property
    def is_progress(self) -> bool:
        """It says how far something is, and not that anything has begun or ended."""
        return self.load_fraction is not None or bool(self.downloaded)

    @property
    def load_fraction(self) -> float | None:
        """How much of a load is done, over all its stages, from 0 to 1."""
        value = self._told.get("value")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        stages, current = self._told.get("stages"), self._told.get("current")
        done = min(1.0, max(0.0, float(value)))
        if isinstance(stages, list) and current in stages:
            done = (stages.index(current) + done) / len(stages)
        return done

    @property
    def downloaded(self) -> dict[str, tuple[int, int]]:
        """Bytes done and bytes in total, by file."""
        found = {}
        for file, sizes in self._told.items():
            if isinstance(sizes, dict):
                done, total = sizes.get("done"), sizes.get("total")
                if isinstance(done, int) and isinstance(total, int):
                    found[file] = (done, total)
        return found


def decode_event(data: bytes) -> ModelEvent | None:
    """One event; ``None`` if it cannot be read: events are hints, the list is the truth."""
    try:
        return msgspec.json.decode(data, type=ModelEvent)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


# --- POST /infill --------------------------------------------------------------------------------


class InfillTimings(msgspec.Struct):
    cache_n: int = 0
    prompt_n: int = 0
    prompt_ms: float | None = None
    prompt_per_second: float | None = None
    predicted_n: int = 0
    predicted_ms: float | None = None
    predicted_per_second: float | None = None


class InfillChunk(msgspec.Struct):
    """A piece of a native completion. The one with ``stop`` is the last; no ``[DONE]`` follows.

    Attributes:
        stop_type: ``eos``, ``word`` or ``limit``.
        tokens_evaluated: Tokens of the prompt, cached ones included.
    """

    content: str = ""
    stop: bool = False
    stop_type: str = ""
    model: str | None = None
    tokens_predicted: int = 0
    tokens_evaluated: int = 0
    timings: InfillTimings | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode_infill = msgspec.json.Decoder(InfillChunk).decode


def decode_infill(data: bytes) -> InfillChunk:
    """One piece.

    Raises:
        ProtocolError: It is none.
    """
    try:
        return _decode_infill(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        shown = data[:80].decode("utf-8", "replace")
        raise ProtocolError(f"expected a completion, got {shown!r}", stage="decode") from exc


# --- names and addresses -------------------------------------------------------------------------


def with_query(path: str, **query: str) -> str:
    """A path with a query; every character that means something in a URL is encoded."""
    return f"{path}?{urlencode(query, quote_via=quote, safe='')}"


def readable_name(wire_id: str) -> str:
    """What people read: without ``--alias`` the id is the path given to ``-m``."""
    if not wire_id.endswith(".gguf"):
        return ""
    return wire_id.replace("\\", "/").rpartition("/")[2].removesuffix(".gguf")


def known_names(entries: Collection[Entry], limit: int = 8) -> str:
    """The ids, for a hint; the first few of many."""
    ids = [entry.id for entry in entries]
    more = f", ... ({len(ids)} in all)" if len(ids) > limit else ""
    return f"{', '.join(ids[:limit])}{more}" if ids else "none"
