"""Fixtures: the system's Chromium, benches, and pages that may not complain."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import pytest

from gateway.page.bench import CHROMIUM, Bench

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

Open: TypeAlias = Callable[..., "Page"]

WAIT_MS = 15_000


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: drives the page in the system's Chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """One per module: while Playwright runs, no other event loop can run in this thread."""
    if CHROMIUM is None or shutil.which(CHROMIUM) is None:
        pytest.skip("the page is NOT tested: there is no Chromium (apt-get install chromium)")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the page is NOT tested: pip install playwright"
    )
    playwright.expect.set_options(timeout=WAIT_MS)
    with playwright.sync_playwright() as started:
        # As root, which containers run as, Chromium has no sandbox of its own.
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        made = Bench(stack)
        yield made


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[Open]:
    """Opens the page in a browser session of its own: ``open_page(url, width=390)``.

    A test fails where a page had an error, broke its own policy, or asked another origin.
    """
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_page(
            url: str,
            *,
            width: int = 1600,
            height: int = 900,
            expected: str = "",
            script: str = "",
            goto: bool = True,
            **options: Any,
        ) -> "Page":
            viewport = {"width": width, "height": height}
            context = browser.new_context(viewport=viewport, **options)  # type: ignore[arg-type]
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(WAIT_MS)
            page.on("pageerror", lambda error: complaints.append(f"error: {error}"))

            def heed(said: "ConsoleMessage") -> None:
                is_expected = bool(expected) and expected in said.text
                if said.type in ("error", "warning") and not is_expected:
                    complaints.append(f"{said.type}: {said.text}")

            page.on("console", heed)

            def look(request: "Request") -> None:
                here = urlsplit(url).netloc
                there = urlsplit(request.url)
                if there.scheme not in ("data", "blob") and there.netloc != here:
                    complaints.append(f"request to another origin: {request.url}")

            context.on("request", look)
            if script:
                page.add_init_script(script)
            if goto:
                page.goto(url)
            return page

        yield open_page
    assert complaints == []
