"""Mirrors modelbay_gateway/openai/chat.py, over real sockets."""

from typing import Any

import pytest

from gateway.conftest import Raw, Start
from gateway.serving import acme, desk
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.chat import ChatRequest, ImagePart, TextPart
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Usage,
)
from modelbay.state import open_store
from modelbay_gateway.limits import MIB
from modelbay_gateway.style import Style

PATH = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]
NOTICED: list[StreamEvent] = [
    Notice("dropped_field", "seed was left out: naïve\nserver"),
    TextDelta("a"),
    Finish("stop"),
]


def test_what_was_left_out_is_told_in_header_and_body(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme(NOTICED))))
    message = {"role": "user", "content": "hi", "weight": 1}
    body = {"model": "m", "messages": [message]}

    whole = client.post(PATH, json=body)
    stream = client.post(PATH, json={**body, "stream": True})

    told = (
        "dropped_field: messages[0].weight was left out: the gateway does not know it;"
        " dropped_field: seed was left out: na?ve?server"
    )
    assert {answer.headers["x-modelbay-notices"] for answer in (whole, stream)} == {told}
    assert [notice["code"] for notice in whole.json()["modelbay"]["notices"]] == [
        "dropped_field"
    ] * 2
    assert stream.text.count('"modelbay":{"notices":[') == 1


def test_names_in_headers_are_plain(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme(models=["ünï/ä:1"]))))

    answer = client.post(PATH, json={"model": "ünï/ä:1", "messages": HI})

    assert answer.headers["x-modelbay-model"] == "desk/%C3%BCn%C3%AF/%C3%A4:1"
    assert answer.json()["model"] == "ünï/ä:1"


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("reasoning_content", {"content": "42", "reasoning_content": "hm"}),
        ("reasoning", {"content": "42", "reasoning": "hm"}),
        ("none", {"content": "42"}),
        ("think_tags", {"content": "<think>\nhm\n</think>\n\n42"}),
    ],
)
def test_thinking_stands_where_the_server_was_told_to_put_it(
    start: Start, raw: Raw, field: Any, wanted: dict[str, str]
) -> None:
    answer: list[StreamEvent] = [ReasoningDelta("hm"), TextDelta("42"), Finish("stop")]
    client = raw(start(desk(acme(answer)), style=Style(reasoning_field=field)))

    message = client.post(PATH, json={"model": "m", "messages": HI}).json()["choices"][0]["message"]

    assert {name: message[name] for name in message if name not in ("role", "refusal")} == wanted


def test_too_many_flags_are_refused(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))
    body = {"model": "m", "messages": HI}

    for flags in (",".join(map(str, range(33))), "x" * 65):
        answer = client.post(PATH, json=body, headers={"x-agent-flags": flags})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-agent-flags")
    assert client.post(PATH, json=body, headers={"x-agent-flags": ",,"}).status_code == 200


def test_a_turn_without_a_model_goes_to_its_conversations(start: Start, raw: Raw) -> None:
    store = open_store(":memory:")
    served = start(desk(acme(models=["one", "two"])), store=store)
    client = raw(served)

    def answered(id: str, **fields: object) -> tuple[int, str | None]:
        answer = client.post(
            PATH, json={"messages": HI, **fields}, headers={"x-conversation-id": id}
        )
        return answer.status_code, answer.headers.get("x-modelbay-model")

    try:
        assert [
            answered("c1", model="two"),
            answered("c1"),
            answered("c1", model="one", persist=False),
            answered("c1"),
            answered("c2", model="nobody"),  # remembered without being asked for (S2-21)
            answered("c2"),
        ] == [
            (200, "desk/two"),
            (200, "desk/two"),
            (200, "desk/one"),
            (200, "desk/two"),
            (404, None),
            (404, None),
        ]
    finally:
        served.ask(store.aclose())


def test_a_request_that_is_too_long_names_the_models_window(start: Start, raw: Raw) -> None:
    from collections.abc import AsyncIterator

    from modelbay.errors import ContextLengthError

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        raise ContextLengthError("the request exceeds the available context size")
        yield Finish("stop")

    async def discover_models() -> list[DiscoveredModel]:
        return [DiscoveredModel.model_validate({"wire_id": "m", "facts": {"contextWindow": 8192}})]

    client = raw(start(desk(acme(reply, discover_models=discover_models))))

    for stream in (True, False):
        answer = client.post(PATH, json={"model": "m", "messages": HI, "stream": stream})
        assert answer.status_code == 400
        assert "maximum context length is 8192 tokens" in answer.json()["error"]["message"]
        assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_images_of_many_megabytes_arrive_whole(start: Start, raw: Raw) -> None:
    seen: list[ChatRequest] = []
    client = raw(start(desk(acme([Usage(1, 1), Finish("stop")], seen=seen))))
    head = (
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"see"},'
        b'{"type":"image_url","image_url":{"url":"data:image/png;base64,'
    )
    tail = b'"}}]}]}'
    data = b"A" * (64 * MIB - len(head) - len(tail))

    at_the_limit = client.post(PATH, content=head + data + tail)
    past_it = client.post(PATH, content=head + data + b"A" + tail)

    assert (at_the_limit.status_code, past_it.status_code) == (200, 413)
    parts = seen[0].messages[0].content
    assert isinstance(parts, list)
    text, image = parts
    assert isinstance(text, TextPart)
    assert isinstance(image, ImagePart)
    assert len(image.data or "") == len(data)
