"""The official Ollama client, as it is, against the gateway."""

import asyncio
import base64
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import ollama
import pydantic
import pytest

from gateway.conftest import Raw, Start
from gateway.ollama.conftest import Client
from gateway.serving import HELLO, acme, desk, media
from modelbay.errors import (
    BackendBusyError,
    BackendUnreachableError,
    InvalidRequestError,
    ModelbayError,
    RateLimitedError,
    StreamInterruptedError,
)
from modelbay.models.capabilities import CapabilityTable, Facts
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.chat import ChatRequest, ImagePart, JsonMode, JsonSchema, Message, TextPart
from modelbay.models.events import (
    Finish,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay.models.manage import (
    Action,
    Done,
    Load,
    ManageEvent,
    Running,
    RunningModel,
    RunningModels,
    Unload,
)
from modelbay.models.media import EmbedRequest, EmbedResult
from modelbay.state import open_store
from modelbay_gateway.client_keys import ClientKey, digest
from modelbay_gateway.limits import Limits
from modelbay_gateway.security import Access

HI = [{"role": "user", "content": "hi"}]
PNG = b"\x89PNG\r\n\x1a\nxxxx"
ANSWER: list[StreamEvent] = [
    ReasoningDelta("hm"),
    TextDelta("Hel"),
    TextDelta("lo"),
    Usage(7, 4),
    Timings(total_s=2.0, load_s=0.5, input_s=0.25, output_tokens_per_s=8.0),
    Finish("stop"),
]
METRICS = {
    "total_duration": 2_000_000_000,
    "load_duration": 500_000_000,
    "prompt_eval_count": 7,
    "prompt_eval_duration": 250_000_000,
    "eval_count": 4,
    "eval_duration": 500_000_000,  # by its speed
}
CALLS: list[StreamEvent] = [
    ToolCallDelta(0, '{"city":"Rome"}', id="x1", name="weather"),
    ToolCall("x1", "weather", '{"city":"Rome"}', 0),
    ToolCall("x2", "weather", '{"city":"Oslo"}', 1),
    Finish("tool_calls"),
]


def weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: Which one.
    """
    return f"sunny in {city}"


def fails(*events: StreamEvent, error: ModelbayError) -> Any:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        for event in events:
            yield event
        raise error

    return reply


def lists(**facts: Any) -> Callable[[], object]:
    async def discover_models() -> list[DiscoveredModel]:
        return [
            DiscoveredModel(
                wire_id="qwen3:8b",
                facts=Facts(**facts),
                family="qwen3",
                quantization="Q4_K_M",
                size_bytes=5_000,
                digest="ab" * 32,
                details={"parameter_size": "8.2B", "format": "gguf"},
            ),
            DiscoveredModel(wire_id="vendor/plain", origin="remote"),
        ]

    return discover_models


def metrics(answer: Any) -> dict[str, int]:
    return {name: getattr(answer, name) for name in METRICS}


# --- lists ----------------------------------------------------------------------------------------


def test_every_model_is_listed_by_its_composite_id(start: Start, client: Client) -> None:
    facts = {"tools": True, "reasoning": True, "vision": True, "context_window": 32768}
    ai = client(start(desk(acme(discover_models=lists(**facts)))))

    first, second = ai.list().models

    assert (first.model, second.model) == ("desk/qwen3:8b", "desk/vendor/plain")
    assert (first.size, first.digest) == (5_000, "ab" * 32)
    assert first.modified_at is not None
    assert first.details is not None
    assert first.details.model_dump() == {
        "parent_model": "",
        "format": "gguf",
        "family": "qwen3",
        "families": ["qwen3"],
        "parameter_size": "8.2B",
        "quantization_level": "Q4_K_M",
    }
    assert second.digest is not None
    assert len(second.digest) == 64  # programs cut a piece out of it


def test_a_model_is_shown_with_what_it_can(start: Start, client: Client) -> None:
    facts = {"tools": True, "reasoning": True, "vision": True, "context_window": 32768}
    ai = client(start(desk(acme(discover_models=lists(**facts)))))

    shown, plain = ai.show("desk/qwen3:8b"), ai.show("vendor/plain:latest")

    assert shown.capabilities == ["completion", "tools", "vision", "thinking"]
    assert shown.modelinfo == {
        "general.architecture": "qwen3",
        "general.basename": "qwen3:8b",
        "qwen3.context_length": 32768,
    }
    assert shown.parameters == "num_ctx                        32768"
    assert (plain.capabilities, plain.parameters) == (["completion"], None)
    with pytest.raises(ollama.ResponseError) as caught:
        ai.show("desk/qwen3:9b")
    assert caught.value.status_code == 404
    assert caught.value.error.startswith("model 'desk/qwen3:9b' not found: ")


def managed(seen: list[Action]) -> dict[str, Any]:
    """A provider that loads and unloads, and tells what runs."""

    def capabilities() -> CapabilityTable:
        return CapabilityTable(actions=frozenset({"load", "unload", "running"}))

    async def manage(action: Action) -> AsyncIterator[ManageEvent]:
        seen.append(action)
        if isinstance(action, Running):
            running = RunningModel(
                wire_id="qwen3:8b", vram_bytes=4_000, context=8192, expires_in_s=300.0
            )
            yield RunningModels(models=(running,))
        else:
            yield Done()

    return {"capabilities": capabilities, "manage": manage, "discover_models": lists()}


def test_what_runs_is_asked_of_the_providers(start: Start, client: Client) -> None:
    seen: list[Action] = []
    ai = client(start(desk(acme(**managed(seen)))))
    ai.list()

    [running] = ai.ps().models

    assert seen == [Running()]
    assert (running.model, running.size, running.size_vram) == ("desk/qwen3:8b", 5_000, 4_000)
    assert (running.context_length, running.digest) == (8192, "ab" * 32)
    assert running.expires_at is not None


def test_a_provider_that_cannot_tell_is_shown_as_it_was_last_seen(
    start: Start, client: Client
) -> None:
    async def discover_models() -> list[DiscoveredModel]:
        return [
            DiscoveredModel(wire_id="a", state="loaded", loaded_context=4096),
            DiscoveredModel(wire_id="b", state="unloaded"),
        ]

    ai = client(start(desk(acme(discover_models=discover_models))))

    assert [(m.model, m.context_length) for m in ai.ps().models] == [("desk/a", 4096)]


def test_the_version_is_the_one_whose_words_are_spoken(start: Start, raw: Raw) -> None:
    http = raw(start(desk(acme())))

    assert http.get("/api/version").json() == {"version": "0.33.0"}
    for path in ("/", "/api/version", "/api/tags"):
        answer = http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


# --- chat -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["desk/m", "m", "desk/m:latest", "m:latest"])
def test_a_chat(start: Start, client: Client, model: str) -> None:
    ai = client(start(desk(acme(ANSWER))))

    answer = ai.chat(model, HI)

    assert (answer.model, answer.done, answer.done_reason) == (model, True, "stop")
    assert (answer.message.role, answer.message.content, answer.message.thinking) == (
        "assistant",
        "Hello",
        "hm",
    )
    assert metrics(answer) == METRICS


def test_a_stream(start: Start, client: Client) -> None:
    ai = client(start(desk(acme(ANSWER))))

    *pieces, last = ai.chat("m", HI, stream=True)

    assert [(p.message.content, p.message.thinking, p.done) for p in pieces] == [
        ("", "hm", False),
        ("Hel", None, False),
        ("lo", None, False),
    ]
    assert (last.message.content, last.done, last.done_reason) == ("", True, "stop")
    assert metrics(last) == METRICS


def test_a_server_that_measures_nothing_is_measured_here(start: Start, client: Client) -> None:
    ai = client(start(desk(acme([TextDelta("hello"), Usage(3, 1), Finish("length")]))))

    *_, last = ai.chat("m", HI, stream=True)

    assert (last.done_reason, last.prompt_eval_count, last.eval_count) == ("length", 3, 1)
    assert last.total_duration is not None
    assert last.total_duration > 0
    assert last.eval_duration is not None
    assert last.load_duration is None


@pytest.mark.parametrize("streamed", [True, False])
def test_calls_come_whole_with_arguments_as_objects(
    start: Start, client: Client, streamed: bool
) -> None:
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(CALLS, seen=seen))))

    if streamed:
        messages = [part.message for part in ai.chat("m", HI, tools=[weather], stream=True)]
    else:
        messages = [ai.chat("m", HI, tools=[weather]).message]

    calls = [call for message in messages for call in message.tool_calls or ()]
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("weather", {"city": "Rome"}),
        ("weather", {"city": "Oslo"}),
    ]
    [tool] = seen[0].tools
    assert (tool.name, tool.parameters["required"]) == ("weather", ["city"])


def test_a_loop_of_tools_ties_results_to_calls_by_name(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(CALLS, seen=seen))))

    first = ai.chat("m", HI, tools=[weather]).message
    results = [
        {"role": "tool", "content": "sunny", "tool_name": "weather"},
        {"role": "tool", "content": "rainy", "tool_name": "weather"},
    ]
    ai.chat("m", [*HI, first, *results], tools=[weather])

    assistant, sunny, rainy = seen[1].messages[1:]
    assert [call.arguments for call in assistant.tool_calls] == [
        '{"city":"Rome"}',
        '{"city":"Oslo"}',
    ]
    assert [(m.role, m.text, m.tool_call_id) for m in (sunny, rainy)] == [
        ("tool", "sunny", assistant.tool_calls[0].id),
        ("tool", "rainy", assistant.tool_calls[1].id),
    ]
    assert assistant.tool_calls[0].id != assistant.tool_calls[1].id


def test_images_thoughts_and_options_arrive(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(HELLO, seen=seen))))

    ai.chat(
        "m",
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is it?", "images": [PNG]},
            {"role": "assistant", "content": "A dot.", "thinking": "hm"},
            {"role": "user", "content": "Sure?"},
        ],
        think="high",
        keep_alive="10m",
        options={
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 40,
            "seed": 7,
            "num_predict": 99,
            "stop": ["END"],
            "repeat_penalty": 1.1,
            "num_ctx": 8192,
        },
    )

    [request] = seen
    image = ImagePart(data=base64.b64encode(PNG).decode(), media_type="image/png")
    assert request.model_copy(update={"model": None}) == ChatRequest(
        messages=[
            Message(role="system", content="Be brief."),
            Message(role="user", content=[image, TextPart(text="What is it?")]),
            Message(role="assistant", content="A dot.", reasoning="hm"),
            Message(role="user", content="Sure?"),
        ],
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        seed=7,
        max_tokens=99,
        stop=["END"],
        reasoning_effort="high",
        stream=False,
        extra={"repeat_penalty": 1.1},
    )


def test_what_only_an_ollama_server_knows_is_left_out_elsewhere_and_that_is_told(
    start: Start, raw: Raw
) -> None:
    http = raw(start(desk(acme())))
    body = {
        "model": "m",
        "messages": HI,
        "keep_alive": -1,
        "options": {"num_ctx": 8192},
        "surprise": 1,
    }

    for stream in (True, False):
        told = http.post("/api/chat", json={**body, "stream": stream}).headers["x-modelbay-notices"]
        for name in ("keep_alive", "options.num_ctx", "surprise"):
            assert f"dropped_field: {name} was left out" in told


def test_an_answer_may_be_held_to_a_format(start: Start, client: Client) -> None:
    class City(pydantic.BaseModel):
        name: str

    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(HELLO, seen=seen))))

    ai.chat("m", HI, format="json")
    ai.chat("m", HI, format=City.model_json_schema())

    assert [request.response_format for request in seen] == [
        JsonMode(),
        JsonSchema(schema=City.model_json_schema()),
    ]


@pytest.mark.parametrize(
    ("think", "effort"), [(None, None), (True, "medium"), (False, "none"), ("low", "low")]
)
def test_think_is_an_effort(start: Start, client: Client, think: Any, effort: str | None) -> None:
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(HELLO, seen=seen))))

    ai.chat("m", HI, think=think)

    assert seen[0].reasoning_effort == effort


def test_a_model_that_does_not_think_is_not_made_to(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(seen=seen, discover_models=lists(reasoning=False)))))

    ai.chat("qwen3:8b", HI, think=False)
    with pytest.raises(ollama.ResponseError, match='"qwen3:8b" does not support thinking'):
        ai.chat("qwen3:8b", HI, think=True)

    assert [request.reasoning_effort for request in seen] == [None]


def test_silence_is_filled_with_empty_pieces(start: Start, client: Client) -> None:
    go_on = threading.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        await asyncio.to_thread(go_on.wait, 30)
        for event in HELLO:
            yield event

    ai = client(start(desk(acme(reply)), limits=Limits(heartbeat_s=0.05)))
    said: list[str] = []
    for part in ai.chat("m", HI, stream=True):
        said.append(part.message.content or "")
        go_on.set()

    assert said[0] == ""
    assert "".join(said) == "Hello"


def test_a_conversation_remembers_the_model_of_its_last_turn(start: Start, raw: Raw) -> None:
    store = open_store(":memory:")
    served = start(desk(acme(models=["one", "two"])), store=store)
    http = raw(served)
    conversation = {"x-conversation-id": "c1"}

    try:
        http.post("/api/chat", json={"model": "two:latest", "messages": HI}, headers=conversation)
        answer = http.post("/v1/chat/completions", json={"messages": HI}, headers=conversation)
    finally:
        served.ask(store.aclose())

    assert answer.headers["x-modelbay-model"] == "desk/two"


# --- generate -------------------------------------------------------------------------------------


def test_generate(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(ANSWER, seen=seen))))

    answer = ai.generate("m", "hi", system="Be brief.", images=[PNG], template="{{ .Prompt }}")
    *pieces, last = ai.generate("m", "hi", stream=True)

    assert (answer.response, answer.thinking, answer.done_reason) == ("Hello", "hm", "stop")
    assert metrics(answer) == metrics(last) == METRICS
    assert [(piece.response, piece.thinking) for piece in pieces] == [
        ("", "hm"),
        ("Hel", None),
        ("lo", None),
    ]
    image = ImagePart(data=base64.b64encode(PNG).decode(), media_type="image/png")
    assert seen[0].messages == [
        Message(role="system", content="Be brief."),
        Message(role="user", content=[image, TextPart(text="hi")]),
    ]


@pytest.mark.parametrize("more", [{"raw": True}, {"suffix": "end"}])
def test_a_raw_prompt_and_one_with_a_suffix_go_round_the_template(
    start: Start, client: Client, more: dict[str, Any]
) -> None:
    ai = client(start(desk(media())))

    assert ai.generate("m", "begin", **more).response == "BEGIN"
    assert (
        "".join(str(p.response) for p in ai.generate("m", "begin", stream=True, **more)) == "BEGIN"
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"context": [1, 2]}, "no conversation is kept here"),
        ({"raw": True, "system": "s"}, "a raw prompt has no system prompt"),
        ({"raw": True, "template": "t"}, "template cannot go with raw"),
        ({"suffix": "s", "format": "json"}, "format cannot go with suffix"),
    ],
)
def test_what_cannot_go_together_is_refused_by_name(
    start: Start, client: Client, more: dict[str, Any], words: str
) -> None:
    ai = client(start(desk(media())))

    with pytest.raises(ollama.ResponseError, match=words) as caught:
        ai.generate("m", "hi", **more)

    assert caught.value.status_code == 400


# --- loading --------------------------------------------------------------------------------------


def test_without_messages_a_model_is_loaded_or_freed(start: Start, client: Client) -> None:
    seen: list[Action] = []
    ai = client(start(desk(acme(**managed(seen)))))

    answers: Sequence[Any] = [
        ai.chat("qwen3:8b", []),
        ai.generate("qwen3:8b", ""),
        ai.chat("qwen3:8b", [], keep_alive=0),
        ai.generate("qwen3:8b", keep_alive="0s"),
    ]

    assert [answer.done_reason for answer in answers] == ["load", "load", "unload", "unload"]
    assert all(answer.done for answer in answers)
    assert seen == [
        Load(model="qwen3:8b"),
        Load(model="qwen3:8b"),
        Unload(model="qwen3:8b"),
        Unload(model="qwen3:8b"),
    ]


def test_where_nothing_is_loaded_there_is_nothing_to_wait_for(start: Start, client: Client) -> None:
    ai = client(start(desk(acme())))

    assert ai.chat("m", []).done_reason == "load"
    with pytest.raises(ollama.ResponseError) as caught:
        ai.chat("m", [], keep_alive=0)
    assert caught.value.status_code == 400


def test_freeing_a_model_needs_a_key_that_may_manage(start: Start) -> None:
    seen: list[Action] = []
    secret = "a-key-of-sixteen-letters"
    key = ClientKey("chatty", frozenset({"chat"}), digest(secret), 0)
    served = start(desk(acme(**managed(seen))), access=Access(given_keys=(key,)))
    headers = {"authorization": f"Bearer {secret}"}

    with ollama.Client(served.base_url, headers=headers, trust_env=False) as ai:
        assert ai.chat("qwen3:8b", []).done_reason == "load"
        with pytest.raises(ollama.ResponseError, match="good for 'manage'") as caught:
            ai.chat("qwen3:8b", [], keep_alive=0)
    with (
        ollama.Client(served.base_url, trust_env=False) as stranger,
        pytest.raises(ollama.ResponseError, match="API key is needed"),
    ):
        stranger.list()

    assert caught.value.status_code == 403
    assert seen == [Load(model="qwen3:8b")]


# --- embeddings -----------------------------------------------------------------------------------


def test_vectors(start: Start, client: Client) -> None:
    ai = client(start(desk(media())))

    two = ai.embed("embed", ["a", "bcd"], dimensions=3, truncate=True)

    assert two.embeddings == [[1.0, 0.5, -1.25], [3.0, 0.5, -1.25]]
    assert two.total_duration is not None
    assert ai.embed("embed:latest", "ab").embeddings == [[2.0, 0.5, -1.25]]
    assert ai.embed("embed", "").embeddings == []
    assert ai.embeddings("embed", "abcd").embedding == [4.0, 0.5, -1.25]
    assert ai.embeddings("embed", "").embedding == []


def test_vectors_of_what_is_no_text_are_refused(start: Start, raw: Raw) -> None:
    http = raw(start(desk(media())))

    answer = http.post("/api/embed", json={"model": "embed", "input": ["a", 1]})

    assert (answer.status_code, answer.json()) == (400, {"error": "invalid input type"})


def test_counts_of_vectors_are_told_where_they_are_known(start: Start, client: Client) -> None:
    async def embed(request: EmbedRequest) -> EmbedResult:
        return EmbedResult(vectors=[[0.0]], usage=Usage(5, 0))

    ai = client(start(desk(acme(embed=embed))))

    assert ai.embed("m", "x").prompt_eval_count == 5


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequestError("no"), 400),
        (RateLimitedError("slow down"), 429),
        (BackendUnreachableError("down"), 502),
        (BackendBusyError("loading"), 503),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_failure_before_the_answer_is_a_status(
    start: Start, client: Client, error: ModelbayError, status: int, stream: bool
) -> None:
    ai = client(start(desk(acme(fails(error=error)))))

    with pytest.raises(ollama.ResponseError) as caught:
        list(ai.chat("m", HI, stream=stream))  # type: ignore[call-overload]

    assert (caught.value.status_code, caught.value.error) == (status, error.message)


def test_a_failure_in_the_middle_is_the_last_line(start: Start, client: Client) -> None:
    error = StreamInterruptedError("the connection broke off", partial="Hel")
    ai = client(start(desk(acme(fails(TextDelta("Hel"), error=error)))))
    said: list[str] = []

    with pytest.raises(ollama.ResponseError, match="the connection broke off"):
        said.extend(str(part.message.content) for part in ai.chat("m", HI, stream=True))

    assert said == ["Hel"]


def test_who_goes_away_ends_the_stream_of_the_provider(start: Start, client: Client) -> None:
    ended = threading.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        try:
            yield TextDelta("Hel")
            await asyncio.Event().wait()
        finally:
            ended.set()

    parts: Any = client(start(desk(acme(reply)))).chat("m", HI, stream=True)
    assert next(parts).message.content == "Hel"
    parts.close()

    assert ended.wait(30)


def test_an_unknown_model_names_one_that_looks_like_it(start: Start, client: Client) -> None:
    ai = client(start(desk(acme(discover_models=lists()))))

    with pytest.raises(ollama.ResponseError) as caught:
        ai.chat("desk/qwen3:9b", HI)

    assert caught.value.status_code == 404
    assert caught.value.error == (
        "model 'desk/qwen3:9b' not found: unknown model 'desk/qwen3:9b';"
        " asked desk (2 models) (did you mean desk/qwen3:8b?)"
    )


def test_a_model_that_came_after_the_list_was_read_is_found_without_its_tag(
    start: Start, client: Client
) -> None:
    names = ["old"]

    async def discover_models() -> list[DiscoveredModel]:
        return [DiscoveredModel(wire_id=name) for name in names]

    ai = client(start(desk(acme(discover_models=discover_models))))
    ai.list()
    names.append("new")

    assert ai.chat("desk/new:latest", HI).message.content == "Hello"


def test_what_changes_models_is_refused_by_name(start: Start, client: Client) -> None:
    ai = client(start(desk(acme())))
    changes: list[Callable[[], object]] = [
        lambda: ai.pull("m"),
        lambda: ai.push("m"),
        lambda: ai.copy("m", "n"),
        lambda: ai.delete("m"),
        lambda: ai.create("n", from_="m"),
    ]

    for change in changes:
        with pytest.raises(ollama.ResponseError, match="is not done through the gateway") as caught:
            change()
        assert caught.value.status_code == 400
