"""A simulated model as data: its entry in llama-swap's configuration, and what its child does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["chat", "embedding", "rerank", "image", "audio"]
Flavour = Literal["llama.cpp", "plain"]
Failure = Literal["none", "exit", "timeout", "nobin", "502"]
Modality = Literal["text", "audio", "image"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model makes. `arguments` is JSON text, sent exactly as written here."""

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The ``capabilities:`` block of a model; shown in ``/v1/models``, never probed.

    Attributes:
        inputs, outputs: ``in`` and ``out`` of the block.
        context: In tokens; 0 is not said.
    """

    inputs: Sequence[Modality] = ()
    outputs: Sequence[Modality] = ()
    tools: bool = False
    reranker: bool = False
    context: int = 0


@dataclass(frozen=True, slots=True)
class Filters:
    """What is done to the JSON of a request before the child gets it; keys are dotted paths."""

    strip_params: Sequence[str] = ()
    set_params: Mapping[str, object] = field(default_factory=dict)
    set_params_by_id: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """What one model is configured as, and what its child is and does.

    Times are in the server's seconds, of which the simulator's clock says how long they last.

    Attributes:
        id: The key in the configuration, which is the wire id.
        name, description, aliases, unlisted, metadata, capabilities: As in the configuration.
        use_model_name: What the child gets as `model`; "": what the caller wrote.
        ttl_s: Idle seconds until it is unloaded; 0 never, None as `LlamaSwapSimulator` says.
        unload_timeout_s: None as `LlamaSwapSimulator` says.
        limit: Requests admitted at a time, waiting ones included.
        loading_state: ``sendLoadingState``; None as `LlamaSwapSimulator` says.
        check: False: ``checkEndpoint: none``; it counts as ready at once, and is asked too early.
        priority: Of its requests in the queue.
        cmd: The command line, ``${PORT}`` included; "": one of llama-server.

        load_s: How long the child takes until its health check passes. It is looked at 0.25 s after
            the start and each second from then on. `math.inf`: until
            `LlamaSwapSimulator.finish_load`.
        stop_s: How long an idle child takes to stop.
        hang_when_busy: A working child goes silent and does not stop (llama-server's way).
        fail: How a load ends: the child exits, never gets healthy, its command is missing
            (``nobin``); with ``502`` the load succeeds and the child refuses all connections.
        die_after: It dies after so many tokens of an answer.
        role: What kind of model it is.
        flavour: ``plain``: a small server without llama.cpp's headers and timings.
        answer: What it says. With `tool_calls` as well: what it says after a tool result.
        says: Makes its words of the messages instead.
        reasoning: What it thinks first.
        tool_calls: What it calls when the request offers tools (all of them, in one turn).
        json_answer: What it says when the request asks for JSON; "": ``{}``.
        endless: It never ends by itself: the answer is repeated until a limit.
        piece_chars: Characters in a token of the answer.
        vision: It takes images.
        prompt_s, token_s: Time before the first token, and for each further one.
        hold_after: Stop after so many tokens until `LlamaSwapSimulator.release`.
        slots: How many requests the child works on at a time.
        n_ctx: Context of one slot, in tokens.
        n_embd: Numbers in a vector.
        child_key: The child's own ``--api-key``.
        file: What the child calls itself; "": derived from the id.
    """

    id: str
    # the configuration
    name: str = ""
    description: str = ""
    aliases: Sequence[str] = ()
    unlisted: bool = False
    metadata: Mapping[str, object] = field(default_factory=dict)
    capabilities: Capabilities = Capabilities()
    use_model_name: str = ""
    filters: Filters = field(default_factory=Filters)
    ttl_s: int | None = None
    unload_timeout_s: float | None = None
    limit: int = 10
    loading_state: bool | None = None
    check: bool = True
    priority: int = 0
    cmd: str = ""
    # its life
    load_s: float = 0.0
    stop_s: float = 0.0
    hang_when_busy: bool = False
    fail: Failure = "none"
    die_after: int | None = None
    # its words
    role: Role = "chat"
    flavour: Flavour = "llama.cpp"
    answer: str = "Hello from the simulator."
    says: Callable[[Sequence[Mapping[str, object]]], str] | None = None
    reasoning: str = ""
    tool_calls: Sequence[ToolCall] = ()
    json_answer: str = ""
    endless: bool = False
    piece_chars: int = 3
    vision: bool = False
    prompt_s: float = 0.0
    token_s: float = 0.0
    hold_after: int | None = None
    slots: int = 4
    n_ctx: int = 4096
    n_embd: int = 64
    child_key: str = ""
    file: str = ""

    @property
    def model_file(self) -> str:
        return self.file or f"models/{self.id.replace('/', '--').replace(':', '-')}.gguf"

    @property
    def names(self) -> list[str]:
        """Aliases, those made by ``setParamsByID`` included; the id itself is none."""
        more = [name for name in self.filters.set_params_by_id if name != self.id]
        return [*self.aliases, *(name for name in more if name not in self.aliases)]

    def command(self, port: int) -> str:
        """The command line after macros."""
        cmd = self.cmd or (
            f"llama-server --host 127.0.0.1 --port ${{PORT}} -c {self.n_ctx} -m {self.model_file}"
        )
        return cmd.replace("${PORT}", str(port))


@dataclass(frozen=True, slots=True)
class Group:
    """Which of its members may run together, and what it does to other groups."""

    members: Sequence[str]
    swap: bool = True
    exclusive: bool = True
    persistent: bool = False


@dataclass(frozen=True, slots=True)
class Selector:
    """A name that stands for one of several models."""

    id: str
    targets: Sequence[str]
    strategy: Literal["pin", "warm", "spillover"] = "pin"
    spillover: int = 1
    name: str = ""
    description: str = ""
    unlisted: bool = False
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """Names that stand for models while the profile is active; None disables a name."""

    id: str
    pins: Mapping[str, str | None]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server that is reached through this one; it has no states.

    Attributes:
        key: Its ``apiKey``, which takes the place of the caller's.
        up: False: nothing listens there.
    """

    id: str
    models: Sequence[SimulatedModel]
    key: str = ""
    up: bool = True

    def model(self, wire_id: str) -> SimulatedModel | None:
        return next((model for model in self.models if model.id == wire_id), None)
