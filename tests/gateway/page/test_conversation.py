"""Which conversation and which model: defaults, deletion, quick hands, tools side by side."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import pretend
from gateway.conftest import Start
from gateway.page.bench import Bench
from gateway.page.conftest import Open
from gateway.page.test_chat import ask, choose, give_tools, last_answer, whole
from gateway.page.waiting import until
from gateway.serving import acme, desk
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, Status, StreamEvent, TextDelta
from modelbay.state import open_store
from modelbay_gateway.limits import Limits

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser


# --- the default ----------------------------------------------------------------------------------


def test_without_a_choice_the_default_is_shown_and_answers(bench: Bench, open_page: Open) -> None:
    """S2-08, S2-11."""
    from playwright.sync_api import expect

    default = bench.api.get("/conversations/nobody/model").json()["fallback"]
    page = open_page(bench.served.base_url)

    expect(page.locator("#current-name")).to_have_text(default)
    expect(page.locator("#current-note")).to_have_text("default")
    expect(page.get_by_role("button", name="Use the default")).to_be_hidden()
    expect(page.locator('.row.model[aria-selected="true"]').last).to_have_attribute(
        "data-id", default
    )


def test_a_new_conversation_begins_with_the_model_that_was_chosen(
    bench: Bench, open_page: Open
) -> None:
    """S2-12: future turns and new sessions use it; nothing is remembered of unasked ones."""
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    ask(page, "First")
    whole(page)
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".welcome")).to_be_visible()
    expect(page.locator("#current-name")).to_have_text("llamacpp/tiny")
    expect(page.locator("#current-note")).to_have_text("")
    page.reload()
    page.goto(bench.served.base_url)
    expect(page.locator("#current-name")).to_have_text("llamacpp/tiny")
    everything = bench.api.get("/conversations?all=1").json()["items"]
    assert len(everything) == 1

    ask(page, "Second")
    expect(whole(page).locator(".who")).to_have_text("llamacpp/tiny")
    for each in bench.conversations():
        told = bench.api.get(f"/conversations/{each['id']}/model").json()
        assert told["model"] == "llamacpp/tiny"
    page.get_by_role("button", name="Use the default").click()
    expect(page.locator("#current-note")).to_have_text("default")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".welcome")).to_be_visible()
    expect(page.locator("#current-note")).to_have_text("default")


# --- deletion, and quick hands --------------------------------------------------------------------


def test_a_conversation_that_is_deleted_while_it_streams_stays_deleted(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    bench.ollama.knobs.token_delay_s = 0.005
    page = open_page(bench.served.base_url)
    choose(page, "ollama/endless:1b")
    ask(page, "Talk")
    expect(last_answer(page).locator(".text")).to_contain_text("Hello")
    page.get_by_role("button", name="More about Talk").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()

    expect(page.locator(".welcome")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    bench.ollama.wait_until(lambda: bench.ollama.active_streams == 0)
    page.evaluate("fetch('/health').then(answer => answer.text())")
    with page.expect_response("**/conversations"):
        page.reload()
    expect(page.locator(".welcome")).to_be_visible()
    assert bench.conversations() == []
    expect(page.locator("#conversation-list .open")).to_have_count(0)


def test_the_conversation_that_was_clicked_last_is_the_one_that_is_shown(
    bench: Bench, open_page: Open
) -> None:
    """However late the gateway answers about the first one."""
    from playwright.sync_api import expect

    for id in ("a", "b"):
        bench.api.post("/conversations", json={"id": id, "title": f"Talk {id}"})
        message = {"message": {"role": "user", "content": f"This is {id}"}}
        bench.api.post(f"/conversations/{id}/messages", json={"messages": [message]})
    page = open_page(bench.served.base_url)
    held: list[Route] = []
    page.route("**/conversations/a", lambda route: held.append(route))
    page.get_by_role("button", name="Talk a", exact=True).click()
    expect(page).to_have_url(re.compile("#/c/a$"))
    page.get_by_role("button", name="Talk b", exact=True).click()
    expect(page.locator(".question")).to_have_text("This is b")
    until(page, lambda: len(held) == 1)
    with page.expect_response("**/conversations/a"):
        held[0].continue_()
    page.evaluate("fetch('/health').then(answer => answer.text())")

    expect(page.locator(".question")).to_have_text("This is b")
    expect(page).to_have_url(re.compile("#/c/b$"))
    expect(page.locator('.open[aria-current="page"]')).to_have_text("Talk b")


def test_an_address_that_is_none_of_ours_begins_a_conversation(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(f"{bench.served.base_url}/#/c/%")

    expect(page.locator(".welcome")).to_be_visible()
    page.locator(".row.model").first.wait_for()
    assert page.locator(".notice").count() == 0


# --- tools, side by side --------------------------------------------------------------------------


def side_by_side(page: "Page", first: str, second: str) -> None:
    give_tools(page)
    choose(page, first)
    page.get_by_role("button", name=f"More about {second}").click()
    page.get_by_role("menuitem", name="Answer side by side").click()


@pytest.mark.parametrize(
    ("first", "second"),
    [("ollama/qwen3:8b", "sam-desktop/quick"), ("sam-desktop/quick", "ollama/qwen3:8b")],
)
def test_of_two_models_the_one_that_called_a_tool_goes_on_with_its_result(
    bench: Bench, open_page: Open, first: str, second: str
) -> None:
    """Whichever of them it is; the other one's requests hold nothing of it, now or later."""
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    side_by_side(page, first, second)
    ask(page, "The weather?")
    expect(page.locator(".pair .answer")).to_have_count(2)
    page.get_by_placeholder("What the tool").fill("sunny")
    sent: list[Any] = []
    page.on(
        "request",
        lambda request: (
            sent.append(request.post_data_json)
            if request.url.endswith("/v1/chat/completions")
            else None
        ),
    )
    page.get_by_role("button", name="Send results").click()
    expect(page.locator(".answer")).to_have_count(3)
    expect(whole(page).locator(".who")).to_have_text("ollama/qwen3:8b")
    assert [[each["role"] for each in body["messages"]] for body in sent] == [
        ["user", "assistant", "tool"]
    ]

    sent.clear()
    ask(page, "And then?")
    expect(page.locator(".answer")).to_have_count(5)
    whole(page)
    roles = sorted([each["role"] for each in body["messages"]] for body in sent)
    assert roles == [
        ["user", "assistant", "tool", "assistant", "user"],
        ["user", "assistant", "user"],
    ]


