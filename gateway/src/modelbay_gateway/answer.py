"""One streamed answer on its way out: batches of events, heartbeats, and an end come what may."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from types import coroutine
from typing import Any, Protocol

from modelbay.errors import ModelbayError
from modelbay.host.streams import EventStream
from modelbay.models.events import Finish, Notice, StreamEvent, TextDelta
from modelbay_gateway.bay import BEFORE_ANSWER, Asking, Bay
from modelbay_gateway.call import Attended, Call, Gone, Header
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

    def encode_texts(self, pieces: list[str]) -> bytes:
        """The bytes of several pieces of text, none of them empty, that came one after another."""
        return b"".join(self.encode(TextDelta(piece)) for piece in pieces)

    def fail(self, refusal: Refusal) -> bytes:
        """The end of an answer that failed after it had begun."""
        ...


class Answer:
    """Streams one answer to one client.

    The provider's events are encoded as they come, and whatever has come by the time the provider
    has to be waited for goes out with one send. Nothing is sent before the first event of the
    answer itself, so that a failure until then is raised, and becomes a status that clients know
    how to retry; a provider that is silent for longer than `Limits.heartbeat_s` gets its 200 and
    comments instead. A client that goes away cancels the provider's stream at once.
    """

    __slots__ = (
        "_asks_for_room",
        "_attended",
        "_begun",
        "_call",
        "_encoder",
        "_finished",
        "_headers",
        "_heartbeat_s",
        "_is_ending",
        "_last",
        "_loop",
        "_parts",
        "_room",
        "_size",
        "_started",
        "_texts",
        "_timer",
        "_unsent_bytes",
        "_writer",
        "bay",
        "notices",
    )

    def __init__(self, bay: Bay, call: Call, encoder: Encoder) -> None:
        self.bay = bay
        self.notices: list[Notice] = []  # those that came before the head was sent, for headers
        self._call = call
        self._writer = call.writer
        self._encoder = encoder
        self._headers: Callable[[], Sequence[Header]] | None = None
        self._heartbeat_s = bay.limits.heartbeat_s
        self._unsent_bytes = bay.limits.unsent_bytes
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._texts: list[str] = []  # that come after the parts
        self._size = 0  # of both, in bytes; of the texts about
        self._started = False  # the head has been sent
        self._begun = False
        self._finished = False
        self._room: asyncio.Future[None] | None = None  # done once the client has read on
        self._asks_for_room = False
        self._is_ending = False
        self._attended: Attended | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last = self._loop.time()

    def interrupt(self, error: ModelbayError) -> None:
        """End it with this error."""
        if self._attended is not None and not (self._finished or self._is_ending):
            self._attended.interrupt(error)

    async def run(
        self,
        opened: AbstractAsyncContextManager[EventStream[StreamEvent]],
        headers: Callable[[], Sequence[Header]] | None = None,
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
            Gone: The client went away.
        """
        task = asyncio.current_task()
        assert task is not None  # a server answers each request in one
        self._headers = headers
        self._attended = attended = Attended(task)
        presence = self._call.presence
        self.bay.answers.add(self)
        presence.watch(attended.leave)
        self._timer = self._loop.call_later(self._heartbeat_s, self._beat)
        try:
            failure = await self._passed_on(opened, attended, context_window)
            if failure is not None and not (self._started or self._begun):
                raise Failed(failure)
            await self._close(failure)
        except asyncio.CancelledError:
            attended.check()
            raise
        finally:
            self._timer.cancel()
            self.bay.answers.discard(self)
            presence.unwatch(attended.leave)
            self._attended = self._headers = None  # they lead back here
            await self._writer.aclose()
        attended.check()

    async def _passed_on(
        self,
        opened: AbstractAsyncContextManager[EventStream[StreamEvent]],
        attended: Attended,
        context_window: int | None,
    ) -> Refusal | None:
        """Send what comes, but for the rest of it; why it failed, if it did."""
        try:
            try:
                await self._sent_at_pauses(self._fill(opened), attended)
            except BaseException:
                attended.check()
                raise
            attended.check()
            if self._texts:
                self._encode_texts()
        except Gone:
            raise
        except ModelbayError as exc:
            failure = of_error(exc, context_window=context_window)
        except Refused as exc:
            failure = exc.refusal
        except Exception:
            log.exception("a stream failed in the gateway")
            failure = internal()
        else:
            return None
        try:
            if self._texts:
                self._encode_texts()
        except Exception:
            log.exception("a stream failed in the gateway")
        # A whole answer stays one, whatever happens while it is closed.
        return None if self._finished else failure

    @coroutine
    def _sent_at_pauses(
        self, work: Coroutine[Any, Any, None], attended: Attended
    ) -> Generator[Any, Any, None]:
        """Run this, and whenever it waits for something, send first what has come."""
        step: Callable[[Any], Any] = work.send
        argument: object = None
        while True:
            try:
                awaited = step(argument)
            except StopIteration:
                return
            finally:
                argument = None  # an error leads back here
            try:
                if self._texts:
                    self._encode_texts()
            except Exception as exc:  # such as of a plugin whose text is none
                attended.cancel(exc)
            if self._parts or (self._begun and not self._started):
                self._flush()
            try:
                yield awaited
            except BaseException as exc:
                step, argument = work.throw, exc
            else:
                step = work.send

    async def _fill(self, opened: AbstractAsyncContextManager[EventStream[StreamEvent]]) -> None:
        """Encode what comes, until it ends.

        Pieces of text after the first one tell nothing new, and are encoded together.
        """
        encode, parts, texts = self._encoder.encode, self._parts, self._texts
        asking = opened if isinstance(opened, Asking) else None
        has_text = False
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
                if self._size > self._unsent_bytes:
                    await self._make_room()

    def _note(self, event: StreamEvent) -> None:
        """See how far the answer is."""
        if type(event) not in BEFORE_ANSWER:
            self._begun = True
            self._finished = type(event) is Finish
        elif type(event) is Notice and not self._begun:
            self.notices.append(event)

    def _encode_texts(self) -> None:
        try:
            self._parts.append(self._encoder.encode_texts(self._texts))
        finally:
            self._texts.clear()

    # --- sending ---------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what lies ready, if the client keeps up; else once it does."""
        if not (self._started or self._begun):
            return
        if self._writer.is_free:
            self._send()
        else:
            self._ask_for_room()

    def _send(self, otherwise: bytes = b"") -> None:
        """Send what lies ready, or this if nothing does."""
        try:
            self._start()
            data = b"".join(self._parts) or otherwise
            self._parts.clear()
            self._size = 0
            if data:
                self._last = self._loop.time()
                self._writer.write({"type": "http.response.body", "body": data, "more_body": True})
        except Exception as exc:
            if self._attended is not None:
                self._attended.cancel(exc)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _start(self) -> None:
        """Send the head."""
        if self._started:
            return
        self._started = True
        self._parts.insert(0, self._encoder.begin())
        head = [
            (b"content-type", self._encoder.content_type),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            *(() if self._headers is None else self._headers()),
        ]
        self._writer.write({"type": "http.response.start", "status": 200, "headers": head})

    def _ask_for_room(self) -> None:
        if not self._asks_for_room:
            self._asks_for_room = True
            self._writer.when_free(self._freed)

    def _freed(self) -> None:
        """The client has read what was sent, or is gone."""
        self._asks_for_room = False
        if self._is_ending:
            if self._room is not None and not self._room.done():
                self._room.set_result(None)
        elif self._attended is not None:
            self._flush()

    async def _make_room(self) -> None:
        """Wait until what lies ready has been sent, or may be: while it waits, it is."""
        await asyncio.sleep(0)
        while self._size > self._unsent_bytes:
            await self._room_made()

    async def _room_made(self) -> None:
        self._room = self._loop.create_future()
        try:
            await self._room
        finally:
            self._room = None

    async def _close(self, failure: Refusal | None) -> None:
        """Send the rest, and its end."""
        self._is_ending = True
        self._start()
        data = b"".join(self._parts)
        if failure is not None:
            data += self._encoder.fail(failure)
        self._parts.clear()
        while not self._writer.is_free:
            self._ask_for_room()
            await self._room_made()
        self._writer.write({"type": "http.response.body", "body": data})
        await self._writer.sent()

    def _beat(self) -> None:
        """One timer for the whole answer: moved when it goes off, not with every event."""
        due = self._last + self._heartbeat_s
        now = self._loop.time()
        if now >= due:
            self._last, due = now, now + self._heartbeat_s
            if self._writer.is_free and not self._is_ending:
                self._send(self._encoder.heartbeat)
        self._timer = self._loop.call_at(due, self._beat)


class Failed(Exception):  # noqa: N818 - carries a refusal to the one who words it
    """An answer that failed before anything of it was sent."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
