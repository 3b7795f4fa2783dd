"""A relay in front of each real server: what goes through it is written down."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2 as httpx

from modelbay.host.proxies import is_loopback
from modelbay.models.frozen import JsonObject
from modelbay.models.provider import ProviderConfig
from modelbay.testing.recording.entry import moved, origin_of, shown_entry
from modelbay.testing.recording.folder import ExchangeFolder
from modelbay.testing.recording.form import (
    End,
    RecordedAnswer,
    RecordedBody,
    RecordedExchange,
    RecordedPiece,
    RecordedRequest,
)
from modelbay.testing.recording.redaction import Redaction, address_secrets, credentials
from modelbay.testing.simulator import ClientGone, Exchange, Request, Simulator

# What belongs to one connection, and not to the message.
_OF_THE_CONNECTION = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_CONNECT_S = 10.0
_LEFT_OUT = "it is encoded as"


class Recorder:
    """Relays that write down what they pass on: ``with Recorder(Path("recording")) as recorder``.

    Answers are passed on piece by piece, as they come. Whatever the server is asked for, it is
    asked to send it uncompressed, since what is compressed cannot be searched for secrets.

    Args:
        folder: Where the exchanges are written, as files for this user alone.
        secrets: Texts that must not be written; those of the requests themselves are known.
        times: Note when each piece came.
        clock: Seconds, going forward.

    Attributes:
        problems: What could not be written or was no HTTP, after the end.

    Raises:
        OSError: The folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        secrets: Iterable[str] = (),
        times: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = ExchangeFolder(folder)
        self.problems: list[Exception] = []
        self._redaction = Redaction(secrets)
        self._times = times
        self._clock = clock
        self._relays: list[_Relay] = []

    def relay(self, config: ProviderConfig) -> str:
        """Start a relay for a provider; its address, to be used instead of the provider's own.

        Raises:
            ValueError: The provider has no address.
        """
        if not config.base_url:
            raise ValueError(f"provider '{config.id}' has no address")
        secrets = [*credentials(config.headers, ""), *address_secrets(config.base_url)]
        if config.api_key is not None:
            secrets.append(config.api_key.get_secret_value())
        redaction = self._redaction.knowing(secrets)
        relay = _Relay(
            origin_of(config.base_url),
            shown_entry(config, redaction),
            redaction,
            self.folder,
            self._clock if self._times else None,
        )
        self._relays.append(relay.start())
        return moved(config.base_url, relay.base_url)

    def close(self) -> None:
        """End the relays; what still runs is written as far as it came."""
        for relay in self._relays:
            relay.stop()
            self.problems += relay.errors
        self._relays.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Relay(Simulator):
    """Stands in front of one server.

    Args:
        origin: The server's.
        provider: As it is to be shown.
        clock: Of the pieces; ``None`` leaves their times out.
    """

    def __init__(
        self,
        origin: str,
        provider: JsonObject,
        redaction: Redaction,
        folder: ExchangeFolder,
        clock: Callable[[], float] | None,
    ) -> None:
        super().__init__(keep_alive_s=60.0, max_requests=None)
        self._origin = httpx.URL(origin)
        self._provider = provider
        self._redaction = redaction
        self._folder = folder
        self._clock = clock
        self._tls: asyncio.Task[ssl.SSLContext] | None = None

    async def admit(self, exchange: Exchange) -> bool:
        """Everything is passed on. A task of its own: the client may leave while all is silent."""
        taken = _Taken(self._folder.number(), exchange.request, self._clock)
        work = asyncio.ensure_future(self._pass_on(exchange, taken))
        gone = asyncio.ensure_future(exchange.disconnected.wait())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and taken.end != "complete":
                taken.end = "left"
        finally:
            gone.cancel()
            work.cancel()
            try:
                await asyncio.wait({work})
            finally:
                self._folder.write(taken.recorded(self._provider, self._redaction))
        if work.cancelled():
            raise ClientGone
        work.result()
        return False

    async def _pass_on(self, exchange: Exchange, taken: "_Taken") -> None:
        request = exchange.request
        headers = [(k, v) for k, v in request.headers.items() if k not in _OF_THE_CONNECTION]
        headers = [(k, v) for k, v in headers if k != "accept-encoding"]
        is_near, is_plain = is_loopback(self._origin.host), self._origin.scheme == "http"
        client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=_CONNECT_S),
            # Making a context takes long, and nothing needs one on the way to this machine.
            verify=False if is_plain and is_near else await self._context(),
            trust_env=not is_near,  # the user's proxy
        )
        try:
            async with (
                client,
                client.stream(
                    request.method,
                    self._origin.copy_with(raw_path=request.target.encode("latin-1")),
                    headers=[*headers, ("accept-encoding", "identity")],
                    content=request.body or None,
                ) as answer,
            ):
                await self._answer(exchange, answer, taken)
        except (httpx.TransportError, OSError):
            if taken.status is None:
                taken.end = "refused"
            exchange.abort()
            raise ClientGone from None  # the client sees what the relay saw: no more bytes

    async def _answer(self, exchange: Exchange, answer: httpx.Response, taken: "_Taken") -> None:
        passed = [
            (name, value)
            for name, value in answer.headers.multi_items()
            if name.lower() not in _OF_THE_CONNECTION
        ]
        taken.status, taken.headers = answer.status_code, passed
        encoding = answer.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            taken.omitted = f"{_LEFT_OUT} {encoding}"
        kind = answer.headers.get("content-type")
        others = [(name, value) for name, value in passed if name.lower() != "content-type"]
        length = answer.headers.get("content-length", "")
        await exchange.start_stream(
            kind,
            status=answer.status_code,
            headers=others,
            length=int(length) if length.isdigit() else _implied(answer.status_code),
        )
        async for block in answer.aiter_raw():
            if block:
                taken.piece(block)
                try:
                    await exchange.raw(block)
                except ClientGone:
                    taken.end = "left"
                    raise
        # Written down as whole before the client may see the end and the program may go.
        taken.end = "complete"
        await exchange.end()

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = asyncio.ensure_future(asyncio.to_thread(httpx.create_ssl_context))
        return await asyncio.shield(self._tls)


