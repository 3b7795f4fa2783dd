"""The wrapper that docs/wrappers.md shows, run as it stands there; and the settings it names."""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from modelbay.host.backend import Backend
from modelbay.host.wrappers.switching import OURS, load_wrappers
from modelbay.models.events import Finish, TextDelta
from pretend import chat, context, manager, model, plugin

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[3] / "docs" / "wrappers.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_wrapper_on_the_page_does_what_it_says() -> None:
    module = ModuleType("shown")
    exec(compile(block("python"), "docs/wrappers.md", "exec"), vars(module))

    held = Backend("acme", manager(plugin(), module), context("http://desk"))

    told = [event async for event in held.stream_chat(chat(), model(), None)]
    assert told == [TextDelta("HELLO"), Finish("stop")]


def test_the_configuration_on_the_page_is_taken() -> None:
    wrappers = json.loads(block("json"))["wrappers"]

    loaded, failed = load_wrappers(wrappers, [])

    assert ([name for name, _ in loaded], failed) == (["request-log", "concurrency"], [])


@pytest.mark.parametrize("name", OURS)
def test_every_wrapper_of_ours_has_its_section(name: str) -> None:
    assert f"\n## {name}\n" in PAGE
