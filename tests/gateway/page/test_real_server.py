"""The page before real llama.cpp servers: one is brief, one has no end, one writes."""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import modelbay_llamacpp.plugin
import pretend
from gateway.own.test_manage import wait_until
from gateway.page.conftest import Open
from gateway.page.test_chat import ask, choose, last_answer, whole
from gateway.page.test_picker import TALL, menu, row
from gateway.page.test_servers import panel, toggle, told
from gateway.page.waiting import expect_value
from gateway.serving import Served, serve
from modelbay.state import open_store
from plugins.llamacpp.conftest import llama as llama

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.real]

THOUGHT = "First I look it up."
WRITING = """### Two ways

1. Read **every** line
2. or use `wc -L`

```python
n = max(map(len, open(p)))  # it
```

| file | took |
|---|---:|
| big | 9 s |

<b id=x>Not bold</b>, and the end."""


@pytest.fixture(scope="module")
def addresses(llama: Callable[..., str]) -> dict[str, str]:
    """Addresses of real servers by provider; each has one model, ``tiny-page`` or as its name."""
    said = f"<think>\n{THOUGHT}\n</think>\n\n{WRITING}"
    return {
        "desk": llama("tiny-page", {"say": "Hi."}, n_ctx=512),
        "marathon": llama("endless", {"say": "Never ending, ", "endless": True, "slow": True}),
        "writer": llama("prose", {"say": said, "template": "tools"}),
    }


@pytest.fixture
def served(addresses: dict[str, str]) -> Iterator[Served]:
    providers = [
        pretend.config(id, "llamacpp", label=id.title(), baseUrl=address)
        for id, address in addresses.items()
    ]
    host = pretend.host(providers, llamacpp=modelbay_llamacpp.plugin)
    with serve(host, store=open_store(":memory:")) as served:
        yield served


def read(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"{address}{path}", timeout=5) as answer:
        return json.load(answer)


def busy(address: str) -> int:
    """How many answers the server itself works on."""
    return sum(slot["is_processing"] for slot in read(address, "/slots"))


def about(page: "Page", id: str) -> list[list[str]]:
    """What stands below a model's name, each with what is said of it."""
    found: list[str] = row(page, id).locator(".about > *").all_inner_texts()
    return [text.splitlines() for text in found]


