"""What a page comes to: it is looked at until it is so, and told as it was where it never is.

A page does most things after the action that asked for them: what is read once is read too early on
a slower machine.
"""

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request

T = TypeVar("T")

WITHIN_S = 15.0
PAUSE_MS = 20  # between two looks
LOOKS = 3  # without a request, until a page is called idle
SETTLE_MS = 200  # longer than the page itself waits for more changes, before it asks anew

FOCUSED = """() => {
    const it = document.activeElement;
    return it === document.body ? null : (it.ariaLabel ?? it.textContent);
}"""
FOCUSED_ROW = """() => {
    const row = document.activeElement.closest(".row");
    if (!row) return [document.activeElement.outerHTML.slice(0, 80)];
    const name = row.dataset.id ?? row.querySelector(".label, span").textContent;
    return [name, row.classList.contains("favourite") ? "favourite" : "other"];
}"""


def until(page: "Page", is_so: Callable[[], bool]) -> None:
    """Turn the page's wheel until it is so.

    Raises:
        AssertionError: It never was.
    """
    if not _came(page, is_so):
        raise AssertionError(f"it never came so far within {WITHIN_S:g} s")


def expect_value(page: "Page", read: Callable[[], T], wanted: T) -> None:
    """Read until this is what comes.

    Raises:
        AssertionError: Something else came to the last.
    """
    found: list[T] = []

    def is_so() -> bool:
        found[:] = [read()]
        return found == [wanted]

    if not _came(page, is_so):
        raise AssertionError(f"{found[0]!r}\nis not\n{wanted!r}")


def expect_focus(page: "Page", name: str | re.Pattern[str]) -> None:
    """The focus comes to what has this name: its label, or all of its text.

    Args:
        name: The whole of it, or a pattern of its beginning.

    Raises:
        AssertionError: Something else has it, or nothing.
    """
    found: list[str | None] = []

    def is_so() -> bool:
        at: str | None = page.evaluate(FOCUSED)
        found[:] = [at]
        if isinstance(name, str):
            return at == name
        return at is not None and name.match(at) is not None

    if not _came(page, is_so):
        wanted = name if isinstance(name, str) else name.pattern
        raise AssertionError(f"the focus is at {found[0]!r}, not at {wanted!r}")


def expect_focused_row(page: "Page", name: str, kind: str) -> None:
    """The focus comes to this row of the list of models.

    Args:
        name: Its model or its title.
        kind: ``favourite`` or ``other``.
    """
    expect_value(page, lambda: page.evaluate(FOCUSED_ROW), [name, kind])


class Traffic:
    """What a page asks its gateway for, from now on; the feed of changes is left out.

    Attributes:
        asked: The requests in their order.
    """

    def __init__(self, page: "Page") -> None:
        self.asked: list[Request] = []
        self._page = page
        self._open: set[Request] = set()
        page.on("request", self._begin)
        page.on("requestfinished", self._end)
        page.on("requestfailed", self._end)

    def _begin(self, request: "Request") -> None:
        if urlsplit(request.url).path in ("/api/events", "/health"):
            return
        self.asked.append(request)
        self._open.add(request)

    def _end(self, request: "Request") -> None:
        self._open.discard(request)

    def settle(self, wait: Callable[[], object] | None = None) -> None:
        """Until the page has heard the feed, has its answers, and asks for nothing more.

        Args:
            wait: Lets time pass in the page, where its clock is not the real one.
        """
        quiet = 0

        def is_idle() -> bool:
            nonlocal quiet
            before = len(self.asked)
            if wait is None:
                self._page.evaluate(f"new Promise(done => setTimeout(done, {SETTLE_MS}))")
            else:
                wait()
            self._page.evaluate("fetch('/health').then(answer => answer.text())")
            # Settings are read when the page opens, and again when the feed says that it is ready.
            read = [each for each in self.asked if each.url.endswith("/api/settings")]
            is_quiet = len(read) > 1 and not self._open and len(self.asked) == before
            quiet = quiet + 1 if is_quiet else 0
            return quiet == LOOKS

        until(self._page, is_idle)


def _came(page: "Page", is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + WITHIN_S
    while not is_so():
        if time.monotonic() > end:
            return False
        page.wait_for_timeout(PAUSE_MS)
    return True
