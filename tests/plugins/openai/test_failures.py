"""Errors of all servers: the class, the words, the next step, and no secret anywhere."""

import json
import logging
import traceback

import pytest

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    QuotaExceededError,
    RateLimitedError,
    StreamInterruptedError,
    WrongServerError,
)
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import StreamEvent, TextDelta
from modelbay.models.manage import Health, ListModels
from modelbay.testing.fault import Fault
from modelbay.wire.errors import parse_error_body
from modelbay_openai.failures import classify
from modelbay_openai.simulator import (
    PERSONALITIES,
    Knobs,
    OpenAISimulator,
    SimulatedModel,
)
from plugins.openai.bay import Bay, OpenBay, ask

pytestmark = pytest.mark.anyio

KEY = "sk-planted-0123456789abcdef"
EVERY = list(PERSONALITIES)
MODELS = [SimulatedModel("tiny", answer="One two three four five.", context=64)]


async def refused(desk: Bay, request: ChatRequest | str = "hi") -> BackendError:
    with pytest.raises(BackendError) as caught:
        await desk.chat(request)
    return caught.value


async def failed(desk: Bay, model: ModelInfo, seen: list[StreamEvent]) -> BackendError:
    """The error a turn ends with; what came before it goes to ``seen``."""
    try:
        async for event in desk.backend.stream_chat(ask(), model):
            seen.append(event)
    except BackendError as exc:
        return exc
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("name", EVERY)
async def test_a_wrong_key_is_told(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name, key="sk-right") as sim:
        desk = bay(
            sim.address,
            server=name,
            apiKey=KEY,
            apiKeyEnv="BOX_KEY",
            discover=False,
            models={"tiny": {"tools": True}},
        )
        error = await refused(desk)

    assert type(error) is AuthenticationError
    assert (error.status, error.hint) == (401, "set BOX_KEY to a valid key")


@pytest.mark.parametrize("name", EVERY)
async def test_no_money_is_not_too_many_requests(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name, knobs=Knobs(balance_empty=True)) as sim:
        error = await refused(bay(sim.address, server=name))

    assert type(error) is QuotaExceededError
    assert error.status == (429 if name == "openai" else 402)
    assert not error.retryable


@pytest.mark.parametrize("name", EVERY)
async def test_too_many_requests_say_how_long_to_wait(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name, knobs=Knobs(rate_limited_s=7)) as sim:
        error = await refused(bay(sim.address, server=name))

    assert type(error) is RateLimitedError
    assert (error.status, error.retry_after_s, error.retryable) == (429, 7.0, True)


@pytest.mark.parametrize("name", EVERY)
async def test_an_overloaded_server_may_be_asked_again(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name, knobs=Knobs(overloaded=True)) as sim:
        error = await refused(bay(sim.address, server=name))

    assert type(error) is BackendBusyError
    assert error.status == 503


@pytest.mark.parametrize("name", [n for n in EVERY if PERSONALITIES[n].checks_names])
async def test_a_model_that_is_gone_is_told(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        desk = bay(sim.address, server=name, discover=False, models={"gone": {"tools": True}})
        with pytest.raises(ModelNotFoundError) as caught:
            await desk.chat(ask(), "gone")

    assert caught.value.status == (400 if name == "openrouter" else 404)
    assert caught.value.model == "desk/gone"


@pytest.mark.parametrize("name", [n for n in EVERY if n != "koboldcpp"])
async def test_a_conversation_that_does_not_fit_is_told(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        error = await refused(bay(sim.address, server=name), "word " * 200)

    assert type(error) is ContextLengthError
    assert error.status == 400
    if name in ("vllm", "sglang", "lmstudio", "tabbyapi"):
        assert "shorten the conversation" in (error.hint or "")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (422, {"detail": [{"loc": ["body", "messages"], "msg": "no", "type": "x"}]}, None),
        (402, {"error": {"message": "pay", "code": 402}}, None),
        (429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, None),
        (429, {"error": {"message": "You exceeded your current quota"}}, QuotaExceededError),
        (403, {"error": {"message": "no access", "code": 403}}, None),
        (
            403,
            {"error": {"message": "flagged", "metadata": {"reasons": ["violence"]}}},
            InvalidRequestError,
        ),
        (
            404,
            {"error": {"message": "No endpoints found that support tool use", "code": 404}},
            InvalidRequestError,
        ),
        (529, {"error": {"message": "overloaded"}}, BackendBusyError),
        (500, {"error": {"message": "boom"}}, None),
        (500, {"error": "This model's maximum context length is 9 tokens"}, ContextLengthError),
    ],
)
def test_words_that_mean_more_than_the_status(
    status: int, body: object, kind: type[BackendError] | None
) -> None:
    assert classify(status, parse_error_body(json.dumps(body).encode())) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (402, QuotaExceededError),
        (404, ModelNotFoundError),
        (422, InvalidRequestError),
        (500, BackendError),
    ],
)
async def test_a_status_without_words_has_its_error(
    bay: OpenBay, status: int, kind: type[BackendError]
) -> None:
    with OpenAISimulator(MODELS) as sim:
        desk = bay(sim.address)
        sim.inject(Fault(status=status, body=b"{}"), path="/v1/chat/completions")
        error = await refused(desk)

    assert type(error) is kind
    assert error.status == status


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            422,
            {
                "detail": [
                    {"loc": ["body", "a"], "msg": 'Field "a" required', "input": "the prompt"},
                    {"loc": ["body", "b"], "msg": "too small", "input": "the prompt " * 99},
                ]
            },
            'body.a: Field "a" required; body.b: too small (HTTP 422)',
        ),
        (503, {"detail": {"msg": "Server is busy.", "type": "x"}}, "Server is busy. (HTTP 503)"),
        (500, {"detail": "Out of memory."}, "Out of memory. (HTTP 500)"),
    ],
)
async def test_a_refusal_in_fastapi_s_shape_says_its_words_and_not_the_request(
    bay: OpenBay, status: int, body: object, message: str
) -> None:
    with OpenAISimulator(MODELS, "tabbyapi") as sim:
        desk = bay(sim.address)
        sim.inject(
            Fault(status=status, body=json.dumps(body).encode()), path="/v1/chat/completions"
        )
        error = await refused(desk)

    assert error.message == str(error) == message


