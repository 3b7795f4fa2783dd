"""What clients count on, beside what has a test of its own: odd chunks, tries, odd ids."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2 as httpx
import openai
import pytest

import modelbay_openai.plugin
import pretend
from gateway.conftest import Start
from gateway.serving import WAIT_S, acme, serve
from gateway.serving import desk as desk_host
from modelbay.testing.fault import Fault
from modelbay_openai.simulator import OpenAISimulator, SimulatedModel

PATH = "/v1/chat/completions"
CHAT = {"model": "lab/m", "messages": [{"role": "user", "content": "hi"}]}


class Desk:
    """A simulated server, and a client of the gateway before it."""

    def __init__(self, stack: ExitStack) -> None:
        self.lab = stack.enter_context(
            OpenAISimulator([SimulatedModel("m"), SimulatedModel("endless", endless=True)], "vllm")
        )
        config = pretend.config("lab", "openai", baseUrl=self.lab.address)
        served = stack.enter_context(serve(pretend.host([config], openai=modelbay_openai.plugin)))
        self.client = stack.enter_context(httpx.Client(base_url=served.base_url, timeout=30))

    def chunks(self, *sent: Any) -> list[dict[str, Any]]:
        """What a client gets where the server sends these."""
        body = "".join(f"data: {json.dumps(each)}\n\n" for each in sent) + "data: [DONE]\n\n"
        fault = Fault(status=200, content_type="text/event-stream", body=body.encode())
        self.lab.inject(fault, path=PATH, times=1)
        answer = self.client.post(PATH, json={**CHAT, "stream": True})
        lines = [line for line in answer.text.split("\n") if line and not line.startswith(":")]
        assert (answer.status_code, lines[-1]) == (200, "data: [DONE]")
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(stack)


def piece(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(arguments: str = "", **more: Any) -> dict[str, Any]:
    name = more.pop("name", None)
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    return {**more, "function": function}


WHOLE = [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
ODD: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], str]] = {
    "id and name with every piece": (
        [
            piece(tool_calls=[call("", index=0, id="c1", name="f", type="function")]),
            piece(tool_calls=[call("{", index=0, id="c1", name="f", type="function")]),
            piece("stop", tool_calls=[call("}", index=0, id="c1", name="f")]),
        ],
        WHOLE,
        "tool_calls",
    ),
    "no index": (
        [piece(tool_calls=[call("{}", id="c1", name="f")]), piece("tool_calls")],
        WHOLE,
        "tool_calls",
    ),
    "a late name": (
        [
            piece(tool_calls=[call("{", index=0, id="c1")]),
            piece("tool_calls", tool_calls=[call("}", index=0, name="f")]),
        ],
        WHOLE,
        "tool_calls",
    ),
    "a whole call at once": (
        [piece("tool_calls", tool_calls=[call("{}", index=0, id="c1", name="f")])],
        WHOLE,
        "tool_calls",
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_a_call_names_itself_once_whatever_its_server_sends(desk: Desk, odd: str) -> None:
    sent, wanted, finish = ODD[odd]

    found = desk.chunks(*sent)

    calls: list[dict[str, Any]] = []
    for chunk in found:
        for part in chunk["choices"][0]["delta"].get("tool_calls", ()):
            if part["index"] == len(calls):
                assert part["id"]
                assert part["function"]["name"]
                calls.append({**part, "function": {**part["function"]}})
            else:
                assert set(part) == {"index", "function"}
                assert set(part["function"]) == {"arguments"}
                calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
    assert calls == wanted
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in found]
    assert [each for each in finishes if each] == [finish]


@pytest.mark.parametrize(
    ("sent", "thought"),
    [
        # As llama-swap writes while it loads a model: nothing but this.
        ({"choices": [{"delta": {"reasoning_content": "loading"}}]}, "loading"),
        (piece(reasoning="hm"), "hm"),
        (piece(reasoning_content="hm", content=None), "hm"),
    ],
)
def test_every_chunk_is_whole_and_stamped_alike_whatever_its_server_leaves_out(
    desk: Desk, sent: dict[str, Any], thought: str
) -> None:
    found = desk.chunks(sent, piece(content="Hello"), {"choices": [piece("stop")["choices"][0]]})

    assert len({(each["id"], each["created"]) for each in found}) == 1
    assert {each["object"] for each in found} == {"chat.completion.chunk"}
    assert {each["model"] for each in found} == {"lab/m"}
    assert type(found[0]["created"]) is int
    assert [each["choices"] for each in found] == [
        [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        for delta, finish in (
            ({"role": "assistant", "content": ""}, None),
            ({"reasoning_content": thought}, None),
            ({"content": "Hello"}, None),
            ({}, "stop"),
        )
    ]


def test_what_is_only_for_streams_goes_to_a_server_with_streams_alone(desk: Desk) -> None:
    for stream in (False, True):
        body = {**CHAT, "stream": stream, "stream_options": {"include_usage": True}}
        desk.client.post(PATH, json=body)

        sent = json.loads(desk.lab.requests[-1].body)
        assert "stream_options" not in sent or sent["stream"] is True


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refused_request_is_not_sent_again_by_the_gateway(desk: Desk, status: int) -> None:
    """The clients do that; both of them would multiply the load."""
    before = len(desk.lab.requests)
    desk.lab.inject(Fault(status=status, body=b"{}"), path=PATH, times=1)

    assert desk.client.post(PATH, json=CHAT).status_code >= 429
    assert [each.path for each in desk.lab.requests[before:]] == [PATH]


def test_a_server_is_left_within_a_second_of_its_client(desk: Desk) -> None:
    took = []
    for _ in range(5):  # the quickest counts: the machine may be busy with something else
        before = desk.lab.streams_closed_by_client
        body = {**CHAT, "model": "lab/endless", "stream": True}
        with desk.client.stream("POST", PATH, json=body) as answer:
            coming = answer.iter_lines()
            assert next(coming).startswith("data: ")
            began = time.monotonic()
        desk.lab.wait_until(lambda n=before: desk.lab.streams_closed_by_client > n, WAIT_S)  # type: ignore[misc]
        took.append(time.monotonic() - began)

    assert min(took) < 1


def test_an_id_of_any_characters_is_retrieved_by_the_client(start: Start) -> None:
    ids = ["a/b:c", "with blank", "50%", "a%2Fb", "ünï"]
    served = start(desk_host(acme(models=ids)))
    with openai.OpenAI(base_url=f"{served.base_url}/v1", api_key="any", max_retries=0) as ai:
        assert [ai.models.retrieve(each).id for each in ids] == ids
        listed = [each.id for each in ai.models.list()]
        assert [ai.models.retrieve(each).id for each in listed] == listed
