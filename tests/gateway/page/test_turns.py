"""One turn from the question to what is kept: who answers, twice, stopped, failed, asked again."""

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from gateway.conftest import Start
from gateway.page.bench import Bench
from gateway.page.conftest import Open
from gateway.page.test_chat import ask, choose, last_answer, only_conversation, whole
from gateway.page.test_conversation import side_by_side
from gateway.page.waiting import expect_focus, until
from gateway.serving import acme, desk
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta, Usage
from modelbay.state import open_store

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request, Route

pytestmark = pytest.mark.browser

COMPLETIONS = "/v1/chat/completions"
# Lets a test end every connection to the gateway, and refuse new ones.
CUT = """
const ask = window.fetch;
let follows = null;
window.isAway = false;
window.fetch = (path, options) => {
    if (window.isAway) return Promise.reject(new TypeError("away"));
    if (path !== "/api/events") return ask(path, options);
    follows = new AbortController();
    return ask(path, { ...options, signal: follows.signal });
};
window.goAway = () => { window.isAway = true; follows.abort(new TypeError("away")); };
"""


def header(page: "Page") -> "Locator":
    return page.locator("#current-name")


def question(page: "Page") -> "Locator":
    return page.get_by_label("Question", exact=True)


def stop(page: "Page") -> "Locator":
    return page.get_by_role("button", name="Stop", exact=True)


def from_menu(page: "Page", id: str, entry: str) -> None:
    page.get_by_role("button", name=f"More about {id}", exact=True).last.click()
    page.get_by_role("menuitem", name=entry).click()


def sent_to(page: "Page", path: str) -> list["Request"]:
    """The POST requests to this path from now on."""
    found: list[Request] = []

    def heed(request: "Request") -> None:
        if request.method == "POST" and request.url.endswith(path):
            found.append(request)

    page.on("request", heed)
    return found


def held(page: "Page", path: str, most: int = 1) -> list["Route"]:
    """The first POST requests of this path: they wait until a test lets them go on."""
    found: list[Route] = []

    def hold(route: "Route") -> None:
        if route.request.method == "POST" and len(found) < most:
            found.append(route)
        else:
            route.continue_()

    page.route(path, hold)
    return found


def contents(bench: Bench) -> list[object]:
    return [each["content"] for each in bench.messages(only_conversation(bench))]


# --- who answers ----------------------------------------------------------------------------------


def test_the_header_names_the_default_that_others_set(bench: Bench, open_page: Open) -> None:
    """Whatever the gateway says of it once it told that settings are others."""
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    expect(page.locator("#current-note")).to_have_text("default")
    told = {"model": None, "resolvable": True, "fallback": "llamacpp/tiny"}
    page.route("**/conversations/*/model", lambda route: route.fulfill(json=told))
    settings = {"default_model": "llamacpp/tiny"}
    bench.api.put("/api/settings", json=settings).raise_for_status()

    expect(header(page)).to_have_text("llamacpp/tiny")
    expect(page.locator("#current-note")).to_have_text("default")


def test_the_header_names_the_default_after_something_was_loaded(
    bench: Bench, open_page: Open
) -> None:
    """What is in memory comes first, where nobody chose."""
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    for provider, model in (("ollama", "gemma3:4b"), ("sam-desktop", "quick")):
        load = {"action": "load", "model": model}
        bench.api.post(f"/api/providers/{provider}/manage", json=load).raise_for_status()
        default = bench.api.get("/conversations/nobody/model").json()["fallback"]
        expect(header(page)).to_have_text(default)
    ask(page, "Who are you?")

    name = whole(page).locator(".who").inner_text()
    expect(header(page)).to_have_text(name)


def test_a_chosen_model_that_goes_is_told_at_once(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "ollama/gemma3:4b")
    expect(page.locator("#current-note")).to_have_text("")
    delete = {"action": "delete", "model": "gemma3:4b", "confirm": True}
    bench.api.post("/api/providers/ollama/manage", json=delete).raise_for_status()

    expect(page.locator("#current-note")).to_have_text(re.compile("is gone|is not listed"))
    expect(page.locator("#use-default")).to_have_text(re.compile(r"^Use \S+/\S+$"))


