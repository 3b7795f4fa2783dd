"""Every simulator of ours from the other side: a client that is known to be sound talks to it.

The kit holds a plugin to its rules in front of a simulator; a simulator that is as wrong as its
plugin would hide that. So here the plugin is another one. The reference client is the kit's own
sample, `testing.acme.plugin`, which is written for the OpenAI-compatible API and knows none of
these servers; where a server has that API below another path or with another list, only that is
told. Whatever the kit's exchanges are (turns, streams, cuts, closings), a sound client has to pass
them at every simulator, and a simulator that is broken on purpose has to be noticed.

Vectors, rankings and tools of these servers are the business of their own plugins' tests.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from modelbay.models.frozen import JsonObject
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import OPENAI_SSE, SimulatorTarget, Target
from modelbay.testing.conformance.bay import Bay, Rule
from modelbay.testing.conformance.chat import ChatChecks
from modelbay.testing.conformance.closing import ClosingChecks
from modelbay.testing.conformance.interruption import InterruptionChecks
from modelbay.testing.conformance.streaming import StreamChecks
from modelbay.testing.simulator import Exchange, Simulator
from modelbay_deepseek.simulator.target import target as deepseek
from modelbay_llamacpp.simulator.target import single
from modelbay_llamacpp.simulator.target import target as llamacpp
from modelbay_llamaswap.simulator.target import target as llamaswap
from modelbay_ollama.simulator.target import target as ollama
from modelbay_openai.simulator.target import target as openai

SIMULATORS: dict[str, Callable[[], AbstractContextManager[Target]]] = {
    "deepseek": deepseek,
    "llamacpp-router": llamacpp,
    "llamacpp-single": single,
    "llamaswap": llamaswap,
    "ollama": ollama,
    "openai": openai,
}
Check = Callable[[Bay, Rule], Awaitable[None]]
RULE = Rule("seen_from_the_other_side", "a sound client passes at a sound simulator", "here")
CHECKS: dict[str, Check] = {
    "answer": lambda bay, rule: ChatChecks().test_answer_is_exact(bay, rule),
    "end": lambda bay, rule: ChatChecks().test_a_complete_answer_finishes_with_stop(bay, rule),
    "whole": lambda bay, rule: ChatChecks().test_unstreamed_answer_is_the_same(bay, rule),
    "automaton": lambda bay, rule: StreamChecks().test_stream_keeps_to_the_automaton(bay, rule),
    "alike": lambda bay, rule: StreamChecks().test_same_answer_twice_gives_the_same_events(
        bay, rule
    ),
    "pieces": lambda bay, rule: StreamChecks().test_events_do_not_depend_on_chunk_boundaries(
        bay, rule, 7
    ),
    "cut": lambda bay, rule: InterruptionChecks().test_a_cut_live_answer_is_an_error(bay, rule),
    "closed": lambda bay, rule: ClosingChecks().test_early_close_reaches_the_server(bay, rule),
}


def reference(target: Target) -> SimulatorTarget:
    """The same server, for the reference client."""
    assert isinstance(target, SimulatorTarget)
    key = target.config.api_key
    url = target.simulator.base_url
    path = "/v1/chat/completions"
    config = ProviderConfig(id="desk", kind="acme", base_url=url, api_key=key)
    return replace(
        target,
        plugin="testing.acme.plugin",
        config=config,
        wire=OPENAI_SSE,
        chat_path=path,
        other=None,
    )


@pytest.fixture(params=SIMULATORS)
def seen(request: pytest.FixtureRequest) -> Iterator[SimulatorTarget]:
    with SIMULATORS[request.param]() as made:
        yield reference(made)


@pytest.mark.anyio
@pytest.mark.parametrize("check", CHECKS)
async def test_every_simulator_passes_the_kit_from_the_other_side(
    seen: SimulatorTarget, check: str
) -> None:
    async with Bay.open(seen) as bay:
        await CHECKS[check](bay, RULE)
    seen.clear()


def _chunk(delta: JsonObject, reason: str | None = None) -> JsonObject:
    choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion.chunk", "model": "kit", "choices": [choice]}


async def _another_text(exchange: Exchange) -> None:
    await exchange.start_stream("text/event-stream")
    await exchange.sse(_chunk({"content": "Something else."}))
    await exchange.sse(_chunk({}, "stop"))
    await exchange.sse("[DONE]")


async def _no_end(exchange: Exchange) -> None:
    await exchange.start_stream("text/event-stream")
    await exchange.sse(_chunk({"content": "Half"}))


async def _the_wrong_reason(exchange: Exchange) -> None:
    await exchange.start_stream("text/event-stream")
    await exchange.sse(_chunk({"content": "Cut"}))
    await exchange.sse(_chunk({}, "length"))
    await exchange.sse("[DONE]")


async def _a_page(exchange: Exchange) -> None:
    await exchange.text("<html>", 200)


BROKEN = {
    "another-text": (_another_text, "answer"),
    "no-end": (_no_end, "answer"),
    "the-wrong-reason": (_the_wrong_reason, "end"),
    "a-page": (_a_page, "answer"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_simulator_is_noticed(seen: SimulatorTarget, fault: str) -> None:
    route, check = BROKEN[fault]
    simulator: Simulator = seen.simulator
    simulator.route("POST", seen.chat_path)(route)  # the younger one answers
    async with Bay.open(seen) as bay:
        with pytest.raises(pytest.fail.Exception, match=r"seen_from_the_other_side"):
            await CHECKS[check](bay, RULE)
