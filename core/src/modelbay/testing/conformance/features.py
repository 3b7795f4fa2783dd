"""Checks of what only some models do: it works where it is declared and is refused elsewhere."""

from collections.abc import Awaitable, Callable

import pytest

from modelbay.errors import ModelbayError, UnsupportedFeatureError
from modelbay.models.capabilities import Facts
from modelbay.models.chat import ChatRequest, JsonMode, JsonSchema, Message, NamedTool, Tool, user
from modelbay.models.events import ReasoningDelta, TextDelta, ToolCall
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest, EmbedRequest, ImageRequest, RerankRequest
from modelbay.refs import ModelRef
from modelbay.testing.conformance.bay import Bay, Outcome, Rule, shown, values
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.target import Ability, Calls, Target
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

    async def test_embeddings_keep_their_order(self, bay: Bay, rule: Rule) -> None:
        """n texts give n vectors of one length, each at its text's place."""
        wire_id = await _or_refused(bay, rule, "embeddings", bay.target.embedder)
        ref = ModelRef(bay.provider_id, wire_id)
        texts = ["the first text", "another one", "zwölf \U0001f98a"]
        there = await bay.host.embed(EmbedRequest(model=ref, input=texts))
        back = await bay.host.embed(EmbedRequest(model=ref, input=texts[::-1]))
        rule.holds(len(there.vectors) == len(texts), f"{len(there.vectors)} vectors for 3 texts")
        rule.holds(len({len(v) for v in there.vectors}) == 1, "vectors of different lengths")
        rule.holds(there.vectors[0] != there.vectors[1], "two texts with one and the same vector")
        near = all(
            max(range(len(texts)), key=lambda other: _alike(vector, back.vectors[other])) == place
            for vector, place in zip(there.vectors, reversed(range(len(texts))), strict=True)
        )
        rule.holds(near, "in the opposite order the texts have other vectors")

    async def test_ranking_names_documents_by_their_place(self, bay: Bay, rule: Rule) -> None:
        """Each document is ranked once, by its place in the request, the best first."""
        wire_id = await _or_refused(bay, rule, "rerank", bay.target.reranker)
        request = RerankRequest(
            model=ModelRef(bay.provider_id, wire_id),
            query="a cat",
            documents=["a dog", "a cat", "x"],
        )
        results = (await bay.host.rerank(request)).results
        rule.holds(sorted(r.index for r in results) == [0, 1, 2], results)
        scores = [r.score for r in results]
        rule.holds(scores == sorted(scores, reverse=True), f"not the best first: {results}")

    async def test_images_are_made_or_refused(self, bay: Bay, rule: Rule) -> None:
        """n images come for n, as image parts; without the hook there is a typed refusal."""
        wire_id = await _or_refused(bay, rule, "images", bay.target.painter)
        request = ImageRequest(model=ModelRef(bay.provider_id, wire_id), prompt="a cat", n=1)
        result = await bay.host.generate_image(request)
        rule.holds(len(result.images) == 1 and result.images[0].data, result)

    async def test_a_raw_prompt_is_continued_or_refused(self, bay: Bay, rule: Rule) -> None:
        """A raw prompt gives a stream like a chat's; without the hook there is a typed refusal."""
        wire_id = await _or_refused(bay, rule, "complete", bay.target.model)
        request = CompleteRequest(
            model=ModelRef(bay.provider_id, wire_id), prompt="Once", max_tokens=8
        )
        async with bay.host.complete(request, deadline_s=20) as stream:
            events = [event async for event in stream]
        rule.holds(not check_events(events), check_events(events))


def _alike(one: list[float], other: list[float]) -> float:
    """A server may compute a text's vector a little differently from one batch to the next."""
    return -sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


_HOOKS: dict[Ability, str] = {
    "embeddings": "embed",
    "rerank": "rerank",
    "images": "generate_image",
    "complete": "complete",
}


async def _or_refused(bay: Bay, rule: Rule, ability: Ability, wire_id: str | None) -> str:
    """The model to ask; where the plugin has no such hook, only the refusal is checked."""
    if not bay.backend().offers(_HOOKS[ability]):
        await _refusal(bay, rule, ability)
        pytest.skip(f"declared by the plugin: no hook {_HOOKS[ability]}; the refusal is typed")
    bay.target.require(ability)
    if wire_id is None:
        rule.broken(f"there is a hook {_HOOKS[ability]}, no model for it, and no declaration")
    return wire_id


async def _refusal(bay: Bay, rule: Rule, ability: Ability) -> None:
    ref = ModelRef(bay.provider_id, bay.target.model)

    async def complete() -> None:
        async with bay.host.complete(CompleteRequest(model=ref, prompt="x")) as events:
            async for _ in events:
                pass

    asked: dict[Ability, Callable[[], Awaitable[object]]] = {
        "embeddings": lambda: bay.host.embed(EmbedRequest(model=ref, input=["x"])),
        "rerank": lambda: bay.host.rerank(RerankRequest(model=ref, query="x", documents=["y"])),
        "images": lambda: bay.host.generate_image(ImageRequest(model=ref, prompt="x")),
        "complete": complete,
    }
    try:
        await asked[ability]()
    except UnsupportedFeatureError as exc:
        rule.holds(exc.hint, "no hint says what to do instead")
        return
    except ModelbayError as exc:
        rule.broken(repr(exc))
    rule.broken("it was done without a hook")


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
