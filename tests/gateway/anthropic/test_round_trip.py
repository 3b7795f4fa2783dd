"""Conversations as Anthropic's clients send them, to core types and back: nothing is lost."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.anthropic.back import request_of
from gateway.fuzzing import CONVERSATIONS
from modelbay.models.chat import ChatResult
from modelbay.models.events import ToolCall
from modelbay.refs import ModelRef
from modelbay_gateway.anthropic.blocks import SIGNATURE
from modelbay_gateway.anthropic.decode import decode_request
from modelbay_gateway.anthropic.encode import whole_message

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
WORD = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=12)
BASE64 = st.binary(max_size=12).map(lambda data: base64.b64encode(data).decode())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(WORD, JSON, max_size=3)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that have any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def block(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


TEXT_BLOCK = block("text", text=TEXT)
IMAGE = block(
    "image",
    source=block(
        "base64", media_type=st.sampled_from(["image/png", "image/jpeg", "image/webp"]), data=BASE64
    )
    | block("url", url=WORD.map(lambda name: f"https://example.org/{name}.png")),
)
DOCUMENT = st.builds(
    lambda document, title: {**document, **title},
    block("document", source=block("base64", media_type=st.just("application/pdf"), data=BASE64)),
    some(title=TEXT),
)
RESULT = st.builds(
    lambda result, more: {**result, **more},
    block("tool_result", tool_use_id=WORD.map(lambda word: f"toolu_{word}")),
    some(
        content=TEXT | st.lists(TEXT_BLOCK | IMAGE | DOCUMENT, min_size=1, max_size=3),
        is_error=st.booleans(),
    ),
)
USER = st.builds(
    lambda results, parts: {"role": "user", "content": [*results, *parts]},
    st.lists(RESULT, max_size=3),
    st.lists(TEXT_BLOCK | IMAGE | DOCUMENT, max_size=3),
).filter(lambda message: message["content"]) | st.builds(
    lambda text: {"role": "user", "content": text}, TEXT
)
THOUGHT = block("thinking", thinking=TEXT, signature=WORD | st.just(SIGNATURE)) | block(
    "redacted_thinking", data=BASE64
)
USE = block("tool_use", id=WORD.map(lambda word: f"toolu_{word}"), name=WORD, input=OBJECT)
ASSISTANT = st.builds(
    lambda content: {"role": "assistant", "content": content},
    TEXT | st.lists(THOUGHT | TEXT_BLOCK | USE, min_size=1, max_size=5),
)
TOOL = st.builds(
    lambda tool, more: {**tool, **more},
    st.fixed_dictionaries({"name": WORD, "input_schema": OBJECT.filter(bool)}),
    some(description=TEXT, strict=st.booleans(), type=st.just("custom")),
)
SYSTEM = st.builds(
    lambda content: {"role": "system", "content": content},
    TEXT | st.lists(TEXT_BLOCK, min_size=1, max_size=2),
)
# What no provider here has a place for; every field is reported by name.
NO_PLACE = some(
    metadata=st.just({"user_id": "u"}),
    service_tier=st.just("auto"),
    context_management=st.just({"edits": []}),
    container=st.just("c"),
)
SETTINGS = some(
    system=TEXT | st.lists(TEXT_BLOCK, min_size=1, max_size=3),
    temperature=st.floats(0, 1),
    top_p=st.floats(0, 1),
    top_k=st.integers(0, 500),
    stop_sequences=st.lists(TEXT, min_size=1, max_size=4),
)
THINKING = st.just({"thinking": {"type": "disabled"}}) | st.builds(
    lambda config: {
        "thinking": {"type": "adaptive"},
        **({"output_config": config} if config else {}),
    },
    some(
        effort=st.sampled_from(["low", "medium", "high", "xhigh", "max"]),
        format=block("json_schema", schema=OBJECT),
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    turns = draw(st.lists(st.tuples(USER, ASSISTANT, st.none() | SYSTEM), max_size=3))
    messages = [message for turn in turns for message in turn if message is not None]
    request: dict[str, Any] = {
        "model": draw(WORD),
        "max_tokens": draw(st.integers(1, 10**6)),
        "messages": [*messages, draw(USER)],
        "stream": draw(st.booleans()),
        **draw(SETTINGS),
        **draw(THINKING),
    }
    if draw(st.booleans()):
        tools = draw(st.lists(TOOL, min_size=1, max_size=3))
        names = st.sampled_from([tool["name"] for tool in tools])
        choices = block("tool", name=names) | st.sampled_from(["auto", "any", "none"]).map(
            lambda kind: {"type": kind}
        )
        once = draw(some(disable_parallel_tool_use=st.just(True)))
        request |= {"tools": tools, "tool_choice": {**draw(choices), **once}}
    return request


@pytest.mark.fuzz
@settings(max_examples=CONVERSATIONS, derandomize=True)
@given(requests(), NO_PLACE, st.integers(0, 255))
def test_a_conversation_goes_there_and_back(
    request: dict[str, Any], more: dict[str, Any], marks: int
) -> None:
    sent = json.loads(json.dumps({**request, **more}))
    left_out = {name: 1 for name in more}
    marked = _mark(sent, marks)
    if marked:
        left_out["cache_control"] = marked

    asked = decode_request(json.dumps(sent).encode())

    assert request_of(asked.request) == _in_blocks(request)
    assert {
        notice.message.partition(":")[0] for notice in asked.notices if notice.code == DROPPED
    } == {
        f"{name} was left out" + (f" ({count} places)" if count > 1 else "")
        for name, count in left_out.items()
    }
    assert len(asked.notices) == len(left_out)


DROPPED = "dropped_field"


def _mark(request: dict[str, Any], marks: int) -> int:
    """Says of some blocks that they are to be kept: a field without a place, which is reported.

    Args:
        marks: Every bit is for every eighth block.

    Returns:
        How many blocks were marked.
    """
    system = request.get("system")
    found = [*(system if isinstance(system, list) else ()), *request.get("tools", ())]
    for message in request["messages"]:
        if isinstance(message["content"], list):
            found += message["content"]
    for block in tuple(found):
        if block.get("type") == "tool_result" and isinstance(block.get("content"), list):
            found += block["content"]
    marked = [block for at, block in enumerate(found) if marks >> at % 8 & 1]
    for block in marked:
        block["cache_control"] = {"type": "ephemeral"}
    return len(marked)


def _in_blocks(request: dict[str, Any]) -> dict[str, Any]:
    """The same with every text as a block: a string is the short form of one."""
    messages = []
    for message in request["messages"]:
        content = _blocks(message["content"])
        for result in content:
            if "content" in result:
                result["content"] = _blocks(result["content"])
            if result.get("is_error") is False:
                del result["is_error"]
        messages.append({**message, "content": content})
    system = {"system": _blocks(request["system"])} if "system" in request else {}
    found = {**request, **system, "messages": messages}
    if "tools" in request:  # every tool that has a schema is the caller's own
        found["tools"] = [
            {name: value for name, value in tool.items() if name != "type"}
            for tool in request["tools"]
        ]
    return found


def _blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [dict(each) for each in content]


CALL = st.builds(
    lambda id, name, arguments: ToolCall(f"toolu_{id}", name, json.dumps(arguments)),
    WORD,
    WORD,
    OBJECT,
)


@settings(max_examples=300)
@given(text=TEXT | st.just(""), reasoning=TEXT | st.just(""), calls=st.lists(CALL, max_size=3))
def test_an_answer_that_is_sent_back_is_the_message_it_was(
    text: str, reasoning: str, calls: list[ToolCall]
) -> None:
    calls = [ToolCall(c.id, c.name, c.arguments, index) for index, c in enumerate(calls)]
    result = ChatResult(ref=ModelRef("d", "m"), text=text, reasoning=reasoning, tool_calls=calls)
    answer = json.loads(whole_message(result, id="msg_1", model="m", input_tokens=1, thinks=True))
    request = {
        "model": "m",
        "max_tokens": 1,
        "messages": [{"role": answer["role"], "content": answer["content"]}],
    }

    [message] = decode_request(json.dumps(request).encode()).request.messages

    sent = result.message()
    assert [json.loads(call.arguments) for call in message.tool_calls] == [
        json.loads(call.arguments) for call in sent.tool_calls
    ]
    assert message.model_copy(update={"tool_calls": sent.tool_calls}) == sent