def test_a_real_model_answers_and_a_question_that_does_not_fit_is_told(
    served: Served, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(served.base_url, expected="400 (Bad Request)")
    expect(row(page, "desk/tiny-page").locator(".state")).to_have_text("loaded")
    row(page, "desk/tiny-page").locator(".name").click()
    expect(page.locator("#current-name")).to_have_text("desk/tiny-page")
    ask(page, "Hello")
    expect(whole(page).locator(".text")).to_have_text("Hi.")

    ask(page, "x" * 5000)
    expect(page.locator(".answer .failure")).to_contain_text("maximum context length is 512")


def test_stop_ends_the_work_of_a_real_server(
    served: Served, addresses: dict[str, str], open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(served.base_url, height=TALL)
    choose(page, "marathon/endless")
    ask(page, "Talk for ever")
    expect(last_answer(page).locator(".text")).to_contain_text("Never ending, Never ending, ")
    wait_until(lambda: busy(addresses["marathon"]) == 1)
    toggle(page, "Marathon")
    in_memory = panel(page, "marathon").locator(".in-memory .said")
    expect(in_memory).to_have_text("152 MB · 2k context · answering 1")

    page.get_by_role("button", name="Stop", exact=True).click()
    answer = whole(page)
    expect(answer.locator(".stopped")).to_be_visible()
    wait_until(lambda: busy(addresses["marathon"]) == 0)
    assert answer.locator(".text").inner_text().startswith("Never ending, Never ending, ")
    for _ in range(2):  # it asks anew
        toggle(page, "Marathon")
    expect(in_memory).to_have_text("152 MB · 2k context")


def test_a_conversation_with_a_real_model_and_its_choice_are_there_after_a_reload(
    served: Served, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(served.base_url, height=TALL)
    choose(page, "desk/tiny-page")
    ask(page, "Remember me")
    whole(page)
    page.get_by_role("button", name="New conversation").click()
    choose(page, "writer/prose")

    page.reload()
    page.get_by_role("button", name="Remember me", exact=True).click()
    expect(page.locator("#current-name")).to_have_text("desk/tiny-page")
    expect(page.locator(".question")).to_have_text("Remember me")
    expect(last_answer(page).locator(".text")).to_have_text("Hi.")

    ask(page, "And now?")
    expect(page.locator(".answer")).to_have_count(2)
    expect(whole(page).locator(".text")).to_have_text("Hi.")
    expect(last_answer(page)).to_have_attribute("aria-label", "Answer of desk/tiny-page")


def test_row_and_server_say_what_a_real_server_says_of_itself(
    served: Served, addresses: dict[str, str], open_page: Open
) -> None:
    """A server with one model has it in memory from the start, and can do nothing about it."""
    from playwright.sync_api import expect

    build = read(addresses["desk"], "/props")["build_info"]
    page = open_page(served.base_url, height=TALL)
    row(page, "desk/tiny-page").wait_for()

    wanted = [
        ["loaded"],
        ["512", "(context: 512 tokens, what it is loaded with)"],
        ["237 kB", "(quantization: F16)"],
        [
            "JSON",
            "(JSON: known of this kind of model (llama.cpp holds any model to a grammar made from"
            " the schema))",
        ],
    ]
    expect_value(page, lambda: about(page, "desk/tiny-page"), wanted)
    toggle(page, "Desk")
    found = told(page, "desk")
    assert re.fullmatch(r"healthy, answered in (\d+ ms|[\d.]+ s)", found.pop("Health"))
    assert found == {
        "Version": f"llama.cpp server {build}",
        "Address": urlsplit(addresses["desk"]).netloc,
        "Loaded": "1 of 1",
        "tiny-page F16": "237 kB · 512 context",
    }
    expect(panel(page, "desk").locator(".failure")).to_have_count(0)


def test_a_real_server_that_cannot_unload_its_one_model_says_so(
    served: Served, addresses: dict[str, str], open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(served.base_url, height=TALL, expected="Failed to load resource")
    row(page, "desk/tiny-page").wait_for()
    menu(page, "desk/tiny-page", "Unload")

    said = "a single-model llama.cpp server cannot unload its model"
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.get_by_role("alert")).to_contain_text("--sleep-idle-seconds N")
    expect(row(page, "desk/tiny-page").locator(".state")).to_have_text("loaded")
    assert read(addresses["desk"], "/health") == {"status": "ok"}


def test_what_a_real_model_writes_token_by_token_is_whole_markdown(
    served: Served, open_page: Open
) -> None:
    """Its tokens are of three characters: they end within fences, marks, cells and tags."""
    from playwright.sync_api import expect

    page = open_page(served.base_url, height=TALL)
    choose(page, "writer/prose")
    ask(page, "How long is it?")

    answer = whole(page)
    text = answer.locator(".text")
    assert text.locator("h3, h4, h5").all_inner_texts() == ["Two ways"]
    assert text.locator("ol > li").all_inner_texts() == ["Read every line", "or use wc -L"]
    assert text.locator("strong").all_inner_texts() == ["every"]
    assert text.locator("li code").all_inner_texts() == ["wc -L"]
    expect(text.locator("pre code")).to_have_text(["n = max(map(len, open(p)))  # it"])
    cells = text.locator("table tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    assert cells == [["file", "took"], ["big", "9 s"]]
    assert text.locator("p").last.inner_text() == "<b id=x>Not bold</b>, and the end."
    assert text.locator("b, #x").count() == 0
    thought = answer.locator(".thought")
    expect(thought.locator(".thought-text")).to_be_hidden()
    thought.locator("summary").click()
    expect(thought.locator(".thought-text")).to_be_visible()
    expect(thought.locator(".thought-text")).to_have_text(THOUGHT)
    expect(answer.locator(".count")).to_have_text(re.compile(r"^\d+ tokens$"))

    shown = text.inner_html()
    page.reload()
    expect_value(page, lambda: whole(page).locator(".text").inner_html(), shown)
