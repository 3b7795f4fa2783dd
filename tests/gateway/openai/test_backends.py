"""The OpenAI client through the gateway to simulated servers: llama.cpp, Ollama, OpenAI-style."""

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2 as httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

import modelbay_deepseek.plugin
import modelbay_llamacpp.plugin
import modelbay_ollama.plugin
import modelbay_openai.plugin
import pretend
from gateway.serving import Served, serve
from modelbay.host.host import Host
from modelbay.models.provider import ProviderConfig
from modelbay.testing.simulator import Simulator
from modelbay_deepseek.simulator import KEY, DeepSeekSimulator, Knobs, Script
from modelbay_llamacpp.simulator import LlamaCppSimulator
from modelbay_llamacpp.simulator import SimulatedModel as LlamaModel
from modelbay_llamacpp.simulator.model import ToolCall as LlamaCall
from modelbay_ollama.simulator import OllamaSimulator
from modelbay_ollama.simulator import SimulatedModel as OllamaModel
from modelbay_ollama.simulator.script import ToolCall as OllamaCall
from modelbay_openai.simulator import OpenAISimulator
from modelbay_openai.simulator import SimulatedModel as OpenAIModel

WAIT_S = 30.0
SECRET = "sk-planted-upstream-secret-0123456789"
HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def over(*providers: ProviderConfig) -> Host:
    """A host over the real plugins."""
    return pretend.host(
        providers,
        deepseek=modelbay_deepseek.plugin,
        llamacpp=modelbay_llamacpp.plugin,
        ollama=modelbay_ollama.plugin,
        openai=modelbay_openai.plugin,
    )


class Bench:
    """Simulated servers behind one gateway.

    Attributes:
        ai: The OpenAI client of the gateway.
    """

    def __init__(self, stack: ExitStack, served: Served, **servers: Any) -> None:
        self.served = served
        self.llamacpp: LlamaCppSimulator = servers["llamacpp"]
        self.ollama: OllamaSimulator = servers["ollama"]
        self.openai: OpenAISimulator = servers["openai"]
        self.ai = stack.enter_context(
            openai.OpenAI(base_url=f"{served.base_url}/v1", api_key="sk-no-key", max_retries=0)
        )

    def said(self, model: str, **options: Any) -> str:
        answer = self.ai.chat.completions.create(model=model, messages=HI, **options)
        return str(answer.choices[0].message.content)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        servers: dict[str, Simulator] = {
            "llamacpp": LlamaCppSimulator(
                [
                    LlamaModel("org/tiny:q4", answer="llama speaks", reasoning="hm"),
                    LlamaModel(
                        "caller",
                        answer="llama speaks",
                        tool_calls=[LlamaCall("weather", '{"city": "Rome"}')],
                    ),
                ],
                mode="router",
            ),
            "ollama": OllamaSimulator(
                [
                    OllamaModel(
                        "qwen3:8b",
                        answer="ollama speaks",
                        thinking="hm",
                        capabilities=("completion", "tools", "thinking"),
                        tool_calls=[OllamaCall("weather", {"city": "Rome"})],
                    ),
                    OllamaModel("nomic-embed-text:latest", capabilities=("embedding",)),
                    OllamaModel("endless:1b", endless=True),
                ]
            ),
            "openai": OpenAISimulator(
                [
                    OpenAIModel("a/b:c", answer="openai speaks"),
                    OpenAIModel("org/tiny:q4", answer="another tiny"),
                    OpenAIModel("endless", endless=True),
                    OpenAIModel("paint", images=True),
                    OpenAIModel("rank", rerank=True),
                ],
                "vllm",
                key=SECRET,
            ),
        }
        providers: list[ProviderConfig] = []
        for kind, server in servers.items():
            stack.enter_context(server)
            address = server.address if isinstance(server, OpenAISimulator) else server.base_url
            key = {"apiKey": SECRET} if kind == "openai" else {}
            providers.append(pretend.config(kind, kind, baseUrl=address, **key))
        served = stack.enter_context(serve(over(*providers)))
        yield Bench(stack, served, **servers)
        assert [server.errors for server in servers.values()] == [[], [], []]


