"""Checks of streams: the order of events, and that it does not depend on how bytes arrive."""

import asyncio
import gc
import types
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing
from contextvars import Token
from typing import cast

import anyio
import anyio.abc
import pytest

from modelbay.errors import ModelbayError
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay.testing.conformance.bay import HANGS_S, Bay, Outcome, Rule
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.fault import Fault
from modelbay.testing.rechunk import http_answer
from modelbay.testing.streams import check_events, joined, text_of

SIZES = (1, 2, 3, 7, 64)
# Line separators that are none to JSON, two to four bytes of UTF-8, and a combined character.
TEXT = ("one\u2028two", "\u0085thr\u2029ee ", "zwölf ", "日本", "\U0001f98a e\u0301", " end")


class StreamChecks(Kit):
    read = "modelbay/hookspecs.py: stream_chat; modelbay/testing/streams.py"

    async def test_stream_keeps_to_the_automaton(self, bay: Bay, rule: Rule) -> None:
        """A stream is known events, exactly one Finish, and that last."""
        info = await bay.model()
        events = await _raw(bay, info.ref.wire_id)
        broken = check_events(events)
        rule.holds(not broken, "; ".join(broken))

    async def test_same_answer_twice_gives_the_same_events(self, bay: Bay, rule: Rule) -> None:
        """Nothing of one turn is left over in the next."""
        bay.target.require("text")
        first, second = joined(await bay.answer()), joined(await bay.answer())
        rule.holds(first == second, f"first {first}, then {second}")

    @pytest.mark.parametrize("size", SIZES)
    async def test_events_do_not_depend_on_chunk_boundaries(
        self, bay: Bay, rule: Rule, size: int
    ) -> None:
        """The same answer gives the same events, wherever its bytes are cut."""
        bay.target.require("faults", "text")
        info = await bay.model()
        whole = joined(await _raw(bay, info.ref.wire_id))
        bay.see_each_chunk()
        bay.target.arm(Fault(rechunk_bytes=size), bay.target.chat_path)
        cut = joined(await _raw(bay, info.ref.wire_id))
        rule.holds(cut == whole, f"uncut {whole}; in pieces of {size} bytes {cut}")

    @pytest.mark.parametrize("size", SIZES)
    async def test_text_survives_any_cut(self, bay: Bay, rule: Rule, size: int) -> None:
        """Text is exact when characters of several bytes are cut, and when it holds U+2028."""
        bay.target.require("faults")
        bay.see_each_chunk()
        wire = bay.target.wire
        body = b"".join(map(wire.text, TEXT)) + wire.end
        outcome = await _answered(
            bay, http_answer(body, content_type=wire.content_type, chunk_bytes=size)
        )
        rule.holds(outcome.error is None, outcome)
        text = text_of(outcome.events)
        rule.holds(text == "".join(TEXT), f"sent {''.join(TEXT)!r}, got {text!r}")

    async def test_pings_are_no_events(self, bay: Bay, rule: Rule) -> None:
        """What a server sends during silence is passed over."""
        bay.target.require("faults")
        wire = bay.target.wire
        ping = wire.ping
        body = ping + wire.text("one ") + ping * 3 + wire.text("two") + ping + wire.end + ping
        outcome = await _answered(bay, http_answer(body, content_type=wire.content_type))
        rule.holds(outcome.error is None, outcome)
        rule.holds(text_of(outcome.events) == "one two", outcome)
        rule.holds(not check_events(outcome.events), check_events(outcome.events))

    async def test_many_events_in_one_chunk_stay_apart(self, bay: Bay, rule: Rule) -> None:
        """A thousand pieces that arrive at once are a thousand pieces of text, in order."""
        bay.target.require("faults")
        wire = bay.target.wire
        sent = [f"{number} " for number in range(1000)]
        body = b"".join(map(wire.text, sent)) + wire.end
        outcome = await _answered(bay, http_answer(body, content_type=wire.content_type))
        rule.holds(outcome.error is None, outcome)
        rule.holds(text_of(outcome.events) == "".join(sent), "text is missing or out of order")

    async def test_closing_twice_is_harmless(self, bay: Bay, rule: Rule) -> None:
        """A stream may be closed again, also after its end."""
        info = await bay.model()
        for stop_at in (TextDelta, Finish):
            events = started(bay, info.ref.wire_id)
            async for event in events:
                if isinstance(event, stop_at):
                    break
            for _ in range(2):
                try:
                    await events.aclose()
                except Exception as exc:
                    rule.broken(f"aclose() raised {exc!r}")

    async def test_closing_before_the_first_event_is_harmless(self, bay: Bay, rule: Rule) -> None:
        """A stream nobody reads asks the server nothing, and can be closed."""
        info = await bay.model()
        bay.mark()
        events = started(bay, info.ref.wire_id)
        try:
            await events.aclose()
        except Exception as exc:
            rule.broken(f"aclose() raised {exc!r}")
        if bay.target.has("requests"):
            await asyncio.sleep(0.02)
            rule.holds(not bay.chats(), "the server was asked by a stream that nobody read")

    async def test_no_scope_is_open_across_a_yield(self, bay: Bay, rule: Rule) -> None:
        """No timeout, task group, cancel scope or context token is open while the caller works."""
        info = await bay.model()
        events = started(bay, info.ref.wire_id)
        async with aclosing(events):
            async for event in events:
                found = sorted(set(_held(events)))
                if found and not isinstance(event, Finish):
                    rule.broken(f"after {event} the stream holds {', '.join(found)} (PEP 789)")

    async def test_every_step_may_run_in_a_task_of_its_own(self, bay: Bay, rule: Rule) -> None:
        """A stream does not mind which task asks for its next event."""
        info = await bay.model()
        events = started(bay, info.ref.wire_id)
        got: list[StreamEvent] = []
        try:
            while True:
                got.append(await asyncio.create_task(_next(events)))
        except StopAsyncIteration:
            pass
        except ModelbayError:
            raise
        except Exception as exc:
            rule.broken(f"the step after {got[-1:]} raised {exc!r}")
        broken = check_events(got)
        rule.holds(not broken, "; ".join(broken))

    async def test_twenty_streams_keep_their_own_text(self, bay: Bay, rule: Rule) -> None:
        """Streams that run side by side do not mix."""
        bay.target.require("faults")
        wire = bay.target.wire
        texts = [f"<{number:02d}>" * 12 for number in range(20)]
        info = await bay.model()
        for text in texts:
            body = b"".join(wire.text(text[at : at + 4]) for at in range(0, len(text), 4))
            bay.target.arm(
                Fault(
                    status=200,
                    body=body + wire.end,
                    content_type=wire.content_type,
                    drip_bytes_per_s=30_000,
                ),
                bay.target.chat_path,
                times=1,
            )
        turns = (bay.chat(info=info) for _ in texts)
        outcomes = await asyncio.gather(*turns)
        failed = [str(outcome) for outcome in outcomes if outcome.error is not None]
        rule.holds(not failed, failed[:1])
        got = sorted(text_of(outcome.events) for outcome in outcomes)
        rule.holds(got == texts, [text for text in got if text not in texts][:2])


