"""Mirrors modelbay_gateway/ollama/encode.py and the entries of listing.py."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.models.events import (
    Finish,
    FinishReason,
    Notice,
    ReasoningDelta,
    Status,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay_gateway.ollama.encode import (
    LineEncoder,
    Stopwatch,
    arguments_of,
    nanoseconds,
    refuse,
    stamp,
)
from modelbay_gateway.ollama.listing import capabilities, digest, shown
from modelbay_gateway.refusal import Refusal
from modelbay_ollama.decoding import AnswerDecoder
from pretend import Clock, model

NOON = 1_763_640_000.25


def encoder(clock: Clock | None = None, **fields: Any) -> LineEncoder:
    wall = Clock(NOON)
    return LineEncoder(
        model="m", form=fields.get("form", "chat"), clock=clock or Clock(), wall_clock=wall
    )


def test_lines_as_they_are_on_the_wire() -> None:
    clock = Clock(10.0)
    made = encoder(clock)
    data = made.begin() + made.encode(Status("loading")) + made.encode(Notice("c", "m"))
    clock.now = 11.0
    data += made.encode(TextDelta("Hi\u2028"))
    clock.now = 11.5
    data += made.encode(Usage(3, 1)) + made.encode(Finish("stop"))

    assert data.decode() == (
        '{"model":"m","created_at":"2025-11-20T12:00:00.250000Z",'
        '"message":{"role":"assistant","content":"Hi\\u2028"},"done":false}\n'
        '{"model":"m","created_at":"2025-11-20T12:00:00.250000Z",'
        '"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",'
        '"total_duration":1500000000,"prompt_eval_count":3,"prompt_eval_duration":1000000000,'
        '"eval_count":1,"eval_duration":500000000}\n'
    )


def test_pieces_of_calls_show_nowhere_and_whole_ones_once() -> None:
    made = encoder()
    pieces = made.encode(ToolCallDelta(0, "{}", id="x", name="f"))
    lines = made.encode(ToolCall("x", "f", "{}", 0)) + made.encode(ToolCall("y", "g", "[1]", 1))

    assert pieces == b""
    assert [json.loads(line)["message"]["tool_calls"] for line in lines.splitlines()] == [
        [{"id": "x", "function": {"index": 0, "name": "f", "arguments": {}}}],
        [{"id": "y", "function": {"index": 1, "name": "g", "arguments": {"arguments": "[1]"}}}],
    ]


def test_generate_has_its_own_place_for_text() -> None:
    made = encoder(form="generate")
    lines = made.encode(ReasoningDelta("hm")) + made.encode(TextDelta("a"))

    assert [
        (each["response"], each.get("thinking")) for each in map(json.loads, lines.splitlines())
    ] == [("", "hm"), ("a", None)]


def test_what_keeps_a_connection_alive_is_an_empty_piece() -> None:
    line = json.loads(encoder().heartbeat)

    assert (line["message"], line["done"]) == ({"role": "assistant", "content": ""}, False)


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "stop"),
        ("content_filter", "stop"),
        ("other", "stop"),
    ],
)
def test_reasons_to_stop(reason: FinishReason, word: str) -> None:
    assert json.loads(encoder().encode(Finish(reason)))["done_reason"] == word


def test_a_failure_is_a_line() -> None:
    refusal = Refusal(502, "stream_interrupted", "it broke off", hint="try again")

    assert encoder().fail(refusal) == b'{"error":"it broke off (try again)"}\n'


@pytest.mark.parametrize(
    ("code", "model", "text"),
    [
        ("unknown_model", "x", "model 'x' not found: no"),
        ("model_not_found", "x", "model 'x' not found: no"),
        ("unknown_model", None, "no"),
        ("backend_busy", "x", "no"),
    ],
)
def test_a_model_that_is_missing_is_said_in_words_clients_know(
    code: str, model: str | None, text: str
) -> None:
    assert json.loads(refuse(Refusal(404, code, "no", model=model))) == {"error": text}


def test_times_the_server_tells_go_before_those_measured_here() -> None:
    clock = Clock(0.0)
    watch = Stopwatch(clock)
    clock.now = 9.0

    assert watch.metrics(
        Usage(1, 4), Timings(total_s=1.0, load_s=0.25, input_s=0.5, output_s=0.125)
    ) == {
        "total_duration": 1_000_000_000,
        "load_duration": 250_000_000,
        "prompt_eval_count": 1,
        "prompt_eval_duration": 500_000_000,
        "eval_count": 4,
        "eval_duration": 125_000_000,
    }


def test_a_time_is_written_as_go_does() -> None:
    assert stamp(NOON) == "2025-11-20T12:00:00.250000Z"
    assert (nanoseconds(1.5), nanoseconds(-1.0)) == (1_500_000_000, 0)
    assert arguments_of("") == {}


EVENTS = st.lists(
    st.builds(TextDelta, st.text(st.characters(codec="utf-8"), min_size=1, max_size=5))
    | st.builds(ReasoningDelta, st.text(st.characters(codec="utf-8"), min_size=1, max_size=5))
    | st.builds(
        lambda number, arguments: ToolCall(f"call_{number}abcd", "f", json.dumps(arguments)),
        st.integers(0, 9),
        st.dictionaries(st.text("abc", max_size=3), st.integers(-5, 5), max_size=2),
    ),
    max_size=8,
)


@given(events=EVENTS, inputs=st.integers(0, 999), outputs=st.integers(1, 999))
def test_the_plugin_for_its_own_servers_reads_the_same_answer(
    events: list[StreamEvent], inputs: int, outputs: int
) -> None:
    made, decoder = encoder(), AnswerDecoder()
    sent = [*events, Usage(inputs, outputs), Finish("stop")]

    data = made.begin() + b"".join(map(made.encode, sent))
    lines = data.split(b"\n")[:-1]
    read = [*(event for line in lines for event in decoder.decode(line)), *decoder.close()]

    assert "".join(e.text for e in read if isinstance(e, TextDelta)) == "".join(
        e.text for e in events if isinstance(e, TextDelta)
    )
    assert "".join(e.text for e in read if isinstance(e, ReasoningDelta)) == "".join(
        e.text for e in events if isinstance(e, ReasoningDelta)
    )
    assert [(e.id, e.name, json.loads(e.arguments)) for e in read if isinstance(e, ToolCall)] == [
        (e.id, e.name, json.loads(e.arguments)) for e in events if isinstance(e, ToolCall)
    ]


# --- entries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({}, ["completion"]),
        ({"embeddings": True}, ["embedding"]),
        ({"tools": True, "vision": False, "audio": True}, ["completion", "tools", "audio"]),
        ({"image_generation": True}, ["image"]),
        ({"rerank": True}, []),
    ],
)
def test_only_what_is_known_is_claimed(facts: dict[str, Any], wanted: list[str]) -> None:
    assert capabilities(model(**facts)) == wanted


def test_a_digest_is_the_servers_own_or_made_of_the_id() -> None:
    own = model().model_copy(update={"digest": f"sha256:{'ab' * 32}"})

    assert digest(own) == "ab" * 32
    assert len(digest(model())) == 64
    assert digest(model("a")) != digest(model("b"))


def test_the_window_in_use_is_shown_before_the_one_it_was_trained_for() -> None:
    trained = model(trained_context=131072)
    loaded = trained.model_copy(update={"loaded_context": 4096})

    assert shown(trained, 0)["model_info"] == {
        "general.architecture": "acme",
        "general.basename": "m",
        "acme.context_length": 131072,
    }
    assert shown(loaded, 0)["parameters"] == "num_ctx                        4096"
