"""The routes of the Ollama surface."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from starlette.routing import BaseRoute, Route

from modelbay.errors import UnsupportedActionError
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call, Endpoint
from modelbay_gateway.ollama.chat import chat, generate
from modelbay_gateway.ollama.embed import embed, embeddings
from modelbay_gateway.ollama.encode import refuse
from modelbay_gateway.ollama.listing import ps, show, tags, version
from modelbay_gateway.openai.encode import refusal_headers
from modelbay_gateway.surface import Surface

_ROUTES: tuple[tuple[str, str, Callable[[Bay, Call], Awaitable[None]]], ...] = (
    ("GET", "/api/version", version),
    ("GET", "/api/tags", tags),
    ("POST", "/api/show", show),
    ("GET", "/api/ps", ps),
    ("POST", "/api/chat", chat),
    ("POST", "/api/generate", generate),
    ("POST", "/api/embed", embed),
    ("POST", "/api/embeddings", embeddings),
)
# What changes the models of a server. A gateway has many, and a name alone does not say which.
_CHANGES: tuple[tuple[str, str, str], ...] = (
    ("POST", "/api/pull", "modelbay pull PROVIDER/MODEL"),
    ("POST", "/api/push", "push from the server that has the model"),
    ("POST", "/api/create", "create it on the server that shall have it"),
    ("POST", "/api/copy", "modelbay cp PROVIDER/MODEL NAME"),
    ("DELETE", "/api/delete", "modelbay rm PROVIDER/MODEL"),
    ("HEAD", "/api/blobs/{digest}", "create the model on the server that shall have it"),
    ("POST", "/api/blobs/{digest}", "create the model on the server that shall have it"),
)


def routes(bay: Bay) -> Sequence[BaseRoute]:
    """Of the whole protocol but the account; what changes models is refused by name."""

    def refusing(hint: str) -> Endpoint:
        async def refused(call: Call) -> None:
            raise UnsupportedActionError(
                f"{call.path.split('/')[2]} is not done through the gateway", hint=hint
            )

        return Endpoint(refused)

    made: list[BaseRoute] = [
        Route(path, Endpoint(partial(answer, bay)), methods=[method])
        for method, path, answer in _ROUTES
    ]
    made += [Route(path, refusing(hint), methods=[method]) for method, path, hint in _CHANGES]
    return made


SURFACE = Surface(
    name="ollama",
    prefixes=tuple({path.removesuffix("/{digest}") for _, path, _ in (*_ROUTES, *_CHANGES)}),
    routes=routes,
    refuse=refuse,
    headers=refusal_headers,
)
