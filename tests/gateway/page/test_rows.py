"""Rows of the list of models that change, move and go away while somebody uses them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import pretend
from gateway.conftest import Start
from gateway.page.bench import Bench
from gateway.page.conftest import Open
from gateway.page.test_picker import TALL, favourite, menu, ready, row, rows
from gateway.page.waiting import expect_focus, expect_focused_row, expect_value, until
from gateway.serving import acme, desk
from modelbay.state import open_store

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Locator, Page

pytestmark = pytest.mark.browser

THREE = ("ollama/qwen3:8b", "llamacpp/tiny", "sam-desktop/quick")


def in_document(page: "Page") -> list[int]:
    """The numbers of the rows in the order in which they stand in the document."""
    found: list[int] = page.evaluate(
        "() => [...document.querySelectorAll('.row')].map(row => Number(row.ariaRowIndex))"
    )
    return found


def three(bench: Bench, open_page: Open) -> "Page":
    from playwright.sync_api import expect

    bench.favourites(*THREE)
    page = ready(open_page(bench.served.base_url, height=TALL))
    expect(page.locator(".row.favourite")).to_have_count(3)
    return page


def pull(page: "Page", name: str) -> None:
    page.get_by_role("button", name="Pull a model to Ollama").click()
    page.get_by_label("Name, as that server knows it").fill(name)
    page.keyboard.press("Enter")


@contextmanager
def loading(bench: Bench, page: "Page") -> Iterator["Locator"]:
    """The row of a model that another client loads, for as long as it is not let go."""
    from playwright.sync_api import expect

    path = "/api/providers/sam-desktop/manage"
    with bench.api.stream("POST", path, json={"action": "load", "model": "cold"}) as answer:
        bench.swap.wait_until(lambda: bench.swap.states["cold"] == "starting")
        shown = row(page, "sam-desktop/cold")
        expect(shown.locator(".state")).to_have_text(re.compile(r"^loading · \d+ s"))
        yield shown
        bench.swap.finish_load("cold")
        answer.read()


# --- the focus ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_star_that_is_taken_away_hands_the_focus_to_the_next_row(
    bench: Bench, open_page: Open, key: str
) -> None:
    from playwright.sync_api import expect

    page = three(bench, open_page)
    favourite(page, THREE[1]).locator(".star").focus()
    page.keyboard.press(key)
    expect(page.locator(".row.favourite")).to_have_count(2)
    expect_focus(page, "Favourite: sam-desktop/quick")
    expect_focused_row(page, "sam-desktop/quick", "favourite")

    page.keyboard.press(key)  # what comes next is a section: its title, none of its buttons
    expect(page.locator(".row.favourite")).to_have_count(1)
    expect_focus(page, "Sam's desktop2")
    page.keyboard.press("ArrowUp")
    expect_focused_row(page, "ollama/qwen3:8b", "favourite")


def test_a_held_key_takes_away_one_star_only(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = three(bench, open_page)
    favourite(page, THREE[0]).locator(".star").focus()
    for _ in range(3):  # the second and the third time it is held
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")

    expect(page.locator(".row.favourite")).to_have_count(2)
    expect_focus(page, f"Favourite: {THREE[1]}")


def test_an_offline_favourite_that_goes_hands_the_focus_on(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    bench.favourites("ollama/qwen3:8b", "attic/old:1b")
    page = ready(open_page(bench.served.base_url, height=TALL))
    page.get_by_role("button", name="Show", exact=True).press("Enter")
    favourite(page, "attic/old:1b").locator(".star").focus()
    page.keyboard.press("Space")

    expect(favourite(page, "attic/old:1b")).to_have_count(0)
    expect_focused_row(page, "Sam's desktop", "other")


def test_a_favourite_that_another_client_removes_hands_the_focus_on(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = three(bench, open_page)
    favourite(page, THREE[1]).locator(".name").focus()
    bench.favourites(THREE[0], THREE[2])

    expect(favourite(page, THREE[1])).to_have_count(0)
    expect_focused_row(page, THREE[2], "favourite")
    page.get_by_label("Question", exact=True).focus()
    bench.favourites(THREE[0])
    expect(favourite(page, THREE[2])).to_have_count(0)
    expect_focus(page, "Question")  # who is elsewhere stays there


def test_a_model_that_is_deleted_by_keyboard_hands_the_focus_on(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    row(page, "ollama/gemma3:4b").get_by_role("button", name="More about").press("Enter")
    expect_focus(page, "Use for the next turn only")
    page.keyboard.press("End")
    expect_focus(page, "Delete…")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")

    expect(row(page, "ollama/gemma3:4b")).to_have_count(0)
    expect_focus(page, "More about ollama/endless:1b")


def test_a_row_that_goes_while_its_menu_or_dialog_is_open_hands_the_focus_on(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    delete = {"action": "delete", "confirm": True}
    row(page, "ollama/gemma3:4b").get_by_role("button", name="More about").press("Enter")
    expect_focus(page, "Use for the next turn only")
    bench.api.post("/api/providers/ollama/manage", json={**delete, "model": "gemma3:4b"})
    expect(row(page, "ollama/gemma3:4b")).to_have_count(0)
    page.keyboard.press("Escape")
    expect_focus(page, "More about ollama/endless:1b")

    page.keyboard.press("Enter")
    expect_focus(page, "Use for the next turn only")
    page.keyboard.press("End")
    expect_focus(page, "Delete…")
    page.keyboard.press("Enter")
    expect_focus(page, "Cancel")
    bench.api.post("/api/providers/ollama/manage", json={**delete, "model": "endless:1b"})
    expect(row(page, "ollama/endless:1b")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    expect_focus(page, "More about ollama/broken:7b")


@pytest.mark.parametrize("key", ["Escape", "Enter"])
def test_a_dialog_whose_row_has_gone_hands_the_focus_on_as_it_closes(
    bench: Bench, open_page: Open, key: str
) -> None:
    """Not a moment later: who types on would type into what is gone."""
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    menu(page, "ollama/gemma3:4b", "Delete")
    expect_focus(page, "Cancel")
    delete = {"action": "delete", "model": "gemma3:4b", "confirm": True}
    bench.api.post("/api/providers/ollama/manage", json=delete)
    expect(row(page, "ollama/gemma3:4b")).to_have_count(0)
    page.evaluate(
        """() => new MutationObserver(async () => {
            for (let n = 0; n < 20; n += 1) await null; // all that closing it does at once
            const { ariaLabel, textContent } = document.activeElement;
            window.afterwards = ariaLabel ?? textContent;
        }).observe(document.querySelector("dialog"), { attributes: true })"""
    )
    page.keyboard.press(key)

    page.wait_for_function("() => window.afterwards !== undefined")
    assert page.evaluate("window.afterwards") == "More about ollama/endless:1b"


def test_notices_that_are_closed_hand_the_focus_on(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    close = page.locator("#notices").get_by_role("button", name="Close")
    page.evaluate(
        """async () => {
            const { complain } = await import("/page/script/notice.js");
            for (const message of ["one", "two"]) complain({ message });
        }"""
    )
    close.first.press("Enter")
    expect(close).to_have_count(1)
    expect_focus(page, "Close")
    close.press("Space")
    expect(close).to_have_count(0)
    expect_focus(page, "Question")


def test_a_notice_that_is_closed_over_a_drawer_leaves_the_focus_in_it(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, width=390)
    page.locator("#current-model").press("Enter")
    expect_focus(page, "Filter models")
    page.evaluate(
        "async () => (await import('/page/script/notice.js')).complain({ message: 'one' })"
    )
    page.locator("#notices").get_by_role("button", name="Close").press("Enter")

    expect(page.locator("#notices .notice")).to_have_count(0)
    expect_focus(page, "Filter models")


def test_notes_about_downloads_that_are_closed_hand_the_focus_on(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    for name in ("nope:1", "nope:2"):
        pull(page, name)
        expect(page.get_by_role("button", name=f"Close the note about {name}")).to_be_visible()

    page.get_by_role("button", name="Close the note about nope:1").press("Enter")
    expect_focus(page, "Close the note about nope:2")
    page.keyboard.press("Enter")
    expect(page.locator(".work")).to_be_hidden()
    expect_focus(page, "Pull a model to Ollama")


# --- the order in the document --------------------------------------------------------------------


def test_rows_stand_in_the_document_as_they_are_shown(bench: Bench, open_page: Open) -> None:
    """However they are moved, and whoever moves them; the focus stays with its row."""
    from playwright.sync_api import expect

    page = three(bench, open_page)
    favourite(page, THREE[2]).locator(".name").focus()
    for _ in range(2):
        page.keyboard.press("Alt+ArrowUp")
    moved = [THREE[2], THREE[0], THREE[1]]
    expect_value(page, lambda: rows(page)[1:4], moved)
    expect_value(page, lambda: in_document(page), list(range(1, 20)))
    expect_focused_row(page, THREE[2], "favourite")

    expect_value(page, bench.stored_favourites, moved)
    bench.favourites(THREE[1], THREE[2], THREE[0])
    expect(favourite(page, THREE[1])).to_have_attribute("aria-rowindex", "2")
    expect_value(page, lambda: in_document(page), list(range(1, 20)))
    expect_focused_row(page, THREE[2], "favourite")

    page.get_by_label("Question", exact=True).focus()
    bench.favourites(THREE[2], "studio/talk", THREE[0], THREE[1])
    expect(page.locator(".row.favourite")).to_have_count(4)
    expect_value(page, lambda: in_document(page), list(range(1, 21)))
    page.get_by_label("Filter models").fill("o")
    expect(page.locator("#said")).to_have_text(re.compile(r"^\d+ models$"))
    expect_value(page, lambda: in_document(page), list(range(1, len(rows(page)) + 1)))


def test_rows_of_a_long_list_stand_in_order_wherever_it_is_scrolled_to(
    start: Start, open_page: Open
) -> None:
    """Also around the row that has the focus, which stays in the document."""
    names = [f"model-{n:03}" for n in range(200)]
    others = [pretend.config(f"host-{n}") for n in range(5)]
    page = open_page(
        start(desk(acme(models=names), *others), store=open_store(":memory:")).base_url
    )
    page.locator(".row.model").first.wait_for()
    page.get_by_label("Filter models").press("ArrowDown")
    for _ in range(30):
        page.keyboard.press("PageDown")
    here = int(page.evaluate("document.activeElement.closest('.row').ariaRowIndex"))
    for part in (0.9, 0.02, 0.5, 0.0, 1.0):
        page.locator("#models").evaluate(
            """async (grid, part) => {
                grid.scrollTop = part * grid.scrollHeight;
                for (let n = 0; n < 3; n += 1) await new Promise(requestAnimationFrame);
            }""",
            part,
        )
        found = in_document(page)
        assert found == sorted(found)
        assert here in found
        assert len(found) < 40
    assert int(page.evaluate("document.activeElement.closest('.row').ariaRowIndex")) == here


# --- while a model loads --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pressed", "outcome"),
    [
        (".name", "#current-name:text-is('sam-desktop/cold')"),
        (".star", '.row.favourite[data-id="sam-desktop/cold"]'),
        ('[data-act="more"]', '[role="menu"]'),
    ],
)
def test_a_press_on_a_row_that_counts_is_not_lost(
    bench: Bench, open_page: Open, pressed: str, outcome: str
) -> None:
    """It lasts while a second passes, and another client sees the load end."""
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    with loading(bench, page) as shown:
        state = shown.locator(".state")
        shown.locator(pressed).hover()
        before = state.inner_text()
        page.mouse.down()
        expect(state).not_to_have_text(before)
        page.mouse.up()
        expect(page.locator(outcome)).to_be_visible()


def test_a_row_that_counts_stays_what_it_is(bench: Bench, open_page: Open) -> None:
    """Its elements do; from the first second to the one when it is loaded."""
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    with loading(bench, page) as shown:
        shown.evaluate("row => { window.before = [...row.querySelectorAll('*')]; }")
        text = shown.locator(".state").inner_text()
        expect(shown.locator(".state")).not_to_have_text(text)
    expect(shown.locator(".state")).to_have_text("loaded")
    expect(shown.locator(".dot")).to_have_attribute("data-state", "loaded")

    assert shown.evaluate(
        "row => [...row.querySelectorAll('*')].every((each, n) => each === window.before[n])"
    )


def test_an_open_menu_is_told_of_though_its_row_counts(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    with loading(bench, page) as shown:
        more = shown.get_by_role("button", name="More about")
        more.click()
        text = shown.locator(".state").inner_text()
        expect(shown.locator(".state")).not_to_have_text(text)
        expect(more).to_have_attribute("aria-expanded", "true")
        page.keyboard.press("Escape")
        expect(more).to_have_attribute("aria-expanded", "false")


def test_load_is_not_offered_for_what_is_loading(bench: Bench, open_page: Open) -> None:
    """Neither where another client loads it nor where this page does."""
    from playwright.sync_api import expect

    bench.ollama.knobs.load_delay_s = float("inf")
    page = ready(open_page(bench.served.base_url, height=TALL))
    with loading(bench, page) as shown:
        shown.get_by_role("button", name="More about").click()
        expect(page.get_by_role("menuitem").first).to_be_visible()
        expect(page.get_by_role("menuitem", name="Load", exact=True)).to_have_count(0)
        page.keyboard.press("Escape")
        expect(page.get_by_role("menu")).to_have_count(0)
    menu(page, "ollama/gemma3:4b", "Load")
    mine = row(page, "ollama/gemma3:4b")
    expect(mine.locator(".state")).to_have_text(re.compile("^loading"))
    mine.get_by_role("button", name="More about").click()
    expect(page.get_by_role("menuitem").first).to_be_visible()
    expect(page.get_by_role("menuitem", name="Load", exact=True)).to_have_count(0)
    bench.ollama.wait_until(lambda: bench.ollama.holding == 1)
    bench.ollama.finish_load("gemma3:4b")
    expect(page.get_by_role("menuitem", name="Unload", exact=True)).to_be_visible()


# --- leaving --------------------------------------------------------------------------------------


def test_leaving_the_page_while_it_pulls_is_asked_first(bench: Bench, open_page: Open) -> None:
    """It would end the pull; once that is over, nothing is asked."""
    from playwright.sync_api import expect

    bench.ollama.knobs.pull_tick_s = float("inf")
    page = ready(open_page(bench.served.base_url, height=TALL))
    asked: list[str] = []

    def stay(dialog: "Dialog") -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    pull(page, "codestral:22b")
    bench.ollama.wait_until(lambda: bench.ollama.holding == 1)
    with page.expect_event("dialog"):
        page.close(run_before_unload=True)

    until(page, lambda: asked == ["beforeunload"])
    assert bench.ollama.holding == 1
    page.get_by_role("button", name="Stop pulling codestral:22b").click()
    expect(page.locator(".work-text")).to_have_text("stopped")
    with page.expect_event("close"):
        page.close(run_before_unload=True)
    assert asked == ["beforeunload"]


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "said"), [("qwen", "1 model"), ("studio", "2 models"), ("xyzzy", "0 models")]
)
def test_what_the_filter_finds_is_counted(
    bench: Bench, open_page: Open, typed: str, said: str
) -> None:
    """Each model once, though a favourite is shown twice."""
    from playwright.sync_api import expect

    page = three(bench, open_page)
    page.get_by_label("Filter models").fill(typed)
    expect(page.locator("#said")).to_have_text(said)


def test_a_long_name_of_a_provider_can_be_read_whole(start: Start, open_page: Open) -> None:
    from playwright.sync_api import expect

    label = "The computer below the desk in the room at the end of the corridor"
    host = desk(acme(), pretend.config("far", "acme", label=label))
    page = open_page(start(host, store=open_store(":memory:")).base_url)
    title = page.locator('.row.section[data-provider="far"] .label')
    title.wait_for()

    assert title.evaluate("it => it.scrollWidth > it.clientWidth")
    expect(title).to_have_attribute("title", label)