def test_a_choice_of_another_tab_is_named_once_it_answers(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    ask(page, "One")
    whole(page)
    path = f"/conversations/{only_conversation(bench)}/model"
    bench.api.put(path, json={"model": "sam-desktop/quick"}).raise_for_status()
    ask(page, "Two")

    expect(page.locator(".answer .who").nth(1)).to_have_text("sam-desktop/quick")
    expect(header(page)).to_have_text("sam-desktop/quick")


def test_a_choice_of_another_tab_is_named_when_one_comes_back(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    ask(page, "One")
    whole(page)
    path = f"/conversations/{only_conversation(bench)}/model"
    bench.api.put(path, json={"model": "sam-desktop/quick"}).raise_for_status()
    page.evaluate("dispatchEvent(new Event('focus'))")

    expect(header(page)).to_have_text("sam-desktop/quick")


def test_a_choice_for_the_next_turn_outlives_the_turn_that_runs(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    bench.ollama.knobs.token_delay_s = 0.005
    page = open_page(bench.served.base_url)
    choose(page, "ollama/endless:1b")
    ask(page, "Talk")
    expect(last_answer(page).locator(".text")).to_contain_text("Hello")
    from_menu(page, "llamacpp/tiny", "Use for the next turn only")
    stop(page).click()
    whole(page)
    expect(page.locator(".chip")).to_have_text("Next turn only llamacpp/tiny")
    ask(page, "And you?")

    expect(page.locator(".answer .who").nth(1)).to_have_text("llamacpp/tiny")
    expect(page.locator(".chip")).to_have_count(0)
    expect(header(page)).to_have_text("ollama/endless:1b")


# --- twice ----------------------------------------------------------------------------------------


def test_a_double_click_asks_again_once(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    ask(page, "Once")
    whole(page)
    sent = sent_to(page, COMPLETIONS)
    page.get_by_role("button", name="Ask again").evaluate("each => { each.click(); each.click(); }")
    until(page, lambda: len(sent) > 0)
    whole(page)

    assert len(sent) == 1
    expect(page.locator(".answer")).to_have_count(1)
    assert contents(bench) == ["Once", "Tiny speaks."]


def test_what_a_tool_gave_is_sent_once(bench: Bench, open_page: Open) -> None:
    """And stays in its field until it is kept."""
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, expected="Failed to load resource")
    side_by_side(page, "ollama/qwen3:8b", "sam-desktop/quick")
    page.get_by_role("button", name=re.compile("take back")).click()
    ask(page, "The weather?")
    field = page.get_by_placeholder("What the tool gave")
    field.fill("sunny")
    send = page.get_by_role("button", name="Send results")
    waiting = held(page, "**/messages")
    send.evaluate("each => { each.click(); each.click(); }")
    expect(send).to_have_attribute("aria-disabled", "true")
    until(page, lambda: len(waiting) == 1)
    waiting[0].abort()
    expect(page.locator(".notice.failure")).to_contain_text("does not answer")
    expect(field).to_have_value("sunny")
    expect(page.locator(".result")).to_have_count(0)
    send.click()

    expect(page.locator(".answer")).to_have_count(2)
    whole(page)
    roles = [each["role"] for each in bench.messages(only_conversation(bench))]
    assert roles == ["user", "assistant", "tool", "assistant"]
    expect(page.locator(".result pre")).to_have_text("sunny")


# --- asked again, in vain -------------------------------------------------------------------------


def test_an_answer_stays_when_asking_again_fails(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, expected="Failed to load resource")
    choose(page, "ollama/gemma3:4b")
    ask(page, "Precious")
    text = whole(page).locator(".text").inner_text()
    bench.ollama.remove_model("gemma3:4b")
    page.get_by_role("button", name="Ask again").click()

    expect(page.locator(".answer .failure")).to_be_visible()
    expect(page.locator(".answer .text").first).to_have_text(text)
    page.reload()
    expect(page.locator(".answer .text")).to_have_text(text)
    assert contents(bench) == ["Precious", text]


def test_an_answer_stays_when_the_page_goes_while_another_one_comes(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "ollama/gemma3:4b")
    ask(page, "Precious")
    text = whole(page).locator(".text").inner_text()
    bench.ollama.knobs.token_delay_s = float("inf")
    page.get_by_role("button", name="Ask again").click()
    bench.ollama.wait_until(lambda: bench.ollama.active_streams == 1)
    page.reload()

    expect(page.locator(".answer .text")).to_have_text(text)
    assert contents(bench) == ["Precious", text]


def test_an_answer_stays_when_the_new_one_is_stopped_before_it_begins(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "ollama/gemma3:4b")
    ask(page, "Precious")
    text = whole(page).locator(".text").inner_text()
    bench.ollama.knobs.token_delay_s = float("inf")
    page.get_by_role("button", name="Ask again").click()
    bench.ollama.wait_until(lambda: bench.ollama.active_streams == 1)
    stop(page).click()

    expect(page.locator(".answer .text")).to_have_text(text)
    expect(page.get_by_role("button", name="Ask again")).to_be_visible()
    assert contents(bench) == ["Precious", text]


def test_an_answer_is_put_back_when_the_new_one_cannot_be_kept(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, expected="Failed to load resource")
    choose(page, "llamacpp/tiny")
    ask(page, "Precious")
    whole(page)
    waiting = held(page, "**/messages", 2)
    page.get_by_role("button", name="Ask again").click()
    until(page, lambda: len(waiting) == 1)
    refusal = {"error": {"message": "it is too long", "code": "too_large", "hint": None}}
    waiting[0].fulfill(status=413, json=refusal)
    until(page, lambda: len(waiting) == 2)
    with page.expect_response("**/messages"):
        waiting[1].continue_()

    expect(page.locator(".notice.failure")).to_contain_text("it is too long")
    assert contents(bench) == ["Precious", "Tiny speaks."]


def test_of_two_answers_the_one_that_fails_anew_stays(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, expected="Failed to load resource")
    choose(page, "llamacpp/tiny")
    from_menu(page, "ollama/gemma3:4b", "Answer side by side")
    ask(page, "Both")
    whole(page)
    before = contents(bench)
    assert len(before) == 3
    bench.ollama.remove_model("gemma3:4b")
    page.get_by_role("button", name="Ask again").click()

    expect(page.locator(".answer .failure")).to_be_visible()
    expect(page.locator(".pair .answer .who")).to_have_text(["llamacpp/tiny", "ollama/gemma3:4b"])
    expect(page.get_by_role("button", name="Ask again")).to_be_visible()  # all of it is kept
    assert contents(bench) == before


def test_two_answers_take_the_place_of_two(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    from_menu(page, "sam-desktop/quick", "Answer side by side")
    ask(page, "Both")
    whole(page)
    sent = sent_to(page, COMPLETIONS)
    page.get_by_role("button", name="Ask again").click()
    until(page, lambda: len(sent) == 2)
    whole(page)

    expect(page.locator(".pair .text")).to_have_text(["Tiny speaks.", "quick answer"])
    assert contents(bench) == ["Both", "Tiny speaks.", "quick answer"]


# --- stopped before it was asked ------------------------------------------------------------------


@pytest.mark.parametrize("step", ["**/conversations", "**/messages"])
def test_a_question_that_is_stopped_on_its_way_is_not_asked(
    bench: Bench, open_page: Open, step: str
) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "ollama/endless:1b")
    sent = sent_to(page, COMPLETIONS)
    waiting = held(page, step)
    ask(page, "Never mind")
    until(page, lambda: len(waiting) == 1)
    stop(page).click()
    expect(question(page)).to_have_value("Never mind")
    expect(stop(page)).to_be_hidden()
    choose(page, "llamacpp/tiny")
    question(page).fill("Rather this")
    page.keyboard.press("Enter")
    waiting[0].continue_()

    expect(whole(page).locator(".text")).to_have_text("Tiny speaks.")
    assert len(sent) == 1
    assert contents(bench) == ["Rather this", "Tiny speaks."]
    expect(page.locator(".question")).to_have_text(["Rather this"])


# --- where one goes on ----------------------------------------------------------------------------


def test_send_by_keyboard_leaves_one_at_the_question(bench: Bench, open_page: Open) -> None:
    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    question(page).fill("Hello")
    page.get_by_role("button", name="Send", exact=True).press("Enter")
    whole(page)

    expect_focus(page, "Question")


def test_use_the_default_by_keyboard_leads_to_the_question(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    default = page.get_by_role("button", name="Use the default")
    default.press("Enter")
    expect(default).to_be_hidden()

    expect_focus(page, "Question")


def test_what_is_half_written_stays_with_its_conversation(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    message = {"message": {"role": "user", "content": "This is old"}}
    bench.api.post("/conversations", json={"id": "old", "title": "Old"})
    bench.api.post("/conversations/old/messages", json={"messages": [message]})
    page = open_page(bench.served.base_url)
    expect(page.locator(".welcome")).to_be_visible()
    question(page).fill("For the new")
    page.get_by_role("button", name="Old", exact=True).click()
    expect(page.locator(".question")).to_have_text("This is old")
    expect(question(page)).to_have_value("")
    question(page).fill("For the old")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".welcome")).to_be_visible()
    expect(question(page)).to_have_value("For the new")
    page.get_by_role("button", name="Old", exact=True).click()

    expect(question(page)).to_have_value("For the old")


# --- what is told ---------------------------------------------------------------------------------


def test_both_answers_are_said(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    from_menu(page, "sam-desktop/quick", "Answer side by side")
    ask(page, "Both of you")
    whole(page)

    expect(page.locator("#said")).to_have_text(
        "Answered by llamacpp/tiny: Tiny speaks. Answered by sam-desktop/quick: quick answer"
    )


def test_one_token_is_one_token(start: Start, open_page: Open) -> None:
    from playwright.sync_api import expect

    async def short(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("Yes")
        yield Usage(input_tokens=3, output_tokens=1)
        yield Finish("stop")

    served = start(desk(acme(short)), store=open_store(":memory:"))
    page = open_page(served.base_url)
    page.locator(".row.model").first.wait_for()
    ask(page, "Sure?")

    expect(whole(page).locator(".count")).to_have_text("1 token")


def test_a_gateway_that_answers_again_is_not_complained_of(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url, script=CUT)
    page.locator(".row.model").first.wait_for()
    page.evaluate("goAway()")
    expect(page.locator(".notice.failure")).to_contain_text("The gateway does not answer.")
    page.evaluate("window.isAway = false")

    expect(page.get_by_text("The gateway answers again").first).to_be_visible()
    expect(page.locator(".notice.failure")).to_have_count(0)
