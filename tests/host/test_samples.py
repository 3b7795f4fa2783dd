"""The version promise, held by plugins of other people that are frozen in tests/samples.

They are never brought up to date: what breaks one breaks a promise of docs/versions.md. The same
folders are on the path of a real environment when strangers install such plugins.
"""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import importlib_metadata
import pytest

from modelbay.host.host import Host
from modelbay.host.loader import Installed, load_plugins
from modelbay.host.versions import CORE_VERSION
from modelbay.models.events import Finish, StreamEvent, TextDelta, Usage
from modelbay.models.manage import Done, Health
from modelbay.models.provider import ProviderConfig
from modelbay.testing.simulator import Simulator
from pretend import chat

pytestmark = pytest.mark.anyio

SAMPLES = Path(__file__).parents[1] / "samples"
NAMES = ("fewer_arguments", "first_names", "optional_hook", "too_new", "too_old")
FOUR = ("capabilities", "discover_models", "stream_chat", "manage")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """All of them at once, as the loader finds them."""
    before = set(sys.modules)
    for name in NAMES:
        monkeypatch.syspath_prepend(str(SAMPLES / name))
    places = [str(SAMPLES / name) for name in NAMES]

    def distributions() -> Iterator[importlib_metadata.Distribution]:
        yield from importlib_metadata.distributions(path=places)  # type: ignore[misc] # typed as a narrower protocol

    yield load_plugins({}, distributions=distributions)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(SAMPLES)):
            del sys.modules[name]


def opened(installed: Installed, *providers: ProviderConfig) -> Host:
    return Host.open(providers=providers, env={"MODELBAY_HOME": "/nowhere"}, installed=installed)


async def answer(host: Host, model: str) -> list[StreamEvent]:
    return [event async for event in host.stream(chat("hello", model=model))]


def test_every_sample_is_found_and_judged_by_its_range(installed: Installed) -> None:
    assert {p.kind: (p.state, p.requires) for p in installed.plugins} == {
        "fewer": ("ok", ">=0.1"),
        "first": ("ok", "<1,>=0.1"),
        "optional": ("ok", "<3,>=0.1"),
        "too-new": ("incompatible", "<101,>=99"),
        "too-old": ("incompatible", "<0.0.5,>=0.0.1"),
    }
    assert sorted(path.name for path in SAMPLES.iterdir() if path.is_dir()) == sorted(NAMES)


@pytest.mark.parametrize(
    ("kind", "message", "hint"),
    [
        (
            "too-new",
            "plugin 'too-new' (sample-too-new 1.0) is too new: it is for modelbay-core <101,>=99,",
            "modelbay plugin uninstall sample-too-new   # or upgrade modelbay to a version it is"
            " for",
        ),
        (
            "too-old",
            "plugin 'too-old' (sample-too-old 1.0) is too old: it is for modelbay-core"
            " <0.0.5,>=0.0.1,",
            "modelbay plugin upgrade sample-too-old   # or: modelbay plugin uninstall"
            " sample-too-old",
        ),
    ],
)
def test_one_whose_range_leaves_us_out_is_refused_by_name_and_never_imported(
    installed: Installed, kind: str, message: str, hint: str
) -> None:
    [plugin] = [one for one in installed.plugins if one.kind == kind]

    assert plugin.error is not None
    assert plugin.error.message == f"{message} and this is {CORE_VERSION}"
    assert plugin.error.hint == hint
    assert (plugin.manager, plugin.took_s) == (None, 0.0)
    assert plugin.entry_point not in sys.modules


async def test_a_provider_of_a_refused_kind_says_the_same(installed: Installed) -> None:
    async with opened(installed, ProviderConfig(id="desk", kind="too-new")) as host:
        [problem] = [handle.problem for handle in host.providers if handle.id == "desk"]

    assert problem is not None
    assert problem.message.startswith("plugin 'too-new' (sample-too-new 1.0) is too new")


async def test_one_with_fewer_arguments_answers_every_hook(installed: Installed) -> None:
    async with opened(installed) as host:
        assert await answer(host, "fewer/parrot") == [TextDelta("hello"), Finish("stop")]
        assert [e async for e in host.manage("fewer", Health())] == [Done()]


async def test_a_hook_that_we_do_not_know_is_left_alone(installed: Installed) -> None:
    [plugin] = [one for one in installed.plugins if one.kind == "optional"]
    assert plugin.hooks == FOUR

    async with opened(installed, ProviderConfig(id="desk", kind="optional")) as host:
        assert await answer(host, "desk/parrot") == [TextDelta("hello"), Finish("stop")]


async def test_one_that_was_written_for_the_first_version_works_whole(
    installed: Installed,
) -> None:
    """It uses the names that the first scaffold used, its simulator too."""
    made = import_module("modelbay_first.simulator").FirstSimulator("as ever")
    assert isinstance(made, Simulator)
    with made as server:
        desk = ProviderConfig(id="desk", kind="first", base_url=server.base_url)
        async with opened(installed, desk) as host:
            catalog = await host.refresh("desk")
            assert [model.id for model in catalog.models if model.ref.provider_id == "desk"] == [
                "desk/talker",
                "desk/endless",
            ]
            assert await answer(host, "desk/talker") == [
                TextDelta("as ev"),
                TextDelta("er"),
                Usage(input_tokens=5, output_tokens=7),
                Finish("stop", raw_reason="stop"),
            ]
