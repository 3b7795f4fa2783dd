"""Everything about a simulated DeepSeek that a test may turn, and how a header turns it."""

from dataclasses import dataclass, fields, replace
from typing import Literal, Self

TICK_MS = 50  # what one keep-alive stands for


@dataclass(frozen=True, slots=True)
class Knobs:
    """Settings of the server. The header ``x-sim-scenario`` changes them for one request.

    Attributes:
        models_shape: Whether the model list has the members that came in 2026.
        passback: Which earlier assistant turns must carry ``reasoning_content``: the one before
            tool results as probed, all of them as documented, or none.
        refusal_status: Of invalid requests; all probed ones were 400.
        queue_ms: How long a request is queued, with a keep-alive each `TICK_MS`.
        tick_s: Seconds a keep-alive really takes.
        concurrency: Requests at once for each model; None is without limit.
        tool_rounds: How many answers in a row call a tool before one that speaks.
        parallel: Calls in one answer, their pieces interleaved.
        slow_ms: Before each chunk.
        endless: It goes on talking, in chunks of `slow_ms`.
        trailing_usage_chunk: Usage comes in a chunk of its own without choices.
        times: To how many chat requests the faults below happen, the first ones; None is all.
        status: Answer with this status.
        retry_after_s: With a ``Retry-After``.
        low_balance: A 429 is one for the balance.
        cut_after: Chunks of a stream before the connection breaks; with 0 and no stream, the head.
        no_done: The end mark is missing.
        error_in_stream: The text of an error after the first chunk.
        finish: This finish reason instead of the proper one.
        html_502: A proxy's page.
        bare_text: Errors are a text.
        octet_stream_error: Errors are labelled as bytes.
        json_empty: Under a JSON format nothing is said.
    """

    models_shape: Literal["classic", "extended"] = "extended"
    passback: Literal["probed", "documented", "off"] = "probed"
    refusal_status: int = 400
    queue_ms: int = 0
    tick_s: float = TICK_MS / 1000
    concurrency: int | None = None
    tool_rounds: int = 1
    parallel: int = 1
    slow_ms: float = 0.0
    endless: bool = False
    trailing_usage_chunk: bool = False
    times: int | None = None
    status: int | None = None
    retry_after_s: float | None = None
    low_balance: bool = False
    cut_after: int | None = None
    no_done: bool = False
    error_in_stream: str = ""
    finish: str = ""
    html_502: bool = False
    bare_text: bool = False
    octet_stream_error: bool = False
    json_empty: bool = False

    def with_scenario(self, text: str) -> Self:
        """Changed as a header says: ``cut_after=2, no_done``; a bare name switches on.

        Raises:
            ValueError: A name is none of the knobs.
        """
        changes: dict[str, object] = {}
        known = {field.name: field.default for field in fields(self)}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, separator, value = part.partition("=")
            if name not in known:
                raise ValueError(f"no knob is called '{name}'")
            changes[name] = _read(value, known[name]) if separator else True
        return replace(self, **changes)  # type: ignore[arg-type]

    def well(self) -> Self:
        """Without its faults."""
        names = [field.name for field in fields(self)]
        faults = names[names.index("status") :]
        return replace(self, **{f.name: f.default for f in fields(self) if f.name in faults})  # type: ignore[arg-type]


def _read(value: str, default: object) -> object:
    if isinstance(default, str):
        return value
    if isinstance(default, bool):
        return value.lower() in ("1", "true", "yes")
    number = float(value)
    return int(number) if number.is_integer() and not isinstance(default, float) else number
