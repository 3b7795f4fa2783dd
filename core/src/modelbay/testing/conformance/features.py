"""Checks of what only some models do: it works where it is declared and is refused elsewhere."""

import pytest

from modelbay.errors import UnsupportedFeatureError
from modelbay.models.capabilities import Facts
from modelbay.models.chat import ChatRequest, JsonMode, JsonSchema, Message, NamedTool, Tool, user
from modelbay.models.events import Notice, ReasoningDelta, TextDelta, ToolCall
from modelbay.models.frozen import JsonObject
from modelbay.testing.conformance.bay import Bay, Outcome, Rule, shown, values
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.target import Calls, Target
from modelbay.testing.fault import Fault
from modelbay.testing.streams import check_events, joined, json_object, reasoning_of, text_of

SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Oslo", "Lima"]},
        "size": {"type": "integer"},
    },
    "required": ["city", "size"],
    "additionalProperties": False,
}
FEATURES: dict[str, dict[str, object]] = {
    "tools": {"tools": [Tool(name="kit_tool", parameters={"type": "object"})]},
    "json_schema": {"response_format": JsonSchema(schema=SCHEMA)},
    "json_mode": {"response_format": JsonMode()},
}


class ToolChecks(Kit):
    read = "modelbay/models/events.py: ToolCall; modelbay/models/chat.py: Tool"

    async def test_a_tool_call_arrives_whole(self, bay: Bay, rule: Rule) -> None:
        """A call has an id, the tool's name and a JSON object as arguments; deltas come before."""
        calls = _caller(bay, rule)
        outcome = await bay.chat(_with_tool(bay, calls))
        rule.holds(outcome.error is None, outcome)
        rule.holds(not check_events(outcome.events), check_events(outcome.events))
        call = _call(rule, outcome)
        rule.holds(call.name == calls.tool, f"the call is for {call.name!r}")
        rule.holds(json_object(call.arguments) == dict(calls.arguments), call.arguments)
        rule.holds(outcome.events[-1].type == "finish", outcome)
        reason = getattr(outcome.events[-1], "reason", None)
        rule.holds(reason == "tool_calls", f"the finish reason is {reason}")

    @pytest.mark.parametrize("size", [1, 7, 64])
    async def test_a_tool_call_does_not_depend_on_chunk_boundaries(
        self, bay: Bay, rule: Rule, size: int
    ) -> None:
        """The same call comes out, wherever the bytes are cut."""
        bay.target.require("faults")
        request = _with_tool(bay, _caller(bay, rule))
        whole = joined(await bay.answer(request))
        bay.see_each_chunk()
        bay.target.arm(Fault(rechunk_bytes=size), bay.target.chat_path)
        cut = joined(await bay.answer(request))
        rule.holds(whole == cut, f"uncut {whole}; in pieces of {size} bytes {cut}")

    async def test_tools_reach_the_wire(self, bay: Bay, rule: Rule) -> None:
        """Name, description and parameters of a tool are sent."""
        calls = _caller(bay, rule)
        bay.target.require("requests")
        bay.mark()
        await bay.chat(_with_tool(bay, calls))
        found = values(bay.chats()[-1])
        for wanted in (
            calls.tool,
            "what the kit's tool does",
            *(["string"] * bool(calls.arguments)),
        ):
            rule.holds(wanted in found, f"{wanted!r} is missing: {shown(bay.chats())}")

    async def test_a_tool_s_result_goes_back(self, bay: Bay, rule: Rule) -> None:
        """The call and its result are sent in the next turn, tied by the call's id."""
        calls = _caller(bay, rule)
        bay.target.require("requests")
        first = await bay.chat(_with_tool(bay, calls))
        call = _call(rule, first)
        history = [
            user("Call it."),
            Message(role="assistant", tool_calls=[call]),
            Message(role="tool", content="kit-result-12", tool_call_id=call.id, name=call.name),
        ]
        bay.mark()
        second = await bay.chat(_with_tool(bay, calls, messages=history))
        rule.holds(second.error is None, second)
        found = values(bay.chats()[-1])
        rule.holds("kit-result-12" in found, f"the result is missing: {shown(bay.chats())}")
        rule.holds(found.count(call.name) >= 2, f"the call is missing: {shown(bay.chats())}")

    async def test_an_unknown_named_tool_is_refused(self, bay: Bay, rule: Rule) -> None:
        """A tool_choice that names no offered tool is refused before the wire."""
        calls = _caller(bay, rule)
        bay.mark()
        request = _with_tool(bay, calls, tool_choice=NamedTool(name="kit_absent"))
        outcome = await bay.chat(request)
        rule.holds(isinstance(outcome.error, UnsupportedFeatureError), outcome)
        if bay.target.has("requests"):
            rule.holds(not bay.chats(), f"the server was asked: {shown(bay.chats())}")

    async def test_every_tool_reaches_the_wire(self, bay: Bay, rule: Rule) -> None:
        """Of several tools all are sent, in their order."""
        calls = _caller(bay, rule)
        bay.target.require("requests")
        names = [calls.tool, "kit_second_tool", "kit_third_tool"]
        tools = [Tool(name=name, parameters={"type": "object"}) for name in names]
        bay.mark()
        await bay.chat(bay.request(calls.model, tools=tools))
        found = [value for value in values(bay.chats()[-1]) if value in names]
        rule.holds(found == names, f"in this order: {found}")

    async def test_tools_end_with_their_turn(self, bay: Bay, rule: Rule) -> None:
        """A turn without tools offers none, whatever the turn before it did."""
        calls = _caller(bay, rule)
        await bay.chat(_with_tool(bay, calls))
        bay.mark()
        outcome = await bay.chat(bay.request(calls.model))
        called = [event for event in outcome.events if isinstance(event, ToolCall)]
        rule.holds(not called, f"a call of nothing that was offered: {called}")
        if bay.target.has("requests"):
            offered = [request for request in bay.chats() if calls.tool in values(request)]
            rule.holds(not offered, f"it was offered again: {shown(offered)}")

    @pytest.mark.parametrize("choice", ["none", "required"])
    async def test_a_tool_choice_is_sent_or_refused(
        self, bay: Bay, rule: Rule, choice: str
    ) -> None:
        """Whether a tool may or must be called changes what is sent, or is refused, or noticed."""
        calls = _caller(bay, rule)
        bay.target.require("requests")
        bay.mark()
        await bay.chat(_with_tool(bay, calls, tool_choice="auto"))
        free = [request.body for request in bay.chats()]
        bay.mark()
        outcome = await bay.chat(_with_tool(bay, calls, tool_choice=choice))
        if isinstance(outcome.error, UnsupportedFeatureError):
            rule.holds(not bay.chats(), f"refused, and sent all the same: {shown(bay.chats())}")
            return
        noticed = [e for e in outcome.events if isinstance(e, Notice) and "tool" in e.message]
        sent = [request.body for request in bay.chats()]
        rule.holds(noticed or sent != free, f"'{choice}' is sent as 'auto': {shown(bay.chats())}")


