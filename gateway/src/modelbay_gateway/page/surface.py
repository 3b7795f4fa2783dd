"""The routes of the page: ``/`` for browsers, and ``/page/...`` for what it is made of."""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Route

from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call, Endpoint
from modelbay_gateway.openai.encode import refusal_headers, refuse
from modelbay_gateway.page.files import File, page_files
from modelbay_gateway.refusal import Refused
from modelbay_gateway.scopes import Scope
from modelbay_gateway.surface import Header, Surface

NOT_MODIFIED = 304
PREFIX = "/page/"

# Whatever a model writes, no browser runs it, and nothing is fetched from elsewhere.
CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: tuple[Header, ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-dns-prefetch-control", b"off"),  # a link in an answer is not even looked up
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),  # ask every time; the tag makes that cheap
)


def wants_page(call: Call) -> bool:
    """Whether the client is a browser that opens a page, and no program that reads JSON."""
    accepted = (call.header(b"accept") or "").lower()
    return any(each.split(";")[0].strip() == "text/html" for each in accepted.split(","))


async def index(call: Call) -> None:
    """The page itself."""
    await _send(call, page_files()["index.html"], ((b"vary", b"Accept"),))


def routes(bay: Bay) -> Sequence[BaseRoute]:
    """The page's files are the same for everybody, and know nothing."""

    async def part(call: Call) -> None:
        file = page_files().get(call.param("name"))
        if file is None:
            raise Refused("not_found", "the page has no such file")
        await _send(call, file)

    return [Route(f"{PREFIX}{{name:path}}", Endpoint(part), methods=["GET"])]


def _needs(method: str, path: str) -> Scope | None:
    return None  # a browser sends no key with a script; what the page asks for needs one


async def _send(call: Call, file: File, more: Sequence[Header] = ()) -> None:
    headers = (*_HEADERS, *more, (b"etag", file.tag.encode()))
    known = (call.header(b"if-none-match") or "").split(",")
    if file.tag in (each.strip().removeprefix("W/") for each in known):
        await call.send(
            {"type": "http.response.start", "status": NOT_MODIFIED, "headers": list(headers)}
        )
        await call.send({"type": "http.response.body", "body": b""})
        return
    await call.reply(file.body, content_type=file.content_type, headers=headers)


SURFACE = Surface(
    name="page",
    prefixes=(PREFIX,),
    routes=routes,
    refuse=refuse,
    headers=refusal_headers,
    needs=_needs,
)
