"""The key: where it goes, and where not a letter of it does."""

import logging

import pytest

from modelbay.errors import (
    AuthenticationError,
    ModelNotFoundError,
    ProtocolError,
)
from modelbay.models.events import encode_event
from modelbay.models.media import CompleteRequest
from modelbay.testing.rechunk import http_answer
from modelbay.testing.simulator import Fault, Simulator
from modelbay_deepseek.simulator import DeepSeekSimulator
from plugins.deepseek.bay import FLASH, OpenBay, ask, failure, open_host

pytestmark = pytest.mark.anyio


async def test_without_a_key_nobody_is_asked(server: DeepSeekSimulator, bay: OpenBay) -> None:
    opened = bay(server.base_url, apiKey=None, apiKeyEnv="DEEPSEEK_API_KEY")

    for events in (
        opened.stream(),
        opened.backend.complete(CompleteRequest(prompt="x"), opened.model()),
    ):
        _, error = await failure(events, AuthenticationError)
        assert error.hint == "export DEEPSEEK_API_KEY=sk-..."
    assert server.requests == []


@pytest.mark.parametrize("planted", ["sk-planted-5f3a9c", "planted-77-abcd"])
async def test_a_wrong_key_is_told_without_a_letter_of_it(
    server: DeepSeekSimulator,
    bay: OpenBay,
    planted: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    opened = bay(server.base_url, apiKey=planted, apiKeyEnv="MY_KEY")

    _, error = await failure(opened.stream(), AuthenticationError)

    assert (error.status, error.hint) == (401, "set MY_KEY to a valid key")
    assert "Your api key: *** is invalid (HTTP 401)" in error.message
    shown = f"{error!r}{error}{error.args}{error.hint}{opened.context.memo!r}"
    heard = "".join(
        record.getMessage() for record in caplog.records if not record.name.startswith("httpcore")
    )
    assert planted not in shown + heard
    assert planted[-4:] not in shown + heard


async def test_an_error_carries_the_server_s_own_id_of_the_request(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    _, error = await failure(bay(server.base_url).stream("hi", "no-such"), ModelNotFoundError)

    head, _, trace = error.message.rpartition(" [trace ")
    assert head.endswith("(HTTP 400)")
    assert len(trace.removesuffix("]")) == 32


async def test_the_key_follows_no_redirect_to_another_host(
    server: DeepSeekSimulator, bay: OpenBay, sim: Simulator
) -> None:
    answer = http_answer(
        b"", status=307, headers=[("Location", f"{sim.base_url}/chat/completions")]
    )
    server.inject(Fault(garbage=answer))
    await failure(bay(server.base_url).stream(), ProtocolError)

    assert sim.requests == []


@pytest.mark.parametrize("planted", ["sk-planted-5f3a9c", "planted-77-abcd"])
async def test_no_json_of_ours_holds_a_letter_of_the_key(
    server: DeepSeekSimulator, planted: str
) -> None:
    async with open_host(server.base_url, apiKey=planted) as host:
        catalog = await host.refresh()
        async with host.stream(ask(model=f"deepseek/{FLASH}"), errors="event") as events:
            seen = [event async for event in events]

    assert [event.type for event in seen] == ["error"]
    written = catalog.model_dump_json().encode() + b"".join(map(encode_event, seen))
    assert b"Your api key: ***" in written
    assert planted.encode() not in written
    assert planted[-4:].encode() not in written