def test_settings_that_cannot_be_kept_say_why(bench: Bench, open_page: Open) -> None:
    """Also where they are folded away."""
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    page.get_by_role("button", name="Settings of this conversation").click()
    summary = page.get_by_text("Tools", exact=True)
    tools = page.get_by_label("Functions the model may call, as JSON")
    summary.click()
    tools.fill("{")
    summary.click()
    expect(tools).to_be_hidden()
    page.get_by_role("button", name="Keep").click()

    expect(tools).to_be_visible()
    expect(tools).to_be_focused()
    tools.fill("[]")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


# --- a cold start ---------------------------------------------------------------------------------


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_cold_start_shows_how_far_it_is(
    start: Start, open_page: Open, gate: threading.Event
) -> None:
    """In the chat, where a server tells it."""
    from playwright.sync_api import expect

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield Status("loading", progress=0.42)
        await asyncio.to_thread(gate.wait)
        yield TextDelta("warm")
        yield Finish("stop")

    served = start(
        desk(acme(reply, discover_models=pretend.lists("m", state="unloaded"))),
        store=open_store(":memory:"),
        limits=Limits(heartbeat_s=0.05),
    )
    page = open_page(served.base_url)
    page.locator(".welcome").wait_for()
    ask(page, "Wake up")

    status = last_answer(page).locator(".status")
    expect(status).to_have_text(re.compile(r"^Loading the model · 42%( · \d+ s)?$"))
    bar = last_answer(page).get_by_role("progressbar", name="Loading")
    assert abs(float(bar.evaluate("each => each.value")) - 0.42) < 0.01
    gate.set()
    expect(whole(page).locator(".text")).to_have_text("warm")
    expect(bar).to_be_hidden()
    expect(page.locator("#current-name")).to_have_text("desk/m")
