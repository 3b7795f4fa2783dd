"""Checks that what was asked is what the server gets: all of it, as it is, and nothing besides."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from modelbay.errors import ModelbayError, UnsupportedFeatureError
from modelbay.models.chat import Message, Role, user
from modelbay.models.events import Finish, Notice
from modelbay.testing.conformance.bay import Bay, Outcome, Rule, shown, values
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.target import Peculiarity, Target
from modelbay.testing.fault import Fault
from modelbay.testing.rechunk import http_answer
from modelbay.testing.request import Request
from modelbay.testing.streams import text_of

_ROLES: tuple[Role, ...] = ("user", "assistant")
_MANY = 40
_SAID = "kit by "
PROMPTS: dict[Peculiarity, list[Message]] = {
    "white space": [user(" \t\n  kit: between white space \r\n\n ")],
    "long prompt": [user("".join(f"{number} " for number in range(3000)))],
    "many messages": [
        Message(role=_ROLES[number % 2], content=f"kit message {number}")
        for number in range(_MANY + 1)
    ],
    "empty message": [user("kit first"), Message(role="assistant"), user("kit last")],
    "second system": [
        Message(role="system", content="kit system one"),
        Message(role="system", content="kit system two"),
        user("kit asks"),
    ],
}
# Pieces of an answer that something on the way might take for its own.
ANSWERS = {
    "line ends": ("one\r", "\ntwo\r\n", "three\n\r"),
    "control characters": ("a\0b", "\x1b[1m", "\x7f", "\ufeff"),
    "white space": (" ", "\n", "  one  ", "\t", " \n"),
    "not normalised": ("e\u0301", " \u212b ", "\ufb01"),
}


class PromptChecks(Kit):
    read = "modelbay/hookspecs.py: stream_chat; modelbay/models/chat.py: Message"

    @pytest.mark.parametrize("case", PROMPTS)
    async def test_a_prompt_reaches_the_wire_whole(
        self, bay: Bay, rule: Rule, case: Peculiarity
    ) -> None:
        """No message is cut, trimmed, joined or left out; what cannot be sent is refused."""
        bay.target.require("requests")
        messages = PROMPTS[case]
        bay.mark()
        outcome = await bay.chat(bay.request(messages=messages))
        if isinstance(outcome.error, UnsupportedFeatureError):
            rule.holds(not bay.chats(), f"refused, and sent all the same: {outcome}")
            return
        rule.holds(bay.chats(), f"nothing was sent: {outcome}")
        sent = values(bay.chats()[-1])
        whole = _in_order([message.text for message in messages], sent)
        bay.keeps(rule, case, whole, shown(bay.chats()))

    async def test_the_server_is_told_who_said_what(self, bay: Bay, rule: Rule) -> None:
        """What the user, the model and the system said differ on the wire by more than the text."""
        bay.target.require("requests")
        texts = [f"{_SAID}{who}" for who in ("system", "user", "model", "user again")]
        roles: tuple[Role, ...] = ("system", "user", "assistant", "user")
        messages = [Message(role=r, content=t) for r, t in zip(roles, texts, strict=True)]
        bay.mark()
        await bay.chat(bay.request(messages=messages))
        rule.holds(bay.chats(), "nothing was sent")
        places = [_place(bay.chats()[-1], text) for text in texts]
        apart = places[1] == places[3] and len({*places[:3]}) == 3 and all(places)
        bay.keeps(rule, "roles", apart, shown(bay.chats()))

    async def test_a_turn_knows_nothing_of_the_one_before(self, bay: Bay, rule: Rule) -> None:
        """Each turn sends its own messages, and none of an earlier one's."""
        bay.target.require("requests")
        await bay.chat(bay.request(messages=[user("kit: the first conversation")]))
        bay.mark()
        await bay.chat(bay.request(messages=[user("kit: the second")]))
        old = [r for r in bay.seen() if b"the first conversation" in r.body]
        rule.holds(bay.chats() and not old, f"it was sent again: {shown(old)}")

    async def test_a_turn_asks_for_nothing_besides(self, bay: Bay, rule: Rule) -> None:
        """When a provider has warmed up, a turn is one request of any sort."""
        bay.target.require("requests")
        info = await bay.model()
        await bay.chat(info=info)
        bay.mark()
        await bay.chat(info=info)
        bay.keeps(rule, "other requests", len(bay.seen()) == 1, shown(bay.seen()))

    @pytest.mark.parametrize("status", [500, 503])
    async def test_a_turn_that_fails_is_not_asked_again(
        self, bay: Bay, rule: Rule, status: int
    ) -> None:
        """A failure is the caller's to know; the plugin does not retry unless it was told to."""
        bay.target.require("requests", "faults")
        info = await bay.model()
        await bay.chat(info=info)
        bay.mark()
        bay.target.arm(Fault(status=status), bay.target.chat_path)
        outcome = await bay.chat(info=info)
        rule.holds(isinstance(outcome.error, ModelbayError), f"{outcome}; {shown(bay.chats())}")
        once = len(bay.chats()) == 1
        if status == 503:
            bay.keeps(rule, "retries", once, shown(bay.chats()))
        else:
            rule.holds(once, shown(bay.chats()))

    async def test_the_path_of_an_address_is_kept(self, target: Target, rule: Rule) -> None:
        """A server below a path, as a reverse proxy has it, is asked below that path alone."""
        target.require("requests", "address")
        url = f"{target.config.base_url}/kit-below"
        async with Bay.open(target, target.config.model_copy(update={"base_url": url})) as bay:
            await bay.chat(info=bay.made_up(target.model))
            with suppress(ModelbayError):
                await bay.backend().discover_models()
            outside = [r for r in bay.seen() if "/kit-below/" not in f"{r.raw_path}/"]
            rule.holds(bay.seen(), "nothing was asked")
            bay.keeps(rule, "address path", not outside, shown(outside))

    async def test_no_number_is_invented(self, bay: Bay, rule: Rule) -> None:
        """A plain turn sends no limit, temperature or other number that nobody asked for."""
        bay.target.require("requests")
        bay.mark()
        await bay.chat()
        rule.holds(bay.chats(), "nothing was sent")
        found = dict(_numbers(bay.chats()[-1].json()))
        invented = {name: n for name, n in found.items() if name not in bay.target.adds}
        rule.holds(not invented, f"sent of its own accord: {invented}")
        absent = sorted(bay.target.adds.keys() - found.keys())
        rule.holds(not absent, f"declared in Target.adds, and not sent: {absent}")

    async def test_a_whole_answer_is_asked_as_one(self, bay: Bay, rule: Rule) -> None:
        """With stream=False the server is asked otherwise than with stream=True, or a Notice."""
        bay.target.require("requests")
        bodies: list[list[bytes]] = []
        noticed: list[Notice] = []
        for stream in (True, False):
            bay.mark()
            outcome = await bay.chat(bay.request(stream=stream))
            noticed += [e for e in outcome.events if isinstance(e, Notice) and "stream" in str(e)]
            bodies.append([r.target.encode() + r.body for r in bay.chats()])
        differ = bool(noticed) or bodies[0] != bodies[1]
        bay.keeps(rule, "unstreamed", differ, f"both times {bodies[0]}")

    @pytest.mark.parametrize("case", ANSWERS)
    async def test_an_answer_comes_back_as_it_is(self, bay: Bay, rule: Rule, case: str) -> None:
        """No character of an answer is dropped, changed or normalised on its way."""
        sent = ("<", *ANSWERS[case], ">")
        outcome = await _told(bay, b"".join(map(bay.target.wire.text, sent)), bay.target.wire.end)
        rule.holds(outcome.error is None, outcome)
        text = text_of(outcome.events)
        rule.holds(text == "".join(sent), f"sent {''.join(sent)!r}, got {text!r}")

    async def test_a_cut_off_answer_finishes_with_length(self, bay: Bay, rule: Rule) -> None:
        """An answer that the output limit cut off has the finish reason `length`, not `stop`."""
        wire = bay.target.wire
        end = wire.length or wire.end.replace(b'"stop"', b'"length"')
        if end == wire.end:
            rule.broken("Wire.length is not set, and Wire.end has no word 'stop'")
        outcome = await _told(bay, wire.text("one "), end)
        rule.holds(outcome.error is None, outcome)
        finish = outcome.events[-1]
        rule.holds(isinstance(finish, Finish) and finish.reason == "length", finish)


