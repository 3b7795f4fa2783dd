"""The page without a mouse, with a screen reader, on a phone, and behind a key."""

import re
from typing import TYPE_CHECKING, Any

import pytest

from gateway.conftest import Start
from gateway.page.bench import Bench, axe_source
from gateway.page.conftest import Open
from gateway.page.waiting import expect_focus, expect_value
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


def slid_in(page: "Page", side: str) -> None:
    """Until all of this side is there, of a page that is not wide enough to have it always."""
    from playwright.sync_api import expect

    expect(page.locator(side)).to_be_in_viewport(ratio=0.98)


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
    page.get_by_role("dialog").wait_for()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    if width < 1312:
        page.locator("#current-model").click()
        slid_in(page, "#picker")
        assert faults(page) == []
    page.locator(".row.model").first.get_by_role("button", name="More about").click()
    page.get_by_role("menu").wait_for()
    assert faults(page) == []


def test_everything_is_done_with_the_keyboard_alone(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    page.locator('.row.model[data-id="llamacpp/tiny"]').wait_for()
    page.get_by_label("Filter models").focus()
    page.keyboard.type("tiny")
    expect(page.locator(".row.model")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect_focus(page, "tiny")
    page.keyboard.press("ArrowRight")
    expect_focus(page, "Favourite: llamacpp/tiny")
    page.keyboard.press("Space")
    expect(page.locator(".row.favourite")).to_be_visible()
    expect_focus(page, "Favourite: llamacpp/tiny")
    page.keyboard.press("ArrowRight")
    expect_focus(page, "More about llamacpp/tiny")
    page.keyboard.press("Enter")
    expect_focus(page, "Use for the next turn only")
    page.keyboard.press("ArrowDown")
    expect_focus(page, "Answer side by side")
    page.keyboard.press("Escape")
    expect_focus(page, "More about llamacpp/tiny")
    page.keyboard.press("Home")
    expect_focus(page, "tiny")
    page.keyboard.press("Enter")
    expect(page.locator("#current-name")).to_have_text("llamacpp/tiny")

    page.get_by_role("link", name="Skip to the question").focus()
    page.keyboard.press("Enter")
    expect_focus(page, "Question")
    page.keyboard.type("Hello")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .text")).to_have_text("Tiny speaks.")
    expect(page.locator("#said")).to_have_text("Answered: Tiny speaks.")


def test_tab_stops_once_in_the_list_and_arrows_go_through_it(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, height=700)
    page.locator(".row.model").first.wait_for()
    expect(page.locator('#models [tabindex="0"]')).to_have_count(1)

    page.get_by_label("Filter models").focus()
    page.keyboard.press("Tab")
    expect_focus(page, "cold")
    page.keyboard.press("Control+End")
    expect_focus(page, re.compile("Attic"))
    page.keyboard.press("Control+Home")
    expect_focus(page, re.compile("Sam's desktop"))
    page.keyboard.press("ArrowDown")
    expect_focus(page, "cold")
    expect(page.locator('#models [tabindex="0"]')).to_have_count(1)


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1600, 2560])
def test_no_width_needs_scrolling_sideways(bench: Bench, open_page: Open, width: int) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, width=width, height=800)
    page.locator(".row.model").first.wait_for(state="attached")
    expect(page.locator("#current-note")).to_have_text("default")

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
    expect_focus(page, "Filter models")
    page.keyboard.press("Escape")
    expect(page.locator("#current-model")).to_be_focused()
    page.get_by_role("button", name="Conversations").click()
    expect_focus(page, "New conversation")
    page.keyboard.press("Escape")
    expect(page.locator("#conversations")).not_to_be_in_viewport()


def test_colours_follow_the_system_until_somebody_chooses(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, color_scheme="dark")
    button = page.get_by_role("button", name="Dark colours")
    expect(button).to_have_attribute("aria-pressed", "true")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light")
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(page.locator("body")).not_to_have_css("background-color", dark)

    button.click()
    expect(page.locator("body")).to_have_css("background-color", dark)
    page.reload()
    expect(page.locator("body")).to_have_css("background-color", dark)
    expect(button).to_have_attribute("aria-pressed", "true")


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


# --- keys that are good for some things alone -----------------------------------------------------


