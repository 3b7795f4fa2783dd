"""Mirrors modelbay_ollama/requests.py and extras.py: consent, and what a caller adds."""

from collections.abc import Awaitable, Callable

import pytest

from modelbay.errors import InvalidRequestError, UnsupportedFeatureError
from modelbay.models.capabilities import Capabilities, Provenance
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Notice
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import Load
from modelbay.models.media import CompleteRequest, EmbedRequest
from modelbay_ollama.encoding import Setup, encode_chat
from modelbay_ollama.simulator import OllamaSimulator, Remote, SimulatedModel
from plugins.ollama.bay import Bay, OpenBay, ask
from plugins.ollama.test_wire import model

pytestmark = pytest.mark.anyio

LOCAL = SimulatedModel("llama3.1:8b")
CLOUD = SimulatedModel("gpt-oss:120b-cloud", family="gptoss", remote=Remote("gpt-oss:120b"))
STUB = SimulatedModel("mine:latest", remote=Remote("gpt-oss:120b"))
THINKER = SimulatedModel("qwen3:8b", thinking="hm", capabilities=("completion", "thinking"))
SENDING = ("/api/chat", "/api/generate", "/api/embed", "/v1/chat/completions")


def sent(sim: OllamaSimulator) -> list[str]:
    """The paths of all requests that could carry a prompt, or load a model."""
    return [request.path for request in sim.requests if request.path in SENDING]


async def chat(desk: Bay, name: str) -> object:
    return [e async for e in desk.backend.stream_chat(ask("secret"), desk.unlisted(name))]


async def complete(desk: Bay, name: str) -> object:
    request = CompleteRequest(prompt="secret")
    return [e async for e in desk.backend.complete(request, desk.unlisted(name))]


async def embed(desk: Bay, name: str) -> object:
    return await desk.backend.embed(EmbedRequest(input=["secret"]), desk.unlisted(name))


async def load(desk: Bay, name: str) -> object:
    return await desk.manage(Load(model=name))


# --- consent -------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["native", "openai"])
@pytest.mark.parametrize("looked", [True, False], ids=["listed before", "never listed"])
@pytest.mark.parametrize(
    "name",
    [
        "gpt-oss:120b-cloud",
        "GPT-OSS:120B-Cloud",
        "gpt-oss:120b:cloud",
        "kimi-k2.6:cloud",
        "mine",
        "MINE:latest",
    ],
)
@pytest.mark.parametrize("use", [chat, complete, embed, load])
async def test_without_consent_no_prompt_goes_to_the_cloud_by_any_name(
    bay: OpenBay,
    use: Callable[[Bay, str], Awaitable[object]],
    name: str,
    looked: bool,
    api: str,
) -> None:
    """Trap 37: by a name that no list shows too."""
    with OllamaSimulator([LOCAL, CLOUD, STUB], "0.33.0") as sim:
        desk = bay(sim.base_url, allowCloud=False, api=api)
        if looked:
            assert list(await desk.discover()) == ["llama3.1:8b"]
        with pytest.raises(UnsupportedFeatureError, match="runs in the cloud") as raised:
            await use(desk, name)

        assert sent(sim) == []
    assert '"allowCloud": true' in (raised.value.hint or "")


async def test_a_local_model_needs_no_consent(bay: OpenBay) -> None:
    with OllamaSimulator([LOCAL, STUB], "0.33.0") as sim:
        desk = bay(sim.base_url, allowCloud=False)
        await chat(desk, "llama3.1:8B")
        await load(desk, "llama3.1:8b")

        assert sent(sim) == ["/api/chat"]


async def test_extra_cannot_name_another_model(bay: OpenBay) -> None:
    with OllamaSimulator([LOCAL, CLOUD]) as sim:
        desk = bay(sim.base_url, allowCloud=False)
        with pytest.raises(InvalidRequestError, match="model is a field of the request itself"):
            await desk.chat(ask(extra={"model": "gpt-oss:120b-cloud"}))

        assert sent(sim) == []


# --- what nobody asked for -----------------------------------------------------------------------


async def test_no_limit_is_sent_that_nobody_has_set(bay: OpenBay) -> None:
    """The Modelfile's own ``num_predict`` holds then."""
    own = SimulatedModel("llama3.1:8b", endless=True, answer="word ", parameters={"num_predict": 5})
    with OllamaSimulator([own]) as sim:
        desk = bay(sim.base_url)
        await desk.chat()
        await desk.complete(CompleteRequest(prompt="x"))

        assert [answer.options for answer in sim.answers] == [{"num_predict": 5}] * 2


def test_a_limit_the_user_has_set_for_a_model_is_sent() -> None:
    user = Capabilities(
        max_output_tokens=99, provenance={"max_output_tokens": Provenance(layer="user")}
    )
    table = user.model_copy(update={"provenance": {"max_output_tokens": Provenance(layer="table")}})

    def options(known: Capabilities, max_tokens: int | None = None) -> object:
        info = model().model_copy(update={"capabilities": known})
        return encode_chat(ask(max_tokens=max_tokens), info, Setup()).body["options"]

    assert options(user) == {"num_predict": 99}
    assert options(user, max_tokens=7) == {"num_predict": 7}
    assert options(table) == {}


async def test_a_limit_the_user_has_set_goes_to_the_openai_layer_too(bay: OpenBay) -> None:
    with OllamaSimulator([LOCAL]) as sim:
        desk = bay(sim.base_url, api="openai", models={"llama3.1:8b": {"maxOutputTokens": 9}})
        await desk.chat()

        assert sim.answers[0].options["num_predict"] == 9


# --- what would not be a request -----------------------------------------------------------------


