"""A llama-swap of canned answers, for what a whole simulated one never does: each line is given."""

import asyncio
import json
from collections.abc import Mapping, Sequence

from modelbay.testing.simulator import Exchange, Simulator

JsonObject = dict[str, object]


def entry(id: str, **fields: object) -> JsonObject:
    """A record of the model list."""
    return {"id": id, "object": "model", "created": 1795218755, "owned_by": "llama-swap", **fields}


def process(model: str, state: str = "ready", **fields: object) -> JsonObject:
    """A record of `/running`, as it is since v186."""
    return {
        "model": model,
        "state": state,
        "cmd": f"llama-server --api-key hidden-{model} --port 5801",
        "proxy": "http://localhost:5801",
        "ttl": 0,
        "name": "",
        "description": "",
        **fields,
    }


def chunk(delta: JsonObject, finish: str | None = None) -> bytes:
    """One frame of a llama-server's stream."""
    choice: JsonObject = {"finish_reason": finish, "index": 0, "delta": delta}
    frame: JsonObject = {
        "choices": [choice],
        "created": 1795224613,
        "id": "chatcmpl-1",
        "model": "models/tiny.gguf",
        "object": "chat.completion.chunk",
    }
    return b"data: %b\n\n" % json.dumps(frame).encode()


def loading(*pieces: str) -> bytes:
    """Frames of the loading text, one for each piece."""
    frames = (
        json.dumps(
            {"choices": [{"delta": {"reasoning_content": piece}}]},
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for piece in pieces
    )
    return b"".join(b"data: %b\n\n" % frame.encode() for frame in frames)


DONE = b"data: [DONE]\n\n"
SAID = chunk({"content": "one "}) + chunk({"content": "two"}) + chunk({}, "stop") + DONE
CUT = chunk({"content": "one "}) + chunk({"content": "two "})
LOADING = loading("━━━━━", "\n", "llama", "-swap", " load", "ing m", "odel:", " tiny", "\n")
LOADED = loading("\n", "Done!", " (0.3", "4s)", "\n", "━━━━━", "\n", " ", "\n")


class Scripted(Simulator):
    """Lists, runs and says what it is told to.

    Attributes:
        models, running: The two lists; a test may change them while it runs.
        stream: The bytes of a chat's event stream.
        gate: Set: chats are answered. Cleared by a test that wants them to wait.
        polls: How often `/running` was asked.
    """

    def __init__(
        self,
        models: Sequence[Mapping[str, object]] | None = None,
        running: Sequence[Mapping[str, object]] = (),
        stream: bytes = SAID,
    ) -> None:
        super().__init__()
        self.models = [entry("tiny")] if models is None else models
        self.running = running
        self.stream = stream
        self.gate = asyncio.Event()
        self.gate.set()
        self.polls = 0
        self.route("GET", "/v1/models")(self._models)
        self.route("GET", "/running")(self._running)
        self.route("POST", "/v1/chat/completions")(self._chat)

    async def no_route(self, exchange: Exchange, *, path_known: bool) -> None:
        text = "Method Not Allowed\n" if path_known else "404 page not found\n"
        await exchange.text(text, 405 if path_known else 404)

    async def _models(self, exchange: Exchange) -> None:
        await exchange.json({"data": self.models, "object": "list"})

    async def _running(self, exchange: Exchange) -> None:
        self.polls += 1
        await exchange.json({"running": self.running})

    async def _chat(self, exchange: Exchange) -> None:
        await exchange.wait_for(self.gate)
        await exchange.start_stream("text/event-stream")
        await exchange.raw(self.stream)

    def answer(self, path: str, body: object, status: int = 200, *, method: str = "POST") -> None:
        """Another answer from now on: JSON, or text and bytes as they are."""

        async def route(exchange: Exchange) -> None:
            if isinstance(body, bytes):
                await exchange.send(body, status)
            elif isinstance(body, str):
                await exchange.text(body, status)
            else:
                await exchange.json(body, status)

        self.route(method, path)(route)

    def paths(self) -> list[str]:
        """Method and target of all requests."""
        return [f"{request.method} {request.target}" for request in self.requests]


def refused(message: str, code: str = "not_found", kind: str = "invalid_request_error") -> object:
    """An error of llama-swap's own, as it is after v250."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    return {"src": "llama-swap", "error": error}
