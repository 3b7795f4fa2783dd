"""What a model writes is text: it runs nothing, fetches nothing, and leads to no script."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from gateway.conftest import Start
from gateway.page.conftest import Open
from gateway.page.payloads import PAYLOADS
from gateway.serving import acme, desk
from modelbay.models.chat import ChatRequest
from modelbay.models.events import (
    Finish,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from modelbay.state import open_store

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

pytestmark = pytest.mark.browser

_WORDS = "P BR STRONG EM DEL CODE PRE A IMG SPAN DIV UL OL LI BLOCKQUOTE HR TABLE THEAD TBODY TR TH"
ALLOWED = {*_WORDS.split(), "TD", "H3", "H4", "H5", "H6", "BUTTON"}


async def hostile(request: ChatRequest) -> AsyncIterator[StreamEvent]:
    """Payload number N, where it can be shown at all: as thought, as text, and in a call."""
    payload = PAYLOADS[int(request.messages[-1].text)]
    yield ReasoningDelta(payload)
    for start in range(0, len(payload), 7):  # cut anywhere, as tokens are
        yield TextDelta(payload[start : start + 7])
    yield ToolCallDelta(index=0, id="c1", name=payload[:64], arguments=payload)
    yield ToolCall(id="c1", name=payload[:64], arguments=payload, index=0)
    yield Finish("tool_calls")


def test_fifty_hostile_answers_run_nothing(start: Start, open_page: Open) -> None:
    """Of every payload only the elements of Markdown come to be, live and read from the store."""
    from playwright.sync_api import expect

    assert len(PAYLOADS) >= 50
    names = [f"m<img src=x onerror=pwned()>{n}" for n in range(3)]
    served = start(desk(acme(hostile, models=names)), store=open_store(":memory:"))
    page = open_page(served.base_url, script="window.pwned = () => { window.wasPwned = true; };")
    dialogs: list[str] = []

    def note(dialog: "Dialog") -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)
    violations = "addEventListener('securitypolicyviolation', () => { window.wasRefused = true; });"
    page.evaluate(violations)
    page.locator(".row.model .name").first.click()

    for number in range(len(PAYLOADS)):
        page.get_by_label("Question", exact=True).fill(str(number))
        page.keyboard.press("Enter")
        page.locator(".answer").nth(number).wait_for()
        page.locator(".after").wait_for()
    expect(page.locator('.answer[aria-busy="true"]')).to_have_count(0)
    live = look(page)
    page.reload()
    for shown in range(50, 2 * len(PAYLOADS), 50):  # messages of a page; half of them answers
        page.locator(".answer").nth(shown // 2 - 1).wait_for(state="attached")
        page.get_by_role("button", name="Show older messages").click()
    page.locator(".answer").nth(len(PAYLOADS) - 1).wait_for(state="attached")
    expect(page.locator('.answer[aria-busy="true"]')).to_have_count(0)
    kept = look(page)

    for found in (live, kept):
        assert set(found["tags"]) <= ALLOWED
        assert [
            each for each in found["links"] if not each.startswith("https://evil.example/")
        ] == []
        assert [each for each in found["images"] if not each.startswith("data:image/png")] == []
        assert found["handlers"] == []
        assert (found["pwned"], found["refused"]) == (False, False)
    assert dialogs == []
    assert page.url.startswith(served.base_url)


def look(page: "Page") -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        """() => {
            const ANSWERED = ".answer .text *, .thought-text *, .call pre *";
            const all = [...document.querySelectorAll(ANSWERED)];
            const everything = [...document.body.querySelectorAll("*")];
            return {
                tags: [...new Set(all.map(each => each.tagName))],
                links: all.filter(each => each.tagName === "A").map(each => each.href),
                images: all.filter(each => each.tagName === "IMG").map(each => each.src),
                handlers: everything.flatMap(each => [...each.attributes])
                    .filter(each => each.name.startsWith("on") || each.name === "style" &&
                        !/^(top|height|left|content-visibility):/.test(each.value))
                    .map(each => each.name),
                pwned: Boolean(window.wasPwned),
                refused: Boolean(window.wasRefused),
            };
        }"""
    )
    return found
