"""Conversations of OpenAI's clients on their way to the servers that are known.

What a server cannot take gives exactly its notice or its refusal; all else arrives as it was sent.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fuzzing import CONVERSATIONS
from gateway.openai.test_round_trip import _in_full as in_full
from gateway.openai.test_round_trip import requests
from modelbay.errors import UnsupportedFeatureError
from modelbay.wire.openai_chat import Dialect, EncodedChat, encode_chat
from modelbay_gateway.openai.decode import decode_chat
from modelbay_openai.dialects import SERVERS, UNKNOWN

# Every dialect that is shipped, by the servers that have it first; of older versions too.
ROWS: dict[str, Dialect] = {
    f"{server.name or 'unknown'}{'-older' * older}": dialect
    for server in (UNKNOWN, *SERVERS)
    for older, dialect in enumerate((server.dialect, *(each for _, each in server.older)))
}
TOOLS_AND_FORMAT = "this server cannot hold an answer to a format and offer tools in one request"
ADDRESS = "an image must be sent inline here; an address would make the server fetch it"
NO_TOP_K = "top_k was left out: this server does not know it"
NO_THOUGHTS = "earlier reasoning was left out: this server is not known to read it"


def sent(request: dict[str, Any], dialect: Dialect) -> EncodedChat:
    asked = decode_chat(json.dumps(request).encode())
    return encode_chat(asked.request, request["model"], dialect)


@pytest.mark.fuzz
@settings(max_examples=CONVERSATIONS, derandomize=True)
@given(st.sampled_from(sorted(ROWS)), requests(), st.booleans())
def test_what_a_server_cannot_take_is_told_and_the_rest_arrives(
    row: str, request: dict[str, Any], image_urls: bool
) -> None:
    # The plugin forbids addresses of images to servers of one's own.
    dialect = replace(ROWS[row], image_urls=image_urls)
    reasons = refused(request, dialect)
    if reasons:
        with pytest.raises(UnsupportedFeatureError) as caught:
            sent(request, dialect)
        assert caught.value.message in reasons
        assert caught.value.hint
        return

    encoded = sent(request, dialect)

    body, notices = arrived(in_full(request), dialect)
    assert json.dumps(encoded.body, sort_keys=True) == json.dumps(body, sort_keys=True)
    assert [notice.message for notice in encoded.notices] == notices


def test_only_a_server_that_refuses_thoughts_is_not_told_of() -> None:
    assert [row for row, dialect in ROWS.items() if not dialect.reasoning_wanted] == ["openai"]


def refused(request: dict[str, Any], dialect: Dialect) -> set[str]:
    """Why this server cannot be sent this request; empty where it can."""
    reasons = set()
    if request.get("tools") and "response_format" in request and not dialect.tools_with_format:
        reasons.add(TOOLS_AND_FORMAT)
    addresses = [
        part["image_url"]["url"]
        for message in request["messages"]
        for part in parts_of(message)
        if part["type"] == "image_url"
    ]
    if not dialect.image_urls and any(each.startswith("https:") for each in addresses):
        reasons.add(ADDRESS)
    return reasons


def arrived(request: dict[str, Any], dialect: Dialect) -> tuple[dict[str, Any], list[str]]:
    """The body that this server is to get of a request in full, and what is told of the rest."""
    body = {**request, "messages": [message_of(each, dialect) for each in request["messages"]]}
    notices = []
    if "max_tokens" in body:
        body[dialect.max_tokens_field] = body.pop("max_tokens")
    if "top_k" in body and not dialect.top_k:
        del body["top_k"]
        notices.append(NO_TOP_K)
    thinks = any("reasoning_content" in message for message in request["messages"])
    if thinks and dialect.reasoning_history is None and dialect.reasoning_wanted:
        notices.append(NO_THOUGHTS)
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and dialect.named_tool_choice == "single":
        name = choice["function"]["name"]
        body["tools"] = [tool for tool in body["tools"] if tool["function"]["name"] == name]
        body["tool_choice"] = "required"
    return body, notices


def message_of(message: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    made = dict(message)
    if made["role"] == "developer" and not dialect.developer_role:
        made["role"] = "system"
    thought = made.pop("reasoning_content", None)
    if thought is not None and dialect.reasoning_history is not None:
        made[dialect.reasoning_history] = thought
    if not dialect.refusals and isinstance(made["content"], list):
        parts = made["content"]
        if [part["type"] for part in parts] == ["refusal"]:
            made["content"] = parts[0]["refusal"]
        else:
            made["content"] = [as_text(part) for part in parts]
    return made


def as_text(part: dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": part["refusal"]} if part["type"] == "refusal" else part


def parts_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return content if isinstance(content, list) else []
