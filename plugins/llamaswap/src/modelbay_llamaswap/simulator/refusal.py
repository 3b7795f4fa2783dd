"""Errors that llama-swap itself makes, in the shape of each version."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelbay_llamaswap.simulator.dialect import Release
from modelbay_llamaswap.simulator.gojson import go_json

_CODES = {
    400: ("invalid_request_error", "bad_request"),
    401: ("authentication_error", "unauthorized"),
    403: ("authentication_error", "forbidden"),
    404: ("invalid_request_error", "not_found"),
    409: ("invalid_request_error", "conflict"),
    429: ("rate_limit_error", "concurrency_limit"),
    502: ("server_error", "bad_gateway"),
    503: ("server_error", "service_unavailable"),
    504: ("server_error", "gateway_timeout"),
}


class Refusal(Exception):  # noqa: N818 - the server's word, not a mistake of ours
    """llama-swap does not do it.

    Attributes:
        old: Status and message up to v217, where they differ.
        headers: More header fields of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        old: tuple[int, str] | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.old = old
        self.headers = headers

    def seen(self, release: Release) -> tuple[int, str]:
        """Status and message of a version."""
        if self.old is None or release.rewritten:
            return self.status, self.message
        return self.old


@dataclass(frozen=True, slots=True)
class Body:
    """An error as bytes."""

    data: bytes
    content_type: str


def too_many(release: Release) -> Refusal:
    """429; it says when to come back since v227."""
    headers = [("Retry-After", "1")] if release.has(227) else []
    return Refusal(429, "Too many requests", headers=headers)


def error_body(release: Release, status: int, message: str, accept: str) -> Body:
    """The body of an error. The format follows ``Accept``, but for 429, which is always JSON."""
    if not release.rewritten:
        return _old_body(status, message, accept)
    if status != 429 and "text/plain" in accept:
        return Body(f"llama-swap: {message}".encode(), "text/plain")
    if status != 429 and "text/html" in accept:
        page = f"<html><body><h1>llama-swap</h1><p>{message}</p></body></html>"
        return Body(page.encode(), "text/html")
    return Body(bare_json(release, status, message), "application/json")


def bare_json(release: Release, status: int, message: str) -> bytes:
    """The JSON of an error, as it also stands inside a stream that began with loading text."""
    if not release.object_errors:
        source = {} if status == 429 else {"src": "llama-swap"}
        return go_json({**source, "error": message})
    general = "server_error" if status >= 500 else "invalid_request_error"
    kind, code = _CODES.get(
        status, (general, "internal_error" if status >= 500 else "invalid_request")
    )
    error = {"message": message, "type": kind, "param": None, "code": code}
    return go_json({"src": "llama-swap", "error": error})


def _old_body(status: int, message: str, accept: str) -> Body:
    if status == 429:  # by net/http, past the framework
        return Body(f"{message}\n".encode(), "text/plain; charset=utf-8")
    if "application/json" in accept:
        return Body(go_json({"error": message}), "application/json; charset=utf-8")
    return Body(message.encode(), "text/plain; charset=utf-8")