@pytest.mark.parametrize("api", ["native", "openai"])
@pytest.mark.parametrize("extra", [{}, {"keep_alive": 0}])
async def test_a_conversation_without_messages_is_refused(
    bay: OpenBay, extra: JsonObject, api: str
) -> None:
    """Section 5.9: the server would load, or unload, the model."""
    with OllamaSimulator([LOCAL]) as sim:
        with pytest.raises(InvalidRequestError, match="no message"):
            await bay(sim.base_url, api=api).chat(ChatRequest(messages=[], extra=extra))

        assert sent(sim) == []


async def test_an_empty_prompt_is_refused(bay: OpenBay) -> None:
    with OllamaSimulator([LOCAL]) as sim:
        with pytest.raises(InvalidRequestError, match="no prompt"):
            await bay(sim.base_url).complete(CompleteRequest(prompt=""))

        assert sent(sim) == []


# --- a caller's own fields -----------------------------------------------------------------------

WRONG: list[JsonObject] = [
    {"truncate": "x"},
    {"shift": 1},
    {"logprobs": "x"},
    {"stream": "x"},
    {"_debug_render_only": "x"},
    {"top_logprobs": 21},
    {"top_logprobs": True},
    {"think": {"a": 1}},
    {"think": "very"},
    {"format": 7},
    {"format": "xml"},
    {"keep_alive": "soon"},
    {"num_keep": 10**400},
    {"seed": 2**63},
    {"temperature": -(10**400)},
    {"num_ctx": -5},
    {"num_ctx": 0},
    {"options": ["num_ctx"]},
    {"options": {"stop": 7}},
    {"n_ctx": "big"},
    {"messages": []},
    {"input": ["x", "y"]},
    {"prompt": "y"},
]


@pytest.mark.parametrize("extra", WRONG, ids=lambda extra: f"{extra}"[:40])
async def test_a_field_of_a_wrong_type_never_reaches_the_wire(
    bay: OpenBay, extra: JsonObject
) -> None:
    """Trap 18; of chat, completion and embedding alike."""
    with OllamaSimulator([THINKER]) as sim:
        desk = bay(sim.base_url)
        listed = await desk.model("qwen3:8b")
        for attempt in (
            desk.chat(ask(extra=extra), "qwen3:8b"),
            desk.complete(CompleteRequest(prompt="x", extra=extra), "qwen3:8b"),
        ):
            with pytest.raises(InvalidRequestError) as raised:
                await attempt
            assert raised.value.hint
        if "think" not in extra:  # which no embedding model gets
            with pytest.raises(InvalidRequestError):
                await desk.backend.embed(EmbedRequest(input=["x"], extra=extra), listed)

        assert sent(sim) == []


async def test_fields_of_a_completion_are_read_like_those_of_a_chat(bay: OpenBay) -> None:
    with OllamaSimulator([LOCAL]) as sim:
        desk = bay(sim.base_url)
        extra: JsonObject = {
            "max_completion_tokens": "3",
            "mirostat": 1,
            "user": "sam",
            "min_p": "0.5",
        }
        events = await desk.complete(CompleteRequest(prompt="x", extra=extra))
        with pytest.raises(UnsupportedFeatureError):
            await desk.complete(CompleteRequest(prompt="x", extra={"n": 3}))

        assert sim.answers[0].options == {"num_predict": 3, "min_p": 0.5}
    told = [event.message.partition(" ")[0] for event in events if isinstance(event, Notice)]
    assert told == ["mirostat", "user"]


async def test_fields_of_an_embedding_that_are_left_out_are_logged(
    bay: OpenBay, caplog: pytest.LogCaptureFixture
) -> None:
    embedder = SimulatedModel("e:latest", family="bert", capabilities=("embedding",))
    with OllamaSimulator([embedder]) as sim:
        desk = bay(sim.base_url)
        request = EmbedRequest(input=["x"], extra={"user": "sam"})
        await desk.backend.embed(request, await desk.model("e:latest"))
        (body,) = [r.json() for r in sim.requests if r.path == "/api/embed"]

    assert body == {"model": "e:latest", "input": ["x"], "keep_alive": "5m"}
    assert "user was left out" in caplog.text


async def test_think_is_not_sent_to_a_model_that_does_not(bay: OpenBay) -> None:
    """Trap 11, and the caller is told the name they used."""
    with OllamaSimulator([LOCAL]) as sim:
        events = await bay(sim.base_url).chat(ask(extra={"think": True}))

        body = sim.requests[-1].json()
        assert isinstance(body, dict)
        assert "think" not in body
        assert sent(sim) == ["/api/chat"]
    told = [event.message for event in events if isinstance(event, Notice)]
    assert told == ["think was left out: this model is not known to think"]


async def test_a_refused_think_of_the_caller_is_told_by_its_name(bay: OpenBay) -> None:
    lying = SimulatedModel("qwen3:8b", capabilities=("completion",))
    with OllamaSimulator([lying]) as sim:
        desk = bay(sim.base_url, models={"qwen3:8b": {"reasoning": True}})
        events = await desk.chat(ask(extra={"think": True}), "qwen3:8b")

    told = [event.message for event in events if isinstance(event, Notice)]
    assert told == ["think was left out: the server refused it"]


async def test_a_refused_level_is_told_as_switched_on(bay: OpenBay) -> None:
    """Section 5.4: clouds and servers before 0.17.7 reject levels."""
    with OllamaSimulator([THINKER], "0.17.6") as sim:
        events = await bay(sim.base_url).chat(ask(extra={"think": "low"}), "qwen3:8b")

        assert sim.answers[0].think is True
    told = [event.message for event in events if isinstance(event, Notice)]
    assert told == ["the server refused the level 'low' of thinking; it is only switched on"]
