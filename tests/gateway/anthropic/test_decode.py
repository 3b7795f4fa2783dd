"""Mirrors modelbay_gateway/anthropic/decode.py and blocks.py."""

import json
from typing import Any

import pytest

from modelbay.models.chat import FilePart, Message, TextPart, Tool
from modelbay.models.events import Notice
from modelbay_gateway.anthropic.decode import MessagesCall, decode_request, fitted
from modelbay_gateway.refusal import Refused
from pretend import model

HI = {"role": "user", "content": "hi"}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
SOURCE = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
BASH = {"name": "Bash", "input_schema": {"type": "object"}}


def asked(**fields: Any) -> MessagesCall:
    body = {"model": "m", "max_tokens": 9, "messages": [HI], **fields}
    return decode_request(json.dumps(body).encode())


def content(*blocks: object, role: str = "user") -> list[Message]:
    return asked(messages=[{"role": role, "content": [*blocks]}]).request.messages


def notices(**fields: Any) -> list[str]:
    return [notice.message for notice in asked(**fields).notices]


# --- thinking -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "effort", "thinks"),
    [
        ({}, "none", False),  # in this protocol nobody thinks unless told to
        ({"thinking": {"type": "disabled"}}, "none", False),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low", True),
        ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, "low", True),
        ({"thinking": {"type": "enabled", "budget_tokens": 16384}}, "medium", True),
        ({"thinking": {"type": "enabled", "budget_tokens": 31999}}, "high", True),
        ({"thinking": {"type": "enabled"}}, "medium", True),
        ({"thinking": {"type": "adaptive"}}, None, True),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max", True),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}, "none", False),
    ],
)
def test_thinking_is_an_effort(fields: dict[str, Any], effort: str | None, thinks: bool) -> None:
    call = asked(**fields)

    assert (call.request.reasoning_effort, call.thinks) == (effort, thinks)


@pytest.mark.parametrize(
    ("reasoning", "kind", "effort", "told"),
    [
        (True, "disabled", "none", 0),
        (None, "disabled", None, 0),  # there may be nothing to switch off, and servers refuse it
        (False, "disabled", None, 0),
        (True, "enabled", "medium", 0),
        (None, "enabled", "medium", 0),
        (False, "enabled", None, 1),
        (False, "adaptive", None, 0),
    ],
)
def test_effort_is_fitted_to_what_is_known_of_the_model(
    reasoning: bool | None, kind: str, effort: str | None, told: int
) -> None:
    call = fitted(asked(thinking={"type": kind}), model(reasoning=reasoning), 5)

    assert (call.request.reasoning_effort, len(call.notices)) == (effort, told)


@pytest.mark.parametrize(
    ("limit", "window", "input_tokens", "lowered"),
    [
        (32000, None, 400, None),
        (32000, 200_000, 400, None),
        (3000, 4096, 400, None),
        (32000, 4096, 400, 4096 - 400 - 100 - 64),
        (32000, 4096, 4096, None),  # nothing fits, and the server says so
    ],
)
def test_a_limit_that_the_window_cannot_hold_is_lowered_and_that_is_told(
    limit: int, window: int | None, input_tokens: int, lowered: int | None
) -> None:
    call = fitted(asked(max_tokens=limit), model(context_window=window), input_tokens)

    assert call.request.max_tokens == (lowered or limit)
    assert [notice.code for notice in call.notices] == (["lowered_field"] if lowered else [])


@pytest.mark.parametrize(("layer", "wanted"), [("table", 8192), ("default", 32000)])
def test_a_limit_above_what_the_model_is_known_to_give_is_lowered(layer: str, wanted: int) -> None:
    known = model(max_output_tokens=8192, provenance={"max_output_tokens": {"layer": layer}})

    assert fitted(asked(max_tokens=32000), known, 5).request.max_tokens == wanted


# --- what is passed over --------------------------------------------------------------------------


def test_what_claude_code_sends_beside_the_conversation_is_passed_over_and_told() -> None:
    told = notices(
        system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}}],
            }
        ],
        tools=[{**BASH, "defer_loading": True, "cache_control": {"type": "ephemeral"}}, SEARCH],
        thinking={"type": "adaptive", "display": "summarized"},
        context_management={"edits": []},
        metadata={"user_id": "u"},
        service_tier="auto",
        mcp_servers=[],
        nobody_knows_this=1,
    )

    assert told == [
        "cache_control was left out (3 places): providers decide themselves what they cache",
        "defer_loading was left out: no provider here knows it",
        "web_search_20250305 was left out: no provider here knows it",
        "display was left out: no provider here knows it",
        "context_management was left out: no provider here knows it",
        "metadata was left out: no provider here knows it",
        "service_tier was left out: no provider here knows it",
        "mcp_servers was left out: no provider here knows it",
        "nobody_knows_this was left out: no provider here knows it",
    ]


def test_tools_of_anthropics_own_servers_are_left_out() -> None:
    request = asked(tools=[SEARCH, {"type": "custom", **BASH}]).request

    assert request.tools == [Tool(name="Bash", parameters={"type": "object"})]
    assert asked(tools=[SEARCH], tool_choice={"type": "auto"}).request.tool_choice is None


