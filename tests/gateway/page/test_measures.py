"""What is told below an answer is told again when the conversation is opened another time."""

import re
from collections.abc import AsyncIterator

import pytest

from gateway.conftest import Start
from gateway.page.conftest import Open
from gateway.serving import acme, desk
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta, Timings, Usage
from modelbay.state import open_store

pytestmark = pytest.mark.browser


async def measured(request: ChatRequest) -> AsyncIterator[StreamEvent]:
    yield TextDelta("Short")
    yield Usage(input_tokens=3, output_tokens=42)
    yield Timings(output_tokens_per_s=12.5)
    yield Finish("length")


def test_the_speed_of_an_answer_is_kept_with_it(start: Start, open_page: Open) -> None:
    """Time to the first token, tokens per second, their number, and that it was cut off."""
    from playwright.sync_api import expect

    served = start(desk(acme(measured)), store=open_store(":memory:"))
    page = open_page(served.base_url)
    page.locator(".row.model").first.wait_for()
    page.get_by_label("Question", exact=True).fill("How fast are you?")
    page.keyboard.press("Enter")
    page.locator(".after").wait_for()
    told = page.locator(".measures span").all_inner_texts()

    page.reload()

    expect(page.locator(".measures span")).to_have_text(told)
    assert re.fullmatch(r"[\d.]+ s to the first token", told[0])
    assert told[1:] == ["13 tokens/s", "42 tokens", "cut off: the limit of tokens"]


def test_the_measures_of_an_answer_are_not_sent_to_a_model(start: Start, open_page: Open) -> None:
    asked: list[ChatRequest] = []

    async def heard(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        asked.append(request)
        async for event in measured(request):
            yield event

    served = start(desk(acme(heard)), store=open_store(":memory:"))
    page = open_page(served.base_url)
    page.locator(".row.model").first.wait_for()
    for count, question in enumerate(("One", "Two"), 1):
        page.get_by_label("Question", exact=True).fill(question)
        page.keyboard.press("Enter")
        page.locator(".answer").nth(count - 1).wait_for()
        page.locator(".after").wait_for()

    said = asked[-1].messages
    assert [each.text for each in said] == ["One", "Short", "Two"]
    assert [each.opaque for each in said] == [{}, {}, {}]
