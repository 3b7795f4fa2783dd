"""Where the focus goes, and what a pointer or the focus brings up."""

import re
from typing import TYPE_CHECKING, Any

import pytest

from gateway.page.bench import Bench
from gateway.page.conftest import Open
from gateway.page.test_chat import ask, choose, whole
from gateway.page.test_picker import TALL, ready, row
from gateway.page.waiting import expect_focus

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def kept(bench: Bench, *titles: str) -> None:
    for title in titles:
        bench.api.post("/conversations", json={"title": title}).raise_for_status()


def test_opening_a_conversation_leaves_the_focus_at_its_name(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    kept(bench, "One", "Two")
    page = open_page(bench.served.base_url)
    page.get_by_role("button", name="One", exact=True).focus()
    page.keyboard.press("Enter")

    expect(page.locator('.open[aria-current="page"]')).to_have_text("One")
    expect_focus(page, "One")


def test_renaming_gives_the_focus_back(bench: Bench, open_page: Open) -> None:
    """Though the list is in another order then."""
    from playwright.sync_api import expect

    kept(bench, "One", "Two")
    page = open_page(bench.served.base_url)
    page.get_by_role("button", name="More about One").focus()
    page.keyboard.press("Enter")
    expect_focus(page, "Rename…")
    page.keyboard.press("Enter")
    page.get_by_label("Title").fill("Three")
    page.keyboard.press("Enter")

    page.get_by_role("button", name="Three", exact=True).wait_for()
    page.get_by_role("dialog").wait_for(state="detached")
    expect(page.locator("#conversation-list .open")).to_have_text(["Three", "Two"])
    expect_focus(page, "More about Three")


def test_deleting_gives_the_focus_to_the_next_one(bench: Bench, open_page: Open) -> None:
    kept(bench, "One", "Two", "Three")
    page = open_page(bench.served.base_url)
    page.get_by_role("button", name="More about Two").focus()
    page.keyboard.press("Enter")
    expect_focus(page, "Rename…")
    page.keyboard.press("ArrowDown")
    expect_focus(page, "Delete…")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")

    page.get_by_role("button", name="Two", exact=True).wait_for(state="detached")
    expect_focus(page, "One")


def test_asking_again_does_not_lose_the_place(bench: Bench, open_page: Open) -> None:
    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    ask(page, "Hello")
    whole(page)
    with page.expect_response("**/v1/chat/completions"):
        page.get_by_role("button", name="Ask again").press("Enter")
    whole(page)

    expect_focus(page, "Messages")


def test_escape_in_a_menu_gives_the_focus_back_though_its_row_is_another_one(
    bench: Bench, open_page: Open
) -> None:
    """And what it offers is what can be done now."""
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    row(page, "ollama/gemma3:4b").get_by_role("button", name="More about").press("Enter")
    offered = page.get_by_role("menuitem", name="Load", exact=True)
    expect(offered).to_be_visible()
    expect_focus(page, "Use for the next turn only")
    page.keyboard.press("ArrowDown")
    expect_focus(page, "Answer side by side")
    load = {"action": "load", "model": "gemma3:4b"}
    bench.api.post("/api/providers/ollama/manage", json=load).raise_for_status()

    expect(page.get_by_role("menuitem", name="Unload", exact=True)).to_be_visible()
    expect(offered).to_have_count(0)
    expect_focus(page, "Answer side by side")
    page.keyboard.press("Escape")
    expect_focus(page, "More about ollama/gemma3:4b")


def test_tab_finds_the_list_wherever_it_is_scrolled_to(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=330))
    grid = page.locator("#models")
    grid.hover()
    page.mouse.wheel(0, 5000)
    page.wait_for_function("() => document.getElementById('models').scrollTop > 300")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    expect(page.locator('#models [tabindex="0"]')).to_have_count(1)
    page.get_by_label("Filter models").focus()
    page.keyboard.press("Tab")
    expect_focus(page, "cold")
    page.keyboard.press("ArrowDown")
    expect_focus(page, "quick")


# --- tips -----------------------------------------------------------------------------------------


def tip(page: "Page", text: str | re.Pattern[str]) -> dict[str, Any]:
    """The tip that is shown once it says this: all it says, and whether all of it can be seen."""
    from playwright.sync_api import expect

    expect(page.locator(".tip-text:popover-open")).to_have_text(text)
    found: dict[str, Any] = page.evaluate(
        """() => {
            const tip = document.querySelector(".tip-text:popover-open");
            const { left, top, right, bottom } = tip.getBoundingClientRect();
            return {
                text: tip.textContent,
                isInside: left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight,
                // What lies in the top layer is covered by nothing, and cut off by nothing.
                isWhole: tip.scrollWidth <= tip.clientWidth && tip.matches(":popover-open"),
            };
        }"""
    )
    return found


@pytest.mark.parametrize("width", [390, 1600])
@pytest.mark.parametrize("height", [330, 844])
def test_every_tip_is_shown_whole_on_hover(
    bench: Bench, open_page: Open, width: int, height: int
) -> None:
    """S4-86: where a capability comes from; at the edges of the window too."""
    page = open_page(bench.served.base_url, width=width, height=height)
    page.locator(".row.model").first.wait_for(state="attached")
    if width < 1312:
        page.locator("#current-model").click()
        page.wait_for_function(
            "() => document.getElementById('picker').getAnimations({subtree: true}).length === 0"
        )
    seen = []
    page.get_by_label("Filter models").fill("ollama")
    row(page, "ollama/qwen3:8b").wait_for()
    for each in row(page, "ollama/qwen3:8b").locator(".tip").all():
        each.hover()
        seen.append(tip(page, each.get_attribute("data-tip") or ""))
    page.get_by_label("Filter models").fill("")
    page.get_by_label("Filter models").hover()
    page.locator("#models").evaluate("(grid) => grid.scrollTo(0, grid.scrollHeight)")
    page.locator('[data-provider="attic"] .health').hover()
    seen.append(tip(page, re.compile(r"127\.0\.0\.1:9")))

    assert len(seen) >= 5
    assert [each for each in seen if not (each["isInside"] and each["isWhole"])] == []
    texts = [each["text"] for each in seen]
    assert any(text.startswith("tools: the server says so (") for text in texts)
    page.get_by_label("Filter models").hover()
    page.locator(".tip-text:popover-open").wait_for(state="detached")
