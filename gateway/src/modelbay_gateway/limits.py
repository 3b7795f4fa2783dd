"""How much the gateway takes: every number in one place."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers a server may be started with.

    Attributes:
        head_bytes: Request line and headers together; more is 431.
        headers: How many headers; more is 431.
        body_bytes: A request's body; more is 413. Images travel inline, so it is large.
        connections: How many may be open; one more is 503 and closed.
        head_s: Seconds a head may take, from the opening of the connection or its first byte; then
            the connection is closed, with 408 if a head had begun.
        body_idle_s: Seconds without a byte in the middle of a body; then it is 408 and closed.
        active: Requests one provider works on at the same time; others wait.
        waiting: Requests that may wait for one provider; past it the answer is 503.
        waiting_per_client: How many of those may be one client's; past it the answer is 429.
        waiting_s: Seconds a request may wait; then the answer is 503.
        managing: Management actions at work at one provider at the same time, warm-ups among them;
            nobody waits for one, past it the answer is 503.
        managing_per_client: How many of those may be one client's; past it the answer is 429.
        heartbeat_s: Seconds of silence after which a stream gets a comment. The status of a stream
            is held back until the first event or the first heartbeat, so that a failure before it
            is an HTTP status that clients can retry.
        unsent_bytes: What may lie ready for a client that reads slowly; then its upstream waits.
        first_look_s: Seconds the first list of models waits for providers; later ones wait for
            none.
        drain_s: Seconds running streams have to end after the server was told to stop.
    """

    head_bytes: int = 64 * KIB
    headers: int = 200
    body_bytes: int = 64 * MIB
    connections: int = 4096
    head_s: float = 30.0
    body_idle_s: float = 60.0
    active: int = 1024
    waiting: int = 2048
    waiting_per_client: int = 1024
    waiting_s: float = 60.0
    managing: int = 16
    managing_per_client: int = 8
    heartbeat_s: float = 10.0
    unsent_bytes: int = MIB
    first_look_s: float = 2.0
    drain_s: float = 20.0
