"""How Markdown looks that is easily read wrongly."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from gateway.page.conftest import WAIT_MS
from gateway.page.test_modules import shown
from gateway.serving import acme, desk, serve
from modelbay.state import open_store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(browser: "Browser") -> Iterator["Page"]:
    with serve(desk(acme()), store=open_store(":memory:")) as served:
        page = browser.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(served.base_url)
        yield page
        page.close()


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("***both***", "<p><strong><em>both</em></strong></p>"),
        ("***both* strong**", "<p><strong><em>both</em> strong</strong></p>"),
        ("**strong *both***", "<p><strong>strong <em>both</em></strong></p>"),
        ("*em **both***", "<p><em>em <strong>both</strong></em></p>"),
        ("___both___", "<p><strong><em>both</em></strong></p>"),
        ("**** four ****", "<p>**** four ****</p>"),
        ("`a``b`", "<p><code>a``b</code></p>"),
        ("``a`b", "<p>``a`b</p>"),
        ("` `` `", "<p><code>``</code></p>"),
        ("# C#", "<h3>C#</h3>"),
        ("## A ##", "<h4>A</h4>"),
        ("#tag", "<p>#tag</p>"),
        ("Years:\n1984. It was", "<p>Years:\n1984. It was</p>"),
        ("- a\nlazy\n- b", "<ul><li>a\nlazy</li><li>b</li></ul>"),
        ("> a\nlazy", "<blockquote><p>a\nlazy</p></blockquote>"),
        ("- a\n  > b\n  c", "<ul><li>a<blockquote><p>b\nc</p></blockquote></li></ul>"),
        ("- ```\n  x\n\n  y\n  ```", "<ul><li><pre><code>x\n\ny</code></pre></li></ul>"),
        ("a\r\nb\rc", "<p>a\nb\nc</p>"),
        ("a | b\n- | c", "<p>a | b</p><ul><li>| c</li></ul>"),
    ],
)
def test_what_is_easily_read_wrongly(page: "Page", text: str, html: str) -> None:
    assert shown(page, text) == html


@pytest.mark.parametrize(
    ("text", "address", "rest"),
    [
        ("https://a.example/x_(y)", "https://a.example/x_(y)", ""),
        ("(https://a.example/x)", "https://a.example/x", "()"),
        ("(https://a.example/x_(y))", "https://a.example/x_(y)", "()"),
        ("[https://a.example/x]", "https://a.example/x", "[]"),
        ("https://a.example/x).", "https://a.example/x", ")."),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1", ""),
    ],
)
def test_an_address_ends_where_the_sentence_around_it_goes_on(
    page: "Page", text: str, address: str, rest: str
) -> None:
    found = shown(page, text)

    link = f'<a href="{address}" target="_blank" rel="noopener noreferrer nofollow">{address}</a>'
    assert link in found
    assert found.replace(link, "") == f"<p>{rest}</p>"


def test_a_table_may_stand_right_behind_a_sentence(page: "Page") -> None:
    found = shown(page, "Look:\n| a | b |\n|---|---|\n| 1 | 2 |\nDone")

    assert found.startswith("<p>Look:</p><div><table>")
    assert found.endswith("<td>1</td><td>2</td></tr></tbody></table></div><p>Done</p>")


def test_a_long_list_keeps_its_numbers(page: "Page") -> None:
    """It becomes several ones, which the browser lays out each for itself."""
    numbers: list[int] = page.evaluate(
        """async text => {
            const { markdown } = await import("/page/script/markdown.js");
            const said = markdown(text).flatMap(list =>
                [...list.children].map((item, n) => [list.start + n, Number(item.textContent)]));
            return said.every(([shown, meant]) => shown === meant) ? said.map(s => s[0]) : [];
        }""",
        "".join(f"{n}. {n}\n" for n in range(7, 457)),
    )

    assert numbers == list(range(7, 457))
