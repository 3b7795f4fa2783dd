"""The chat, in a browser, before a gateway with simulated servers."""

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from gateway.page.bench import PIXEL, Bench
from gateway.page.conftest import Open
from gateway.page.waiting import expect_value

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

WEATHER = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def choose(page: "Page", id: str) -> None:
    page.locator(f'.row.model[data-id="{id}"] .name').last.click()
    page.get_by_text(f"Switched to {id}").first.wait_for()


def ask(page: "Page", text: str) -> None:
    page.get_by_label("Question", exact=True).fill(text)
    page.keyboard.press("Enter")


def give_tools(page: "Page") -> None:
    """To the conversation that a page begins; what is set before it has begun is not its own."""
    page.locator(".welcome").wait_for()
    page.get_by_role("button", name="Settings of this conversation").click()
    page.get_by_text("Tools", exact=True).click()
    page.get_by_label("Functions the model may call, as JSON").fill(json.dumps(WEATHER))
    page.get_by_role("button", name="Keep").click()
    page.get_by_role("dialog").wait_for(state="detached")


def last_answer(page: "Page") -> "Locator":
    return page.locator(".answer").last


def whole(page: "Page") -> "Locator":
    """The last answer, once it is whole and kept."""
    from playwright.sync_api import expect

    page.locator(".after").wait_for()
    expect(page.locator('.answer[aria-busy="true"]')).to_have_count(0)
    expect(last_answer(page)).to_have_attribute("aria-busy", "false")
    return last_answer(page)


def only_conversation(bench: Bench) -> str:
    (found,) = bench.conversations()
    return str(found["id"])


def test_an_answer_streams_in_with_its_thoughts_folded_and_its_speed(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "ollama/qwen3:8b")
    ask(page, "Hello")

    answer = whole(page)
    expect(answer).to_have_attribute("aria-label", "Answer of ollama/qwen3:8b")
    expect(answer.locator(".text li")).to_have_text(["one", "two"])
    expect(answer.locator(".text li strong")).to_have_text("two")
    expect(answer.locator("pre code")).to_have_text("print('hi')  # greet")
    expect(answer.locator("pre .comment")).to_have_text("# greet")
    thought = answer.locator(".thought")
    expect(thought.locator(".thought-text")).to_be_hidden()
    thought.locator("summary").click()
    expect(thought.locator(".thought-text")).to_be_visible()
    expect(thought.locator(".thought-text")).to_have_text("The user says hello.")
    expect(answer.locator(".first-token")).to_have_text(
        re.compile(r"^[\d.]+ s to the first token$")
    )
    expect(answer.locator(".rate")).to_have_text(re.compile(r"^[\d.]+ tokens/s$"))
    expect(answer.locator(".count")).to_have_text(re.compile(r"^\d+ tokens$"))
    assert [each["role"] for each in bench.messages(only_conversation(bench))] == [
        "user",
        "assistant",
    ]


def test_a_conversation_and_its_model_are_there_in_a_new_browser(
    bench: Bench, open_page: Open
) -> None:
    """S2-11, S2-12, S2-13, S4-93; the switch is told in words."""
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    expect(page.locator("#said")).to_have_text("Switched to llamacpp/tiny (local, llama.cpp)")
    ask(page, "Remember me")
    whole(page)

    other = open_page(bench.served.base_url)
    other.get_by_role("button", name="Remember me", exact=True).click()
    expect(other.locator("#current-name")).to_have_text("llamacpp/tiny")
    expect(other.locator(".question")).to_have_text("Remember me")
    expect(last_answer(other).locator(".text")).to_have_text("Tiny speaks.")
    ask(other, "And now?")
    expect(other.locator(".answer")).to_have_count(2)
    whole(other)
    assert len(bench.messages(only_conversation(bench))) == 4

    other.get_by_role("button", name="Use the default").click()
    expect(other.get_by_role("button", name="Use the default")).to_be_hidden()
    id = only_conversation(bench)
    assert bench.api.get(f"/conversations/{id}/model").json()["model"] is None


