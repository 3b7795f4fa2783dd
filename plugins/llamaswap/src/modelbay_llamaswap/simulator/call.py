"""One request to llama-swap and the writers of its answer, in the manner of Go's HTTP server."""

from collections.abc import Iterable, Sequence

from modelbay.testing.simulator import Exchange, Request
from modelbay_llamaswap.simulator.dialect import Release
from modelbay_llamaswap.simulator.gojson import go_json
from modelbay_llamaswap.simulator.refusal import Refusal, bare_json, error_body

Headers = Iterable[tuple[str, str]]

_BUFFERED = 2048  # bytes; Go sends longer answers in chunks when nobody said how long they are
NOSNIFF = ("X-Content-Type-Options", "nosniff")
_REDIRECTS = {
    301: "Moved Permanently",
    302: "Found",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
}


class Call:
    """What a route has in its hand.

    Attributes:
        request: As sent; a proxied one is changed on the way.
        status: Of the answer, 0 before it.
        fields: Header fields of the answer.
        body: What was sent of its body.
        streaming: A stream has begun.
        error: What llama-swap refused it with.
    """

    def __init__(self, exchange: Exchange, release: Release) -> None:
        self.exchange = exchange
        self.release = release
        self.request: Request = exchange.request
        self.status = 0
        self.fields: list[tuple[str, str]] = []
        self.body = bytearray()
        self.streaming = False
        self.error = ""

    @property
    def content_type(self) -> str:
        """Of the answer."""
        return next((value for name, value in self.fields if name == "Content-Type"), "")

    # whole answers

    async def json(self, value: object, status: int = 200) -> None:
        """JSON; since v218 with a newline at its end."""
        if self.release.rewritten:
            await self.send(go_json(value) + b"\n", "application/json", status)
        else:
            await self.send(go_json(value), "application/json; charset=utf-8", status)

    async def text(self, value: str) -> None:
        await self.send(value.encode(), "text/plain; charset=utf-8")

    async def send(
        self,
        body: bytes,
        content_type: str | None,
        status: int = 200,
        headers: Headers = (),
        *,
        chunked: bool | None = None,
    ) -> None:
        """Answer. `chunked` None: as Go decides when the length was not set."""
        fields = [*headers, *([] if content_type is None else [("Content-Type", content_type)])]
        self.status, self.fields = status, fields
        self.body += body
        in_chunks = len(body) > _BUFFERED if chunked is None else chunked
        await self.exchange.send(body, status, None, fields, chunked=in_chunks)

    async def refuse(self, refusal: Refusal) -> None:
        """An error of llama-swap's own; bare JSON if a stream has begun."""
        status, message = refusal.seen(self.release)
        self.error = message
        if self.streaming:
            await self.write(self._late_error(status, message))
            return
        accept = self.request.headers.get("accept", "")
        body = error_body(self.release, status, message, accept)
        await self.send(body.data, body.content_type, status, refusal.headers)

    def _late_error(self, status: int, message: str) -> bytes:
        if self.release.rewritten:
            return bare_json(self.release, status, message)
        delta = {"reasoning_content": f"Unable to swap model err: {message}"}
        return b"data: " + go_json({"choices": [{"delta": delta}]}) + b"\n\n"

    # what the multiplexer answers

    async def not_found(self) -> None:
        if self.release.rewritten:
            kind = "text/plain; charset=utf-8"
            await self.send(b"404 page not found\n", kind, 404, [NOSNIFF])
        else:  # gin's own
            await self.send(b"404 page not found", "text/plain", 404)

    async def not_allowed(self, methods: Iterable[str]) -> None:
        """405; up to v217 the framework answered 404."""
        if not self.release.rewritten:
            await self.not_found()
            return
        allowed = sorted({*methods, *(["HEAD"] if "GET" in methods else [])})
        headers = [("Allow", ", ".join(allowed)), NOSNIFF]
        kind = "text/plain; charset=utf-8"
        await self.send(b"Method Not Allowed\n", kind, 405, headers)

    async def redirect(self, where: str, status: int) -> None:
        """Only the answer to a GET or HEAD has a body."""
        if self.request.method in ("GET", "HEAD"):
            page = f'<a href="{where}">{_REDIRECTS[status]}</a>.\n\n'
            kind = "text/html; charset=utf-8"
            await self.send(page.encode(), kind, status, [("Location", where)])
        else:
            await self.send(b"", None, status, [("Location", where)])

    # streams

    async def start_stream(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        self.status, self.fields, self.streaming = status, [*headers], True
        rest = [field for field in headers if field[0] != "Content-Type"]
        await self.exchange.start_stream(self.content_type, status=status, headers=rest)

    async def write(self, data: bytes) -> None:
        self.body += data
        await self.exchange.raw(data)
