"""The page's modules by themselves: Markdown, growing text, events, the fuzzy filter."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from gateway.page.conftest import WAIT_MS
from gateway.page.payloads import PAYLOADS
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


def shown(page: "Page", text: str) -> str:
    """Markdown as the HTML of what it becomes; the head of code blocks is left out."""
    html: str = page.evaluate(
        """async text => {
            const { markdown } = await import("/page/script/markdown.js");
            const box = document.createElement("div");
            box.append(...markdown(text));
            box.querySelectorAll(".code").forEach(each => each.replaceWith(each.lastChild));
            box.querySelectorAll("pre, .table").forEach(each => {
                for (const name of ["tabindex", "role", "aria-label", "class"]) {
                    each.removeAttribute(name);
                }
            });
            return box.innerHTML;
        }""",
        text,
    )
    return html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "<p>plain</p>"),
        ("a\nb", "<p>a\nb</p>"),
        ("a\n\nb", "<p>a</p><p>b</p>"),
        ("# One #", "<h3>One</h3>"),
        ("**b** *i* _i_ ~~d~~ `c`", None),
        ("a*b*c snake_case_name 2*3*4", None),
        ("**open", "<p>**open</p>"),
        (r"\*no\*", "<p>*no*</p>"),
        ("- a\n- b\n  - c\n- d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>"),
        ("1. a\n2. b\n3. c", "<ol><li>a</li><li>b</li><li>c</li></ol>"),
        ("4. a\n5. b", '<ol start="4"><li>a</li><li>b</li></ol>'),
        ("- a\n\n- b", "<ul><li>a</li><li>b</li></ul>"),
        ("- a\n\n  more\n- b", "<ul><li>a<p>more</p></li><li>b</li></ul>"),
        ("- [x] done\n- [ ] open", None),
        ("text\n- a", "<p>text</p><ul><li>a</li></ul>"),
        ("> a\n> b", "<blockquote><p>a\nb</p></blockquote>"),
        ("---", "<hr>"),
        ("```\na < b\n```", "<pre><code>a &lt; b</code></pre>"),
        ("```py\nx\n", "<pre><code>x\n</code></pre>"),
        ("~~~\n```\n~~~", "<pre><code>```</code></pre>"),
        ("| a | b |\n|---|--:|\n| 1 | 2 |", None),
        ("<b>no</b>", "<p>&lt;b&gt;no&lt;/b&gt;</p>"),
        ("[t](https://a.example/x)", None),
        ("[t](javascript:x)", "<p><span>t</span></p>"),
        ("see https://a.example/x.", None),
        ("a  \nb", "<p>a<br>b</p>"),
        ("``a ` b``", "<p><code>a ` b</code></p>"),
    ],
)
def test_markdown_becomes_elements(page: "Page", text: str, html: str | None) -> None:
    link = 'target="_blank" rel="noopener noreferrer nofollow"'
    longer = {
        "**b** *i* _i_ ~~d~~ `c`": (
            "<p><strong>b</strong> <em>i</em> <em>i</em> <del>d</del> <code>c</code></p>"
        ),
        "a*b*c snake_case_name 2*3*4": ("<p>a<em>b</em>c snake_case_name 2<em>3</em>4</p>"),
        "- [x] done\n- [ ] open": (
            '<ul><li class="task">☑ done</li><li class="task">☐ open</li></ul>'
        ),
        "| a | b |\n|---|--:|\n| 1 | 2 |": (
            '<div><table><thead><tr><th>a</th><th class="right">b</th></tr></thead>'
            '<tbody><tr><td>1</td><td class="right">2</td></tr></tbody></table></div>'
        ),
        "[t](https://a.example/x)": f'<p><a href="https://a.example/x" {link}>t</a></p>',
        "see https://a.example/x.": (
            f'<p>see <a href="https://a.example/x" {link}>https://a.example/x</a>.</p>'
        ),
    }

    assert shown(page, text) == (longer[text] if html is None else html)


LONG = """Intro with **bold** and `code`.

1. one
2. two

   inside two
3. three

```python
def f():

    return 1  # one
```
After the code.
- a
- b

> quote
> more

| a | b |
|---|---|
| 1 | 2 |

The end, without a newline"""


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40, 1000])
def test_text_that_grew_looks_like_text_that_came_at_once(page: "Page", size: int) -> None:
    """However it was cut, and whenever it was shown in between."""
    pieces = [LONG[at : at + size] for at in range(0, len(LONG), size)]
    grown, whole = page.evaluate(
        """async ([text, pieces]) => {
            const { markdown } = await import("/page/script/markdown.js");
            const { GrowingText } = await import("/page/script/growing-text.js");
            const box = document.createElement("div"), other = document.createElement("div");
            const growing = new GrowingText(box);
            for (const piece of pieces) {
                growing.push(piece);
                await new Promise(done => setTimeout(done));
            }
            growing.end();
            other.append(...markdown(text));
            return [box.innerHTML, other.innerHTML];
        }""",
        [LONG, pieces],
    )

    assert grown == whole


def test_no_text_takes_long_to_read(page: "Page") -> None:
    """Hostile shapes cost time in proportion to their length."""
    worst: float = page.evaluate(
        """async texts => {
            const { markdown } = await import("/page/script/markdown.js");
            let worst = 0;
            for (const text of texts) {
                const began = performance.now();
                markdown(text);
                worst = Math.max(worst, performance.now() - began);
            }
            return worst;
        }""",
        [
            *PAYLOADS,
            "*a " * 20_000,
            "[a" * 20_000,
            "`a" * 20_000,
            "|" * 20_000 + "\n|-|",
            "- " * 10_000,
            "> " * 10_000,
            "1. a\n" * 10_000,
            "_a*b~~" * 10_000,
        ],
    )

    assert worst < 1500


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 5, 999])
def test_events_are_read_however_they_are_cut(page: "Page", end: str, size: int) -> None:
    text = ': loading 42%||data: {"a": 1}||data:x|data: y||event: z|data||'.replace("|", end) + end
    found: list[dict[str, Any]] = page.evaluate(
        """async ([text, size]) => {
            const { EventParser } = await import("/page/script/sse.js");
            const parser = new EventParser(), found = [];
            for (let at = 0; at < text.length; at += size) {
                found.push(...parser.feed(text.slice(at, at + size)));
            }
            return found;
        }""",
        [text, size],
    )

    assert found == [
        {"comment": "loading 42%"},
        {"data": '{"a": 1}'},
        {"data": "x\ny"},
        {"data": ""},
    ]


@pytest.mark.parametrize(
    ("typed", "text", "fits"),
    [("", "a", True), ("qw8", "ollama/qwen3:8b", True), ("8qw", "ollama/qwen3:8b", False)],
)
def test_letters_must_stand_in_their_order(page: "Page", typed: str, text: str, fits: bool) -> None:
    """S0-63, S0-73."""
    found = page.evaluate(
        "async ([typed, text]) => (await import('/page/script/fuzzy.js')).fits(typed, text)",
        [typed, text],
    )

    assert (found is not None) == fits


def test_whole_words_come_before_scattered_letters(page: "Page") -> None:
    scores = page.evaluate(
        """async texts => {
            const { fits } = await import("/page/script/fuzzy.js");
            return texts.map(text => fits("gem", text).score);
        }""",
        ["ollama/gemma3", "xgem", "global/element/model", "gaaaeaaam"],
    )

    assert scores == sorted(scores, reverse=True)
