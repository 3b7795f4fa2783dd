"""The routes of the OpenAI surface, with ``/v1`` and without."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from starlette.routing import BaseRoute, Route

from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call, Endpoint
from modelbay_gateway.openai.chat import chat
from modelbay_gateway.openai.completions import completions
from modelbay_gateway.openai.embeddings import embeddings
from modelbay_gateway.openai.encode import refusal_headers, refuse
from modelbay_gateway.openai.images import images
from modelbay_gateway.openai.models import list_models, retrieve
from modelbay_gateway.openai.rerank import rerank
from modelbay_gateway.surface import Surface

_POSTS: tuple[tuple[str, Callable[[Bay, Call], Awaitable[None]]], ...] = (
    ("/chat/completions", chat),
    ("/completions", completions),
    ("/embeddings", embeddings),
    ("/images/generations", images),
    ("/rerank", rerank),
)


def routes(bay: Bay) -> Sequence[BaseRoute]:
    """People configure a base with ``/v1`` and without it; both work."""
    made: list[BaseRoute] = []
    for base in ("/v1", ""):
        made += [
            Route(base + path, Endpoint(partial(answer, bay)), methods=["POST"])
            for path, answer in _POSTS
        ]
        made += [
            Route(f"{base}/models", Endpoint(partial(list_models, bay)), methods=["GET"]),
            # Ids hold slashes: whatever follows is the id.
            Route(
                f"{base}/models/{{model_id:path}}",
                Endpoint(partial(retrieve, bay)),
                methods=["GET"],
            ),
        ]
    return made


SURFACE = Surface(
    name="openai",
    prefixes=("/v1", "/chat", "/completions", "/embeddings", "/images", "/rerank", "/models"),
    routes=routes,
    refuse=refuse,
    headers=refusal_headers,
)