def test_every_servers_models_are_in_one_list(bench: Bench) -> None:
    """S0-07: a catalogue of every server, and not of one."""
    assert [model.id for model in bench.ai.models.list()] == [
        "llamacpp/caller",
        "llamacpp/org/tiny:q4",
        "ollama/qwen3:8b",
        "ollama/nomic-embed-text:latest",
        "ollama/endless:1b",
        "openai/a/b:c",
        "openai/org/tiny:q4",
        "openai/endless",
        "openai/paint",
        "openai/rank",
    ]


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("llamacpp/org/tiny:q4", "llama speaks"),
        ("openai/org/tiny:q4", "another tiny"),
        ("org/tiny:q4", "llama speaks"),  # two have it; the first provider is the default
        ("ollama/qwen3:8b", "ollama speaks"),
        ("qwen3:8b", "ollama speaks"),
        ("openai/a/b:c", "openai speaks"),
        ("a/b:c", "openai speaks"),
    ],
)
def test_chat_streamed_and_not(bench: Bench, model: str, text: str) -> None:
    """S0-54, S0-55, S0-56: programs of others come through the gateway, by the same refs.

    One name at two servers is two models for them too. That the first slice has the gateway
    settles S0-57, S0-68 and S0-77.
    """
    whole = bench.ai.chat.completions.create(model=model, messages=HI)
    chunks = list(
        bench.ai.chat.completions.create(
            model=model, messages=HI, stream=True, stream_options={"include_usage": True}
        )
    )

    assert (whole.model, whole.choices[0].message.content) == (model, text)
    assert whole.usage is not None
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == text
    assert {chunk.model for chunk in chunks} == {model}
    assert chunks[-1].usage is not None
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


@pytest.mark.parametrize("model", ["llamacpp/org/tiny:q4", "ollama/qwen3:8b"])
def test_thinking_has_one_name(bench: Bench, model: str) -> None:
    answer = bench.ai.chat.completions.create(model=model, messages=HI)

    thought = (answer.choices[0].message.model_extra or {})["reasoning_content"]
    assert thought.strip() == "hm"


