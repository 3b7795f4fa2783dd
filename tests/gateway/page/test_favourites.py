"""Favourites that several people change at once."""

from functools import partial
from typing import TYPE_CHECKING

import pytest

from gateway.page.bench import Bench
from gateway.page.conftest import Open
from gateway.page.test_picker import TALL, favourite, ready, row, rows
from gateway.page.waiting import expect_value

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def shown_first(page: "Page") -> list[str]:
    """The first three models."""
    return rows(page)[1:4]


def star(page: "Page", id: str) -> None:
    with page.expect_response("**/api/settings/favorites"):
        row(page, id).get_by_role("button", name=f"Favourite: {id}").click()


def test_a_favourite_that_was_added_elsewhere_meanwhile_is_kept(
    bench: Bench, open_page: Open
) -> None:
    """S0-48: also where this page could not hear of it."""
    page = open_page(bench.served.base_url, height=TALL, goto=False)
    page.route("**/api/events", lambda route: route.fulfill(content_type="text/event-stream"))
    page.goto(bench.served.base_url)
    ready(page)
    bench.favourites("llamacpp/tiny")

    star(page, "ollama/gemma3:4b")

    assert bench.stored_favourites() == ["llamacpp/tiny", "ollama/gemma3:4b"]
    favourite(page, "llamacpp/tiny").wait_for()


def test_two_pages_show_each_others_favourites_at_once(bench: Bench, open_page: Open) -> None:
    """S0-48, S0-50: live, without a reload."""
    from playwright.sync_api import expect

    one = ready(open_page(bench.served.base_url, height=TALL))
    other = ready(open_page(bench.served.base_url, height=TALL))

    star(one, "ollama/gemma3:4b")
    expect(favourite(other, "ollama/gemma3:4b")).to_be_visible()
    star(other, "sam-desktop/quick")
    expect(favourite(one, "sam-desktop/quick")).to_be_visible()
    bench.favourites("llamacpp/tiny", *bench.stored_favourites())

    for page in (one, other):
        expect(favourite(page, "llamacpp/tiny")).to_be_visible()
        wanted = ["llamacpp/tiny", "ollama/gemma3:4b", "sam-desktop/quick"]
        expect_value(page, partial(shown_first, page), wanted)


def test_favourites_that_could_not_be_read_are_not_overwritten(
    bench: Bench, open_page: Open
) -> None:
    bench.favourites("llamacpp/tiny", "attic/old:1b")
    page = open_page(
        bench.served.base_url, height=TALL, goto=False, expected="Failed to load resource"
    )
    failure = '{"error": {"message": "the disk is gone"}}'
    page.route("**/api/settings", lambda route: route.fulfill(status=500, body=failure))
    page.goto(bench.served.base_url)
    ready(page)

    star(page, "ollama/gemma3:4b")

    assert bench.stored_favourites() == ["llamacpp/tiny", "attic/old:1b", "ollama/gemma3:4b"]


def test_a_favourite_that_cannot_be_added_is_none(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL, expected="Failed to load resource"))
    failure = '{"error": {"message": "the disk is full"}}'
    page.route("**/api/settings/favorites", lambda route: route.fulfill(status=500, body=failure))

    star(page, "ollama/gemma3:4b")

    expect(page.get_by_role("alert")).to_contain_text("the disk is full")
    expect(favourite(page, "ollama/gemma3:4b")).to_have_count(0)


def test_moving_up_passes_over_hidden_ones(bench: Bench, open_page: Open) -> None:
    """S0-74, U13: and they stay in the list."""
    from playwright.sync_api import expect

    bench.favourites("attic/old:1b", "ollama/gemma3:4b", "attic/older:1b", "llamacpp/tiny")
    page = ready(open_page(bench.served.base_url, height=TALL))

    def offered(id: str) -> list[str]:
        favourite(page, id).get_by_role("button", name="More about").click()
        expect(page.get_by_role("menuitem").first).to_be_visible()
        found = page.get_by_role("menuitem").all_inner_texts()
        page.keyboard.press("Escape")
        expect(page.get_by_role("menu")).to_have_count(0)
        return [each for each in found if each.startswith("Move")]

    favourite(page, "llamacpp/tiny").wait_for()
    assert offered("ollama/gemma3:4b") == ["Move down"]
    assert offered("llamacpp/tiny") == ["Move up"]
    favourite(page, "llamacpp/tiny").get_by_role("button", name="More about").click()
    with page.expect_response("**/api/settings/favorites"):
        page.get_by_role("menuitem", name="Move up").click()

    expect_value(page, lambda: rows(page)[1:3], ["llamacpp/tiny", "ollama/gemma3:4b"])
    assert bench.stored_favourites() == [
        "attic/old:1b",
        "llamacpp/tiny",
        "ollama/gemma3:4b",
        "attic/older:1b",
    ]
