"""Checks of answers that break off: never a quiet success, and what came is not lost."""

import time
import tracemalloc

import pytest

from modelbay.errors import BackendError, ModelbayError, PluginError, StreamInterruptedError
from modelbay.models.events import Finish, TextDelta
from modelbay.testing.conformance.bay import Bay, Outcome, Rule
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.fault import Fault
from modelbay.testing.rechunk import http_answer
from modelbay.testing.streams import check_events, text_of

MEGABYTE = 1_000_000
SENT = ("one ", "zw\u00f6lf ", "\U0001f98a ")


class InterruptionChecks(Kit):
    read = "modelbay/errors.py: StreamInterruptedError; modelbay/hookspecs.py: stream_chat"
    memory_limit_mb = 96

    @pytest.mark.parametrize("size", [1, 7, None])
    async def test_a_cut_is_an_error_with_the_partial_text(
        self, bay: Bay, rule: Rule, size: int | None
    ) -> None:
        """A connection that ends in mid-answer is StreamInterruptedError with the text so far."""
        body = b"".join(map(bay.target.wire.text, SENT))
        outcome = await _answer(bay, body, whole=False, chunk_bytes=size)
        _interrupted(rule, outcome)

    async def test_a_missing_end_is_an_error(self, bay: Bay, rule: Rule) -> None:
        """Bytes that end properly, but without the end of an answer, are no answer."""
        body = b"".join(map(bay.target.wire.text, SENT))
        outcome = await _answer(bay, body)
        _interrupted(rule, outcome)

    async def test_an_empty_stream_is_an_error(self, bay: Bay, rule: Rule) -> None:
        """An answer of no bytes under status 200 is an error."""
        outcome = await _answer(bay, b"")
        _failed(rule, outcome)

    async def test_a_cut_live_answer_is_an_error(self, bay: Bay, rule: Rule) -> None:
        """The server's own answer, cut at any place, is an error or else whole."""
        bay.target.require("faults", "text")
        info = await bay.model()
        for size in (1, 40, 200, 333, 500):
            bay.target.arm(Fault(cut_after_bytes=size), bay.target.chat_path)
            outcome = await bay.chat(info=info)
            bay.target.clear()
            text = text_of(outcome.events)
            if outcome.error is None:
                rule.holds(text == bay.target.says, f"cut after {size} bytes: {outcome}")
                continue
            rule.holds(isinstance(outcome.error, BackendError), outcome)
            partial = getattr(outcome.error, "partial", "")
            rule.holds(partial == text, f"partial is {partial!r}, the deltas gave {text!r}")

    async def test_a_reset_is_an_error(self, bay: Bay, rule: Rule) -> None:
        """A connection that is reset in mid-answer is StreamInterruptedError."""
        bay.target.require("faults")
        info = await bay.model()
        bay.target.arm(Fault(reset=True, cut_after_bytes=300), bay.target.chat_path)
        outcome = await bay.chat(info=info)
        rule.holds(isinstance(outcome.error, StreamInterruptedError), outcome)

    async def test_an_error_in_the_stream_is_raised(self, bay: Bay, rule: Rule) -> None:
        """An error the server reports after status 200 is raised, with what it said."""
        outcome = await _answer(bay, bay.target.wire.error("the kit broke the engine"))
        _failed(rule, outcome)
        rule.holds("the kit broke the engine" in str(outcome.error), outcome)

    async def test_an_error_after_text_keeps_the_partial_text(self, bay: Bay, rule: Rule) -> None:
        """The same after some text: what came is in the error."""
        body = b"".join(map(bay.target.wire.text, SENT)) + bay.target.wire.error("engine broke")
        outcome = await _answer(bay, body)
        _interrupted(rule, outcome)
        rule.holds("engine broke" in str(outcome.error), outcome)

    async def test_stray_text_is_no_success(self, bay: Bay, rule: Rule) -> None:
        """Plain text in the middle of a stream, as a proxy writes it, ends it with an error."""
        body = b"".join(map(bay.target.wire.text, SENT)) + b"proxy error: lost the backend\n"
        outcome = await _answer(bay, body)
        _interrupted(rule, outcome)

    async def test_a_broken_record_is_an_error(self, bay: Bay, rule: Rule) -> None:
        """A record that is cut in half, with others after it, is an error."""
        wire = bay.target.wire
        whole = wire.text("never")
        half = whole[: len(whole) // 2].rstrip(b"\n") + whole[len(whole.rstrip(b"\n")) :]
        body = b"".join(map(wire.text, SENT)) + half + wire.end
        outcome = await _answer(bay, body)
        _failed(rule, outcome)

    @pytest.mark.parametrize("status", [200, 500])
    async def test_an_endless_answer_is_refused_in_bounded_memory(
        self, bay: Bay, rule: Rule, status: int
    ) -> None:
        """An answer of 200 MB without a line end is an error before it fills the memory."""
        bay.target.require("faults")
        info = await bay.model()
        bay.target.arm(
            Fault(status=status, huge_mb=200, content_type=bay.target.wire.content_type),
            bay.target.chat_path,
        )
        tracemalloc.start()
        try:
            outcome = await bay.chat(info=info)
            peak_mb = tracemalloc.get_traced_memory()[1] / MEGABYTE
        finally:
            tracemalloc.stop()
        _failed(rule, outcome)
        rule.holds(peak_mb < self.memory_limit_mb, f"{peak_mb:.0f} MB in memory")

    async def test_a_long_piece_of_text_is_accepted(self, bay: Bay, rule: Rule) -> None:
        """One record of a megabyte is legitimate, and fast."""
        wire = bay.target.wire
        long = "0123456789abcdef" * (MEGABYTE // 16)
        began = time.monotonic()
        outcome = await _answer(bay, wire.text(long) + wire.end)
        took_s = time.monotonic() - began
        rule.holds(outcome.error is None and text_of(outcome.events) == long, "the text is another")
        rule.holds(took_s < self.patience_s, f"it took {took_s:.1f} s")

    async def test_a_failure_leaves_nothing_behind(self, bay: Bay, rule: Rule) -> None:
        """The turn after a broken one is as good as any."""
        bay.target.require("faults")
        for broken in (b"", bay.target.wire.text("half an answer ")):
            await _answer(bay, broken, whole=False)
            bay.target.clear()
            outcome = await bay.chat()
            rule.holds(outcome.error is None, outcome)
            rule.holds("half an answer" not in text_of(outcome.events), outcome)


async def _answer(
    bay: Bay, body: bytes, *, whole: bool = True, chunk_bytes: int | None = None
) -> Outcome:
    bay.target.require("faults")
    info = await bay.model()
    answer = http_answer(
        body, content_type=bay.target.wire.content_type, whole=whole, chunk_bytes=chunk_bytes
    )
    bay.target.arm(Fault(garbage=answer), bay.target.chat_path)
    return await bay.chat(info=info)


def _failed(rule: Rule, outcome: Outcome) -> ModelbayError:
    """The typed error a turn came to; a Finish, or another exception, breaks the rule."""
    rule.holds(not any(isinstance(event, Finish) for event in outcome.events), outcome)
    rule.holds(outcome.error is not None, f"a quiet success: {outcome}")
    rule.holds(not isinstance(outcome.error, PluginError), outcome)
    if not isinstance(outcome.error, BackendError):
        rule.broken(outcome)
    broken = check_events(outcome.events, whole=False)
    rule.holds(not broken, broken)
    return outcome.error


def _interrupted(rule: Rule, outcome: Outcome) -> None:
    """StreamInterruptedError whose partial text is exactly what was sent and handed over."""
    error = _failed(rule, outcome)
    if not isinstance(error, StreamInterruptedError):
        rule.broken(f"{type(error).__name__} instead of StreamInterruptedError: {error}")
    sent = "".join(SENT)
    rule.holds(error.partial == sent, f"sent {sent!r}, partial is {error.partial!r}")
    texts = [event.text for event in outcome.events if isinstance(event, TextDelta)]
    rule.holds("".join(texts) == sent, f"sent {sent!r}, the deltas gave {texts}")
