"""What the page tells about the servers behind the providers, to whoever opens it."""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

import pretend
from gateway.page.bench import Bench, serve_page
from gateway.page.conftest import Open
from gateway.page.test_access import KEY, faults, is_calm, keyed_page, slid_in
from gateway.page.test_picker import TALL, favourite, ready, row
from gateway.page.waiting import Traffic, expect_focus, expect_focused_row, expect_value
from modelbay.state import open_store
from modelbay_llamaswap.simulator import LlamaSwapSimulator
from modelbay_llamaswap.simulator import SimulatedModel as SwapModel
from modelbay_ollama.simulator import OllamaSimulator
from modelbay_ollama.simulator import SimulatedModel as OllamaModel

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request

pytestmark = pytest.mark.browser

GB = 1_000_000_000


def toggle(page: "Page", label: str) -> None:
    page.get_by_role("button", name=f"About the server of {label}").click()


def panel(page: "Page", id: str) -> "Locator":
    return page.locator(f'.row.server[data-server="{id}"]')


def told(page: "Page", id: str) -> dict[str, str]:
    """What stands in the panel of a server that has answered: facts by term, models by name."""
    from playwright.sync_api import expect

    expect(panel(page, id)).to_be_visible()
    expect(panel(page, id)).not_to_contain_text("Asking…")
    found: dict[str, str] = panel(page, id).evaluate(
        """it => Object.fromEntries([
            ...[...it.querySelectorAll("dl > div")].map(each => [...each.children]),
            ...[...it.querySelectorAll(".in-memory")].map(each => [...each.children]),
        ].map(pair => pair.map(each => each.innerText.replace(/\\s+/g, " ").trim())))"""
    )
    return found


def load(api: httpx.Client, provider: str, model: str) -> None:
    body = {"action": "load", "model": model}
    api.post(f"/api/providers/{provider}/manage", json=body).raise_for_status()


def managed(requests: Sequence["Request"]) -> list[tuple[str, str]]:
    """Provider and action of each request for management among these."""
    return [
        (each.url.split("/")[-2], json.loads(each.post_data or "{}")["action"])
        for each in requests
        if each.url.endswith("/manage")
    ]


@pytest.fixture
def servers() -> Iterator[httpx.Client]:
    """A gateway over servers that tell much: one of memory, the other of time."""
    with ExitStack() as stack:
        ollama = OllamaSimulator(
            [
                OllamaModel("big:70b", size_bytes=20 * GB, size_vram_bytes=8 * GB),
                OllamaModel("small:1b", size_bytes=GB, size_vram_bytes=0),
            ]
        )
        swap = LlamaSwapSimulator([SwapModel("timed", ttl_s=600), SwapModel("kept", ttl_s=0)])
        stack.enter_context(ollama)
        stack.enter_context(swap)
        providers = [
            pretend.config("ollama", "ollama", label="Ollama", baseUrl=ollama.base_url),
            pretend.config("swap", "llama-swap", label="Swap", baseUrl=swap.base_url),
        ]
        served = stack.enter_context(serve_page(providers))
        yield stack.enter_context(httpx.Client(base_url=served.base_url, timeout=30))


def test_an_opened_server_tells_its_version_address_health_and_what_is_loaded(
    bench: Bench, open_page: Open
) -> None:
    """S4-84, S4-88: memory, window, and the time until a model is unloaded, as the server says."""
    from playwright.sync_api import expect

    load(bench.api, "ollama", "qwen3:8b")
    page = ready(open_page(bench.served.base_url, height=TALL))
    expect(page.locator(".row.server")).to_have_count(0)

    toggle(page, "Ollama")

    found = told(page, "ollama")
    assert re.fullmatch(r"healthy, answered in (\d+ ms|[\d.]+ s)", found.pop("Health"))
    assert found == {
        "Version": "Ollama 0.33.0",
        "Address": urlsplit(bench.ollama.base_url).netloc,
        "Loaded": "1 of 5",
        "qwen3:8b llama · 8.0B · Q4_K_M": "5.5 GB VRAM · 4k context · unloads in 5 min",
    }
    toggle(page, "Ollama")
    expect(page.locator(".row.server")).to_have_count(0)


def test_memory_is_told_where_it_lies_and_time_as_the_server_counts_it(
    servers: httpx.Client, open_page: Open
) -> None:
    """S4-84, S4-88."""
    load(servers, "ollama", "big:70b")
    load(servers, "swap", "timed")
    page = open_page(str(servers.base_url), height=TALL)
    toggle(page, "Ollama")
    toggle(page, "Swap")

    big = told(page, "ollama")["big:70b llama · 8.0B · Q4_K_M"]
    assert re.fullmatch(r"8\.0 GB VRAM · 1\d GB RAM · \d+k context · unloads in 5 min", big)
    timed = told(page, "swap")["timed"]
    assert timed.endswith(" context · unloads after 10 min without a request")