@pytest.mark.parametrize(
    ("model", "note"), [("llamacpp/gone", "is gone"), ("sam-desktop/gone", "is not listed")]
)
def test_a_model_that_is_gone_is_told_and_another_one_offered(
    bench: Bench, open_page: Open, model: str, note: str
) -> None:
    """S2-21: it is remembered all the same, until somebody takes the other one."""
    from playwright.sync_api import expect

    bench.api.post("/conversations", json={"id": "old", "title": "Old"})
    bench.api.put("/conversations/old/model", json={"model": model})
    told = bench.api.get("/conversations/old/model").json()
    page = open_page(f"{bench.served.base_url}/#/c/old")

    expect(page.locator("#current-name")).to_have_text(model)
    expect(page.locator("#current-note")).to_have_text(note)
    page.get_by_role("button", name=f"Use {told['fallback']}").click()
    expect(page.locator("#current-name")).to_have_text(told["fallback"])


def test_another_model_for_one_turn_leaves_no_trace(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    page.get_by_role("button", name="More about sam-desktop/quick").click()
    page.get_by_role("menuitem", name="Use for the next turn only").click()
    expect(page.locator(".chip")).to_have_text("Next turn only sam-desktop/quick")
    ask(page, "Quickly")

    expect(whole(page).locator(".who")).to_have_text("sam-desktop/quick")
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.locator("#current-name")).to_have_text("llamacpp/tiny")
    ask(page, "And then")
    expect(page.locator(".answer")).to_have_count(2)
    expect(whole(page).locator(".who")).to_have_text("llamacpp/tiny")
    id = only_conversation(bench)
    assert bench.api.get(f"/conversations/{id}/model").json()["model"] == "llamacpp/tiny"