async def test_a_vllm_without_a_tool_parser_is_told_how_to_start(bay: OpenBay) -> None:
    words = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    body = json.dumps({"error": {"message": words, "code": 400}}).encode()
    with OpenAISimulator(MODELS, "vllm") as sim:
        desk = bay(sim.address)
        sim.inject(Fault(status=400, body=body), path="/v1/chat/completions")
        error = await refused(desk)

    assert type(error) is InvalidRequestError
    assert error.hint == "start vLLM with --enable-auto-tool-choice --tool-call-parser NAME"


# --- in the middle --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "knobs", [Knobs(cut_after=2), Knobs(silent_end=True), Knobs(fail_after=2)], ids=str
)
@pytest.mark.parametrize("name", EVERY)
async def test_a_broken_answer_is_an_error_with_what_came(
    bay: OpenBay, name: str, knobs: Knobs
) -> None:
    with OpenAISimulator(MODELS, name, knobs=knobs) as sim:
        desk = bay(sim.address, server=name)
        seen: list[StreamEvent] = []
        error = await failed(desk, await desk.model(), seen)

    assert type(error) is StreamInterruptedError
    text = "".join(event.text for event in seen if isinstance(event, TextDelta))
    whole = "One two three four five."
    assert error.partial == text == (whole if knobs.silent_end else whole[:10])
    if knobs.fail_after is not None:
        assert "the model went away" in error.message


async def test_an_error_before_the_first_word_is_no_interruption(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "openrouter", knobs=Knobs(fail_after=0)) as sim:
        error = await refused(bay(sim.address, server="openrouter"))

    assert type(error) is BackendError
    assert (error.status, error.message) == (502, "the model went away in the middle of the answer")


# --- secrets --------------------------------------------------------------------------------------


async def test_a_key_is_in_no_message_log_or_json(
    bay: OpenBay, caplog: pytest.LogCaptureFixture
) -> None:
    """Servers echo keys in their errors, some in their lists."""
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()
    with OpenAISimulator(MODELS, "sglang", key=KEY) as sim:
        desk = bay(sim.address, apiKey=KEY)
        models = await desk.discover()
        told = [*await desk.manage(ListModels()), *await desk.manage(Health())]
        info = await desk.model()
        sim.inject(Fault(status=401, body=echo))
        chat = await failed(desk, info, [])
        with pytest.raises(BackendError) as caught:
            await desk.manage(ListModels())
        with pytest.raises(BackendError) as looked:
            await desk.discover()

    sent = [request.headers["authorization"] for request in sim.requests]
    assert set(sent) == {f"Bearer {KEY}"}
    shown = [
        *(model.model_dump_json() for model in models.values()),
        *(event.model_dump_json() for event in told),
        desk.config.model_dump_json(),
        repr(desk.config),
        caplog.text,
        *(
            "".join(traceback.format_exception(error)) + f"{error.hint}{error!r}"
            for error in (chat, caught.value, looked.value)
        ),
    ]
    assert not [text for text in shown if KEY in text]
    assert "***" in chat.message


async def test_a_key_in_a_list_that_is_an_error_is_not_shown(bay: OpenBay) -> None:
    """LM Studio's way: an error under 200."""
    echo = json.dumps({"error": f"Malformed API token {KEY}"}).encode()
    with OpenAISimulator(MODELS, "lmstudio") as sim:
        sim.inject(Fault(status=200, body=echo, content_type="application/json"))
        with pytest.raises(WrongServerError) as caught:
            await bay(sim.address, apiKey=KEY).discover()

    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown
    assert "Malformed API token ***" in shown


async def test_a_key_follows_no_redirect(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS) as other, OpenAISimulator(MODELS) as sim:
        answer = (
            f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {other.address}/models\r\n"
            "Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        sim.inject(Fault(garbage=answer.encode()))
        with pytest.raises(BackendError):
            await bay(sim.address, apiKey=KEY).discover()
        assert other.requests == []
