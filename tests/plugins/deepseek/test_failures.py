"""Mirrors modelbay_deepseek/failures.py, and what becomes of every error answer."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import stamina

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    QuotaExceededError,
    RateLimitedError,
    StreamInterruptedError,
)
from modelbay.models.events import StreamEvent
from modelbay.models.media import CompleteRequest
from modelbay.testing.simulator import Fault
from modelbay.wire.errors import ErrorBody, error_class
from modelbay_deepseek.failures import classify
from modelbay_deepseek.simulator import DeepSeekSimulator, Knobs, Script
from plugins.deepseek.bay import OpenBay, ask, failure, said

TOO_MANY = (
    "Too many requests. Your current concurrency is 26, which exceeds your concurrency limit of 25"
    " based on your remaining balance. Please top up your balance to restore your concurrency."
)
CONTEXT = "This model's maximum context length is 1048576 tokens. However, you requested 2000000"
NAMES = "The supported API model names are deepseek-flash, deepseek-v4-pro, but you passed x."
BAD = "invalid_request_error"


@pytest.mark.parametrize(
    ("status", "kind", "message", "wanted"),
    [
        (400, BAD, "Invalid temperature value", InvalidRequestError),
        (400, BAD, "bad field: 'insufficient balance'", InvalidRequestError),
        (400, BAD, "bad field: 'please top up'", InvalidRequestError),
        (400, "rate_limit_error", "bad field: 'please top up'", InvalidRequestError),
        (401, "authentication_error", "Insufficient Balance", AuthenticationError),
        (503, "server_error", "Insufficient Balance", BackendBusyError),
        (500, BAD, "bad field: 'insufficient balance'", InvalidRequestError),
        (400, BAD, "bad field: 'maximum context length'", InvalidRequestError),
        (400, BAD, NAMES, ModelNotFoundError),
        (422, BAD, NAMES, ModelNotFoundError),
        (400, BAD, CONTEXT, ContextLengthError),
        (401, "authentication_error", "Authentication Fails", AuthenticationError),
        (402, "unknown_error", "Insufficient Balance", QuotaExceededError),
        (404, BAD, "Not Found", ModelNotFoundError),
        (422, BAD, "no", InvalidRequestError),
        (429, "rate_limit_error", "Too many requests", RateLimitedError),
        (429, "rate_limit_error", TOO_MANY, QuotaExceededError),
        (500, "server_error", "no", BackendError),
        (503, "server_error", "no", BackendBusyError),
        # inside a stream there is no status
        (500, "rate_limit_error", "no", RateLimitedError),
        (500, "rate_limit_error", TOO_MANY, QuotaExceededError),
        (500, "authentication_error", "no", AuthenticationError),
        (500, "unknown_error", "Insufficient Balance", QuotaExceededError),
        (500, BAD, "no", InvalidRequestError),
        (500, BAD, CONTEXT, ContextLengthError),
    ],
)
def test_status_then_type_then_words_decide_and_never_the_code(
    status: int, kind: str, message: str, wanted: type[BackendError]
) -> None:
    for code in (BAD, "", "anything"):
        assert error_class(status, ErrorBody(message, kind, code), classify) is wanted


# --- over the wire --------------------------------------------------------------------------------

pytestmark = pytest.mark.anyio


async def refused(
    opened: Any, wanted: type[BackendError], **fields: Any
) -> tuple[list[StreamEvent], BackendError]:
    return await failure(opened.stream(ask(**fields)), wanted)


@pytest.mark.parametrize(
    ("knobs", "wanted", "hint"),
    [
        (
            Knobs(status=402),
            QuotaExceededError,
            "top up the DeepSeek account, or choose a local model: modelbay models",
        ),
        (
            Knobs(status=429),
            RateLimitedError,
            'set "maxConcurrent" of provider "cloud" in providers.json',
        ),
        (
            Knobs(status=429, low_balance=True),
            QuotaExceededError,
            "top up the account: fewer requests at once are allowed as its balance falls; or set"
            ' "maxConcurrent" of provider "cloud"',
        ),
        (Knobs(status=500), BackendError, None),
        (Knobs(status=503), BackendBusyError, None),
    ],
)
async def test_a_refusal_has_its_class_and_the_next_step(
    server: DeepSeekSimulator,
    bay: OpenBay,
    knobs: Knobs,
    wanted: type[BackendError],
    hint: str | None,
) -> None:
    server.knobs = knobs

    events, error = await refused(bay(server.base_url), wanted)

    assert (events, error.status, error.hint) == ([], knobs.status, hint)


async def test_an_account_without_money_refuses_every_chat(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.account.is_available = False

    _, error = await refused(bay(server.base_url), QuotaExceededError)

    assert "Insufficient Balance (HTTP 402)" in error.message


@pytest.mark.parametrize("status", [400, 422])
async def test_an_invalid_request_is_told_in_the_server_s_words(
    server: DeepSeekSimulator, bay: OpenBay, status: int
) -> None:
    server.knobs = Knobs(refusal_status=status)

    _, error = await refused(bay(server.base_url), InvalidRequestError, temperature=3.0)

    assert error.message.startswith(
        f"Invalid temperature value, the valid range of temperature is [0, 2] (HTTP {status})"
    )


async def test_a_prompt_and_limit_that_exceed_the_context_are_told(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    text = "w " * 700_000

    _, error = await failure(
        bay(server.base_url).stream(ask(text, max_tokens=393_216)), ContextLengthError
    )

    assert error.hint == "shorten the conversation, or lower max_tokens: both count"


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        (Knobs(html_502=True), "502 Bad Gateway"),
        (Knobs(status=500, bare_text=True), "Internal server error (HTTP 500)"),
        (Knobs(status=500, octet_stream_error=True), "Internal server error (HTTP 500)"),
    ],
)
async def test_words_are_kept_whatever_they_are_wrapped_in(
    server: DeepSeekSimulator, bay: OpenBay, knobs: Knobs, words: str
) -> None:
    server.knobs = knobs

    _, error = await refused(bay(server.base_url), BackendError)

    assert words in error.message


async def test_a_wait_the_server_asks_for_is_handed_on(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(status=429, retry_after_s=45)

    _, error = await refused(bay(server.base_url), RateLimitedError)

    assert error.retry_after_s == 45


# --- once more ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("retries")
@pytest.mark.parametrize(
    "knobs",
    [
        Knobs(status=429, times=2),
        Knobs(status=429, times=2, retry_after_s=1),
        Knobs(status=429, times=2, low_balance=True),
        Knobs(status=500, times=2),
        Knobs(status=503, times=2),
        Knobs(cut_after=0, times=2),
        Knobs(error_in_stream="Internal", cut_after=1, times=2),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_what_passes_is_asked_again_while_nothing_has_come(
    server: DeepSeekSimulator, bay: OpenBay, knobs: Knobs, stream: bool
) -> None:
    server.knobs = knobs
    request = ask(stream=stream, reasoning_effort="none")

    assert said([e async for e in bay(server.base_url).stream(request)])
    assert len(server.requests) == 3


@pytest.mark.usefixtures("retries")
async def test_a_whole_answer_that_was_broken_off_is_asked_for_again(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(finish="insufficient_system_resource", times=1)

    events = [e async for e in bay(server.base_url).stream(ask(stream=False))]

    assert said(events) == "This is a pretended answer."
    assert len(server.requests) == 2


@pytest.mark.usefixtures("retries")
async def test_a_stream_that_was_broken_off_before_a_word_is_asked_for_again(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(finish="insufficient_system_resource")
    server.script = Script(thought="", text="")

    await refused(bay(server.base_url), BackendBusyError)

    assert len(server.requests) == 4


@pytest.mark.usefixtures("retries")
async def test_a_stream_that_was_broken_off_in_the_middle_is_not(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(finish="insufficient_system_resource", times=1)

    events, error = await refused(bay(server.base_url), StreamInterruptedError)

    assert isinstance(error, StreamInterruptedError)
    assert said(events) == error.partial == "This is a pretended answer."
    assert len(server.requests) == 1


@pytest.mark.usefixtures("retries")
@pytest.mark.parametrize(
    ("knobs", "wanted"),
    [
        (Knobs(status=402), QuotaExceededError),
        (Knobs(status=429, retry_after_s=3600), RateLimitedError),
        (Knobs(html_502=True), BackendError),
    ],
)
async def test_what_does_not_pass_is_asked_once(
    server: DeepSeekSimulator, bay: OpenBay, knobs: Knobs, wanted: type[BackendError]
) -> None:
    server.knobs = knobs

    await refused(bay(server.base_url), wanted)

    assert len(server.requests) == 1


@pytest.mark.usefixtures("retries")
@pytest.mark.parametrize(
    ("kind", "words", "wanted"),
    [
        ("authentication_error", "Authentication Fails", AuthenticationError),
        (BAD, "no", InvalidRequestError),
        (BAD, CONTEXT, ContextLengthError),
        (BAD, NAMES, ModelNotFoundError),
        ("unknown_error", "Insufficient Balance", QuotaExceededError),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_refusal_that_does_not_pass_is_asked_once_wherever_it_comes(
    server: DeepSeekSimulator,
    bay: OpenBay,
    kind: str,
    words: str,
    wanted: type[BackendError],
    streamed: bool,
) -> None:
    error = json.dumps({"error": {"message": words, "type": kind, "code": BAD}}).encode()
    if streamed:
        body = b"data: " + error + b"\n\n"
        server.inject(Fault(body=body, content_type="text/event-stream"))
    else:
        server.inject(Fault(status=500, body=error))

    await refused(bay(server.base_url), wanted)

    assert len(server.requests) == 1


@pytest.mark.usefixtures("retries")
async def test_nothing_is_asked_again_once_a_word_has_come(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(cut_after=3, times=1)

    await refused(bay(server.base_url), StreamInterruptedError)

    assert len(server.requests) == 1


@pytest.mark.usefixtures("retries")
@pytest.mark.parametrize(("retries_", "asked"), [(0, 1), (1, 2), (3, 4)])
async def test_the_user_bounds_how_often(
    server: DeepSeekSimulator, bay: OpenBay, retries_: int, asked: int
) -> None:
    server.knobs = Knobs(status=503)

    await refused(bay(server.base_url, retries=retries_), BackendBusyError)

    assert len(server.requests) == asked


@pytest.mark.usefixtures("retries")
async def test_no_secret_is_in_what_retries_log(
    server: DeepSeekSimulator, bay: OpenBay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = "planted-secret-9911"
    server.inject(Fault(status=503, body=f"key {key}, sk-another-1234 refused".encode()))

    _, error = await refused(bay(server.base_url, apiKey=key), BackendBusyError)

    records = [record for record in caplog.records if not record.name.startswith("httpcore")]
    heard = "".join(f"{record.getMessage()}{record.__dict__}" for record in records)
    assert any(record.name == "stamina" for record in records)
    assert len(server.requests) == 4
    for secret in (key, "sk-another"):
        assert secret not in f"{heard}{error!r}{error}{error.hint}"


@pytest.mark.usefixtures("retries")
async def test_a_raw_prompt_is_asked_again_too(server: DeepSeekSimulator, bay: OpenBay) -> None:
    server.knobs = Knobs(status=503, times=1)

    events = await bay(server.base_url).complete(CompleteRequest(prompt="x"))

    assert said(events) == "This is a pretended answer."


# --- leaving while it waits -----------------------------------------------------------------------


@pytest.fixture
def pauses() -> Iterator[None]:
    """Retries with their real pauses."""
    stamina.set_active(True)
    yield
    stamina.set_active(False)


@pytest.mark.usefixtures("pauses")
async def test_a_deadline_holds_in_a_pause_between_two_tries(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(status=503, retry_after_s=30)
    opened = bay(server.base_url)

    await failure(
        opened.backend.stream_chat(ask(), opened.model(), deadline_s=0.2), BackendTimeoutError
    )

    assert len(server.requests) == 1


@pytest.mark.usefixtures("pauses")
async def test_a_turn_can_be_cancelled_in_a_pause_between_two_tries(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(status=503, retry_after_s=30)
    paused = asyncio.Event()
    hooks = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([lambda _: paused.set()])
    try:
        task = asyncio.create_task(bay(server.base_url).chat())
        await paused.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        stamina.instrumentation.set_on_retry_hooks(hooks)

    assert len(server.requests) == 1


async def test_a_turn_can_be_cancelled_in_the_server_s_queue(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(queue_ms=10**9)
    task = asyncio.create_task(bay(server.base_url).chat())
    await server.wait_until_async(lambda: server.open_streams == 1)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await server.wait_until_async(lambda: server.open_streams == 0)
    assert len(server.requests) == 1