def test_two_models_answer_one_question_side_by_side(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    page.get_by_role("button", name="More about sam-desktop/quick").click()
    page.get_by_role("menuitem", name="Answer side by side").click()
    ask(page, "Both of you")
    whole(page)

    pair = page.locator(".pair .answer")
    (top, _, width), (other, left, _) = pair.evaluate_all(
        "all => all.map(each => each.getBoundingClientRect()).map(({y, x, width}) => [y, x, width])"
    )
    assert (top, left > width / 2) == (other, True)
    expect(pair.locator(".text")).to_have_text(["Tiny speaks.", "quick answer"])
    kept = bench.messages(only_conversation(bench))
    assert [each["content"] for each in kept] == ["Both of you", "Tiny speaks.", "quick answer"]
    page.reload()
    expect(pair.locator(".who")).to_have_text(["llamacpp/tiny", "sam-desktop/quick"])


def test_a_model_that_is_not_there_yet_shows_how_it_loads(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "sam-desktop/cold")
    ask(page, "Wake up")

    status = last_answer(page).locator(".status")
    expect(status).to_have_text(re.compile(r"^Loading the model( · \d+%)? · \d+ s$"))
    expect(last_answer(page).get_by_role("progressbar", name="Loading")).to_be_visible()
    bench.swap.wait_until(lambda: bench.swap.states["cold"] == "starting")
    bench.swap.finish_load("cold")
    expect(whole(page).locator(".text")).to_have_text("warm now")
    expect(status).to_be_hidden()


def test_stop_ends_the_servers_work(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    bench.ollama.knobs.token_delay_s = 0.005
    page = open_page(bench.served.base_url)
    choose(page, "ollama/endless:1b")
    ask(page, "Talk for ever")
    expect(last_answer(page).locator(".text")).to_contain_text("Hello")
    page.get_by_role("button", name="Stop", exact=True).click()

    expect(whole(page).locator(".stopped")).to_be_visible()
    bench.ollama.wait_until(lambda: bench.ollama.cancelled_answers.get("endless:1b") == 1)
    bench.ollama.wait_until(lambda: bench.ollama.active_streams == 0)
    kept = bench.messages(only_conversation(bench))
    assert "Hello" in kept[1]["content"]  # what came is kept


def test_an_error_comes_with_its_hint_and_can_be_asked_again(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    bench.favourites("attic/old:1b")
    page = open_page(bench.served.base_url, expected="Failed to load resource")
    page.get_by_role("button", name="Show", exact=True).click()
    choose(page, "attic/old:1b")
    ask(page, "Hello?")

    failure = page.locator(".answer .failure")
    expect(failure).to_contain_text("cannot reach http://127.0.0.1:9")
    expect(failure.locator(".hint code")).to_contain_text("modelbay doctor")
    page.reload()  # what was asked is still there, and can still be answered
    choose(page, "llamacpp/tiny")
    page.get_by_role("button", name="Ask again").click()
    expect(last_answer(page).locator(".text")).to_have_text("Tiny speaks.")
    whole(page)
    kept = bench.messages(only_conversation(bench))
    assert [each["role"] for each in kept] == ["user", "assistant"]


def test_asking_again_replaces_the_answer(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    ask(page, "Once")
    whole(page)
    with page.expect_request("**/v1/chat/completions") as sent:
        page.get_by_role("button", name="Ask again").click()
    whole(page)

    body: Any = sent.value.post_data_json
    assert body["messages"] == [{"role": "user", "content": "Once"}]
    expect(page.locator(".answer")).to_have_count(1)
    assert len(bench.messages(only_conversation(bench))) == 2


def test_a_tool_call_is_shown_and_its_result_goes_back(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    give_tools(page)
    choose(page, "ollama/qwen3:8b")
    ask(page, "The weather?")

    call = page.get_by_role("region", name="Tool call")
    expect(call.locator(".call-name code")).to_have_text("weather")
    expect(call.get_by_role("region", name="Arguments")).to_have_text('{ "city": "Rome" }')
    page.get_by_placeholder("What the tool gave").fill("sunny")
    page.get_by_role("button", name="Send results").click()
    expect(page.locator(".answer")).to_have_count(2)
    whole(page)
    kept = bench.messages(only_conversation(bench))
    assert [each["role"] for each in kept] == ["user", "assistant", "tool", "assistant"]
    assert kept[1]["tool_calls"][0]["name"] == "weather"
    assert (kept[2]["content"], kept[2]["tool_call_id"]) == (
        "sunny",
        kept[1]["tool_calls"][0]["id"],
    )
    page.reload()
    expect(page.get_by_role("region", name="Result")).to_have_text("sunny")


def test_images_go_in(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    page.get_by_label("Images to attach").set_input_files(
        {"name": "dot.png", "mimeType": "image/png", "buffer": PIXEL}
    )
    expect(page.get_by_role("img", name="dot.png")).to_be_visible()
    ask(page, "What is this?")

    expect(whole(page).locator(".text")).to_have_text("Tiny speaks.")
    content = bench.messages(only_conversation(bench))[0]["content"]
    assert [part["type"] for part in content] == ["text", "image"]
    page.reload()
    expect(page.get_by_role("img", name="Attached image")).to_be_visible()


def test_images_come_out(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "studio/paint")
    ask(page, "A red dot")

    expect(whole(page).get_by_role("img", name="Image made by the model")).to_be_visible()
    page.reload()
    expect(page.get_by_role("img", name="Image made by the model")).to_be_visible()


def test_system_prompt_and_sampling_belong_to_the_conversation(
    bench: Bench, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    ask(page, "First")
    whole(page)
    page.get_by_role("button", name="Settings of this conversation").click()
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.2")
    page.get_by_label("Most tokens of an answer").fill("1")
    page.get_by_role("button", name="Keep").click()
    page.get_by_role("dialog").wait_for(state="detached")
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "Second")
    whole(page)

    body: Any = sent.value.post_data_json
    assert (body["temperature"], body["max_tokens"]) == (0.2, 1)
    assert [each["content"] for each in body["messages"]] == [
        "Be brief.",
        "First",
        "Tiny speaks.",
        "Second",
    ]
    page.locator(".answer").nth(1).locator(".cut").wait_for()
    settings = {"system": "Be brief.", "temperature": 0.2, "max_tokens": 1}
    expect_value(page, lambda: bench.conversations()[0]["settings"], settings)
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".welcome")).to_be_visible()
    page.get_by_role("button", name="Settings of this conversation").click()
    expect(page.get_by_label("System prompt")).to_have_value("")


def test_conversations_are_renamed_and_deleted(bench: Bench, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = open_page(bench.served.base_url)
    choose(page, "llamacpp/tiny")
    ask(page, "Old name")
    whole(page)
    page.get_by_role("button", name="More about Old name").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_label("Title").fill("New name")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("button", name="New name", exact=True)).to_be_visible()

    page.get_by_role("button", name="More about New name").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="New name", exact=True)).to_have_count(0)
    expect(page.locator(".welcome")).to_be_visible()
    assert bench.conversations() == []