class ReasoningChecks(Kit):
    read = "modelbay/models/events.py: ReasoningDelta"

    async def test_reasoning_is_apart_from_the_answer(self, bay: Bay, rule: Rule) -> None:
        """What a model thinks comes as ReasoningDelta, before the text and never in it."""
        thinks = bay.target.thinks
        bay.target.require("reasoning")
        if thinks is None:
            rule.broken("Target.thinks is not set, and 'reasoning' not declared")
        outcome = await bay.chat(bay.request(thinks.model))
        rule.holds(outcome.error is None, outcome)
        thought, text = reasoning_of(outcome.events).strip(), text_of(outcome.events).strip()
        rule.holds(thought == thinks.reasoning.strip(), f"thought {thought!r}")
        rule.holds(text == thinks.text.strip(), f"said {text!r}")
        sorts = [e.type for e in outcome.events if isinstance(e, (ReasoningDelta, TextDelta))]
        rule.holds(sorts == sorted(sorts), f"thoughts after text: {sorts}")

    @pytest.mark.parametrize("size", [1, 7])
    async def test_reasoning_does_not_depend_on_chunk_boundaries(
        self, bay: Bay, rule: Rule, size: int
    ) -> None:
        """The same thought comes out, wherever the bytes are cut."""
        bay.target.require("reasoning", "faults")
        if bay.target.thinks is None:
            rule.broken("Target.thinks is not set, and 'reasoning' not declared")
        request = bay.request(bay.target.thinks.model)
        whole = joined(await bay.answer(request))
        bay.see_each_chunk()
        bay.target.arm(Fault(rechunk_bytes=size), bay.target.chat_path)
        cut = joined(await bay.answer(request))
        rule.holds(whole == cut, f"uncut {whole}; in pieces of {size} bytes {cut}")

    async def test_an_effort_is_sent_or_noticed(self, bay: Bay, rule: Rule) -> None:
        """How hard a model shall think is sent, or refused, or left out with a Notice."""
        bay.target.require("reasoning", "requests")
        if bay.target.thinks is None:
            rule.broken("Target.thinks is not set, and 'reasoning' not declared")
        wire_id = bay.target.thinks.model
        sent: list[list[bytes]] = []
        noticed: list[str] = []
        for effort in ("low", "high", "none"):
            bay.mark()
            outcome = await bay.chat(bay.request(wire_id, reasoning_effort=effort))
            if isinstance(outcome.error, UnsupportedFeatureError):
                return
            sent.append([request.body for request in bay.chats()])
            noticed += [e.message for e in outcome.events if isinstance(e, Notice)]
        told = any("effort" in message or "think" in message for message in noticed)
        differ = any(bodies != sent[0] for bodies in sent[1:])
        rule.holds(told or differ, f"low, high and none are sent alike: {sent[0]}")