def keyed_page(bench: Bench, open_page: Open, *scopes: str) -> "Page":
    """The page with a key of these scopes alone; any refusal would be an error of its console."""
    return open_page(
        bench.keyed(scopes, KEY).base_url,
        script=f"sessionStorage.setItem('modelbay-key', '{KEY}')",
    )


def is_calm(page: "Page") -> bool:
    return page.locator(".notice").count() == 0 and page.get_by_role("dialog").count() == 0


def expect_entries(page: "Page", id: str, wanted: dict[str, str | None]) -> None:
    """The menu of a model: why each entry cannot be chosen, or nothing."""
    page.locator(f'.row.model[data-id="{id}"]').last.get_by_role("button", name="More").click()
    page.get_by_role("menu").wait_for()
    entries = """all => Object.fromEntries(all.map(each =>
        [each.firstChild.data, each.querySelector("small")?.textContent ?? null]))"""
    expect_value(page, lambda: page.get_by_role("menuitem").evaluate_all(entries), wanted)
    page.keyboard.press("Escape")
    page.get_by_role("menu").wait_for(state="detached")


def test_with_a_key_for_chats_alone_it_chats_and_keeps_nothing(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    bench.favourites("llamacpp/tiny")
    page = keyed_page(bench, open_page, "chat")
    note = page.locator("#key-note")
    expect(note).to_contain_text("The key “phone” is good for chat.")
    expect(note).to_contain_text("Conversations stay in this tab")
    page.locator('.row.model.favourite[data-id="llamacpp/tiny"] .name').click()
    expect(page.locator("#current-name")).to_have_text("llamacpp/tiny")
    expect(page.locator(".star")).to_have_count(0)
    expect(page.get_by_role("button", name="Pull")).to_have_count(0)
    why = "this key is not good for manage"
    wanted: dict[str, str | None] = {
        "Use for the next turn only": None,
        "Answer side by side": None,
        "Load": why,
        "Delete…": why,
    }
    expect_entries(page, "llamacpp/tiny", wanted)

    page.get_by_label("Question", exact=True).fill("Hello there")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .text")).to_have_text("Tiny speaks.")
    expect(page.locator("#conversation-list .open")).to_have_text("Hello there")
    with page.expect_response("**/v1/chat/completions"):
        page.get_by_role("button", name="Ask again").click()
    expect(page.locator(".answer .text")).to_have_text("Tiny speaks.")
    page.get_by_role("button", name="Ask again").wait_for()
    expect(page.locator(".question")).to_have_count(1)
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".welcome")).to_be_visible()
    page.locator("#conversation-list .open").click()
    expect(page.locator(".question")).to_have_text("Hello there")
    expect(page.locator(".answer .text")).to_have_text("Tiny speaks.")
    page.get_by_role("button", name="More about Hello there").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#conversation-list .open")).to_have_count(0)
    assert page.locator(".failure").count() == 0
    assert bench.conversations() == []
    assert bench.stored_favourites() == ["llamacpp/tiny"]


