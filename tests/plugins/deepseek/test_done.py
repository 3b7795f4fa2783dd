"""``[DONE]`` is the end of a stream, whatever the connection does after it."""

import anyio
import pytest

from modelbay.models.events import Finish, TextDelta
from modelbay.testing.simulator import Exchange, Simulator
from plugins.deepseek.bay import OpenBay

pytestmark = pytest.mark.anyio

ANSWER = (
    b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
LATE = b'data: {"choices":[{"index":0,"delta":{"content":"LATE"}}]}\n\n'


@pytest.mark.parametrize("then", ["it stays open", "it breaks", "more comes"])
async def test_an_answer_is_whole_once_it_is_done(bay: OpenBay, then: str) -> None:
    with Simulator() as sim:

        @sim.route("POST", "/chat/completions")
        async def route(exchange: Exchange) -> None:
            await exchange.start_stream("text/event-stream")
            await exchange.raw(ANSWER + (LATE if then == "more comes" else b""))
            if then == "it stays open":
                await exchange.sleep(float("inf"))
            elif then == "it breaks":
                exchange.abort()

        with anyio.fail_after(5):
            events = await bay(sim.base_url).chat()

    assert events == [TextDelta("x"), Finish("stop")]