@pytest.mark.parametrize("model", ["llamacpp/caller", "ollama/qwen3:8b"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_round_of_tools(bench: Bench, model: str, stream: bool) -> None:
    if stream:
        with bench.ai.chat.completions.stream(model=model, messages=HI, tools=[WEATHER]) as events:
            message = events.get_final_completion().choices[0].message
    else:
        first = bench.ai.chat.completions.create(model=model, messages=HI, tools=[WEATHER])
        assert first.choices[0].finish_reason == "tool_calls"
        message = first.choices[0].message  # type: ignore[assignment] # the parsed one, or this
    [call] = message.tool_calls or []
    assert call.id
    assert (call.function.name, call.function.arguments.replace(" ", "")) == (
        "weather",
        '{"city":"Rome"}',
    )
    second = bench.ai.chat.completions.create(
        model=model,
        messages=[
            *HI,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": "weather", "arguments": call.function.arguments},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ],
        tools=[WEATHER],
    )
    assert str(second.choices[0].message.content).endswith("speaks")


def test_unknown_fields_travel_unchanged_to_servers_of_this_style(bench: Bench) -> None:
    extra = {"min_p": 0.05, "x_big": 2**70, "x_deep": {"a": [1, 1.5, None, ""]}, "user": "sam"}

    bench.said("openai/a/b:c", extra_body=extra)

    sent = json.loads(bench.openai.requests[-1].body)
    assert {name: sent[name] for name in extra} == extra


def test_a_native_server_reports_what_it_cannot_honour(bench: Bench) -> None:
    answer = bench.ai.chat.completions.with_raw_response.create(
        model="ollama/qwen3:8b", messages=HI, extra_body={"logit_bias": {"1": 5}}
    )

    notices = json.loads(answer.text)["modelbay"]["notices"]
    assert [notice["code"] for notice in notices] == ["dropped_field"]
    assert "logit_bias" in notices[0]["message"]
    assert "logit_bias" in answer.headers["x-modelbay-notices"]


def test_embeddings(bench: Bench) -> None:
    model = "ollama/nomic-embed-text"
    packed = bench.ai.embeddings.create(model=model, input=["a", "b"])
    plain = bench.ai.embeddings.create(model=model, input=["a", "b"], encoding_format="float")

    assert packed.model == model
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, rel=1e-6)


def test_images_and_reranking(bench: Bench) -> None:
    image = bench.ai.images.generate(model="openai/paint", prompt="a cat")
    ranked = bench.ai.post(
        "/rerank", cast_to=object, body={"model": "rank", "query": "a", "documents": ["a", "b"]}
    )

    assert image.data
    assert image.data[0].b64_json
    assert isinstance(ranked, dict)
    assert sorted(result["index"] for result in ranked["results"]) == [0, 1]


def test_what_a_server_does_not_offer_is_refused_by_name(bench: Bench) -> None:
    for ask in (
        lambda: bench.ai.embeddings.create(model="llamacpp/org/tiny:q4", input="a"),
        lambda: bench.ai.images.generate(model="ollama/qwen3:8b", prompt="a"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            ask()
        assert caught.value.code == "unsupported_capability"


def test_raw_completions(bench: Bench) -> None:
    answer = bench.ai.completions.create(model="llamacpp/org/tiny:q4", prompt="once", max_tokens=4)

    assert answer.choices[0].text


@pytest.mark.parametrize("model", ["openai/endless", "ollama/endless:1b"])
def test_a_client_that_leaves_ends_the_servers_stream(bench: Bench, model: str) -> None:
    server = bench.openai if model.startswith("openai") else bench.ollama
    before = server.streams_closed_by_client

    stream = bench.ai.chat.completions.create(model=model, messages=HI, stream=True)
    next(iter(stream))
    stream.close()

    server.wait_until(lambda: server.streams_closed_by_client == before + 1, WAIT_S)


def test_a_server_that_goes_away_ends_its_own_streams_with_an_error(bench: Bench) -> None:
    with OpenAISimulator([OpenAIModel("endless", endless=True)]) as dying:
        host = over(
            pretend.config("dying", "openai", baseUrl=dying.address),
            pretend.config("ollama", "ollama", baseUrl=bench.ollama.base_url),
        )
        with (
            serve(host) as served,
            openai.OpenAI(base_url=served.base_url, api_key="x", max_retries=0) as ai,
        ):
            broken = iter(ai.chat.completions.create(model="endless", messages=HI, stream=True))
            going = iter(
                ai.chat.completions.create(model="ollama/endless:1b", messages=HI, stream=True)
            )
            next(broken)
            next(going)

            dying.call(dying.crash)

            with pytest.raises(openai.APIError) as caught:
                list(broken)
            assert caught.value.code == "upstream_stream_closed"
            next(going)
            going.close()  # type: ignore[attr-defined] # a generator


def test_the_upstreams_secret_and_the_clients_key_stay_where_they_belong(bench: Bench) -> None:
    records = pretend.Records()
    logger = logging.getLogger("modelbay")
    level = logger.level
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG)
    try:
        with httpx.Client(base_url=bench.served.base_url) as client:
            seen = [
                client.request(
                    method,
                    path,
                    json=body,
                    headers={"authorization": "Bearer sk-planted-client-key", "cookie": "a=b"},
                ).text
                for method, path, body in (
                    ("GET", "/v1/models", None),
                    ("GET", "/v1/models/openai/a/b:c", None),
                    ("POST", "/v1/chat/completions", {"model": "a/b:c", "messages": HI}),
                    ("POST", "/v1/chat/completions", {"model": "a/b:c", "messages": [], "n": 2}),
                    ("POST", "/v1/embeddings", {"model": "a/b:c", "input": "a"}),
                    ("POST", "/v1/rerank", {"model": "a/b:c", "query": "a", "documents": ["a"]}),
                )
            ]
    finally:
        logger.removeHandler(records)
        logger.setLevel(level)

    assert [text for text in (*seen, *records.lines) if "planted" in text] == []
    assert records.lines
    for server in (bench.openai, bench.ollama, bench.llamacpp):
        for request in server.requests:
            assert "sk-planted-client-key" not in str(request.headers)
            assert "cookie" not in request.headers


def test_a_wrong_upstream_key_is_not_the_clients_fault(bench: Bench) -> None:
    host = over(
        pretend.config("lab", "openai", baseUrl=bench.openai.address, apiKey="sk-wrong-planted")
    )
    with (
        serve(host) as served,
        openai.OpenAI(base_url=served.base_url, api_key="x", max_retries=0) as ai,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        ai.chat.completions.create(model="lab/a/b:c", messages=HI)

    assert (caught.value.status_code, caught.value.code) == (502, "upstream_auth_failed")
    assert "planted" not in caught.value.response.text


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    host = over(pretend.config("lab", "ollama", baseUrl=f"http://127.0.0.1:{port}"))
    with (
        serve(host) as served,
        openai.OpenAI(base_url=served.base_url, api_key="x", max_retries=0) as ai,
    ):
        assert list(ai.models.list()) == []
        with pytest.raises(openai.InternalServerError) as caught:
            ai.chat.completions.create(model="lab/any", messages=HI)

    assert (caught.value.status_code, caught.value.code) == (502, "upstream_unreachable")
    assert caught.value.response.headers["x-should-retry"] == "true"


def test_thinking_that_a_client_drops_is_given_back_to_a_server_that_wants_it() -> None:
    script, knobs = Script(thought="hm"), Knobs(tool_rounds=3)
    with DeepSeekSimulator(script, knobs) as server:
        host = over(pretend.config("deepseek", "deepseek", baseUrl=server.base_url, apiKey=KEY))
        with (
            serve(host) as served,
            openai.OpenAI(base_url=served.base_url, api_key="x", max_retries=0) as ai,
        ):
            model = next(iter(ai.models.list())).id
            messages: list[Any] = [*HI]
            for _ in range(4):
                answer = ai.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
                message = answer.choices[0].message
                for call in message.tool_calls or ():
                    messages += [
                        {"role": "assistant", "content": None, "tool_calls": [call.to_dict()]},
                        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
                    ]

    assert str(message.content).endswith("sunny")
    assert len(messages) == 7