async def _told(bay: Bay, body: bytes, end: bytes) -> Outcome:
    """A turn that the server answers with these bytes."""
    bay.target.require("faults")
    info = await bay.model()
    answer = http_answer(body + end, content_type=bay.target.wire.content_type)
    bay.target.arm(Fault(garbage=answer), bay.target.chat_path)
    return await bay.chat(info=info)


def _in_order(texts: list[str], sent: list[object]) -> bool:
    """Whether every text is among the values, each after the one before."""
    rest = iter(sent)
    return all(any(type(value) is str and value == text for value in rest) for text in texts)


def _place(request: Request, text: str) -> str:
    """Where in a body a text stands, and what stands beside it; places in a list do not count."""
    return "; ".join(_places(request.json(), text))


def _places(value: object, text: str) -> Iterator[str]:
    match value:
        case dict():
            for key, inner in value.items():
                if text in _strings(inner):
                    beside = [f"{k}={v!r}" for k, v in value.items() if _is_plain(v) and v != text]
                    yield f"{key} beside {sorted(beside)}"
                    yield from _places(inner, text)
        case list():
            if text in value:
                beside = [v for v in value if _is_plain(v) and not str(v).startswith(_SAID)]
                yield f"beside {beside}"
            for inner in value:
                yield from _places(inner, text)


def _is_plain(value: object) -> bool:
    return not isinstance(value, (dict, list))


def _strings(value: object) -> list[object]:
    match value:
        case str():
            return [value]
        case list():
            return [found for inner in value for found in _strings(inner)]
        case dict():
            return [found for inner in value.values() for found in _strings(inner)]
    return []


def _numbers(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    """Numbers in a body, by the name of the field they stand in."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from _numbers(inner, str(key))
        case list():
            for inner in value:
                yield from _numbers(inner, name)
        case bool():
            return
        case int() | float():
            yield name, value
