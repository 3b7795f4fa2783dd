"""The list of models, in a browser, before a gateway with simulated servers."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx2 as httpx
import pytest

import pretend
from gateway.page.bench import Bench, serve_page
from gateway.page.conftest import Open
from gateway.page.waiting import Traffic, expect_focused_row, expect_value, until
from modelbay_llamacpp.simulator import LlamaCppSimulator
from modelbay_llamacpp.simulator import SimulatedModel as LlamaModel

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

TALL = 1700  # pixels: every row is in view


def rows(page: "Page") -> list[str]:
    """Section titles and model ids from top to bottom; favourites are those above the sections."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll(".row")]
            .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
            .map(row => row.dataset.id ?? row.querySelector(".label, span").textContent)"""
    )
    return found


def row(page: "Page", id: str) -> "Locator":
    """A model's row in its provider's section."""
    return page.locator(f'.row.model:not(.favourite)[data-id="{id}"]')


def favourite(page: "Page", id: str) -> "Locator":
    return page.locator(f'.row.favourite[data-id="{id}"]')


def menu(page: "Page", id: str, entry: str) -> None:
    row(page, id).get_by_role("button", name=f"More about {id}").click()
    page.get_by_role("menuitem", name=entry).click()


def ready(page: "Page") -> "Page":
    from playwright.sync_api import expect

    expect(row(page, "ollama/qwen3:8b")).to_be_visible()
    return page


def test_favourites_come_first_and_then_providers_in_their_order(
    bench: Bench, open_page: Open
) -> None:
    """S0-58, S0-59, S0-61, S0-62: a favourite stands in its section too, and keeps its place.

    S0-66: kept favourites and groups came together.
    """
    bench.favourites("llamacpp/tiny", "sam-desktop/quick")
    page = ready(open_page(bench.served.base_url, height=TALL))

    wanted = [
        "Favourites",
        "llamacpp/tiny",
        "sam-desktop/quick",
        "Sam's desktop",
        "sam-desktop/cold",
        "sam-desktop/quick",
        "Ollama",
        "ollama/qwen3:8b",
        "ollama/gemma3:4b",
        "ollama/endless:1b",
        "ollama/broken:7b",
        "ollama/nomic-embed-text:latest",
        "llama.cpp",
        "llamacpp/tiny",
        "Studio",
        "studio/paint",
        "studio/talk",
        "Attic",
    ]
    expect_value(page, lambda: rows(page), wanted)


def test_every_row_has_a_star_which_is_kept_by_the_gateway(bench: Bench, open_page: Open) -> None:
    """S0-48, S0-60, S0-74: in the order in which they were chosen."""
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    expect(page.locator(".row.model")).to_have_count(10)
    expect(page.locator(".row.model .star")).to_have_count(10)

    for id in ("ollama/gemma3:4b", "sam-desktop/cold"):
        row(page, id).get_by_role("button", name=f"Favourite: {id}").click()
    expect(favourite(page, "sam-desktop/cold")).to_be_visible()
    expect_value(page, bench.stored_favourites, ["ollama/gemma3:4b", "sam-desktop/cold"])

    favourite(page, "ollama/gemma3:4b").get_by_role("button", name="Favourite:").click()
    expect(favourite(page, "ollama/gemma3:4b")).to_have_count(0)
    expect(row(page, "ollama/gemma3:4b")).to_be_visible()
    other = ready(open_page(bench.served.base_url, height=TALL))
    first = ["Favourites", "sam-desktop/cold", "Sam's desktop"]
    expect_value(other, lambda: rows(other)[:3], first)


def test_favourites_that_are_offline_are_counted_and_can_be_shown(
    bench: Bench, open_page: Open
) -> None:
    """S0-50, U13: hidden, not lost."""
    kept = ["attic/old:1b", "ollama/qwen3:8b", "ollama/gone:1b"]
    bench.favourites(*kept)
    page = ready(open_page(bench.served.base_url, height=TALL))
    from playwright.sync_api import expect

    expect(page.get_by_text("2 hidden (offline)")).to_be_visible()
    first = ["Favourites", "ollama/qwen3:8b", "2 hidden (offline)", "Sam's desktop"]
    expect_value(page, lambda: rows(page)[:4], first)
    page.get_by_role("button", name="Show", exact=True).click()
    expect_value(page, lambda: rows(page)[:5], ["Favourites", *kept, "2 offline"])
    expect(favourite(page, "attic/old:1b").locator(".state")).to_have_text("offline")
    assert bench.stored_favourites() == kept


def test_favourites_are_moved_with_the_keyboard(bench: Bench, open_page: Open) -> None:
    """S0-74."""
    bench.favourites("ollama/qwen3:8b", "llamacpp/tiny", "sam-desktop/quick")
    page = ready(open_page(bench.served.base_url, height=TALL))
    favourite(page, "sam-desktop/quick").locator(".name").focus()

    page.keyboard.press("Alt+ArrowUp")
    page.keyboard.press("Alt+ArrowUp")

    moved = ["sam-desktop/quick", "ollama/qwen3:8b", "llamacpp/tiny"]
    expect_value(page, lambda: rows(page)[1:4], moved)
    expect_focused_row(page, "sam-desktop/quick", "favourite")
    expect_value(page, bench.stored_favourites, moved)


def test_favourites_are_moved_by_dragging(bench: Bench, open_page: Open) -> None:
    """S0-74."""
    bench.favourites("ollama/qwen3:8b", "llamacpp/tiny", "sam-desktop/quick")
    page = ready(open_page(bench.served.base_url, height=TALL))

    favourite(page, "ollama/qwen3:8b").drag_to(favourite(page, "sam-desktop/quick"))

    moved = ["llamacpp/tiny", "sam-desktop/quick", "ollama/qwen3:8b"]
    expect_value(page, bench.stored_favourites, moved)
    expect_value(page, lambda: rows(page)[1:4], moved)


def test_the_filter_takes_letters_in_their_order_and_keeps_sections(
    bench: Bench, open_page: Open
) -> None:
    """S0-63, S0-73."""
    page = ready(open_page(bench.served.base_url, height=TALL))

    def expect_rows(*wanted: str) -> None:
        expect_value(page, lambda: rows(page), list(wanted))

    page.get_by_label("Filter models").fill("gm4")
    expect_rows("Ollama", "ollama/gemma3:4b")
    marks = row(page, "ollama/gemma3:4b").locator("mark")
    expect_value(page, lambda: "".join(marks.all_inner_texts()), "gm4")
    page.get_by_label("Filter models").fill("sam qui")
    expect_rows("Sam's desktop", "sam-desktop/quick")
    page.get_by_label("Filter models").fill("8b qwen")  # words in any order
    expect_rows("Ollama", "ollama/qwen3:8b")
    page.get_by_label("Filter models").fill("Sam's cold")  # and of the provider's name
    expect_rows("Sam's desktop", "sam-desktop/cold")
    page.get_by_label("Filter models").fill("xyzzy")
    expect_rows()
    page.get_by_label("Filter models").press("Escape")
    expect_value(page, lambda: len(rows(page)), 15)


def test_a_row_says_what_a_model_can_do_and_how_that_is_known(
    bench: Bench, open_page: Open
) -> None:
    """S4-86: size and window; hover and focus show where a capability comes from."""
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    about = row(page, "ollama/qwen3:8b").locator(".about")

    def shown() -> list[str]:
        texts = about.locator("> *").all_inner_texts()
        return [re.sub(r"\s+", " ", text.split("(")[0]).strip() for text in texts]

    wanted = ["unloaded", "128k", "4.9 GB", "tools", "thinking", "JSON"]
    expect_value(page, shown, wanted)
    row(page, "ollama/qwen3:8b").locator(".name").focus()
    known = "family: llama, quantization: Q4_K_M"
    expect(about.locator("> .fact").last).to_have_attribute("data-tip", known)
    for _ in range(5):  # the star, more, the window, the size, and then the first badge
        page.keyboard.press("ArrowRight")
    expect(page.locator(".tip-text:popover-open")).to_contain_text("tools: ")
    focused = page.evaluate(
        "[document.activeElement.firstChild.textContent, document.activeElement.dataset.tip,"
        " document.querySelector('.tip-text:popover-open').textContent]"
    )
    assert focused[0] == "tools"
    assert focused[1].startswith("tools: the server says so (")
    assert focused[2] == focused[1]


def test_every_section_shows_the_health_of_its_server(bench: Bench, open_page: Open) -> None:
    """S0-75."""
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))

    health = page.locator(".row.section .health")
    statuses = "all => all.map(each => each.dataset.status)"
    wanted = ["ok", "ok", "ok", "ok", "down"]
    expect_value(page, lambda: health.evaluate_all(statuses), wanted)
    expect(health.last).to_have_attribute("data-tip", re.compile(r"127\.0\.0\.1:9"))


def test_a_load_shows_how_long_it_takes_and_unload_frees(bench: Bench, open_page: Open) -> None:
    """S4-84, S4-88: live, without a reload of the page."""
    from playwright.sync_api import expect

    bench.ollama.knobs.load_delay_s = float("inf")
    page = ready(open_page(bench.served.base_url, height=TALL))

    menu(page, "ollama/gemma3:4b", "Load")
    state = row(page, "ollama/gemma3:4b").locator(".state")
    expect(state).to_have_text(re.compile(r"^loading"))
    expect(row(page, "ollama/gemma3:4b").get_by_role("progressbar")).to_be_visible()
    bench.ollama.wait_until(lambda: bench.ollama.holding == 1)
    bench.ollama.finish_load("gemma3:4b")
    expect(state).to_have_text("loaded")
    menu(page, "ollama/gemma3:4b", "Unload")
    expect(state).to_have_text("unloaded")


def test_what_another_client_does_is_seen_at_once(bench: Bench, open_page: Open) -> None:
    """Through the feed of changes: the elapsed time counts while a server loads."""
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    state = row(page, "sam-desktop/cold").locator(".state")
    expect(state).to_have_text("unloaded")

    path = "/api/providers/sam-desktop/manage"
    with bench.api.stream("POST", path, json={"action": "load", "model": "cold"}) as answer:
        expect(state).to_have_text(re.compile(r"^loading · [1-9]\d* s"))
        bench.swap.wait_until(lambda: bench.swap.states["cold"] == "starting")
        bench.swap.finish_load("cold")
        answer.read()
    expect(state).to_have_text("loaded")


def test_a_load_that_fails_says_why(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    menu(page, "ollama/broken:7b", "Load")

    expect(page.get_by_role("alert")).to_contain_text("the file is damaged")


def test_a_pull_shows_a_bar_and_the_model_is_there(bench: Bench, open_page: Open) -> None:
    """S4-85, S4-92."""
    from playwright.sync_api import expect

    bench.ollama.knobs.pull_tick_s = float("inf")
    page = ready(open_page(bench.served.base_url, height=TALL))
    page.get_by_role("button", name="Pull a model to Ollama").click()
    page.get_by_label("Name, as that server knows it").fill("codestral:22b")
    page.keyboard.press("Enter")

    bar = page.get_by_role("progressbar", name="Pull of codestral:22b")
    expect(bar).to_be_visible()
    text = page.locator(".work-text")
    for _ in range(3):
        bench.ollama.wait_until(lambda: bench.ollama.holding == 1)
        bench.ollama.release_pull("codestral:22b")
    expect(text).to_have_text(re.compile(r"^\d+% · \d.* of 8\.0 MB$"))
    bench.ollama.wait_until(lambda: bench.ollama.holding == 1)
    bench.ollama.knobs.pull_tick_s = 0
    bench.ollama.release_pull("codestral:22b")
    expect(text).to_have_text("✓ codestral:22b ready")
    expect(row(page, "ollama/codestral:22b")).to_be_visible()


def test_a_pull_can_be_stopped(bench: Bench, open_page: Open) -> None:
    """S4-85: the server ends it too, and the note about it can be closed."""
    from playwright.sync_api import expect

    bench.ollama.knobs.pull_tick_s = float("inf")
    page = ready(open_page(bench.served.base_url, height=TALL))
    page.get_by_role("button", name="Pull a model to Ollama").click()
    page.get_by_label("Name, as that server knows it").fill("codestral:22b")
    page.keyboard.press("Enter")
    expect(page.get_by_role("progressbar", name="Pull of codestral:22b")).to_be_visible()
    bench.ollama.wait_until(lambda: bench.ollama.holding == 1)
    page.get_by_role("button", name="Stop pulling codestral:22b").click()

    expect(page.locator(".work-text")).to_have_text("stopped")
    bench.ollama.wait_until(lambda: bench.ollama.pulls_cancelled.get("codestral:22b") == 1)
    assert "codestral:22b" not in bench.ollama.installed
    page.get_by_role("button", name="Close the note about codestral:22b").click()
    expect(page.locator(".work")).to_be_hidden()


@pytest.fixture
def loading() -> Iterator[str]:
    """The address of a gateway whose one server tells how far a load is, and fails at another."""
    slow, crash = LlamaModel("slow", load_s=3.0), LlamaModel("crash", exit_code=3)
    with LlamaCppSimulator([slow, crash], mode="router") as server:
        provider = pretend.config("llamacpp", "llamacpp", baseUrl=server.base_url)
        with serve_page([provider]) as served:
            yield served.base_url


def test_a_load_shows_how_far_it_is_where_the_server_tells_it(
    loading: str, open_page: Open
) -> None:
    """S4-88."""
    from playwright.sync_api import expect

    page = open_page(loading)
    slow = row(page, "llamacpp/slow")
    slow.evaluate(
        """row => {
            const look = () => [row.querySelector(".state").textContent,
                row.querySelector("progress")?.value ?? null];
            window.shown = [];
            new MutationObserver(() => window.shown.push(look()))
                .observe(row, { subtree: true, childList: true, characterData: true });
        }"""
    )
    menu(page, "llamacpp/slow", "Load")
    expect(slow.locator(".state")).to_have_text("loaded")

    shown: list[tuple[str, float | None]] = page.evaluate("window.shown")
    told = re.compile(r"loading · (25|50|75)%( · \d+ s)?")
    found = [(match, value) for text, value in shown if (match := told.fullmatch(text))]
    assert found
    assert [(value or 0) * 100 for _, value in found] == [int(match[1]) for match, _ in found]


def test_a_model_that_failed_says_so_in_its_row(loading: str, open_page: Open) -> None:
    """S4-88: with the reason, for everybody who looks."""
    from playwright.sync_api import expect

    page = open_page(loading)
    row(page, "llamacpp/crash").wait_for()
    load = {"action": "load", "model": "crash"}
    httpx.post(f"{loading}/api/providers/llamacpp/manage", json=load)

    state = row(page, "llamacpp/crash").locator('.state[data-state="failed"]')
    expect(state).to_have_text(re.compile(r"^failed: .*\b3\b"), timeout=20_000)


def test_models_that_cannot_be_read_are_told_and_asked_for_again(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(
        bench.served.base_url, height=TALL, goto=False, expected="Failed to load resource"
    )
    failure = '{"error": {"message": "the registry is on fire", "hint": "modelbay doctor"}}'
    page.context.route("**/api/models", lambda route: route.fulfill(status=500, body=failure))
    page.goto(bench.served.base_url)

    expect(page.get_by_role("alert")).to_contain_text("the registry is on fire")
    expect(page.get_by_role("alert")).to_contain_text("modelbay doctor")
    page.context.unroute("**/api/models")
    ready(page)
    expect(page.get_by_role("alert")).to_have_count(1)


def test_notices_cover_nothing_that_one_writes_with(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    for id in ("llamacpp/tiny", "sam-desktop/quick"):
        row(page, id).locator(".name").click()
        expect(page.locator(".notice")).to_contain_text(f"Switched to {id}")
    expect(page.locator(".notice")).to_have_count(1)
    menu(page, "ollama/qwen3:8b", "Answer side by side")
    row(page, "sam-desktop/cold").locator(".name").click()
    expect(page.locator(".notice")).to_contain_text("Switched to sam-desktop/cold")

    is_above = """() => document.querySelector(".notice").getBoundingClientRect().bottom
        <= document.querySelector(".chip").getBoundingClientRect().top"""
    until(page, lambda: page.evaluate(is_above))
    page.locator(".chip button").click()
    expect(page.locator(".chip")).to_have_count(0)


def test_deleting_asks_first(bench: Bench, open_page: Open) -> None:
    """S4-87."""
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))
    menu(page, "ollama/endless:1b", "Delete")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.evaluate("fetch('/health').then(answer => answer.text())")
    assert "endless:1b" in bench.ollama.installed

    menu(page, "ollama/endless:1b", "Delete")
    expect(page.get_by_role("dialog")).to_contain_text("Delete endless:1b?")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, "ollama/endless:1b")).to_have_count(0)
    assert "endless:1b" not in bench.ollama.installed


def test_what_a_server_cannot_do_is_not_offered(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL))

    row(page, "studio/talk").get_by_role("button", name="More about studio/talk").click()

    entries = ["Use for the next turn only", "Answer side by side"]
    expect(page.get_by_role("menuitem")).to_have_text(entries)


def test_nothing_is_polled(bench: Bench, open_page: Open) -> None:
    """Ten minutes of an idle page ask nothing: changes are told by the feed."""
    page = open_page(bench.served.base_url, height=TALL, goto=False)
    traffic = Traffic(page)
    page.clock.install()
    page.goto(bench.served.base_url)
    page.clock.run_for(2000)
    ready(page)
    traffic.settle(lambda: page.clock.run_for(200))
    asked = len(traffic.asked)

    page.clock.run_for(600_000)

    page.evaluate("fetch('/health').then(answer => answer.text())")
    assert [each.url for each in traffic.asked[asked:]] == []
