"""The routes of the Anthropic surface, with ``/v1`` and without."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from modelbay.errors import ModelbayError
from modelbay_gateway.answer import Failed
from modelbay_gateway.anthropic.envelope import as_theirs, refuse
from modelbay_gateway.anthropic.messages import count_tokens, messages
from modelbay_gateway.anthropic.models import list_models, retrieve
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call, Endpoint
from modelbay_gateway.openai.encode import refusal_headers
from modelbay_gateway.refusal import Refused, of_error
from modelbay_gateway.surface import Surface

_VERSION = b"anthropic-version"


def routes(bay: Bay) -> Sequence[BaseRoute]:
    """To be asked before those of the OpenAI surface, which has the lists of models too."""

    def endpoint(answer: Callable[[Bay, Call], Awaitable[None]]) -> Endpoint:
        return Endpoint(partial(_answered, partial(answer, bay)))

    made: list[BaseRoute] = []
    for base in ("/v1", ""):
        made += [
            Route(f"{base}/messages", endpoint(messages), methods=["POST"]),
            Route(f"{base}/messages/count_tokens", endpoint(count_tokens), methods=["POST"]),
            _Versioned(f"{base}/models", endpoint(list_models), methods=["GET"]),
            _Versioned(f"{base}/models/{{model_id:path}}", endpoint(retrieve), methods=["GET"]),
        ]
    return made


class _Versioned(Route):
    """A route for requests with an ``anthropic-version`` header; which version does not matter."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and all(name != _VERSION for name, _ in scope["headers"]):
            return Match.NONE, {}
        return super().matches(scope)


async def _answered(answer: Callable[[Call], Awaitable[None]], call: Call) -> None:
    """Answer it, and refuse it in this protocol's words, whoever else's path it is."""
    # Under the name that Anthropic's clients read, too.
    call.own_headers.append((b"request-id", call.request_id.encode()))
    try:
        await answer(call)
        return
    except (Failed, Refused) as exc:
        refusal = exc.refusal
    except ModelbayError as exc:
        refusal = of_error(exc)
    refusal = as_theirs(refusal)
    await call.reply(
        refuse(refusal, call.request_id),
        status=refusal.status,
        headers=[*refusal.headers, *refusal_headers(refusal)],
    )


SURFACE = Surface(
    name="anthropic",
    prefixes=("/v1/messages", "/messages"),
    routes=routes,
    refuse=refuse,
    headers=refusal_headers,
)
