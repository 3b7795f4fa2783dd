"""The plugin that docs/writing-a-provider.md writes down in pieces: together they are one."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from docs.blocks import blocks
from modelbay.errors import (
    ConfigError,
    StreamInterruptedError,
    UnsupportedActionError,
    UnsupportedFeatureError,
    WrongServerError,
)
from modelbay.host.host import Host
from modelbay.models.events import Finish, Notice, TextDelta, Usage
from modelbay.models.manage import Health, HealthReport, ListedModel, ListModels, ModelList, Pull
from modelbay.testing import Simulator
from pretend import chat, config, host

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-provider.md"
NAME = "page_of_acme"


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """All the blocks as one module."""
    module = ModuleType(NAME)
    sys.modules[NAME] = module  # pydantic and pytest look there
    for block in blocks(PAGE):
        if block.language == "python":
            exec(compile(block.text, f"{PAGE.name}:{block.line}", "exec"), vars(module))
    yield module
    del sys.modules[NAME]


@pytest.fixture
def server(page: Any) -> Iterator[Any]:
    with page.AcmeSimulator() as simulator:
        yield simulator


@pytest.fixture
async def bay(page: Any, server: Any) -> AsyncIterator[Host]:
    async with host([config("box", base_url=server.base_url)], acme=page) as opened:
        yield opened


async def test_its_models_are_listed_with_evidence(bay: Host) -> None:
    catalog = await bay.refresh("box")

    (model,) = catalog.models
    assert (model.id, model.capabilities.context_window) == ("box/talker", 8192)
    said = model.capabilities.provenance["context_window"]
    assert (said.layer, said.evidence) == ("live", "context, in GET /api/models")


async def test_a_turn_is_answered_and_what_is_left_out_is_told(bay: Host) -> None:
    async with bay.stream(chat(model="box/talker", seed=7, temperature=0.5)) as events:
        seen = [event async for event in events]

    assert seen == [
        Notice("dropped_field", "Acme has no seed"),
        TextDelta("Hello from Acme."),
        Usage(input_tokens=5, output_tokens=4),
        Finish("stop", raw_reason="stop"),
    ]


async def test_what_would_change_the_answer_is_refused_before_the_wire(
    bay: Host, server: Simulator
) -> None:
    with pytest.raises(UnsupportedFeatureError):
        await bay.chat(chat(model="box/talker", extra={"n": 2}))
    assert [request.path for request in server.requests] == ["/api/models"]


async def test_an_answer_that_is_cut_is_an_error_with_what_had_come(
    bay: Host, page: Any, server: Any
) -> None:
    await bay.refresh("box")
    page.the_answer_is_cut_after(server, 30)

    with pytest.raises(StreamInterruptedError) as caught:
        await bay.chat(chat(model="box/talker"))
    assert caught.value.partial == "Hello from Acme."


async def test_it_lists_looks_after_itself_and_refuses_the_rest_with_a_hint(bay: Host) -> None:
    async with bay.manage("box", ListModels()) as events:
        assert [e async for e in events] == [
            ModelList(models=(ListedModel(wire_id="talker", state="unloaded"),))
        ]
    async with bay.manage("box", Health()) as events:
        assert [e async for e in events] == [HealthReport(healthy=True, server="acme")]
    with pytest.raises(UnsupportedActionError) as caught:
        async with bay.manage("box", Pull(model="talker")) as events:
            [e async for e in events]
    assert caught.value.hint == "acme fetch NAME   # on the server"


async def test_another_product_is_called_by_its_name(bay: Host, server: Simulator) -> None:
    async def other(exchange: Any) -> None:
        await exchange.json({"product": "emca"})

    server.route("GET", "/api/models")(other)
    provider = (await bay.refresh("box")).provider("box")
    assert provider is not None
    assert provider.problem is not None
    assert provider.problem.code == WrongServerError.code


def test_a_misspelt_key_of_its_own_is_told_at_once(page: Any) -> None:
    opened = host([config("box", base_url="http://127.0.0.1:1", busyTrys=1)], acme=page)
    problem = opened.providers[0].problem
    assert isinstance(problem, ConfigError)
    assert problem.pointer == "/busyTrys"


def test_it_proposes_what_a_variable_names(page: Any) -> None:
    (proposed,) = page.default_providers({"ACME_URL": "http://box:7", "ACME_API_KEY": "sk"})
    assert (proposed.base_url, proposed.source) == ("http://box:7", "environment")
    assert proposed.api_key_env == "ACME_API_KEY"
    assert [p.source for p in page.default_providers({})] == ["loopback"]


def test_its_class_for_the_kit_is_one(page: Any) -> None:
    assert [name for name in dir(page.TestAcme) if name.startswith("test_")]
