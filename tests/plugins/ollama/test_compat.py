"""Mirrors modelbay_ollama/compat.py, completion.py and vectors.py: the other ways to ask."""

import json

import pytest

from modelbay.errors import (
    BackendBusyError,
    InvalidRequestError,
    ProtocolError,
    UnsupportedFeatureError,
)
from modelbay.models.chat import ChatRequest, Message, user
from modelbay.models.events import Finish, Notice, StreamEvent
from modelbay.models.manage import Load
from modelbay.models.media import CompleteRequest, EmbedRequest
from modelbay.testing.fault import Fault
from modelbay_ollama.simulator import Knobs, OllamaSimulator, SimulatedModel
from plugins.ollama.bay import OpenBay, ask

pytestmark = pytest.mark.anyio

NAME = "llama3.1:8b"
LLAMA = SimulatedModel(NAME)
EMBEDDER = SimulatedModel("e:latest", family="bert", capabilities=("embedding",), embed_len=8)
BUSY = b'{"error":"server busy, please try again.  maximum pending requests exceeded"}'


def told(events: list[StreamEvent]) -> list[tuple[str, str]]:
    return [(e.code, e.message) for e in events if isinstance(e, Notice)]


# --- the compatibility layer ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [{"numCtx": 8192}, {"models": {NAME: {"configuredContext": 8192}}}]
)
async def test_the_layer_has_no_window_and_none_is_claimed(
    bay: OpenBay, given: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """Section 8.1: the server's own is used, by all routes, or they would undo each other."""
    with OllamaSimulator([LLAMA], knobs=Knobs(default_ctx=4096)) as sim:
        desk = bay(sim.base_url, api="openai", **given)
        before = await desk.model()
        events = await desk.chat()
        await desk.manage(Load(model=NAME))
        await desk.complete(CompleteRequest(prompt="x"))
        after = await desk.model()

        assert (sim.running, sim.loads, sim.reloads) == ({NAME: 4096}, {NAME: 1}, {})
    assert (before.capabilities.context_window, after.capabilities.context_window) == (None, 4096)
    ((code, message),) = told(events)
    assert code == "dropped_field"
    assert message.startswith(
        "numCtx of this provider was left out"
        if "numCtx" in given
        else f"configuredContext of models['{NAME}'] was left out"
    )
    assert ("numCtx has no effect" in caplog.text) == ("numCtx" in given)


def too_long() -> ChatRequest:
    turns = [
        each
        for _ in range(40)
        for each in (user("word " * 2000), Message(role="assistant", content="ok"))
    ]
    return ChatRequest(messages=[*turns, user("hi")])


@pytest.mark.parametrize("version", ["0.12.0", "0.33.0"])
async def test_a_conversation_cut_behind_the_layer_is_told(bay: OpenBay, version: str) -> None:
    """Trap 3: the usage is there too."""
    with OllamaSimulator([LLAMA], version, knobs=Knobs(default_ctx=4096)) as sim:
        desk = bay(sim.base_url, api="openai")
        whole = await desk.chat()
        cut = await desk.chat(too_long())

        assert [answer.truncated for answer in sim.answers] == [False, True]
    assert told(whole) == []
    assert [code for code, _ in told(cut)] == ["truncated"]
    assert isinstance(cut[-1], Finish)


@pytest.mark.parametrize(
    "name", ["num_ctx", "keep_alive", "truncate", "min_p", "typical_p", "format", "user", "think"]
)
async def test_what_the_layer_passes_over_is_left_out_and_told(bay: OpenBay, name: str) -> None:
    """Section 8.2."""
    with OllamaSimulator([LLAMA]) as sim:
        events = await bay(sim.base_url, api="openai").chat(ask(extra={name: 1}))
        body = sim.requests[-1].json()

    assert isinstance(body, dict)
    assert name not in body
    assert [(code, name in message) for code, message in told(events)] == [("dropped_field", True)]


async def test_what_the_layer_reads_is_sent(bay: OpenBay) -> None:
    extra = {"frequency_penalty": 0.5, "logprobs": True, "max_completion_tokens": 7}
    with OllamaSimulator([LLAMA]) as sim:
        events = await bay(sim.base_url, api="openai").chat(ask(extra=extra))

        assert sim.answers[0].options["frequency_penalty"] == 0.5
        assert sim.answers[0].options["num_predict"] == 7
    assert told(events) == []


async def test_the_name_of_an_author_is_told_as_left_out(bay: OpenBay) -> None:
    request = ChatRequest(messages=[Message(role="user", content="hi", name="sam")])
    with OllamaSimulator([LLAMA]) as sim:
        events = await bay(sim.base_url, api="openai").chat(request)

    assert [code for code, _ in told(events)] == ["dropped_field"]


async def test_extra_is_no_way_around_the_request(bay: OpenBay) -> None:
    with OllamaSimulator([LLAMA]) as sim, pytest.raises(InvalidRequestError):
        await bay(sim.base_url, api="openai").chat(ask(extra={"model": "other"}))


# --- raw completion ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.5.0", "0.12.0", "0.33.0"])
async def test_a_prompt_that_was_cut_is_told(bay: OpenBay, version: str) -> None:
    """Section 5.10: the middle of it is gone."""
    with OllamaSimulator([LLAMA], version, knobs=Knobs(default_ctx=4096)) as sim:
        desk = bay(sim.base_url)
        whole = await desk.complete(CompleteRequest(prompt="Once"))
        cut = await desk.complete(CompleteRequest(prompt="word " * 60_000))

        assert [answer.truncated for answer in sim.answers][::2] == [False]
        assert sim.answers[-1].truncated
    assert told(whole) == []
    assert [code for code, _ in told(cut)] == ["truncated"]


async def test_a_model_that_thinks_continues_a_raw_prompt_without_thinking(bay: OpenBay) -> None:
    """Trap 12: absent means on."""
    thinker = SimulatedModel("t:8b", thinking="hm", capabilities=("completion", "thinking"))
    with OllamaSimulator([thinker, LLAMA]) as sim:
        desk = bay(sim.base_url)
        await desk.complete(CompleteRequest(prompt="x"), "t:8b")
        await desk.complete(CompleteRequest(prompt="x", extra={"think": True}), "t:8b")
        await desk.complete(CompleteRequest(prompt="x"))
        sent = [
            body.get("think", "absent")
            for request in sim.requests
            if request.path == "/api/generate" and isinstance(body := request.json(), dict)
        ]

    assert sent == [False, True, "absent"]


# --- vectors -------------------------------------------------------------------------------------


async def test_an_embedding_waits_for_a_full_queue(bay: OpenBay) -> None:
    """Trap 39."""
    with OllamaSimulator([EMBEDDER]) as sim:
        desk = bay(sim.base_url, busyTries=2)
        model = await desk.model("e:latest")
        sim.inject(Fault(status=503, body=BUSY), path="/api/embed", times=2)
        found = await desk.backend.embed(EmbedRequest(input=["a"]), model)
        sim.inject(Fault(status=503, body=BUSY), path="/api/embed")
        with pytest.raises(BackendBusyError):
            await desk.backend.embed(EmbedRequest(input=["a"]), model)

        assert sim.calls_of("/api/embed") == 3 + 3
    assert len(found.vectors[0]) == 8


@pytest.mark.parametrize("version", ["0.2.5", "0.5.0", "0.33.0"])
async def test_more_dimensions_than_there_are_are_no_success(bay: OpenBay, version: str) -> None:
    """Section 4.5: the server passes over them."""
    with OllamaSimulator([EMBEDDER], version) as sim:
        desk = bay(sim.base_url)
        model = await desk.model("e:latest")
        with pytest.raises(UnsupportedFeatureError, match="8 dimensions, and not 99") as raised:
            await desk.backend.embed(EmbedRequest(input=["a"], dimensions=99), model)
        same = await desk.backend.embed(EmbedRequest(input=["a"], dimensions=8), model)

    assert raised.value.hint == "ask for 8 dimensions or fewer"
    assert len(same.vectors[0]) == 8


async def test_an_empty_vector_is_no_success(bay: OpenBay) -> None:
    with OllamaSimulator([EMBEDDER]) as sim:
        desk = bay(sim.base_url)
        model = await desk.model("e:latest")
        body = json.dumps({"embeddings": [[]]}).encode()
        sim.inject(Fault(status=200, body=body), path="/api/embed")
        with pytest.raises(ProtocolError, match="an empty vector"):
            await desk.backend.embed(EmbedRequest(input=["a"]), model)