class _Taken:
    """One exchange while it runs."""

    def __init__(self, number: int, request: Request, clock: Callable[[], float] | None) -> None:
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.end: End = "cut"
        self.omitted: str | None = None
        self._number = number
        self._request = request
        self._clock = clock
        self._begun_s = 0.0 if clock is None else clock()
        self._pieces: list[bytes] = []
        self._times: list[float | None] = []

    def piece(self, data: bytes) -> None:
        if self.omitted is None:
            self._pieces.append(data)
            self._times.append(None if self._clock is None else self._clock() - self._begun_s)

    def recorded(self, provider: JsonObject, redaction: Redaction) -> RecordedExchange:
        request = self._request
        redaction = redaction.knowing(credentials(request.headers, request.target))
        if self.status is not None:
            redaction = redaction.knowing(credentials(dict(self.headers), ""))
        return RecordedExchange(
            number=self._number,
            provider=provider,
            request=RecordedRequest(
                method=request.method,
                target=redaction.target(request.target),
                headers={
                    name: redaction.header(name, value)
                    for name, value in request.headers.items()
                    if name not in _OF_THE_CONNECTION
                },
                body=_body(request, redaction),
            ),
            answer=None if self.status is None else self._answer(self.status, redaction),
            end=self.end,
        )

    def _answer(self, status: int, redaction: Redaction) -> RecordedAnswer:
        pieces = zip(redaction.pieces(self._pieces), self._times, strict=True)
        return RecordedAnswer(
            status=status,
            headers=[
                f"{name.lower()}: {redaction.header(name, value)}" for name, value in self.headers
            ],
            pieces=[RecordedPiece.of(data, at_s) for data, at_s in pieces if data],
            omitted=self.omitted,
        )


def _implied(status: int) -> int | None:
    """The length of a body that no length is announced of: these have none at all."""
    return 0 if status in (204, 304) else None


def _body(request: Request, redaction: Redaction) -> RecordedBody:
    encoding = request.headers.get("content-encoding", "identity").lower()
    if request.body and encoding != "identity":
        return RecordedBody(omitted=f"{_LEFT_OUT} {encoding}")
    return RecordedBody.of(redaction.data(request.body)) if request.body else RecordedBody()