def test_a_notice_has_the_code_of_all_dropped_fields() -> None:
    assert asked(service_tier="auto").notices == (
        Notice("dropped_field", "service_tier was left out: no provider here knows it"),
    )


# --- blocks ---------------------------------------------------------------------------------------


def test_a_system_message_may_stand_anywhere() -> None:
    call = asked(
        system="First.",
        messages=[HI, {"role": "system", "content": [{"type": "text", "text": "Then."}]}],
    )

    assert [(m.role, m.text) for m in call.request.messages] == [
        ("system", "First."),
        ("user", "hi"),
        ("system", "Then."),
    ]


def test_documents_are_files_or_text() -> None:
    [message] = content(
        {"type": "document", "source": SOURCE, "title": "T"},
        {"type": "document", "source": {"type": "text", "data": "plain"}, "title": "U"},
        {"type": "document", "source": {"type": "content", "content": "inner"}, "title": "V"},
        {
            "type": "search_result",
            "title": "W",
            "source": "https://x.test",
            "content": [{"type": "text", "text": "found"}],
        },
    )

    assert message.content == [
        FilePart(data="AAAA", media_type="application/pdf", name="T"),
        TextPart(text="U\n\nplain"),
        TextPart(text="V"),
        TextPart(text="inner"),
        TextPart(text="W (https://x.test)\n\nfound"),
    ]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"content": "no"}, "Error: no"),
        ({}, "Error: "),
        ({"content": [{"type": "text", "text": "no"}]}, "Error: no"),
    ],
)
def test_a_failed_tool_can_be_read_by_any_model(given: dict[str, Any], text: str) -> None:
    [message] = content({"type": "tool_result", "tool_use_id": "x", "is_error": True, **given})

    assert (message.role, message.content) == ("tool", text)
    assert message.opaque == {"anthropic": {"is_error": True}}


def test_what_our_fields_cannot_hold_stays_whole() -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "a", "signature": "theirs"},
        {"type": "redacted_thinking", "data": "AAAA"},
        {"type": "tool_use", "id": "x", "name": "f", "input": {}},
        {"type": "text", "text": "after"},
    ]

    [message] = content(*blocks, role="assistant")

    assert (message.reasoning, message.content) == ("a", "after")
    assert message.opaque == {
        "anthropic": {"content": [*blocks[:2], {"type": "tool_use"}, {"type": "text"}]}
    }


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"model": ""}, "missing_field", "model"),
        ({"max_tokens": None}, "missing_field", "max_tokens"),
        ({"max_tokens": 0}, "invalid_field", "max_tokens"),
        ({"messages": []}, "missing_field", "messages"),
        ({"messages": [{"role": "user"}]}, "missing_field", "messages[0].content"),
        ({"messages": [{"role": "robot", "content": ""}]}, "invalid_field", "messages[0].role"),
        ({"system": 1}, "invalid_field", "system"),
        ({"system": [{"type": "image"}]}, "unsupported_field", "system[0].type"),
        ({"thinking": {"type": "much"}}, "invalid_field", "thinking.type"),
        ({"tool_choice": {"type": "one"}}, "invalid_field", "tool_choice.type"),
        (
            {"tools": [SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}},
            "unsupported_field",
            "tool_choice.name",
        ),
        ({"tools": [SEARCH], "tool_choice": {"type": "any"}}, "unsupported_field", "tool_choice"),
        ({"output_config": {"format": {"type": "xml"}}}, "unsupported_field", None),
        ({"stream": "yes"}, "invalid_field", "stream"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], code: str, field: str | None) -> None:
    with pytest.raises(Refused) as caught:
        asked(**fields)

    refusal = caught.value.refusal
    assert (refusal.status, refusal.code) == (400, code)
    assert refusal.field == (field or "output_config.format.type")


@pytest.mark.parametrize(
    ("block", "role", "field"),
    [
        ({"type": "hologram"}, "user", "type"),
        ({"type": "server_tool_use", "id": "x", "name": "f", "input": {}}, "assistant", "type"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "user", "source.type"),
        ({"type": "document", "source": {"type": "url", "url": "u"}}, "user", "source.type"),
        (
            {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "tool_result"}]},
            "user",
            "content[0].type",
        ),
        ({"type": "tool_use", "id": "x", "name": "f", "input": {}}, "user", "type"),
    ],
)
def test_blocks_that_cannot_cross_are_refused_by_name(
    block: dict[str, Any], role: str, field: str
) -> None:
    with pytest.raises(Refused) as caught:
        content(block, role=role)

    assert caught.value.refusal.code == "unsupported_field"
    assert caught.value.refusal.field == f"messages[0].content[0].{field}"


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"type": "any"}, ["tool_choice was left out: no provider here knows it"]),
        ({"type": "tool", "name": "f"}, ["tool_choice was left out: no provider here knows it"]),
        ({"type": "auto"}, []),
        ({"type": "none"}, []),
    ],
)
def test_a_choice_between_no_tools_is_told(choice: dict[str, Any], told: list[str]) -> None:
    assert notices(tool_choice=choice) == told
    assert asked(tool_choice=choice).request.tool_choice is None
