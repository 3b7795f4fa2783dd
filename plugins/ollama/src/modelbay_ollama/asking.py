"""Single questions to the server: one request, one answer, failures explained."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, TypeVar

import anyio

from modelbay.client.http import (
    JSON_LIMIT,
    MANAGEMENT_DEADLINE_S,
    Method,
    fetch_json,
    open_stream,
    raise_for_status,
    read_body,
)
from modelbay.context import ProviderContext
from modelbay.errors import BackendBusyError, BackendError, ModelbayError
from modelbay.models.frozen import JsonObject
from modelbay.wire.errors import ErrorBody
from modelbay_ollama.attempts import busy_pause_s
from modelbay_ollama.failures import classify, explain
from modelbay_ollama.memory import memory

T = TypeVar("T")

SIDE_BY_SIDE = 8  # requests at once; the server answers listings from memory


class Refusal:
    """Classifies an error answer, and keeps its body: there may be an address to sign in at."""

    def __init__(self) -> None:
        self.body: ErrorBody | None = None

    def __call__(self, status: int, body: ErrorBody) -> type[BackendError] | None:
        self.body = body
        return classify(status, body)


def at(provider: ProviderContext, path: str) -> str:
    """Where a route lives.

    OpenAI clients want a ``/v1`` at the end of an address, so it is often left there; the native
    routes have none. And a server on this machine may listen on ``::1`` alone (U16).
    """
    base = memory(provider).base or provider.base_url
    bare = base.removesuffix("/v1")
    return path if bare == provider.base_url else f"{bare}/{path}"


async def ask(
    provider: ProviderContext,
    method: Method,
    path: str,
    *,
    into: type[T],
    json: JsonObject | None = None,
    model: str | None = None,
    deadline_s: float | None = MANAGEMENT_DEADLINE_S,
    limit: int = JSON_LIMIT,
    busy_tries: int = 0,
) -> T:
    """One request, one JSON answer.

    Args:
        busy_tries: How often it is asked again while the server's queue is full.

    Raises:
        BackendError: The server refused or failed; the hint says what to do.
        UnsupportedFeatureError: The model cannot do what was asked.
    """
    tries = 0
    while True:
        refusal = Refusal()
        try:
            return await fetch_json(
                provider,
                method,
                at(provider, path),
                into=into,
                json=json,
                model=model,
                deadline_s=deadline_s,
                limit=limit,
                classify=refusal,
            )
        except BackendError as exc:
            tries += 1
            if not isinstance(exc, BackendBusyError) or tries > busy_tries:
                raise_explained(provider, exc, refusal.body, model)
            pause_s = busy_pause_s(tries, exc.retry_after_s)
        await anyio.sleep(pause_s)


async def order(
    provider: ProviderContext, method: Method, path: str, json: JsonObject, model: str
) -> None:
    """A request whose success has no body: copy, delete.

    Raises:
        BackendError: The server refused or failed.
    """
    refusal = Refusal()
    try:
        async with open_stream(
            provider, method, at(provider, path), json=json, deadline_s=MANAGEMENT_DEADLINE_S
        ) as response:
            await raise_for_status(provider, response, model=model, classify=refusal)
            await read_body(response)
    except BackendError as exc:
        raise_explained(provider, exc, refusal.body, model)


def raise_explained(
    provider: ProviderContext, exc: BackendError, body: ErrorBody | None, model: str | None
) -> NoReturn:
    """Raise the error with its next step, or the error it really is."""
    # A hint is something to type, and there a model has its provider in front.
    ref = model if not model or model.startswith(f"{provider.id}/") else f"{provider.id}/{model}"
    explained = explain(exc, body, ref)
    provider.sign(explained, model)
    if explained is exc:
        raise exc
    raise explained from exc


async def side_by_side(
    asks: Sequence[Callable[[], Awaitable[T]]],
) -> list[T | ModelbayError]:
    """The answers in the order of the questions; a failure stands in its answer's place."""
    found: dict[int, T | ModelbayError] = {}
    room = anyio.CapacityLimiter(SIDE_BY_SIDE)

    async def one(place: int, question: Callable[[], Awaitable[T]]) -> None:
        async with room:
            try:
                found[place] = await question()
            except ModelbayError as exc:
                found[place] = exc

    async with anyio.create_task_group() as tasks:
        for place, question in enumerate(asks):
            tasks.start_soon(one, place, question)
    return [found[place] for place in range(len(asks))]
