"""A pretended ``ollama serve``, version by version and knob by knob.

    with OllamaSimulator([SimulatedModel("llama3.1:8b", answer="Hi.")], version="0.30.0") as sim:
        ...  # a client at sim.base_url

Source: the protocol notes on Ollama, read from its source at 0.33.0; none of this was compared with
a real server.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial

from modelbay.testing.simulator import Exchange, Simulator
from modelbay_ollama.simulator import changes, cloud, delivery, embed, listing, openai, pull
from modelbay_ollama.simulator.answer import ApiError, answer_error, answer_json
from modelbay_ollama.simulator.downloads import Downloads
from modelbay_ollama.simulator.gates import Gates, Place
from modelbay_ollama.simulator.guards import host_allowed, origin_allowed
from modelbay_ollama.simulator.knobs import Knobs
from modelbay_ollama.simulator.lifetimes import Clock
from modelbay_ollama.simulator.model import Pullable, SimulatedModel
from modelbay_ollama.simulator.names import known_name
from modelbay_ollama.simulator.runners import Runners
from modelbay_ollama.simulator.script import Script, named
from modelbay_ollama.simulator.state import State
from modelbay_ollama.simulator.store import Store
from modelbay_ollama.simulator.tally import AnswerRecord, Tally
from modelbay_ollama.simulator.versions import Release, version_number

Answer = Callable[[State, Exchange], Awaitable[None]]

_ROUTES: Sequence[tuple[str, str, str, Answer]] = (
    # method, path, since which version, answer
    ("GET", "/api/tags", "0.0.0", listing.tags),
    ("POST", "/api/show", "0.0.0", listing.show),
    ("GET", "/api/ps", "0.1.38", listing.ps),
    ("POST", "/api/chat", "0.1.14", delivery.chat),
    ("POST", "/api/generate", "0.0.0", delivery.generate),
    ("POST", "/api/embed", "0.2.6", embed.embed),
    ("POST", "/api/embeddings", "0.0.0", embed.embeddings),
    ("POST", "/api/copy", "0.0.0", changes.copy),
    ("DELETE", "/api/delete", "0.0.0", changes.delete),
    ("POST", "/api/push", "0.0.0", changes.push),
    ("POST", "/api/blobs/{digest}", "0.0.0", changes.add_blob),
    ("GET", "/api/status", "0.16.2", cloud.status),
    ("POST", "/api/me", "0.12.0", cloud.me),
    ("POST", "/api/signout", "0.12.1", cloud.signout),
    ("GET", "/v1/models", "0.2.0", openai.in_openai_words(openai.models)),
    ("GET", "/v1/models/{model}", "0.2.0", openai.in_openai_words(openai.model)),
    ("POST", "/v1/embeddings", "0.2.6", openai.in_openai_words(openai.embeddings)),
    ("POST", "/v1/chat/completions", "0.1.24", openai.in_openai_words(openai.chat_completions)),
)
_HEAD = ("/", "/api/tags", "/api/version")
_BLOBS = "/api/blobs/"


class OllamaSimulator(Simulator):
    """Ollama's server.

    Args:
        models: What is installed, the newest first unless they say when they were modified.
        version: What it prints, and whose behaviour it has; compared by number.
        registry: What can be pulled. Any other name does not exist there.
        cloud: Models of the cloud, under the names it uses: ``gpt-oss:120b``.
        knobs: Delays, windows, limits; `OllamaSimulator.knobs` may be changed at any time.
        seed: Of everything that is drawn: ratios of bytes per token, ids, random orders.
        port, prefix: As for `Simulator`.
    """

    def __init__(
        self,
        models: Sequence[SimulatedModel] = (SimulatedModel("llama3.1:8b"),),
        version: str = "0.33.0",
        *,
        registry: Sequence[Pullable] = (),
        cloud: Sequence[SimulatedModel] = (),
        knobs: Knobs | None = None,
        seed: int = 0,
        port: int = 0,
        prefix: str = "",
    ) -> None:
        # Go keeps idle connections, without a limit of requests.
        super().__init__(port=port, prefix=prefix, keep_alive_s=None, max_requests=None)
        version_number(version)  # a ValueError now, not inside of a route
        self.knobs = knobs if knobs is not None else Knobs()
        clock, tally = Clock(), Tally(self.ledger.changing)
        gates = Gates(tally)
        self._downloads = Downloads(self.knobs, gates, tally)
        self._state = State(
            release=Release(version),
            knobs=self.knobs,
            clock=clock,
            tally=tally,
            gates=gates,
            store=Store(models, clock.now),
            runners=Runners(self.knobs, clock, tally, gates, self._begin),
            registry=registry,
            cloud=cloud,
            seed=seed,
        )
        self._register()

    def _begin(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        return self.spawn(work)

    async def on_start(self) -> None:
        # A new process has no model loaded; what is installed and counted stays.
        state = self._state
        state.runners = Runners(self.knobs, state.clock, state.tally, state.gates, self._begin)

    # what tests look at

    @property
    def version(self) -> str:
        return self._state.release.text

    @property
    def installed(self) -> list[str]:
        """Display names, the newest first."""
        return [entry.display for entry in self._state.store.newest_first()]

    @property
    def running(self) -> dict[str, int]:
        """Windows of the loaded and loading models, in tokens, by display name."""
        runners = self.call(self._state.runners.listed)
        return {runner.entry.display: runner.window for runner in runners}

    @property
    def loads(self) -> dict[str, int]:
        """How many loads of each model have begun so far, by display name."""
        return self._state.tally.by_model("loads")

    @property
    def reloads(self) -> dict[str, int]:
        """How many of them because an option or `shift` had changed."""
        return self._state.tally.by_model("reloads")

    @property
    def aborted_loads(self) -> dict[str, int]:
        """Loads given up because everybody who waited had left."""
        return self._state.tally.by_model("aborted_loads")

    @property
    def unloads(self) -> dict[str, int]:
        """Runners that have gone: asked to, expired, evicted or replaced."""
        return self._state.tally.by_model("unloads")

    @property
    def active_streams(self) -> int:
        """Streamed chat and generate answers in the making, before their first line too."""
        return self._state.tally.total("active_streams")

    @property
    def cancelled_answers(self) -> dict[str, int]:
        """Answers whose client left in the middle."""
        return self._state.tally.by_model("cancelled_answers")

    @property
    def pulls_begun(self) -> dict[str, int]:
        return self._state.tally.by_model("pulls_begun")

    @property
    def pulls_cancelled(self) -> dict[str, int]:
        """Pulls whose client left."""
        return self._state.tally.by_model("pulls_cancelled")

    @property
    def pulls_done(self) -> dict[str, int]:
        return self._state.tally.by_model("pulls_done")

    @property
    def listening(self) -> dict[str, int]:
        """Pulls of each model that wait for a layer at this moment, shared ones included."""
        return self._state.tally.by_model("listening")

    @property
    def partial_layers(self) -> dict[str, int]:
        """Bytes of layers that nobody pulls any more, by digest."""
        return self.call(lambda: dict(self._downloads.partial))

    @property
    def show_calls(self) -> int:
        return self.calls_of("/api/show")

    @property
    def tags_calls(self) -> int:
        return self.calls_of("/api/tags")

    def calls_of(self, path: str) -> int:
        """Requests for a path so far, whatever came of them; without the prefix."""
        return sum(request.path == self._prefix + path for request in self.requests)

    @property
    def answers(self) -> list[AnswerRecord]:
        """The truth about every answer so far: window, tokens, whether it was truncated."""
        return list(self._state.tally.answers)

    @property
    def truncations(self) -> int:
        """Answers to a prompt that was cut to fit."""
        return sum(record.truncated for record in self.answers)

    @property
    def holding(self) -> int:
        """How much work waits to be let go: loads, unloads, lines and ticks."""
        return self._state.tally.total("holding")

    # what tests do

    def next_answer(self, script: Script | str, *, model: str | None = None) -> None:
        """What is said next, once: by this model, or by any. Calls queue up."""
        key = "" if model is None else self._display(model)
        self._state.next_answers.setdefault(key, deque()).append(named(script))

    def finish_load(self, model: str) -> None:
        """Let a load of `math.inf` seconds come to its end."""
        self._release("load", model)

    def finish_unload(self, model: str) -> None:
        self._release("unload", model)

    def release(self, model: str) -> None:
        """Let answers of a model go one line further, where `math.inf` or `hold_after` holds them.

        Raises:
            LookupError: None is held, as for all of these.
        """
        self._release("token", model)

    def release_pull(self, model: str) -> None:
        """Let a pull go one tick further."""
        self._release("pull", model)

    def advance(self, seconds: float) -> None:
        """Push the server's clock forward, so that models expire."""
        self._state.clock.ahead_s += seconds

    def add_model(self, model: SimulatedModel) -> None:
        """Install a model now, as somebody else's pull would."""
        self.call(lambda: self._state.store.add(model, self._state.clock.now))

    def remove_model(self, model: str) -> None:
        """Delete a model behind everybody's back.

        Raises:
            LookupError: It is not installed.
        """
        entry = self._state.store.find(known_name(model))
        if entry is None:
            raise LookupError(f"{model} is not installed")
        self.call(lambda: self._state.store.remove(entry))

    def forget_runners(self) -> None:
        """Unload everything at once, as after running out of memory."""
        self.call(self._state.runners.abandon_all)

    def _release(self, place: Place, model: str) -> None:
        display = self._display(model)
        self.call(lambda: self._state.gates.release(place, display))

    def _display(self, model: str) -> str:
        name = known_name(model)
        entry = self._state.store.find(name)
        return entry.display if entry is not None else name.display

    # before and beside the routes

    async def admit(self, exchange: Exchange) -> bool:
        request = exchange.request
        headers = request.headers
        path = request.path.removeprefix(self._prefix)
        if not host_allowed(headers.get("host", "")) or not origin_allowed(
            headers.get("origin", "")
        ):
            await exchange.send(b"", 403)
        elif request.method == "OPTIONS":
            await exchange.send(b"", 204)
        elif request.method == "HEAD" and not self._has_head(path):
            await self.no_route(exchange, path_known=True)
        else:
            return True
        return False

    def _has_head(self, path: str) -> bool:
        if path == "/api/version" and not self._state.release.since("0.5.12"):
            return False
        return path in _HEAD or path.startswith(_BLOBS)

    async def no_route(self, exchange: Exchange, *, path_known: bool) -> None:
        if path_known and self._state.release.since("0.7.0"):
            await exchange.text("405 method not allowed", 405, "text/plain")
        else:
            await exchange.text("404 page not found", 404, "text/plain")

    def _register(self) -> None:
        self.route("GET", "/")(lambda exchange: exchange.text("Ollama is running"))
        self._answers("GET", "/api/version", self._version)
        self._answers("GET", f"{_BLOBS}{{digest}}", self._blob)
        self._answers("POST", "/api/pull", self._pull)
        self._answers("POST", "/api/create", self._create)
        for method, path, since, answer in _ROUTES:
            if self._state.release.since(since):
                self._answers(method, path, answer)

    def _answers(self, method: str, path: str, answer: Answer) -> None:
        async def route(answer: Answer, exchange: Exchange) -> None:
            try:
                await answer(self._state, exchange)
            except ApiError as error:
                await answer_error(exchange, error)

        self.route(method, path)(partial(route, answer))

    async def _pull(self, state: State, exchange: Exchange) -> None:
        await pull.pull(state, self._downloads, exchange)

    async def _create(self, state: State, exchange: Exchange) -> None:
        await changes.create(state, self._downloads, exchange)

    async def _version(self, state: State, exchange: Exchange) -> None:
        await answer_json(exchange, {"version": state.release.text})

    async def _blob(self, state: State, exchange: Exchange) -> None:
        if exchange.request.method == "HEAD":  # a simulator answers HEAD by its GET routes
            await changes.has_blob(state, exchange)
        else:
            await self.no_route(exchange, path_known=True)
