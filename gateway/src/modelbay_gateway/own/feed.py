"""Server-sent events of our own: one JSON document each, whose ``type`` says what it is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Literal, TypeVar, cast

import msgspec
from pydantic import BaseModel, Field

from modelbay.closing import closing
from modelbay.host.streams import EventStream
from modelbay.models.catalog import CatalogChange
from modelbay.models.events import StreamEvent
from modelbay.models.frozen import Frozen
from modelbay_gateway.answer import Answer, Encoder
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call, ended
from modelbay_gateway.json_line import to_json
from modelbay_gateway.openai.encode import EVENT_STREAM, KEEP_ALIVE
from modelbay_gateway.own.envelope import ErrorBody, refuse
from modelbay_gateway.own.kept_settings import KeptSettings
from modelbay_gateway.refusal import Refusal

E = TypeVar("E", bound=BaseModel)


class Ready(Frozen):
    """Changes are told from now on: whoever reads the catalogue after this misses none."""

    type: Literal["ready"] = "ready"
    generation: int = Field(description="Of the catalogue; a higher one later is a newer one.")


class SettingsChange(Frozen):
    """Somebody changed settings or favourites: read them anew.

    Through this gateway they are told at once, by another program at the next heartbeat.
    """

    type: Literal["settings"] = "settings"


class FailureEvent(Frozen):
    """The last event of a stream that failed; ``error`` is the same as in a refusal's body."""

    type: Literal["error"] = "error"
    error: ErrorBody


class _Encoder(Encoder):
    """Events of any pydantic type, as the gateway's answers want them."""

    content_type = EVENT_STREAM
    heartbeat = KEEP_ALIVE

    def begin(self) -> bytes:
        return b""

    def encode(self, event: StreamEvent) -> bytes:
        # Read back and written once more: line separators of Unicode end a line for some clients.
        document = msgspec.json.decode(cast("BaseModel", event).model_dump_json())
        return b"data: " + to_json(document) + b"\n\n"

    def fail(self, refusal: Refusal) -> bytes:
        document = {"type": "error", **msgspec.json.decode(refuse(refusal))}
        return b"data: " + to_json(document) + b"\n\n"


async def send_events(
    bay: Bay,
    call: Call,
    opened: AbstractAsyncContextManager[EventStream[E]],
    *,
    is_endless: bool = False,
) -> None:
    """Send these events, heartbeats between them, and an error as the last one if it fails.

    Args:
        is_endless: They go on until somebody ends them; a server that stops does so at once.

    Raises:
        Failed: It failed before anything was sent; then it is a status.
    """
    # `Answer` looks at the type of an event alone, and leaves all else to the encoder.
    events = cast("AbstractAsyncContextManager[EventStream[StreamEvent]]", opened)
    answer = Answer(bay, call, _Encoder())
    if is_endless:
        bay.feeds.add(answer)
    try:
        await answer.run(events)
    finally:
        bay.feeds.discard(answer)


async def events(bay: Bay, call: Call) -> None:
    """``GET /api/events``: what changes in the catalogue, for as long as somebody listens.

    However many listen, the host looks at the providers once for all of them.
    """
    if call.method == "HEAD":
        await call.reply(b"", content_type=EVENT_STREAM)
        return
    stream: EventStream[Ready | CatalogChange | SettingsChange] = EventStream()
    await send_events(bay, call, stream.over(_changes(bay)), is_endless=True)


async def _changes(bay: Bay) -> AsyncIterator[Ready | CatalogChange | SettingsChange]:
    settings = asyncio.Event()
    bay.settings_changed.add(settings)  # before it says so: nothing is missed in between
    kept = KeptSettings(bay.store)
    times = bay.loading
    try:
        await kept.look()
        yield Ready(generation=bay.host.catalog.generation)
        pause = partial(asyncio.sleep, bay.limits.heartbeat_s)
        with times.followed():
            async with (
                bay.host.watch() as changes,
                closing(with_settings(aiter(changes), settings, kept, pause)) as both,
            ):
                async for change in both:
                    if isinstance(change, CatalogChange) and change.id is not None:
                        model = bay.host.registry.find(change.id)  # a slow reader's change is old
                        times.hear(change.id, None if model is None else model.state)
                    yield change
    finally:
        bay.settings_changed.discard(settings)


async def with_settings(
    changes: AsyncIterator[CatalogChange],
    settings: asyncio.Event,
    kept: KeptSettings,
    pause: Callable[[], Awaitable[object]],
) -> AsyncIterator[CatalogChange | SettingsChange]:
    """These changes, and those of the settings.

    Args:
        settings: Set by who changes them through this gateway.
        kept: Looked at by the one who reads this, too.
        pause: Waits between two looks whether another program has changed them.
    """
    upcoming = asyncio.ensure_future(_next(changes))
    told = asyncio.ensure_future(settings.wait())
    elsewhere = asyncio.ensure_future(kept.wait(pause))
    try:
        while True:
            waited = (upcoming, told, elsewhere)
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if told.done() or elsewhere.done():
                if told.done():
                    settings.clear()
                    told = asyncio.ensure_future(settings.wait())
                    await kept.look()
                if elsewhere.done():
                    elsewhere.result()
                    elsewhere = asyncio.ensure_future(kept.wait(pause))
                yield SettingsChange()
            if upcoming.done():
                change = upcoming.result()
                if change is None:
                    return
                upcoming = asyncio.ensure_future(_next(changes))
                yield change
    finally:
        await ended(upcoming, told, elsewhere)


async def _next(changes: AsyncIterator[CatalogChange]) -> CatalogChange | None:
    """``None`` at the end."""
    return await anext(changes, None)
