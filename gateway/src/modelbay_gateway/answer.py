"""One streamed answer on its way out: batches of events, heartbeats, and an end come what may."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from modelbay.errors import ModelbayError
from modelbay.host.streams import EventStream
from modelbay.models.events import Finish, Notice, StreamEvent, TextDelta
from modelbay_gateway.bay import BEFORE_ANSWER, Asking, Bay
from modelbay_gateway.call import Call, Header, ended
from modelbay_gateway.refusal import Refusal, Refused, internal, of_error

log = logging.getLogger("modelbay.gateway")

_AROUND_BYTES = 200  # about as much stands around a piece of text


class Encoder(Protocol):
    """Writes one answer's events in one protocol. Pure; made anew for every answer.

    Attributes:
        content_type: Of the answer.
        heartbeat: Sent after every `Limits.heartbeat_s` of silence; empty for none.
    """

    content_type: bytes
    heartbeat: bytes

    def begin(self) -> bytes:
        """What comes before everything else."""
        ...

    def encode(self, event: StreamEvent) -> bytes:
        """The bytes of one event; empty if it shows nowhere. `Finish` writes the end too."""
        ...

    def encode_texts(self, pieces: Sequence[str]) -> bytes:
        """The bytes of several pieces of text, none of them empty, that came one after another."""
        return b"".join(self.encode(TextDelta(piece)) for piece in pieces)

    def fail(self, refusal: Refusal) -> bytes:
        """The end of an answer that failed after it had begun."""
        ...


class Answer:
    """Streams one answer to one client.

    The provider's events are encoded as they come, and whatever has come by the time the loop is
    free goes out with one send. Nothing is sent before the first event of the answer itself, so
    that a failure until then is raised, and becomes a status that clients know how to retry; a
    provider that is silent for longer than `Limits.heartbeat_s` gets its 200 and comments instead.
    A client that goes away cancels the provider's stream at once.
    """

    __slots__ = (
        "_begun",
        "_call",
        "_drained",
        "_encoder",
        "_failure",
        "_finished",
        "_heartbeat_s",
        "_is_gone",
        "_last",
        "_loop",
        "_parts",
        "_pump",
        "_size",
        "_texts",
        "_timer",
        "_unsent_bytes",
        "_wake",
        "bay",
        "is_silent",
        "notices",
    )

    def __init__(self, bay: Bay, call: Call, encoder: Encoder) -> None:
        self.bay = bay
        self.notices: list[Notice] = []  # those that came before the head was sent, for headers
        self.is_silent = False
        self._call = call
        self._encoder = encoder
        self._heartbeat_s = bay.limits.heartbeat_s
        self._unsent_bytes = bay.limits.unsent_bytes
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._texts: list[str] = []  # that come after the parts
        self._size = 0  # of both, in bytes; of the texts about
        self._begun = False
        self._finished = False
        self._is_gone = False
        self._failure: Refusal | None = None
        self._drained: asyncio.Future[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last = self._loop.time()

    def interrupt(self, error: ModelbayError) -> None:
        """End it with this error."""
        if not self._finished and self._pump is not None:
            self._failure = of_error(error)
            self._pump.cancel()

    async def run(
        self,
        opened: AbstractAsyncContextManager[EventStream[StreamEvent]],
        headers: Callable[[], Sequence[Header]] = lambda: (),
        *,
        context_window: int | None = None,
    ) -> None:
        """Send it all; call it after the request's body has been read.

        Args:
            opened: Opens the provider's stream; errors are raised from it.
            headers: More headers of the answer; asked for when the head is sent.
            context_window: Tokens the model takes, for the message of a request that is too long.

        Raises:
            Failed: It failed before anything was sent.
        """
        self._pump = pump = self._loop.create_task(self._fill(opened, context_window))
        pump.add_done_callback(self._woken)
        presence = self._call.presence
        presence.watch(self._leave)
        self.bay.answers.add(self)
        self._timer = self._loop.call_later(self._heartbeat_s, self._beat)
        started = False
        try:
            while not self._is_gone:
                done = pump.done()
                has_more = self._parts or self._texts if started else self._begun
                if not (done or self.is_silent or has_more):
                    await self._sleep()
                    continue
                if self._failure is not None and done and not started and not self._begun:
                    raise Failed(self._failure)
                if not started:
                    started = True
                    self._parts.insert(0, self._encoder.begin())
                    await self._call.send(self._head(headers()))
                data = self._take(done)
                if data or done:
                    self._last = self._loop.time()
                    await self._call.send(
                        {"type": "http.response.body", "body": data, "more_body": not done}
                    )
                if done:
                    return
        finally:
            self._timer.cancel()
            self.bay.answers.discard(self)
            presence.unwatch(self._leave)
            if not pump.done():
                await ended(pump)
            self._pump = None  # its end leads back here, and would keep the request's body

    def _head(self, headers: Sequence[Header]) -> dict[str, object]:
        return {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", self._encoder.content_type),
                (b"cache-control", b"no-cache"),
                (b"x-accel-buffering", b"no"),
                *headers,
            ],
        }

    async def _fill(
        self,
        opened: AbstractAsyncContextManager[EventStream[StreamEvent]],
        context_window: int | None,
    ) -> None:
        """Collect what comes, until it ends; a failure is kept for the one who sends.

        Pieces of text after the first one tell nothing new, and are encoded together.
        """
        encode, parts, texts = self._encoder.encode, self._parts, self._texts
        asking = opened if isinstance(opened, Asking) else None
        has_text = False
        try:
            async with opened as events:
                async for event in events:
                    if has_text and type(event) is TextDelta:
                        text = event.text
                        if text:
                            texts.append(text)
                            self._size += len(text) + _AROUND_BYTES
                    else:
                        has_text = has_text or type(event) is TextDelta
                        if texts:
                            self._encode_texts()
                        data = encode(event)
                        if data:
                            parts.append(data)
                            self._size += len(data)
                        if asking is not None:
                            asking.saw(event)
                        self._note(event)
                    if self._wake is not None:
                        self._woken()
                    if self._size > self._unsent_bytes:
                        self._drained = self._loop.create_future()
                        await self._drained
        except ModelbayError as exc:
            self._fail(of_error(exc, context_window=context_window))
        except Refused as exc:
            self._fail(exc.refusal)
        except Exception:
            log.exception("a stream failed in the gateway")
            self._fail(internal())

    def _note(self, event: StreamEvent) -> None:
        """See how far the answer is."""
        if type(event) not in BEFORE_ANSWER:
            self._begun = True
            self._finished = type(event) is Finish
        elif type(event) is Notice and not self._begun:
            self.notices.append(event)

    def _fail(self, refusal: Refusal) -> None:
        if not self._finished:  # a whole answer stays one, whatever happens while it is closed
            self._failure = refusal

    def _encode_texts(self) -> None:
        try:
            self._parts.append(self._encoder.encode_texts(self._texts))
        finally:
            self._texts.clear()

    def _take(self, done: bool) -> bytes:
        """What lies ready."""
        try:
            if self._texts:
                self._encode_texts()
        except Exception:  # such as of a plugin whose text is none
            log.exception("a stream failed in the gateway")
            self._fail(internal())
            if self._pump is not None:
                self._pump.cancel()
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if done and self._failure is not None:
            data += self._encoder.fail(self._failure)
        elif self.is_silent and not data and not done:
            data = self._encoder.heartbeat
        self.is_silent = False
        return data

    async def _sleep(self) -> None:
        self._wake = self._loop.create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    def _woken(self, _: object = None) -> None:
        wake, self._wake = self._wake, None
        if wake is not None and not wake.done():
            wake.set_result(None)

    def _leave(self) -> None:
        self._is_gone = True
        self._woken()

    def _beat(self) -> None:
        """One timer for the whole answer: moved when it goes off, not with every event."""
        due = self._last + self._heartbeat_s
        now = self._loop.time()
        if now >= due:
            self.is_silent = True
            self._last, due = now, now + self._heartbeat_s
            self._woken()
        self._timer = self._loop.call_at(due, self._beat)


class Failed(Exception):  # noqa: N818 - carries a refusal to the one who words it
    """An answer that failed before anything of it was sent."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
