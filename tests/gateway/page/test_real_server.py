"""The page before a real llama.cpp server."""

from collections.abc import Callable, Iterator

import pytest

import modelbay_llamacpp.plugin
import pretend
from gateway.page.conftest import Open
from gateway.serving import Served, serve
from modelbay.state import open_store
from plugins.llamacpp.conftest import llama as llama

pytestmark = [pytest.mark.browser, pytest.mark.real]


@pytest.fixture
def served(llama: Callable[..., str]) -> Iterator[Served]:
    address = llama("tiny-page", {"say": "Hi."}, n_ctx=512)
    host = pretend.host(
        [pretend.config("desk", "llamacpp", baseUrl=address)], llamacpp=modelbay_llamacpp.plugin
    )
    with serve(host, store=open_store(":memory:")) as served:
        yield served


def test_a_real_model_answers_and_a_question_that_does_not_fit_is_told(
    served: Served, open_page: Open
) -> None:
    from playwright.sync_api import expect

    page = open_page(served.base_url, expected="400 (Bad Request)")
    row = page.locator('.row.model[data-id="desk/tiny-page"]')
    expect(row.locator(".state")).to_have_text("loaded")
    row.locator(".name").click()
    expect(page.locator("#current-name")).to_have_text("desk/tiny-page")
    page.get_by_label("Question", exact=True).fill("Hello")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .text")).to_have_text("Hi.")
    page.locator(".after").wait_for()

    page.get_by_label("Question", exact=True).fill("x" * 5000)
    page.keyboard.press("Enter")
    expect(page.locator(".answer .failure")).to_contain_text("maximum context length is 512")
