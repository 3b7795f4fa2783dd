"""Checks of a turn: what was asked reaches the server, and what it says comes back."""

import secrets

import pytest

from modelbay.errors import UnsupportedFeatureError
from modelbay.models.chat import ImagePart, Message, Role, user
from modelbay.models.events import Finish, Notice, StreamEvent, Usage
from modelbay.testing.conformance.bay import Bay, Rule, shown, values
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.request import Request
from modelbay.testing.streams import check_events, text_of

ODD = 'Grüße, 日本! \U0001f98a \u2028 "quoted" \\back\\ \t tab'
# Values nobody sends by accident, so that they can be found wherever a wire puts them.
MAX_TOKENS = 3571
HIGH_MAX_TOKENS = 30_011
TEMPERATURE = 0.4375
STOP = "kit-stop-7c1"
TUNING: dict[str, object] = {"top_p": 0.8125, "top_k": 1733, "seed": 90_210}


def type_name(value: object) -> str:
    return type(value).__name__


class ChatChecks(Kit):
    read = "modelbay/hookspecs.py: stream_chat; modelbay/models/chat.py: ChatRequest"

    async def test_answer_is_exact(self, bay: Bay, rule: Rule) -> None:
        """The text that comes out is the text the server said."""
        bay.target.require("text")
        rule.holds(bay.target.says is not None, "Target.says is not set, and 'text' not declared")
        outcome = await bay.chat()
        rule.holds(outcome.error is None, outcome)
        text = text_of(outcome.events)
        rule.holds(text == bay.target.says, f"wanted {bay.target.says!r}, got {text!r}")

    async def test_a_complete_answer_finishes_with_stop(self, bay: Bay, rule: Rule) -> None:
        """An answer that ended by itself has the finish reason `stop`."""
        bay.target.require("text")
        finish = (await _answered(bay, rule))[-1]
        rule.holds(isinstance(finish, Finish) and finish.reason == "stop", finish)

    @pytest.mark.parametrize("stream", [True, False], ids=("streamed", "whole"))
    async def test_usage_is_told(self, bay: Bay, rule: Rule, stream: bool) -> None:
        """The server's token counts come as Usage, the prompt's and the answer's, once."""
        bay.target.require("usage")
        events = await _answered(bay, rule, stream=stream)
        told = [event for event in events if isinstance(event, Usage)]
        rule.holds(len(told) == 1, f"Usage came {len(told)} times: {events[-3:]}")
        counts = (told[0].input_tokens, told[0].output_tokens)
        rule.holds(min(counts) > 0, f"in and out: {counts}")
        wanted = bay.target.counts
        rule.holds(wanted in (None, counts), f"the server counted {wanted}, Usage says {counts}")

    async def test_unstreamed_answer_is_the_same(self, bay: Bay, rule: Rule) -> None:
        """With stream=False the same text comes, and the same automaton holds."""
        bay.target.require("text")
        events = await _answered(bay, rule, stream=False)
        rule.holds(text_of(events) == bay.target.says, f"got {text_of(events)!r}")
        rule.holds(not check_events(events), check_events(events))

    async def test_wire_id_is_sent_bare(self, bay: Bay, rule: Rule) -> None:
        """The server gets the model's own name; the provider's prefix ends at the plugin."""
        sent = await _sent(bay)
        prefixed = [
            value
            for value in values(sent)
            if isinstance(value, str) and value.startswith(f"{bay.provider_id}/")
        ]
        rule.holds(not prefixed, f"the server got {prefixed}")

    async def test_the_requested_model_is_the_one_asked(self, bay: Bay, rule: Rule) -> None:
        """The server is asked for the model of this request, whatever its name looks like."""
        bay.target.require("requests")
        for wire_id in ("kit/other:model", "plain", "hf.co/a/b:Q4_K_M"):
            bay.mark()
            info = bay.made_up(wire_id)
            await bay.chat(bay.request(wire_id), info=info)
            asked = [request for request in bay.chats() if _names(request, wire_id)]
            rule.holds(asked, f"wanted {wire_id!r}; {shown(bay.seen())}")

    async def test_max_tokens_reaches_the_wire(self, bay: Bay, rule: Rule) -> None:
        """The limit of the answer is sent."""
        for limit in (MAX_TOKENS, HIGH_MAX_TOKENS):
            sent = await _sent(bay, max_tokens=limit)
            rule.holds(limit in values(sent), shown([sent]))

    async def test_temperature_reaches_the_wire(self, bay: Bay, rule: Rule) -> None:
        """The temperature is sent, and 0 is a temperature."""
        for temperature in (TEMPERATURE, 0.0):
            sent = await _sent(bay, temperature=temperature)
            found = [v for v in values(sent) if isinstance(v, (int, float)) and v is not False]
            rule.holds(temperature in found, shown([sent]))

    async def test_stop_reaches_the_wire(self, bay: Bay, rule: Rule) -> None:
        """All stop texts are sent."""
        sent = await _sent(bay, stop=[STOP, f"{STOP}-2"])
        missing = {STOP, f"{STOP}-2"} - {v for v in values(sent) if isinstance(v, str)}
        rule.holds(not missing, f"missing {missing}: {shown([sent])}")

    @pytest.mark.parametrize("name", TUNING)
    async def test_tuning_is_sent_or_noticed(self, bay: Bay, rule: Rule, name: str) -> None:
        """What only tunes the answer is sent, or left out with a Notice that names it."""
        bay.target.require("requests")
        bay.mark()
        outcome = await bay.chat(bay.request(**{name: TUNING[name]}))
        noticed = [e for e in outcome.events if isinstance(e, Notice) and name in e.message]
        sent = any(TUNING[name] in values(request) for request in bay.chats())
        rule.holds(sent or noticed, f"neither sent nor noticed: {shown(bay.chats())}")

    async def test_system_message_reaches_the_wire(self, bay: Bay, rule: Rule) -> None:
        """The system message is sent, apart from the user's."""
        system = "kit: answer like a pirate"
        sent = await _sent(bay, messages=[Message(role="system", content=system), user("Ahoy")])
        rule.holds(system in values(sent), shown([sent]))

    async def test_the_conversation_reaches_the_wire_in_order(self, bay: Bay, rule: Rule) -> None:
        """All messages are sent, in their order and word for word."""
        texts = ["first question", "first answer", "second question", "second answer", "third"]
        roles: tuple[Role, ...] = ("user", "assistant", "user", "assistant", "user")
        messages = [Message(role=role, content=t) for role, t in zip(roles, texts, strict=True)]
        sent = await _sent(bay, messages=messages)
        found = [value for value in values(sent) if value in texts]
        rule.holds(found == texts, f"in this order: {found}")

    async def test_text_reaches_the_wire_unharmed(self, bay: Bay, rule: Rule) -> None:
        """No character of a message is lost or changed on its way."""
        sent = await _sent(bay, messages=[user(ODD)])
        rule.holds(ODD in values(sent), shown([sent]))

    @pytest.mark.parametrize("value", [4711, {"deep": [4711]}, [4711]], ids=type_name)
    async def test_extra_reaches_the_wire_or_is_noticed(
        self, bay: Bay, rule: Rule, value: object
    ) -> None:
        """A field of the caller's own, whatever its name, is sent, or a Notice names it."""
        bay.target.require("requests")
        name = f"kit_{secrets.token_hex(4)}"  # no plugin can know it
        bay.mark()
        outcome = await bay.chat(bay.request(extra={name: value}))
        noticed = [e for e in outcome.events if isinstance(e, Notice) and name in e.message]
        sent = any(
            4711 in values(request) and name.encode() in request.body for request in bay.chats()
        )
        rule.holds(sent or noticed, f"neither sent nor noticed: {shown(bay.chats())}")

    async def test_more_than_one_answer_is_refused(self, bay: Bay, rule: Rule) -> None:
        """`n` would change what an answer is: UnsupportedFeatureError, before the wire."""
        bay.mark()
        outcome = await bay.chat(bay.request(extra={"n": 2}))
        rule.holds(isinstance(outcome.error, UnsupportedFeatureError), outcome)
        if bay.target.has("requests"):
            rule.holds(not bay.chats(), f"the server was asked: {shown(bay.chats())}")

    async def test_an_image_is_sent_or_refused(self, bay: Bay, rule: Rule) -> None:
        """An image reaches the server whole, or is refused before the wire; never left out."""
        bay.target.require("requests")
        data = "aGVsbG8ga2l0IGltYWdl"
        bay.mark()
        outcome = await bay.chat(bay.request(messages=[user("What is it?", ImagePart(data=data))]))
        sent = any(data.encode() in request.body for request in bay.chats())
        if isinstance(outcome.error, UnsupportedFeatureError):
            rule.holds(not bay.chats(), f"refused, and sent all the same: {outcome}")
        else:
            rule.holds(sent, f"the image was left out: {shown(bay.chats())}")

    async def test_one_turn_is_one_request(self, bay: Bay, rule: Rule) -> None:
        """A turn that works is posted once."""
        bay.target.require("requests")
        info = await bay.model()
        bay.mark()
        await bay.chat(info=info)
        rule.holds(len(bay.chats()) == 1, shown(bay.seen()))


async def _answered(bay: Bay, rule: Rule, **fields: object) -> list[StreamEvent]:
    """The events of a turn; one that fails breaks the rule."""
    outcome = await bay.chat(bay.request(**fields))
    rule.holds(outcome.error is None, outcome)
    return outcome.events


async def _sent(bay: Bay, **fields: object) -> Request:
    """What the server got of a turn; the turn itself may fail."""
    bay.target.require("requests")
    bay.mark()
    outcome = await bay.chat(bay.request(**fields))
    chats = bay.chats()
    if not chats:
        pytest.fail(
            f"no request reached {bay.target.chat_path} ({outcome}); is Target.chat_path right?",
            pytrace=False,
        )
    return chats[-1]


def _names(request: Request, wire_id: str) -> bool:
    return any(
        isinstance(value, str) and (value == wire_id or value.endswith(f"/{wire_id}"))
        for value in values(request)
    )
