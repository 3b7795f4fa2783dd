"""Conversations as OpenAI's clients send them, to core types and back: nothing is lost."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fuzzing import CONVERSATIONS
from modelbay.wire.openai_chat import Dialect, encode_chat
from modelbay_gateway.openai.decode import decode_chat

EVERYTHING = Dialect(
    max_tokens_field="max_tokens",
    default_limit=False,
    reasoning_history="reasoning_content",
    developer_role=True,
    refusals=True,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
WORD = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=12)
BASE64 = st.binary(max_size=12).map(lambda data: __import__("base64").b64encode(data).decode())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=8,
)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that have any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


TEXT_PART = st.builds(lambda text: {"type": "text", "text": text}, TEXT)
IMAGE_PART = st.builds(
    lambda url, detail: {"type": "image_url", "image_url": {"url": url, **detail}},
    st.builds(
        lambda kind, data: f"data:image/{kind};base64,{data}",
        st.sampled_from(["png", "jpeg", "webp"]),
        BASE64,
    )
    | st.builds(lambda name: f"https://example.org/{name}.png", WORD),
    some(detail=st.sampled_from(["auto", "low", "high", "original"])),
)
AUDIO_PART = st.builds(
    lambda data, kind: {"type": "input_audio", "input_audio": {"data": data, "format": kind}},
    BASE64,
    st.sampled_from(["wav", "mp3"]),
)
PARTS = st.lists(TEXT_PART | IMAGE_PART | AUDIO_PART, min_size=1, max_size=4)
REFUSAL_PART = st.builds(lambda text: {"type": "refusal", "refusal": text}, TEXT)
NAMED = some(name=WORD)

PLAIN = st.builds(
    lambda role, content, name: {"role": role, "content": content, **name},
    st.sampled_from(["system", "developer", "user"]),
    TEXT | PARTS,
    NAMED,
)
CALL = st.builds(
    lambda id, name, arguments: {
        "id": f"call_{id}",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)},
    },
    WORD,
    WORD,
    st.dictionaries(WORD, JSON, max_size=3),
)
ASSISTANT = st.builds(
    lambda content, more: {"role": "assistant", **content, **more},
    some(
        content=st.none() | TEXT | st.lists(TEXT_PART | REFUSAL_PART, min_size=1, max_size=3),
        refusal=st.none() | TEXT,
    ),
    some(
        reasoning_content=TEXT.filter(bool),
        tool_calls=st.lists(CALL, min_size=1, max_size=3),
        name=WORD,
    ),
)
RESULT = st.builds(
    lambda id, content: {"role": "tool", "tool_call_id": f"call_{id}", "content": content},
    WORD,
    TEXT | st.lists(TEXT_PART | IMAGE_PART, min_size=1, max_size=3),
)
TOOL = st.builds(
    lambda name, properties, more: {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": properties},
            **more,
        },
    },
    WORD,
    st.dictionaries(WORD, st.just({"type": "string"}), max_size=2),
    some(description=TEXT, strict=st.booleans()),
)
FORMAT = st.just({"type": "json_object"}) | st.builds(
    lambda name, more: {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": {"type": "object"}, **more},
    },
    WORD,
    some(description=TEXT, strict=st.booleans()),
)
SETTINGS = some(
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1),
    top_k=st.integers(0, 100),
    max_tokens=st.integers(1, 10**6),
    seed=st.integers(0, 2**32),
    stop=TEXT | st.lists(TEXT, min_size=1, max_size=4),
    reasoning_effort=st.sampled_from(["none", "low", "high"]),
    response_format=FORMAT,
    frequency_penalty=st.floats(-2, 2),
    logit_bias=st.dictionaries(st.integers(0, 9**5).map(str), st.integers(-100, 100), max_size=2),
    user=TEXT,
    metadata=st.dictionaries(WORD, TEXT, max_size=2),
    parallel_tool_calls=st.booleans(),
    presence_penalty=st.floats(-2, 2),
    service_tier=st.sampled_from(["auto", "flex"]),
    prompt_cache_key=TEXT,
    safety_identifier=TEXT,
    store=st.booleans(),
    verbosity=st.sampled_from(["low", "high"]),
    web_search_options=st.just({"search_context_size": "low"}),
    thinking=st.just({"type": "enabled"}),
    min_p=st.floats(0, 1),
    chat_template_kwargs=st.dictionaries(WORD, JSON, max_size=2),
)
UNKNOWN = st.dictionaries(WORD.map(lambda word: f"x_{word}"), JSON.filter(lambda v: v is not None))


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": draw(WORD),
        "messages": draw(st.lists(PLAIN | ASSISTANT | RESULT, min_size=1, max_size=6)),
        "stream": draw(st.booleans()),
        **draw(UNKNOWN),
        **draw(SETTINGS),
    }
    if draw(st.booleans()):
        tools = draw(st.lists(TOOL, min_size=1, max_size=3))
        names = [dict(tool["function"])["name"] for tool in tools]
        request["tools"] = tools
        request["tool_choice"] = draw(
            st.sampled_from(["auto", "none", "required"])
            | st.builds(
                lambda name: {"type": "function", "function": {"name": name}},
                st.sampled_from(names),
            )
        )
    if request["stream"]:
        request["stream_options"] = {"include_usage": True}
    return request


@pytest.mark.fuzz
@settings(max_examples=CONVERSATIONS, derandomize=True)
@given(requests(), st.integers(0, 255))
def test_a_conversation_goes_there_and_back(request: dict[str, Any], marks: int) -> None:
    sent = json.loads(json.dumps(request))
    marked = _mark(sent, marks)
    asked = decode_chat(json.dumps(sent).encode())
    encoded = encode_chat(asked.request, request["model"], EVERYTHING)

    wanted = _in_full(request)
    assert json.dumps(encoded.body, sort_keys=True) == json.dumps(wanted, sort_keys=True)
    assert encoded.notices == ()
    assert [notice.message.split(" was left out")[0] for notice in asked.notices] == marked


def _mark(request: dict[str, Any], marks: int) -> list[str]:
    """Says of some parts that they are to be kept: a field without a place, which is reported.

    Args:
        marks: Every bit is for every eighth part.
    """
    marked = []
    count = 0
    for at, message in enumerate(request["messages"]):
        parts = message.get("content")
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            if marks >> count % 8 & 1:
                part["cache_control"] = {"type": "ephemeral"}
                marked.append(f"messages[{at}].content[{index}].cache_control")
            count += 1
    return marked


def _in_full(request: dict[str, Any]) -> dict[str, Any]:
    """The same in the one form it has on the wire.

    Of the fields that the core knows, numbers are floats; of all others they keep their kind.
    """
    full = {**request, "messages": [_message(message) for message in request["messages"]]}
    for name in ("temperature", "top_p"):
        if name in request:
            full[name] = float(request[name])
    if isinstance(request.get("stop"), str):
        full["stop"] = [request["stop"]]
    if "tools" in request:
        full["tools"] = [
            {**tool, "function": {"description": "", **tool["function"]}}
            for tool in request["tools"]
        ]
    return full


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Content is there, and a refusal is a part of it."""
    content, refusal = message.get("content") or "", message.get("refusal")
    if refusal:
        texts = [{"type": "text", "text": content}] if content else []
        before = content if isinstance(content, list) else texts
        content = [*before, {"type": "refusal", "refusal": refusal}]
    return {
        **{name: value for name, value in message.items() if name != "refusal"},
        "content": content,
    }