def test_each_fact_is_in_words_and_what_is_unknown_is_left_out(
    bench: Bench, open_page: Open
) -> None:
    """The words alone, of answers that no simulator here gives."""
    page = ready(open_page(bench.served.base_url))
    found = page.evaluate(
        """async () => {
            const { serverFacts } = await import("/page/script/server-row.js");
            const { duration } = await import("/page/script/quantity.js");
            const model = {
                wire_id: "m", state: "loaded", size_bytes: null, vram_bytes: null, context: null,
                active_streams: null, expires_in_s: null, details: {},
            };
            const models = [
                {},
                { size_bytes: 2e9 },
                { size_bytes: 2e9, vram_bytes: 0 },
                { size_bytes: 2e9, vram_bytes: 2e9, details: { expires: "never" } },
                { vram_bytes: 5e8, active_streams: 2, state: "unloading" },
                { expires_in_s: 90 },
            ].map(each => ({ ...model, ...each }));
            const provider = {
                label: "P", status: "stale", problem: { message: "slow", hint: null }, tookS: 0.5,
                address: null, models: [{ wireId: "m", state: "unknown", family: "fam" }],
            };
            const words = (health, running) => serverFacts(
                provider, { health, running, failures: [], askedAt: 0, isAsked: true }, true, 30000,
            );
            const details = { note: "n" };
            const health = { healthy: false, server: "acme 2", version: null, details };
            return {
                none: words(null, null),
                odd: words(health, { models }),
                versions: [["acme 2.1", "2.1"], ["acme", "b1"], ["", "7"], ["", null]].map(
                    ([server, version]) => words({ ...health, server, version }, null).facts[0]),
                times: [0.2, 59, 60, 3600, 7500, 200000].map(duration),
            };
        }"""
    )
    problems = [{"message": "slow", "hint": None}]
    texts = ["", "2.0 GB", "2.0 GB RAM", "2.0 GB VRAM · stays loaded"]
    texts += ["unloading · 500 MB VRAM · answering 2", "unloads in 1 min"]
    assert found == {
        "none": {
            "facts": [["Health", "not answering"]],
            "notes": [],
            "problems": problems,
            "models": [],
        },
        "odd": {
            "facts": [["Server", "acme 2"], ["Health", "not healthy"], ["Loaded", "5"]],
            "notes": ["n"],
            "problems": problems,
            "models": [{"name": "m", "build": "fam", "text": text} for text in texts],
        },
        "versions": [
            ["Version", "acme 2.1"],
            ["Version", "acme (b1)"],
            ["Version", "7"],
            ["Health", "not healthy"],
        ],
        "times": ["1 s", "59 s", "1 min", "1 h", "2 h 5 min", "2 d"],
    }


def test_what_a_server_does_not_say_is_not_shown_and_what_it_cannot_do_is_not_asked(
    bench: Bench, open_page: Open
) -> None:
    load(bench.api, "sam-desktop", "quick")
    page = open_page(bench.served.base_url, height=TALL, goto=False)
    traffic = Traffic(page)
    page.goto(bench.served.base_url)
    ready(page)
    traffic.settle()

    toggle(page, "Studio")
    toggle(page, "Sam's desktop")

    found = [told(page, id) for id in ("studio", "sam-desktop")]
    assert [list(each) for each in found] == [
        ["Version", "Address", "Health", "Loaded"],
        ["Version", "Address", "Health", "Loaded", "quick"],
    ]
    assert (found[0]["Version"], found[0]["Loaded"]) == ("vLLM 0.11.2", "2 of 2")
    assert (found[1]["Loaded"], found[1]["quick"]) == ("1 of 2", "4k context")
    assert sorted(managed(traffic.asked)) == [
        ("sam-desktop", "health"),
        ("sam-desktop", "running"),
        ("studio", "health"),
    ]