def started(bay: Bay, wire_id: str) -> "types.AsyncGeneratorType[StreamEvent]":
    """The plugin's own stream, not the host's around it."""
    answer = bay.hook("stream_chat")(
        provider=bay.context(),
        request=bay.request(wire_id),
        model=bay.made_up(wire_id),
    )
    # Everything the kit asks of it here, a generator has; a plain iterator has no aclose.
    return cast("types.AsyncGeneratorType[StreamEvent]", answer)


async def _raw(bay: Bay, wire_id: str) -> list[StreamEvent]:
    async with asyncio.timeout(HANGS_S), aclosing(started(bay, wire_id)) as events:
        return [event async for event in events]


async def _next(events: AsyncIterator[StreamEvent]) -> StreamEvent:
    return await anext(events)


async def _answered(bay: Bay, answer: bytes) -> Outcome:
    info = await bay.model()
    bay.target.arm(Fault(garbage=answer), bay.target.chat_path)
    return await bay.chat(info=info)


_SCOPES = (asyncio.Timeout, asyncio.TaskGroup, anyio.CancelScope, anyio.abc.TaskGroup, Token)
_FRAMES = (
    types.AsyncGeneratorType,
    types.GeneratorType,
    types.CoroutineType,
    types.FrameType,
    types.MethodType,
    types.CellType,
)


def _held(start: object) -> list[str]:
    """Scopes on the stacks of a suspended generator and of those it waits for or iterates.

    An open ``async with`` keeps the bound ``__aexit__`` on its frame's stack, which the garbage
    collector can see.
    """
    found: list[str] = []
    todo: list[object] = [start]
    known: set[int] = set()
    while todo:
        thing = todo.pop()
        if id(thing) in known:
            continue
        known.add(id(thing))
        if isinstance(thing, _SCOPES):
            found.append(type(thing).__name__)
        elif isinstance(thing, AbstractAsyncContextManager | AbstractContextManager):
            todo.append(getattr(thing, "gen", None))  # one made by contextlib from a generator
        elif isinstance(thing, _FRAMES):
            todo += gc.get_referents(thing)
    return found
