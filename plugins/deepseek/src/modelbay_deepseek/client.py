"""One request to DeepSeek and its answer, over the shared seam."""

from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec

from modelbay.client.http import (
    JSON_LIMIT,
    HttpResponse,
    drain,
    fetch_json,
    open_stream,
    raise_for_status,
)
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendError,
    BackendTimeoutError,
    ProtocolError,
    StreamInterruptedError,
)
from modelbay.models.events import Finish, StreamEvent
from modelbay.models.frozen import JsonObject
from modelbay.wire.openai_chat import ChatDecoder, Dialect
from modelbay.wire.sse import SSEDecoder
from modelbay_deepseek import config
from modelbay_deepseek.failures import broken_off, classify, explain

# Between two pieces of bytes; DeepSeek's own client waits as long.
IDLE_S = 300.0
LIST_DEADLINE_S = 10.0
_BLANKS = b" \t\r\n"

T = TypeVar("T")


async def fetch(provider: ProviderContext, url: str, into: type[T]) -> T:
    """One look at the account or the model list.

    Raises:
        BackendError: The server refused or failed.
    """
    config.require_key(provider)
    try:
        return await fetch_json(
            provider, "GET", url, into=into, deadline_s=LIST_DEADLINE_S, classify=classify
        )
    except BackendError as exc:
        explain(exc, None, provider.id)
        raise


async def answer(
    provider: ProviderContext, url: str, body: JsonObject, wire_id: str
) -> AsyncIterator[StreamEvent]:
    """The events of one answer; one try.

    Raises:
        StreamInterruptedError: It ended before its own end; holds the partial text.
        BackendBusyError: The server broke off for want of capacity before it said anything.
        BackendTimeoutError: Nothing, or nothing but keep-alives, came for `stall_timeout_s`.
        BackendError: The server refused or failed.
    """
    decoder = ChatDecoder(Dialect(), classify)
    trace, begun = "", False
    try:
        stall_s = config.options(provider).stall_timeout_s
        async with open_stream(
            provider,
            "POST",
            url,
            json=body,
            first_byte_s=stall_s,
            idle_s=min(stall_s, IDLE_S),
        ) as response:
            trace = response.headers.get("x-ds-trace-id", "")
            await raise_for_status(provider, response, classify=classify)
            held: list[StreamEvent] = []
            async with closing(_data(provider, response, decoder)) as pieces:
                async for data in pieces:
                    events = decoder.decode(data)
                    if not _is_stream(response):
                        held = events  # it is all here: nothing is said before its end is known
                        continue
                    for event in events:
                        begun = True
                        yield event
            for event in (*held, *_end(decoder, begun=begun)):
                yield event
    except BackendError as exc:
        if isinstance(exc, StreamInterruptedError) and not exc.partial:
            exc.partial = decoder.partial
        if isinstance(exc, BackendTimeoutError) and exc.status is None:
            exc.hint = _of_silence(provider) or exc.hint
        explain(exc, wire_id, provider.id, trace)
        provider.sign(exc)
        raise


def _of_silence(provider: ProviderContext) -> str | None:
    """The next step after a limit on silence; ``None`` where the limit was one on the whole."""
    if provider.config.request_timeout_s is not None:
        return None
    return (
        "try again later, or choose another model; how long to wait says"
        f' "stallTimeoutS" of provider "{provider.id}"'
    )


async def _data(
    provider: ProviderContext, response: HttpResponse, decoder: ChatDecoder
) -> AsyncIterator[bytes]:
    """The data of a stream's events, or the one JSON text of a plain answer.

    While a request is queued, comments come in the one and blank lines in the other: they keep
    the connection, and are nothing that came.
    """
    pace = _Pace(provider)
    if not _is_stream(response):
        yield await _plain(response, pace)
        return
    sse = SSEDecoder()
    async with closing(response.blocks()) as blocks:
        try:
            async for block in blocks:
                found = sse.feed(block)
                if not found:
                    pace.check()
                    continue
                pace.progress()
                for data in found:
                    yield data
                if decoder.done:
                    await drain(blocks)
                    break
        except StreamInterruptedError:
            if not decoder.finished:
                raise  # else the answer was whole before its connection broke
    for data in sse.close():
        if _is_whole(data):
            yield data
    if sse.stray and not decoder.finished:
        yield sse.stray  # no event of a stream: an error, or a proxy's words


def _is_stream(response: HttpResponse) -> bool:
    return response.headers.get("content-type", "").lower().startswith("text/event-stream")


def _is_whole(data: bytes) -> bool:
    """Whether a line that no blank line closed was cut off; half a line is no event."""
    if data == b"[DONE]":
        return True
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


async def _plain(response: HttpResponse, pace: "_Pace") -> bytes:
    body = bytearray()
    async with closing(response.blocks()) as blocks:
        async for block in blocks:
            body += block if body else block.lstrip(_BLANKS)
            if len(body) > JSON_LIMIT:
                raise ProtocolError(f"the answer is larger than {JSON_LIMIT} bytes", stage="decode")
            if body:
                pace.progress()
            else:
                pace.check()
    return bytes(body)


def _end(decoder: ChatDecoder, *, begun: bool) -> list[StreamEvent]:
    events = decoder.close()
    finish = events[-1]
    assert isinstance(finish, Finish)  # close() ends with it
    failure = broken_off(finish, begun=begun, partial=decoder.partial)
    if failure is not None:
        raise failure
    return events


class _Pace:
    """Notices an answer that does not get on, although bytes keep coming."""

    __slots__ = ("_last", "_limit_s", "_now")

    def __init__(self, provider: ProviderContext) -> None:
        self._now = provider.resources.monotonic
        self._limit_s = config.options(provider).stall_timeout_s
        self._last = self._now()

    def progress(self) -> None:
        self._last = self._now()

    def check(self) -> None:
        if self._now() - self._last > self._limit_s:
            raise BackendTimeoutError(
                f"DeepSeek sent nothing but keep-alives for {self._limit_s:g} s"
            )
