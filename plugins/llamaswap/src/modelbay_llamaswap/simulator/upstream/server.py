"""One child: an OpenAI-style server that answers what llama-swap forwards."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from modelbay_llamaswap.simulator.clock import Clock
from modelbay_llamaswap.simulator.model import SimulatedModel
from modelbay_llamaswap.simulator.upstream import chat, completions, facts, media, vectors
from modelbay_llamaswap.simulator.upstream.engine import Engine
from modelbay_llamaswap.simulator.upstream.reply import Reply
from modelbay_llamaswap.simulator.upstream.request import (
    FILE_NOT_FOUND,
    INVALID_KEY,
    UpstreamError,
    UpstreamRequest,
)

Headers = Sequence[tuple[str, str]]
_Route = Callable[[Engine, UpstreamRequest, Reply], Awaitable[None]]

_PUBLIC = ("/health", "/v1/health", "/v1/models", "/models")
_FACTS: dict[tuple[str, str], _Route] = {
    ("GET", "/health"): facts.health,
    ("GET", "/v1/health"): facts.health,
    ("GET", "/v1/models"): facts.models,
    ("GET", "/models"): facts.models,
    ("GET", "/props"): facts.props,
    ("GET", "/slots"): facts.slots,
    ("GET", "/metrics"): facts.metrics,
    ("POST", "/tokenize"): facts.tokenized,
}
_CHAT: dict[tuple[str, str], _Route] = {
    ("POST", "/v1/chat/completions"): chat.answer,
    ("POST", "/chat/completions"): chat.answer,
    ("POST", "/v1/completions"): completions.text_completion,
    ("POST", "/completions"): completions.completion,
    ("POST", "/completion"): completions.completion,
    ("POST", "/infill"): completions.infill,
    ("POST", "/v1/responses"): completions.responses,
    ("POST", "/responses"): completions.responses,
    ("POST", "/v1/messages"): completions.messages,
    ("POST", "/messages"): completions.messages,
    ("POST", "/v1/messages/count_tokens"): completions.count_tokens,
    ("POST", "/messages/count_tokens"): completions.count_tokens,
    ("POST", "/v1/embeddings"): vectors.embeddings,
    ("POST", "/embeddings"): vectors.embeddings,
    ("POST", "/v1/rerank"): vectors.rerank,
    ("POST", "/v1/reranking"): vectors.rerank,
    ("POST", "/rerank"): vectors.rerank,
    ("POST", "/reranking"): vectors.rerank,
}
_IMAGE: dict[tuple[str, str], _Route] = {
    ("POST", "/v1/images/generations"): media.generations,
    ("POST", "/v1/images/edits"): media.edits,
    ("POST", "/sdapi/v1/txt2img"): media.sdapi,
    ("POST", "/sdapi/v1/img2img"): media.sdapi,
    ("GET", "/sdapi/v1/loras"): media.loras,
}
_AUDIO: dict[tuple[str, str], _Route] = {
    ("POST", "/v1/audio/speech"): media.speech,
    ("POST", "/v1/audio/transcriptions"): media.transcription,
    ("GET", "/v1/audio/voices"): media.voices,
    ("POST", "/v1/audio/voices"): media.voices,
}


class Outlet(Protocol):
    """Where a child's answer goes: one `whole`, or a `begin` and any number of `write`."""

    async def whole(self, status: int, body: bytes, headers: Headers) -> None: ...

    async def begin(self, status: int, headers: Headers) -> None: ...

    async def write(self, data: bytes) -> None: ...


class Upstream:
    """A child that runs.

    Args:
        log: Takes a line of its log.
        changed: Called when something changed that a test may wait for.
        died: Called when it ends by itself.
    """

    def __init__(
        self,
        model: SimulatedModel,
        clock: Clock,
        *,
        log: Callable[[str], None] = lambda line: None,
        changed: Callable[[], None] = lambda: None,
        died: Callable[[], None] = lambda: None,
    ) -> None:
        self.model = model
        self.engine = Engine(model, clock, changed=changed, died=died)
        self._log = log
        if model.role == "image":
            self._routes = _IMAGE
        elif model.role == "audio":
            self._routes = {**_FACTS, **_AUDIO}
        else:
            self._routes = {**_FACTS, **_CHAT}

    async def answer(self, request: UpstreamRequest, outlet: Outlet) -> None:
        """Answer a request. To end the child, cancel this."""
        reply = Reply(self.model, outlet, request.headers.get("origin", ""))
        method = "GET" if request.method == "HEAD" else request.method
        route = self._routes.get((method, request.path))
        if not self._may(request):
            await reply.json(INVALID_KEY, 401)
        elif route is None:
            await reply.json(FILE_NOT_FOUND, 404)
        else:
            try:
                await route(self.engine, request, reply)
            except UpstreamError as error:
                await reply.error(error)
        if method == "POST":
            self._log(f"I srv  log_server_r: done request: {method} {request.path}")

    def _may(self, request: UpstreamRequest) -> bool:
        key = self.model.child_key
        if not key or request.path in _PUBLIC:
            return True
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        return key in (bearer, request.headers.get("x-api-key"))
