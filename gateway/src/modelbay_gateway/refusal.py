"""What went wrong, as data that every surface puts into its own words."""

from dataclasses import dataclass

from modelbay.errors import ModelbayError, http_status

RETRY_AFTER_LIMIT_S = 120.0  # the OpenAI clients give up at once when they are asked to wait longer

# Codes of the gateway's own, beside those of `modelbay.errors`, with their HTTP status.
OWN: dict[str, int] = {
    "invalid_body": 400,
    "missing_field": 400,
    "invalid_field": 400,
    "unsupported_field": 400,
    "bad_host": 400,
    "invalid_api_key": 401,
    "foreign_origin": 403,
    "foreign_host": 403,
    "missing_scope": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_too_large": 413,
    "unsupported_encoding": 415,
    "headers_too_large": 431,
    "internal_error": 500,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no answer, or no whole one.

    Attributes:
        code: Of `modelbay.errors` or of `OWN`.
        field: The part of the request that is wrong, as a path: ``messages[0].role``.
        context_window: Tokens the model takes, where that is what was exceeded and is known.
        headers: More headers for the answer.
    """

    status: int
    code: str
    message: str
    hint: str | None = None
    field: str | None = None
    provider_id: str | None = None
    model: str | None = None
    retryable: bool = False
    retry_after_s: float | None = None
    context_window: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def wait_s(self) -> float | None:
        """What to put into ``retry-after``: seconds, at most `RETRY_AFTER_LIMIT_S`."""
        wanted = self.retry_after_s
        if wanted is None:
            wanted = 1.0 if self.retryable and self.status in (429, 503) else None
        return None if wanted is None else min(max(wanted, 0.0), RETRY_AFTER_LIMIT_S)


class Refused(Exception):  # noqa: N818 - it is the answer, not a fault
    """The gateway itself refuses a request; no provider was asked.

    Args:
        code: One of `OWN`.
        field: The part of the request that is wrong.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.refusal = Refusal(
            status=OWN[code], code=code, message=message, hint=hint, field=field, headers=headers
        )


def of_error(exc: ModelbayError, *, context_window: int | None = None) -> Refusal:
    """An error of the tree, by the one table and the server's own status."""
    return Refusal(
        status=http_status(exc),
        code=exc.code,
        message=exc.message,
        hint=exc.hint,
        provider_id=exc.provider_id,
        model=exc.model,
        retryable=exc.retryable,
        retry_after_s=getattr(exc, "retry_after_s", None),
        context_window=context_window,
    )


def ended_badly() -> Refusal:
    """The server's own finish reason was that it failed."""
    return Refusal(
        status=502, code="backend_error", message="the server ended its answer with an error"
    )


def internal() -> Refusal:
    """A fault of the gateway's own; its text may hold anything and stays in the log."""
    return Refusal(
        status=500, code="internal_error", message="the gateway failed; this is a fault of its own"
    )