class FeatureChecks(Kit):
    read = "modelbay/models/capabilities.py: Facts; modelbay/host/host.py"

    @pytest.mark.parametrize("feature", FEATURES)
    async def test_what_a_model_cannot_do_is_refused(
        self, target: Target, rule: Rule, feature: str
    ) -> None:
        """A feature the model is known not to have is refused before the wire, with a hint."""
        facts = Facts.model_validate({feature: False})
        config = target.config.model_copy(update={"models": {"*": facts}})
        async with Bay.open(target, config) as bay:
            info = await bay.model()
            known = getattr(info.capabilities, feature)
            rule.holds(known is False, f"the user's word did not count: {known}")
            bay.mark()
            outcome = await bay.chat(bay.request(**FEATURES[feature]))
            rule.holds(isinstance(outcome.error, UnsupportedFeatureError), outcome)
            rule.holds(getattr(outcome.error, "hint", None), "no hint says what to do")
            if target.has("requests"):
                rule.holds(not bay.chats(), f"the server was asked: {shown(bay.chats())}")

    @pytest.mark.parametrize("feature", FEATURES)
    async def test_a_feature_is_sent_or_refused(self, bay: Bay, rule: Rule, feature: str) -> None:
        """What would change an answer's meaning is sent or refused; it is never left out."""
        bay.target.require("requests")
        bay.mark()
        outcome = await bay.chat(bay.request(**FEATURES[feature]))
        if isinstance(outcome.error, UnsupportedFeatureError):
            rule.holds(not bay.chats(), f"refused, and sent all the same: {shown(bay.chats())}")
            return
        marks = {"tools": b"kit_tool", "json_schema": b'"city"', "json_mode": b"json"}
        sent = any(marks[feature] in request.body for request in bay.chats())
        rule.holds(sent, f"{feature} was left out: {shown(bay.chats())}")

    async def test_a_schema_holds(self, bay: Bay, rule: Rule) -> None:
        """An answer under a schema is a JSON object of that schema."""
        bay.target.require("json_schema")
        if bay.target.json_model is None:
            rule.broken("Target.json_model is not set, and 'json_schema' not declared")
        request = bay.request(bay.target.json_model, response_format=JsonSchema(schema=SCHEMA))
        outcome = await bay.chat(request)
        rule.holds(outcome.error is None, outcome)
        found = json_object(text_of(outcome.events))
        rule.holds(
            found is not None
            and found.get("city") in ("Oslo", "Lima")
            and isinstance(found.get("size"), int),
            f"the answer is {text_of(outcome.events)!r}",
        )


def _caller(bay: Bay, rule: Rule) -> Calls:
    bay.target.require("tools")
    if bay.target.calls is None:
        rule.broken("Target.calls is not set, and 'tools' not declared")
    return bay.target.calls


def _with_tool(bay: Bay, calls: Calls, **fields: object) -> ChatRequest:
    tool = Tool(
        name=calls.tool,
        description="what the kit's tool does",
        parameters={
            "type": "object",
            "properties": {name: {"type": "string"} for name in calls.arguments},
            "required": list(calls.arguments),
        },
    )
    return bay.request(calls.model, **{"tools": [tool], **fields})


def _call(rule: Rule, outcome: Outcome) -> ToolCall:
    found = [event for event in outcome.events if isinstance(event, ToolCall)]
    rule.holds(len(found) == 1, f"{len(found)} calls: {outcome}")
    return found[0]
