"""The thing under test: a plugin, a server, and what that server can be made to do."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Literal, NoReturn, TypeAlias
from urllib.parse import urlsplit

from modelbay.errors import BackendError
from modelbay.models.frozen import JsonObject
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance.ruling import rule_out
from modelbay.testing.fault import Fault
from modelbay.testing.request import Request

if TYPE_CHECKING:
    from modelbay.testing.simulator import Simulator

TARGETS_GROUP = "modelbay.targets"  # entry points: a kind, and what makes its target

# What a target may lack. Each one that is missing has to be declared, with the reason.
Ability: TypeAlias = Literal[
    "address",  # the provider is a server at an address, which may be dead
    "faults",  # the server can be made to fail: `Target.arm`, `Target.clear`
    "requests",  # what the server was sent can be read: `Target.requests`
    "streams",  # how many streams the server has open can be read: `Target.open_streams`
    "loads",  # how many model loads the server has begun can be read: `Target.loads`
    "second",  # there is another server: `Target.second`
    "metadata",  # the plugin has a distribution or a pyproject.toml
    "usage",  # the server counts tokens: `Target.counts`, if always the same
    "text",  # the exact text of an answer is known: `Target.says`
    "reasoning",  # some model reasons: `Target.thinks`
    "tools",  # some model calls a tool: `Target.calls`
    "json_schema",  # some model holds to a schema: `Target.json_model`
    "embeddings",  # some model makes vectors: `Target.embedder`
    "rerank",  # some model orders documents: `Target.reranker`
    "complete",  # the model continues raw prompts
    "images",  # some model makes images: `Target.painter`
    "load",  # models can be loaded and unloaded on this very server
]

# Where a sound plugin may do otherwise than the rule says. Each needs the reason, and a
# declaration that nothing bears out is a broken check.
Peculiarity: TypeAlias = Literal[
    "white space",  # a message's outer white space does not reach the server
    "long prompt",  # a long message does not reach the server whole
    "many messages",  # of many messages not all reach the server
    "empty message",  # a message without text does not reach the server
    "second system",  # of two system messages only one reaches the server
    "roles",  # the server is not told who said what
    "other requests",  # a turn asks the server for more than its answer
    "retries",  # a turn for which the server is too busy (503) is asked again by itself
    "address path",  # requests leave the path of the provider's address
    "unstreamed",  # the server is asked the same whether the answer shall be streamed or not
    "state",  # a model is called loaded although the server's words for it are unheard of
    "files",  # a turn writes files
]


@dataclass(frozen=True, slots=True)
class Wire:
    """How this kind of server writes a streamed answer; lets the kit make up answers of its own.

    Attributes:
        content_type: Of a streamed answer.
        text: One piece of text as bytes of the stream.
        end: A whole answer's end, finish reason ``stop`` and end mark.
        error: A failure that is reported inside a stream that began as a success.
        ping: What the server sends during silence; empty if it sends nothing.
        length: The end of an answer that the output limit cut off, finish reason ``length``.
            Without it the kit takes `end` with its word ``stop`` as ``length``.
    """

    content_type: str
    text: Callable[[str], bytes]
    end: bytes
    error: Callable[[str], bytes]
    ping: bytes = b""
    length: bytes = b""


def _sse(value: JsonObject) -> bytes:
    return b"data: %b\n\n" % json.dumps(value, ensure_ascii=False).encode()


def _sse_choice(delta: JsonObject, reason: str | None) -> bytes:
    choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": reason}
    return _sse(
        {"id": "kit", "object": "chat.completion.chunk", "model": "kit", "choices": [choice]}
    )


OPENAI_SSE = Wire(
    content_type="text/event-stream",
    text=lambda piece: _sse_choice({"content": piece}, None),
    end=_sse_choice({}, "stop") + b"data: [DONE]\n\n",
    error=lambda message: _sse({"error": {"message": message, "type": "server_error"}}),
    ping=b": ping\n\n",
)


@dataclass(frozen=True, slots=True)
class Thinks:
    """A model that reasons before it answers; leading and trailing space of both is ignored."""

    model: str
    reasoning: str
    text: str


@dataclass(frozen=True, slots=True)
class Calls:
    """A model that calls `tool` with `arguments` when it is offered; parameters are strings."""

    model: str
    tool: str
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Target:
    """What is under test. Write its methods for a server of your own, or use `SimulatorTarget`.

    What the server cannot be made to do is declared in `cannot`; a check that needs it is then
    skipped with that reason. Nothing is skipped without a declaration.

    Attributes:
        plugin: The plugin's module or its name; the name must be importable.
        config: A provider as a user would configure it, with an address that answers.
        model: Wire id of a model that answers chats.
        says: The exact text it answers to any prompt.
        counts: Tokens of the prompt and of the answer it then tells, if they are always the same.
        endless: Wire id of a model that goes on talking for five seconds or more. Without one the
            kit slows an ordinary answer down, which needs ``faults`` and takes longer.
        wire: How the server writes a streamed answer.
        chat_path: Where a chat turn is posted, below the provider's address.
        status_errors: What a status of this server means where that is something of its own, such
            as 404 for a route and never for a model.
        project: The plugin's ``pyproject.toml``, if it is not found from its module.
        differs: What the plugin rightly does otherwise than a rule says, with the reason.
        adds: Fields with a number that the plugin sends of its own accord, with the reason.
    """

    plugin: ModuleType | str
    config: ProviderConfig
    model: str
    says: str | None = None
    counts: tuple[int, int] | None = None
    endless: str | None = None
    thinks: Thinks | None = None
    calls: Calls | None = None
    json_model: str | None = None
    embedder: str | None = None
    reranker: str | None = None
    painter: str | None = None
    wire: Wire = OPENAI_SSE
    chat_path: str = "/v1/chat/completions"
    status_errors: Mapping[int, type[BackendError]] = field(default_factory=dict)
    project: str | None = None
    cannot: Mapping[Ability, str] = field(default_factory=dict)
    differs: Mapping[Peculiarity, str] = field(default_factory=dict)
    adds: Mapping[str, str] = field(default_factory=dict)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in ("require", "has"):
            if name in vars(cls):
                raise TypeError(f"{cls.__name__}.{name} decides what is checked; it is the kit's")

    def arm(self, fault: Fault, path: str | None = None, *, times: int | None = None) -> None:
        """Make requests go wrong until `clear`.

        Args:
            path: Of the requests, below the provider's address; ``None`` is every one.
            times: How many requests; ``None`` is all. Of several faults the oldest that matches
                is taken.
        """
        self._unwritten("arm", "faults")

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        if "faults" not in self.cannot:
            self._unwritten("clear", "faults")

    def requests(self) -> Sequence[Request]:
        """All requests the server has seen, oldest first."""
        self._unwritten("requests", "requests")

    def open_streams(self) -> int:
        """Streamed answers the server is sending at this moment."""
        self._unwritten("open_streams", "streams")

    def loads(self) -> int:
        """Model loads the server has begun so far."""
        self._unwritten("loads", "loads")

    def second(self) -> "Target":
        """Another server of the same kind, with a model of the same name that says another text."""
        self._unwritten("second", "second")

    # what checks ask

    @property
    def module(self) -> str:
        """The plugin's module, by name."""
        return self.plugin if isinstance(self.plugin, str) else self.plugin.__name__

    def require(self, *abilities: Ability) -> None:
        """Skip the running check if one of these is declared to be missing."""
        for ability in abilities:
            if ability in self.cannot:
                rule_out(f"declared in the Target: no {ability}: {self.cannot[ability]}")

    def has(self, ability: Ability) -> bool:
        return ability not in self.cannot

    def _unwritten(self, method: str, ability: Ability) -> NoReturn:
        raise NotImplementedError(
            f"{type(self).__name__}.{method} is not written; write it, or declare"
            f" cannot={{{ability!r}: 'why not'}}"
        )


@dataclass(kw_only=True)
class SimulatorTarget(Target):
    """A target whose server is a `Simulator` of yours, running.

    Attributes:
        other: The target of another simulator with a model of the same name.
        count_loads: Loads so far, where the simulator has them.
    """

    simulator: "Simulator"
    other: "SimulatorTarget | None" = None
    count_loads: Callable[[], int] | None = None

    def arm(self, fault: Fault, path: str | None = None, *, times: int | None = None) -> None:
        if path is not None:
            path = urlsplit(self.simulator.base_url).path + path
        self.simulator.inject(fault, path=path, times=times)

    def clear(self) -> None:
        self.simulator.clear_faults()

    def requests(self) -> Sequence[Request]:
        return self.simulator.requests

    def open_streams(self) -> int:
        return self.simulator.open_streams

    def loads(self) -> int:
        return super().loads() if self.count_loads is None else self.count_loads()

    def second(self) -> Target:
        return super().second() if self.other is None else self.other
