"""DeepSeek's API behind this kind: it works, though its own kind can do more."""

import json

import pytest

from modelbay.models.chat import Message
from modelbay.models.events import ReasoningDelta, ToolCall
from modelbay.models.manage import Health, HealthReport
from modelbay.testing.simulator import Exchange, Simulator
from modelbay_openai.address import by_host
from modelbay_openai.memory import memory
from plugins.openai.bay import WITH_TOOLS, OpenBay

pytestmark = pytest.mark.anyio

MISSING = "The `reasoning_content` in the thinking mode must be passed back to the API."


class Strict(Simulator):
    """Lists as DeepSeek does, and refuses a tool's result without the thought before the call."""

    def __init__(self) -> None:
        super().__init__()
        self.route("GET", "/v1/models")(self._list)
        self.route("POST", "/v1/chat/completions")(self._chat)

    async def _list(self, exchange: Exchange) -> None:
        entry = {"id": "deepseek-flash", "object": "model", "owned_by": "deepseek"}
        await exchange.json({"object": "list", "data": [entry]})

    async def _chat(self, exchange: Exchange) -> None:
        messages = json.loads(exchange.request.body)["messages"]
        if messages[-1]["role"] != "tool":
            function = {"name": "get_weather", "arguments": "{}"}
            call = {"index": 0, "id": "call_00_a", "type": "function", "function": function}
            message = {"content": "", "reasoning_content": "why", "tool_calls": [call]}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        elif messages[-2].get("reasoning_content") != "why":
            error = {"message": MISSING, "type": "invalid_request_error"}
            await exchange.json({"error": error}, status=400)
            return
        else:
            choice = {"index": 0, "message": {"content": "sunny"}, "finish_reason": "stop"}
        await exchange.json({"model": "deepseek-flash", "choices": [choice]})


async def test_a_tool_loop_goes_on_because_thoughts_go_back(bay: OpenBay) -> None:
    with Strict() as server:
        desk = bay(server.base_url)
        first = await desk.chat(WITH_TOOLS, "deepseek-flash")
        [call] = [event for event in first if isinstance(event, ToolCall)]
        [thought] = [event.text for event in first if isinstance(event, ReasoningDelta)]
        turn = Message(role="assistant", tool_calls=[call], reasoning=thought)
        result = Message(role="tool", content="sunny", tool_call_id=call.id)
        history = [*WITH_TOOLS.messages, turn, result]

        again = WITH_TOOLS.model_copy(update={"messages": history})
        await desk.chat(again, "deepseek-flash")  # a refusal would be raised

        assert memory(desk.context).server.name == "deepseek"


async def test_health_names_the_kind_that_can_do_more(bay: OpenBay) -> None:
    with Strict() as server:
        (report,) = await bay(server.base_url).manage(Health())

    assert report == HealthReport(
        healthy=True,
        server="DeepSeek",
        details={"models": 1, "note": '"kind": "deepseek" can do more with this server'},
    )


def test_it_is_known_by_its_address_too() -> None:
    assert by_host("https://api.deepseek.com/v1").name == "deepseek"
