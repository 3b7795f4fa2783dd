"""Mirrors modelbay_deepseek/discovery.py, and the table it is laid over."""

import pytest

from modelbay.errors import AuthenticationError, ConfigError, ProtocolError
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel
from modelbay.testing.simulator import Fault
from modelbay_deepseek.prices import FLASH as FLASH_RATE
from modelbay_deepseek.prices import as_fact
from modelbay_deepseek.simulator import DeepSeekSimulator, Knobs
from plugins.deepseek.bay import FLASH, PRO, OpenBay, open_host

pytestmark = pytest.mark.anyio


async def test_the_old_list_has_ids_and_nothing_else(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(models_shape="classic")

    assert await bay(server.base_url).discover() == {
        wire_id: DiscoveredModel(wire_id=wire_id, origin="remote", family="deepseek")
        for wire_id in (FLASH, PRO)
    }


async def test_the_new_list_says_what_it_knows_and_where(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    found = await bay(server.base_url).discover()

    assert list(found) == [FLASH, PRO]
    assert found[FLASH] == DiscoveredModel(
        wire_id=FLASH,
        name="DeepSeek-V4.1-Flash",
        facts=Facts(
            context_window=1_048_576,
            max_output_tokens=393_216,
            vision=True,
            audio=False,
            reasoning=True,
        ),
        evidence={
            "context_window": "/models data[].context_window",
            "max_output_tokens": "/models data[].max_output_tokens",
            "vision": "/models data[].input_modalities",
            "audio": "/models data[].input_modalities",
            "reasoning": "/models data[].effort.supported_levels",
        },
        origin="remote",
        family="deepseek",
        details={"effort_levels": ["low", "high", "max"], "default_effort": "high"},
    )
    assert found[PRO].facts.vision is False


@pytest.mark.parametrize("shape", ["classic", "extended"])
async def test_list_and_table_together_know_the_same(shape: str) -> None:
    knobs = Knobs(models_shape="classic" if shape == "classic" else "extended")
    with DeepSeekSimulator(knobs=knobs) as server:
        async with open_host(server.base_url) as host:
            catalog = await host.refresh()

    [group] = catalog.providers
    assert (group.id, [model.id for model in group.models]) == (
        "deepseek",
        [f"deepseek/{FLASH}", f"deepseek/{PRO}"],
    )
    flash, pro = (model.capabilities for model in group.models)
    assert flash.model_dump(exclude={"provenance"}) == {
        "context_window": 1_048_576,
        "trained_context": None,
        "configured_context": None,
        "max_output_tokens": 393_216,
        "prices": as_fact(FLASH_RATE).model_dump(),
        "tools": True,
        "parallel_tools": True,
        "vision": True,
        "audio": False,
        "reasoning": True,
        "json_mode": True,
        "json_schema": False,
        "embeddings": False,
        "rerank": False,
        "image_generation": False,
    }
    assert (pro.vision, pro.tools) == (False, True)
    layer = {"classic": "table", "extended": "live"}[shape]
    assert flash.provenance["context_window"].layer == layer
    assert "October 2026" in flash.provenance["prices"].evidence


async def test_a_later_list_overrides_the_table(server: DeepSeekSimulator, bay: OpenBay) -> None:
    body = b"""{"data": [
        {"id": "deepseek-v4-pro", "context_window": 2000000, "input_modalities": ["text", "image"]},
        {"id": "deepseek-v9", "context_window": "a lot", "effort": [], "name": 7},
        {"id": "deepseek-v9"}]}"""
    server.inject(Fault(body=body))
    found = await bay(server.base_url).discover()

    assert found[PRO].facts == Facts(context_window=2_000_000, vision=True, audio=False)
    assert found["deepseek-v9"] == DiscoveredModel(wire_id="deepseek-v9", origin="remote")


async def test_a_model_nobody_listed_may_still_be_asked(server: DeepSeekSimulator) -> None:
    async with open_host(server.base_url) as host:
        info = await host.resolve("deepseek/deepseek-v4-flash")

    assert (info.capabilities.context_window, info.capabilities.tools) == (1_048_576, True)


async def test_without_a_key_nobody_is_asked(server: DeepSeekSimulator, bay: OpenBay) -> None:
    opened = bay(server.base_url, apiKey=None, apiKeyEnv="DEEPSEEK_API_KEY")

    with pytest.raises(AuthenticationError) as caught:
        await opened.discover()

    assert caught.value.hint == "export DEEPSEEK_API_KEY=sk-..."
    assert server.requests == []


async def test_a_provider_without_a_key_is_empty_and_says_why(server: DeepSeekSimulator) -> None:
    async with open_host(server.base_url, apiKey=None, apiKeyEnv="NONE_SUCH") as host:
        [group] = (await host.refresh()).providers

    assert group.models == ()
    assert group.problem is not None
    assert (group.problem.code, group.problem.hint) == (
        "authentication_failed",
        "export NONE_SUCH=sk-...",
    )


async def test_a_refused_key_is_told_without_a_letter_of_it(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    with pytest.raises(AuthenticationError) as caught:
        await bay(server.base_url, apiKey="sk-planted-1234").discover()

    assert caught.value.message == ("Authentication Fails, Your api key: *** is invalid (HTTP 401)")


async def test_the_last_good_list_outlives_a_failure(server: DeepSeekSimulator) -> None:
    async with open_host(server.base_url) as host:
        await host.refresh()
        server.inject(Fault(status=500))
        [group] = (await host.refresh(force=True)).providers

    assert (group.status, len(group.models)) == ("stale", 2)


async def test_another_answer_is_a_typed_error(server: DeepSeekSimulator, bay: OpenBay) -> None:
    server.inject(Fault(body=b'{"hello": 1}'))

    with pytest.raises(ProtocolError):
        await bay(server.base_url).discover()


async def test_a_wrong_key_of_the_file_is_told_by_the_first_look(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    with pytest.raises(ConfigError):
        await bay(server.base_url, effort="ultra").discover()


@pytest.mark.parametrize("flavour", ["", "/v1/", "/beta", "/anthropic"])
async def test_the_list_is_found_from_every_flavour_of_the_address(
    server: DeepSeekSimulator, bay: OpenBay, flavour: str
) -> None:
    assert list(await bay(f"{server.base_url}{flavour}").discover()) == [FLASH, PRO]
