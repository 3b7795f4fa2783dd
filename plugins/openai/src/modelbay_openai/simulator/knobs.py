"""Everything about a simulated server that a test may turn, before or while it runs."""

from dataclasses import dataclass


@dataclass
class Knobs:
    """Settings of the server as a whole.

    Attributes:
        token_delay_s: Before each piece of an answer.
        pings: So many comments before the first piece.
        balance_empty: Requests are refused as the personality does it when the money is gone.
        rate_limited_s: Requests are refused with 429 and this `Retry-After`.
        overloaded: Requests are refused with 503.
        cut_after: The connection breaks after so many pieces of a stream.
        fail_after: An error is reported in the stream after so many pieces.
        silent_end: Streams end without a finish reason and without ``[DONE]``.
        stop_under_calls: The finish reason of a tool call is ``stop``.
        loading: ``/health`` says that the server is not ready.
    """

    token_delay_s: float = 0.0
    pings: int = 0
    balance_empty: bool = False
    rate_limited_s: float | None = None
    overloaded: bool = False
    cut_after: int | None = None
    fail_after: int | None = None
    silent_end: bool = False
    stop_under_calls: bool = False
    loading: bool = False
