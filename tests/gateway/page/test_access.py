"""The page without a mouse, with a screen reader, on a phone, and behind a key."""

from typing import TYPE_CHECKING, Any

import pytest

from gateway.conftest import Start
from gateway.page.bench import Bench, axe_source
from gateway.page.conftest import Open
from gateway.serving import acme, desk
from modelbay.state import open_store
from modelbay_gateway.client_keys import ClientKey, digest
from modelbay_gateway.scopes import EVERY_SCOPE
from modelbay_gateway.security import Access

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

KEY = "a-key-for-tests-0123456789"


def faults(page: "Page") -> list[dict[str, Any]]:
    """What axe-core finds, where it is serious."""
    source = axe_source()
    if source is None:
        pytest.skip("axe-core is NOT run: npm install axe-core, and AXE_CORE names its folder")
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(source)
    found = page.evaluate("axe.run(document)")
    return [
        {"id": each["id"], "nodes": [node["html"][:300] for node in each["nodes"]]}
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def focused(page: "Page") -> str:
    name: str = page.evaluate(
        "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
    )
    return name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1024, 1600])
def test_axe_finds_no_serious_fault(bench: Bench, open_page: Open, scheme: str, width: int) -> None:
    bench.favourites("ollama/qwen3:8b", "attic/gone:1b")
    page = open_page(bench.served.base_url, width=width, color_scheme=scheme)
    page.locator(".row.model").first.wait_for(state="attached")
    assert faults(page) == []

    if width < 1312:
        page.locator("#current-model").click()
    page.locator('.row.model[data-id="ollama/qwen3:8b"] .name').last.click()
    page.get_by_label("Question", exact=True).fill("Hello")
    page.keyboard.press("Enter")
    page.locator(".after").wait_for()
    assert faults(page) == []

    page.get_by_role("button", name="Settings of this conversation").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    if width < 1312:
        page.locator("#current-model").click()
        assert faults(page) == []
    page.locator(".row.model").first.get_by_role("button", name="More about").click()
    assert faults(page) == []


def test_everything_is_done_with_the_keyboard_alone(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    page.locator('.row.model[data-id="llamacpp/tiny"]').wait_for()
    page.get_by_label("Filter models").focus()
    page.keyboard.type("tiny")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "tiny"
    page.keyboard.press("ArrowRight")
    assert focused(page) == "Favourite: llamacpp/tiny"
    page.keyboard.press("Space")
    expect(page.locator(".row.favourite")).to_be_visible()
    assert focused(page) == "Favourite: llamacpp/tiny"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert focused(page) == "Use for the next turn only"
    page.keyboard.press("ArrowDown")
    assert focused(page) == "Answer side by side"
    page.keyboard.press("Escape")
    assert focused(page) == "More about llamacpp/tiny"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator("#current-name")).to_have_text("llamacpp/tiny")

    page.get_by_role("link", name="Skip to the question").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("Hello")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .text")).to_have_text("Tiny speaks.")
    expect(page.locator("#said")).to_have_text("Answered: Tiny speaks.")


def test_tab_stops_once_in_the_list_and_arrows_go_through_it(bench: Bench, open_page: Open) -> None:
    page = open_page(bench.served.base_url, height=700)
    page.locator(".row.model").first.wait_for()
    assert page.locator('#models [tabindex="0"]').count() == 1

    page.get_by_label("Filter models").focus()
    page.keyboard.press("Tab")
    assert focused(page) == "cold"
    page.keyboard.press("Control+End")
    assert focused(page).startswith("Attic")
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "cold"
    assert page.locator('#models [tabindex="0"]').count() == 1


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1600, 2560])
def test_no_width_needs_scrolling_sideways(bench: Bench, open_page: Open, width: int) -> None:
    page = open_page(bench.served.base_url, width=width, height=800)
    page.locator(".row.model").first.wait_for(state="attached")

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('.bar').scrollWidth <= innerWidth")
    send = page.get_by_role("button", name="Send").bounding_box()
    assert send is not None
    assert send["x"] + send["width"] <= width


def test_on_a_phone_lists_slide_in_and_give_the_focus_back(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, width=390, height=844)
    expect(page.locator("#picker")).not_to_be_in_viewport()
    page.locator("#current-model").click()
    assert focused(page) == "Filter models"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "current-model"
    page.get_by_role("button", name="Conversations").click()
    assert focused(page) == "New conversation"
    page.keyboard.press("Escape")
    expect(page.locator("#conversations")).not_to_be_in_viewport()


def test_colours_follow_the_system_until_somebody_chooses(bench: Bench, open_page: Open) -> None:
    page = open_page(bench.served.base_url, color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    assert dark != light

    page.get_by_role("button", name="Dark colours").click()
    assert page.evaluate(ground) == dark
    page.reload()
    assert page.evaluate(ground) == dark
    assert page.get_by_role("button", name="Dark colours").get_attribute("aria-pressed") == "true"


def test_a_gateway_with_keys_asks_for_one_once(start: Start, open_page: Open) -> None:
    from playwright.sync_api import expect

    keys = (ClientKey("test", EVERY_SCOPE, digest(KEY), 0),)
    served = start(desk(acme()), access=Access(given_keys=keys), store=open_store(":memory:"))
    page = open_page(served.base_url, expected="401 (Unauthorized)")

    expect(page.get_by_role("dialog")).to_contain_text("This gateway asks for a key")
    page.get_by_label("Client key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator('.row.model[data-id="desk/m"]')).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_label("Question", exact=True).fill("Hello")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .text")).to_have_text("Hello")
    assert KEY not in page.content()
