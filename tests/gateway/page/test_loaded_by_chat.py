"""A model that a chat loads by itself is shown as loaded while it answers."""

from typing import TYPE_CHECKING

import pytest

import modelbay.host.watching
from gateway.page.bench import Bench
from gateway.page.conftest import Open
from gateway.page.test_chat import ask, choose, last_answer, whole
from gateway.page.test_picker import TALL, ready, row
from gateway.page.test_servers import panel, toggle, told

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def nobody_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the gateway is started: what is shown then was looked at because of the chat."""
    monkeypatch.setattr(modelbay.host.watching, "POLL_S", 3600.0)


def in_memory(page: "Page") -> "Locator":
    return panel(page, "ollama").locator(".in-memory strong")


def test_row_and_panel_know_that_a_chat_has_loaded_its_model_before_it_has_ended(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    bench.ollama.knobs.token_delay_s = 0.005
    page = ready(open_page(bench.served.base_url, height=TALL))
    toggle(page, "Ollama")
    assert told(page, "ollama")["Loaded"] == "0 of 5"
    state = row(page, "ollama/endless:1b").locator(".state")
    expect(state).to_have_text("unloaded")

    choose(page, "ollama/endless:1b")
    ask(page, "Talk for ever")
    expect(state).to_have_text("loaded")
    expect(in_memory(page)).to_have_text("endless:1b")
    assert told(page, "ollama")["Loaded"] == "1 of 5"
    expect(last_answer(page)).to_have_attribute("aria-busy", "true")

    page.get_by_role("button", name="Stop", exact=True).click()
    expect(whole(page).locator(".stopped")).to_be_visible()
    expect(state).to_have_text("loaded")