def test_an_opened_server_is_asked_again_when_the_gateway_tells_of_a_change_and_only_it(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, height=TALL, goto=False)
    traffic = Traffic(page)
    page.goto(bench.served.base_url)
    ready(page)
    toggle(page, "Ollama")
    assert told(page, "ollama")["Loaded"] == "0 of 5"
    traffic.settle()
    before = len(traffic.asked)

    load(bench.api, "ollama", "gemma3:4b")

    expect(panel(page, "ollama").locator(".in-memory strong")).to_have_text("gemma3:4b")
    assert told(page, "ollama")["Loaded"] == "1 of 5"
    traffic.settle()
    assert {provider for provider, _ in managed(traffic.asked[before:])} == {"ollama"}
    toggle(page, "Ollama")
    expect(page.locator(".row.server")).to_have_count(0)
    done = len(traffic.asked)
    load(bench.api, "ollama", "qwen3:8b")
    expect(row(page, "ollama/qwen3:8b").locator(".state")).to_have_text("loaded")
    traffic.settle()
    assert managed(traffic.asked[done:]) == []


def test_an_opened_server_is_not_polled_and_its_time_counts_by_itself(
    bench: Bench, open_page: Open
) -> None:
    """Once the time it told is over, only the server knows whether the model was asked again."""
    load(bench.api, "ollama", "qwen3:8b")
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, height=TALL, goto=False)
    traffic = Traffic(page)
    page.clock.install()
    page.goto(bench.served.base_url)
    page.clock.run_for(2000)
    ready(page)
    toggle(page, "Ollama")
    said = panel(page, "ollama").locator(".in-memory .said")
    said.wait_for()
    traffic.settle(lambda: page.clock.run_for(200))
    asked = len(traffic.asked)

    page.clock.run_for(120_000)
    expect(said).to_have_text("5.5 GB VRAM · 4k context · unloads in 3 min")
    page.clock.run_for(140_000)
    expect(said).to_have_text(re.compile(r"unloads in \d\d s$"))
    page.clock.run_for(600_000)
    expect(said).to_have_text("5.5 GB VRAM · 4k context")
    page.evaluate("fetch('/health').then(answer => answer.text())")
    assert [each.url for each in traffic.asked[asked:]] == []


def test_a_server_that_does_not_answer_says_why_and_what_to_try(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=TALL, expected="Failed to load resource"))
    toggle(page, "Attic")

    assert told(page, "attic") == {"Address": "127.0.0.1:9", "Health": "offline"}
    failure = panel(page, "attic").locator(".failure")
    expect(failure).to_have_count(1)  # both questions failed for the same reason
    expect(failure).to_contain_text("127.0.0.1:9")
    expect(failure.locator(".hint")).to_contain_text("modelbay doctor")
    expect(page.locator("#said")).to_contain_text("cannot reach http://127.0.0.1:9")