def test_a_key_for_chats_alone_sees_nobodys_conversations(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    bench.api.post("/conversations", json={"id": "mine", "title": "A secret"}).raise_for_status()
    served = bench.keyed(("chat",), KEY)
    page = open_page(
        f"{served.base_url}/#/c/mine", script=f"sessionStorage.setItem('modelbay-key', '{KEY}')"
    )

    expect(page.locator(".notice")).to_have_text("That conversation is not kept in this tab")
    expect(page.locator(".welcome")).to_be_visible()
    assert page.locator(".failure").count() == 0
    assert "A secret" not in page.content()


def test_with_a_key_for_management_alone_it_loads_and_asks_nothing(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = keyed_page(bench, open_page, "manage")
    expect(page.locator("#key-note")).to_contain_text("is good for manage. It cannot ask models.")
    expect(page.locator("#current-name")).to_have_text("Models")
    question = page.get_by_label("Question", exact=True)
    expect(question).to_be_disabled()
    expect(question).to_have_attribute("placeholder", "This key is not good for chat")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    expect(page.get_by_role("button", name="New conversation")).to_be_hidden()
    row = page.locator('.row.model[data-id="llamacpp/tiny"]')
    row.wait_for()
    expect(page.locator(".star")).to_have_count(0)
    expect(page.get_by_role("button", name="Pull").first).to_be_attached()
    assert is_calm(page)
    why = "this key is not good for chat"
    wanted: dict[str, str | None] = {
        "Use for the next turn only": why,
        "Answer side by side": why,
        "Load": None,
        "Delete…": None,
    }
    expect_entries(page, "llamacpp/tiny", wanted)

    row.locator(".name").click()
    expect(page.locator(".notice")).to_have_text("This key is not good for chat")
    row.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Load").click()
    expect(page.locator(".notice").last).to_have_text("✓ llamacpp/tiny is loaded")
    page.get_by_role("button", name="More about ollama/gemma3:4b").click()
    page.get_by_role("menuitem", name="Delete").click()
    with page.expect_request("**/manage") as asked:
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    assert asked.value.post_data_json == {
        "action": "delete",
        "model": "gemma3:4b",
        "confirm": True,
    }
    expect(page.locator(".notice").last).to_have_text("✓ ollama/gemma3:4b is deleted")
    assert page.locator(".failure").count() == 0


def test_with_a_key_for_administration_alone_it_reads_and_stars(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    bench.api.post("/conversations", json={"id": "mine", "title": "Kept"}).raise_for_status()
    kept = {"messages": [{"message": {"role": "user", "content": "Remember this"}}]}
    bench.api.post("/conversations/mine/messages", json=kept).raise_for_status()
    page = keyed_page(bench, open_page, "admin")
    expect(page.locator("#key-note")).to_contain_text("is good for admin. It cannot ask models.")
    with page.expect_response("**/api/settings/favorites"):
        page.get_by_role("button", name="Favourite: llamacpp/tiny").click()
    expect(page.locator(".row.favourite")).to_have_count(1)
    page.locator("#conversation-list .open").click()
    expect(page.locator(".question")).to_have_text("Remember this")
    expect(page.get_by_role("button", name="Ask again")).to_have_count(0)
    expect(page.get_by_label("Question", exact=True)).to_be_disabled()
    expect(page.get_by_role("button", name="Pull")).to_have_count(0)
    assert is_calm(page)
    wanted: dict[str, str | None] = {
        "Use for the next turn only": "this key is not good for chat",
        "Answer side by side": "this key is not good for chat",
        "Load": "this key is not good for manage",
        "Delete…": "this key is not good for manage",
    }
    expect_entries(page, "llamacpp/tiny", wanted)
    page.reload()
    expect(page.locator(".row.favourite")).to_have_count(1)


def test_another_key_is_asked_for_where_one_is_not_good_for_all(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    other = "another-key-for-tests-012345"
    served = bench.keyed(("chat",), KEY, other)
    page = open_page(
        served.base_url,
        script="sessionStorage.getItem('modelbay-key') ?? "
        f"sessionStorage.setItem('modelbay-key', '{KEY}')",
    )
    page.get_by_role("button", name="Use another key").click()
    page.get_by_label("Client key").fill(other)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Favourite: llamacpp/tiny").click()
    expect(page.locator("#key-note")).to_be_hidden()
    expect(page.locator(".row.favourite")).to_have_count(1)
    assert is_calm(page)


@pytest.mark.parametrize("scope", ["chat", "manage", "admin"])
@pytest.mark.parametrize("width", [390, 1600])
def test_axe_finds_no_serious_fault_with_any_key(
    bench: Bench, open_page: Open, scope: str, width: int
) -> None:
    page = open_page(
        bench.keyed((scope,), KEY).base_url,
        width=width,
        script=f"sessionStorage.setItem('modelbay-key', '{KEY}')",
    )
    page.locator(".row.model").first.wait_for(state="attached")
    if width < 960:
        page.get_by_role("button", name="Conversations").click()
        slid_in(page, "#conversations")
    page.locator("#key-note").wait_for()
    assert faults(page) == []


def test_who_gives_no_key_is_left_in_peace_and_may_give_one_later(
    start: Start, open_page: Open
) -> None:
    from playwright.sync_api import expect

    keys = (ClientKey("test", EVERY_SCOPE, digest(KEY), 0),)
    served = start(desk(acme()), access=Access(given_keys=keys), store=open_store(":memory:"))
    page = open_page(served.base_url, expected="401 (Unauthorized)")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()

    expect(page.locator(".notice.failure")).to_have_count(1)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Use another key").click()
    page.get_by_label("Client key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator('.row.model[data-id="desk/m"]')).to_be_visible()
