"""Mirrors modelbay_llamaswap/waiting.py: a model whose places are taken."""

import pytest

from modelbay.errors import BackendBusyError
from modelbay.models.events import Finish, Status, TextDelta
from modelbay.testing.simulator import Exchange
from plugins.llamaswap.bay import OpenBay
from plugins.llamaswap.serving import SAID, Scripted, process, refused

pytestmark = pytest.mark.anyio


async def test_a_full_model_is_asked_again_and_the_wait_is_told(bay: OpenBay) -> None:
    """The refusal's Retry-After is kept to."""
    with Scripted(running=[process("tiny")]) as sim:
        refusals = iter(range(2))

        @sim.route("POST", "/v1/chat/completions")
        async def chat(exchange: Exchange) -> None:
            if next(refusals, None) is not None:
                body = refused("Too many requests", "concurrency_limit", "rate_limit_error")
                await exchange.json(body, 429, [("Retry-After", "0")])
                return
            await exchange.start_stream("text/event-stream")
            await exchange.raw(SAID)

        events = await bay(sim.base_url).chat()

    assert events == [
        Status("queued", message="all places of the model are taken"),
        TextDelta("one "),
        TextDelta("two"),
        Finish("stop", model="models/tiny.gguf", response_id="chatcmpl-1"),
    ]


async def test_a_pause_of_no_seconds_is_no_hot_loop(bay: OpenBay) -> None:
    with Scripted() as sim:

        @sim.route("POST", "/v1/chat/completions")
        async def chat(exchange: Exchange) -> None:
            await exchange.json({"error": "Too many requests"}, 429, [("Retry-After", "0")])

        with pytest.raises(BackendBusyError):
            await bay(sim.base_url, busyWaitS=0.4).chat()

        assert sum(path.startswith("POST") for path in sim.paths()) <= 4


async def test_a_model_that_stays_full_is_an_error_when_the_patience_is_over(
    bay: OpenBay,
) -> None:
    with Scripted() as sim:

        @sim.route("POST", "/v1/chat/completions")
        async def chat(exchange: Exchange) -> None:
            await exchange.json({"error": "Too many requests"}, 429, [("Retry-After", "7")])

        with pytest.raises(BackendBusyError) as caught:
            await bay(sim.base_url, busyWaitS=0).chat()

    assert caught.value.retry_after_s == 7.0
    assert (
        caught.value.hint == "raise the model's concurrencyLimit (10 unless set), or busyWaitS here"
    )
