"""A pretended Acme server."""

from collections.abc import Iterator
from contextlib import contextmanager

from modelbay.models.frozen import JsonObject
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import Calls, SimulatorTarget, Target, Thinks
from modelbay.testing.simulator import Exchange, Simulator

MODELS = ("tiny", "talks", "thinker", "caller", "vectors")
USAGE: JsonObject = {"prompt_tokens": 5, "completion_tokens": 3}


class AcmeSimulator(Simulator):
    """`tiny` says `answer`, `talks` never ends; loads are counted."""

    def __init__(self, answer: str = "Hello from Acme, zw\u00f6lf times.") -> None:
        super().__init__()
        self.answer = answer
        self.loaded = {"tiny"}
        self.loads = 0
        self.route("GET", "/v1/models")(self._list)
        self.route("GET", "/v1/models/{model}")(self._show)
        self.route("POST", "/v1/chat/completions")(self._chat)
        self.route("POST", "/v1/embeddings")(self._embed)
        self.route("POST", "/load/{model}")(self._load)
        self.route("POST", "/unload/{model}")(self._load)

    def _entry(self, model: str) -> JsonObject:
        return {"id": model, "state": "loaded" if model in self.loaded else "unloaded"}

    async def _list(self, exchange: Exchange) -> None:
        await exchange.json({"data": [self._entry(model) for model in MODELS]})

    async def _show(self, exchange: Exchange) -> None:
        model = exchange.params["model"]
        if model not in MODELS:
            await exchange.json({"error": "no such model"}, 404)
            return
        self.loads += "probe" in exchange.request.query
        await exchange.json(self._entry(model))

    async def _load(self, exchange: Exchange) -> None:
        model, load = exchange.params["model"], exchange.request.path.startswith("/load")
        if model not in MODELS and load:
            await exchange.json({"error": "no such model"}, 404)
            return
        changed = load != (model in self.loaded)
        self.loads += load and changed
        self.loaded ^= {model} if changed and model in MODELS else set()
        await exchange.json({"changed": changed})

    async def _embed(self, exchange: Exchange) -> None:
        body = exchange.request.json()
        assert isinstance(body, dict)
        data = [
            {"index": at, "embedding": [float(len(text)), float(ord(text[0])), 1.0]}
            for at, text in enumerate(body["input"])
        ]
        await exchange.json({"data": data[::-1], "model": body["model"]})

    async def _chat(self, exchange: Exchange) -> None:
        body = exchange.request.json()
        assert isinstance(body, dict)
        if body["model"] not in MODELS:
            await exchange.json({"error": {"message": "no such model"}}, 404)
        elif body["stream"]:
            await self._stream(exchange, body)
        else:
            message = {"role": "assistant", "content": self.answer}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            answer = {"id": "1", "model": body["model"], "choices": [choice], "usage": USAGE}
            await exchange.json(answer)

    async def _stream(self, exchange: Exchange, body: JsonObject) -> None:
        await exchange.start_stream("text/event-stream")
        reason = "stop"
        for delta in self._deltas(body):
            reason = "tool_calls" if "tool_calls" in delta else reason
            await exchange.sse(_chunk(delta, None))
            if body["model"] == "talks":
                await exchange.sleep(0.01)
        await exchange.sse(_chunk({}, reason))
        await exchange.sse({"id": "1", "model": "acme", "choices": [], "usage": USAGE})
        await exchange.sse("[DONE]")

    def _deltas(self, body: JsonObject) -> Iterator[JsonObject]:
        yield {"role": "assistant", "content": None}
        if body["model"] == "caller" and "tools" in body:
            first: JsonObject = {"name": "weather", "arguments": ""}
            yield {"tool_calls": [{"index": 0, "id": "call-1", "function": first}]}
            for piece in ('{"ci', 'ty": "Os', 'lo"}'):
                yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
            return
        if body["model"] == "thinker":
            for piece in ("Let me ", "think\u2028."):
                yield {"reasoning_content": piece}
        text = '{"city": "Oslo", "size": 7}' if "response_format" in body else self.answer
        for at in range(0, len(text), 3):
            yield {"content": text[at : at + 3]}
        while body["model"] == "talks":
            yield {"content": "more "}


def _chunk(delta: JsonObject, reason: str | None) -> JsonObject:
    choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "1", "model": "acme", "choices": [choice]}


def acme_target(
    simulator: AcmeSimulator, other: AcmeSimulator, plugin: str, project: str | None = None
) -> SimulatorTarget:
    """All a plugin's author would write."""

    def target(server: AcmeSimulator, beside: SimulatorTarget | None) -> SimulatorTarget:
        return SimulatorTarget(
            plugin=plugin,
            project=project,
            config=ProviderConfig(id="desk", kind="acme", base_url=server.base_url),
            model="tiny",
            says=server.answer,
            counts=(5, 3),
            endless="talks",
            thinks=Thinks("thinker", "Let me think\u2028.", server.answer),
            calls=Calls("caller", "weather", {"city": "Oslo"}),
            json_model="tiny",
            embedder="vectors",
            simulator=server,
            count_loads=lambda: server.loads,
            other=beside,
        )

    return target(simulator, target(other, None))


@contextmanager
def target() -> Iterator[Target]:
    """Two servers that run as long as the block."""
    with AcmeSimulator() as simulator, AcmeSimulator("I am the other one.") as other:
        yield acme_target(simulator, other, "testing.acme.plugin")