def test_a_key_that_may_not_manage_sees_what_the_list_tells_and_asks_nothing(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = keyed_page(bench, open_page, "chat")
    row(page, "ollama/qwen3:8b").wait_for()
    traffic = Traffic(page)

    toggle(page, "Ollama")

    assert list(told(page, "ollama")) == ["Health", "Loaded"]
    note = "Its version, address and memory are shown to a key that is good for manage."
    expect(panel(page, "ollama").locator(".said")).to_have_text([note])
    page.evaluate("fetch('/health').then(answer => answer.text())")
    assert (is_calm(page), managed(traffic.asked)) == (True, [])
    assert KEY not in page.content()


def test_no_password_of_an_address_is_shown(bench: Bench, open_page: Open) -> None:
    parts = urlsplit(bench.ollama.base_url)
    url = f"http://user:pass-word@{parts.netloc}"
    with serve_page([pretend.config("ollama", "ollama", label="Ollama", baseUrl=url)]) as served:
        page = open_page(served.base_url, height=TALL, expected="Failed to load resource")
        page.locator(".row.section").wait_for()
        toggle(page, "Ollama")

        assert told(page, "ollama")["Address"] == parts.netloc
        assert "pass-word" not in page.content()


def test_a_server_is_opened_and_read_with_the_keyboard_alone(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    for model in ("gemma3:4b", "qwen3:8b"):
        load(bench.api, "ollama", model)
    page = ready(open_page(bench.served.base_url, height=700))
    page.get_by_label("Filter models").focus()
    page.keyboard.type("ollama")
    expect(row(page, "studio/talk")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    expect_focused_row(page, "ollama/qwen3:8b", "other")
    page.keyboard.press("ArrowUp")
    expect_focus(page, re.compile("Ollama"))
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect_focus(page, "About the server of Ollama")

    page.keyboard.press("Enter")
    about = page.get_by_role("button", name="About the server of Ollama")
    expect(about).to_have_attribute("aria-expanded", "true")
    expect(page.locator("#said")).to_have_text(re.compile(r"^Ollama: Version: Ollama 0\.33\.0\. "))
    expect_focus(page, "About the server of Ollama")
    models = panel(page, "ollama").locator(".in-memory strong").all_inner_texts()
    assert sorted(models) == ["gemma3:4b", "qwen3:8b"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    expect_focus(page, re.compile("Version"))
    for model in models:
        page.keyboard.press("ArrowRight")
        expect_focus(page, re.compile(re.escape(f"{model} ")))
    expect(page.locator('#models [tabindex="0"]')).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect_focused_row(page, "ollama/qwen3:8b", "other")

    about.focus()
    page.keyboard.press("Space")
    expect(about).to_have_attribute("aria-expanded", "false")
    expect_focus(page, "About the server of Ollama")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1600])
def test_with_servers_opened_axe_finds_no_serious_fault_and_rows_do_not_overlap(
    bench: Bench, open_page: Open, scheme: str, width: int
) -> None:
    load(bench.api, "ollama", "qwen3:8b")
    page = open_page(
        bench.served.base_url,
        width=width,
        height=TALL,
        color_scheme=scheme,
        expected="Failed to load resource",
    )
    row(page, "ollama/qwen3:8b").wait_for(state="attached")
    if width < 1312:
        page.locator("#current-model").click()
        slid_in(page, "#picker")
    for label, id in (("Ollama", "ollama"), ("Attic", "attic"), ("Studio", "studio")):
        toggle(page, label)
        told(page, id)

    boxes = """() => [...document.querySelectorAll(".row")]
        .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
        .map(each => each.getBoundingClientRect())
        .map(({top, bottom}) => [Math.round(top), Math.round(bottom)])"""

    def gaps() -> set[int]:
        return {below[0] - above[1] for above, below in pairwise(page.evaluate(boxes))}

    expect_value(page, gaps, {0})
    assert page.evaluate("document.querySelector('#models').scrollWidth") <= width
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert faults(page) == []


def test_an_opened_server_that_would_be_below_the_list_comes_into_view(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = ready(open_page(bench.served.base_url, height=640))
    page.locator("#models").evaluate("it => { it.scrollTop = 400 }")
    page.locator(".row.section", has_text="Studio").wait_for()
    page.locator("#models").evaluate(
        """it => {
            const end = each => each.getBoundingClientRect().bottom;
            it.scrollTop += end(document.querySelector('[data-provider="studio"]')) - end(it);
        }"""
    )
    toggle(page, "Studio")

    told(page, "studio")
    expect(panel(page, "studio")).to_be_in_viewport(ratio=0.98)
    expect(page.locator('[data-provider="studio"]')).to_be_in_viewport(ratio=1)


def test_every_page_counts_a_load_from_the_same_beginning(bench: Bench, open_page: Open) -> None:
    """S4-88: a page that is opened later does not begin anew."""
    from playwright.sync_api import expect

    now = [1000.0]
    bench.served.bay.clock = lambda: now[0]
    first = ready(open_page(bench.served.base_url, height=TALL))
    path = "/api/providers/sam-desktop/manage"
    with (
        ThreadPoolExecutor(1) as pool,
        bench.api.stream("POST", path, json={"action": "load", "model": "cold"}) as answer,
    ):
        state = row(first, "sam-desktop/cold").locator(".state")
        expect(state).to_have_text(re.compile(r"^loading · [1-9] s$"))
        now[0] += 125

        second = open_page(bench.served.base_url, height=TALL)
        state = row(second, "sam-desktop/cold").locator(".state")
        expect(state).to_have_text(re.compile(r"^loading · 2 min (0[5-9]|1\d) s$"))
        reading = pool.submit(answer.read)
        bench.swap.finish_load("cold")
        reading.result(30)
    expect(state).to_have_text("loaded")


def test_a_favourite_of_another_program_is_seen_without_a_reload(
    bench: Bench, open_page: Open, tmp_path: Path
) -> None:
    """S0-48, S0-58: as ``modelbay fav`` writes it, through a store of its own."""
    from playwright.sync_api import expect

    file = tmp_path / "state.db"

    async def add_favourite() -> None:
        async with open_store(file) as store:
            await store.add_favorite("ollama/gemma3:4b")

    with (
        serve_page(bench.providers(), store=(ours := open_store(file))) as served,
        ThreadPoolExecutor(1) as pool,
    ):
        page = ready(open_page(served.base_url, height=TALL))
        expect(page.locator(".row.favourite")).to_have_count(0)
        pool.submit(asyncio.run, add_favourite()).result(30)

        expect(favourite(page, "ollama/gemma3:4b")).to_be_visible()
        page.close()  # it would look for the gateway that ends now
        served.ask(ours.aclose())
