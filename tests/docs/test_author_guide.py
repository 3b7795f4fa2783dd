"""The plugin that docs/writing-a-provider.md writes down in pieces: together they are one."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from docs.blocks import Block, blocks
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
from modelbay_cli.scaffold import plugin_name, write
from pretend import chat, config, host

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-provider.md"
# Where the last blocks stand; all before them are the plugin.
LAST = (
    "src/modelbay_acme/simulator.py",
    "src/modelbay_acme/target.py",
    "tests/test_conformance.py",
)
NAME = "page_of_acme"


def sources() -> list[Block]:
    """The page's blocks of Python, in its order."""
    return [block for block in blocks(PAGE) if block.language == "python"]


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """The plugin and its simulator as one module."""
    module = ModuleType(NAME)
    sys.modules[NAME] = module  # pydantic looks there
    for block in sources()[:-2]:
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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What `modelbay plugin new` writes, with the page's blocks put where the page says."""
    folder = tmp_path / "modelbay-acme"
    write(plugin_name("acme"), "native", folder)
    texts = [block.text for block in sources()]
    files = {"src/modelbay_acme/plugin.py": "\n\n".join(texts[: -len(LAST)])}
    files.update(zip(LAST, texts[-len(LAST) :], strict=True))
    for name, text in files.items():
        assert (folder / name).is_file(), f"the scaffold writes no {name}"
        (folder / name).write_text(text)
    return folder


@pytest.mark.soak
def test_whoever_follows_the_page_to_the_letter_has_the_kit_green(project: Path) -> None:
    path = [str(project / "src"), *(entry for entry in sys.path if entry)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.splitlines()[-1].split(" passed")[0]) > 200


def test_the_page_names_the_files_its_last_blocks_stand_in() -> None:
    text = PAGE.read_text(encoding="utf-8").splitlines()
    for name, block in zip(LAST, sources()[-len(LAST) :], strict=True):
        before = " ".join(text[max(0, block.line - 4) : block.line])
        assert f"`{name.removeprefix('src/modelbay_acme/')}`" in before, name
