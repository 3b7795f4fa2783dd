"""Markdown that was made to hang or crash a page: time grows with the length, and nothing else."""

import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from gateway.page.conftest import WAIT_MS
from gateway.page.payloads import PAYLOADS
from gateway.serving import acme, desk, serve
from modelbay.state import open_store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

# Text of n characters, about. Careless patterns take time by the square or the cube for many.
SHAPES: dict[str, Callable[[int], str]] = {
    "spaces in a heading": lambda n: "# a" + " " * n + "b",
    "spaces in a line": lambda n: "a" + " " * n + "b",
    "spaces in an address": lambda n: "[a](" + " " * n,
    "spaces in a divider": lambda n: "a|b\n-" + " " * n + "x",
    "spaces in a fence": lambda n: "```" + " " * n + "`",
    "spaces in an item": lambda n: "- " + " " * n + "\u2028b",
    "spaces at an end": lambda n: ("a" + " " * (n // 4) + "b\n") * 4,
    "short headings of spaces": lambda n: ("# a" + " " * 3000 + "b\n") * (n // 3000),
    "links in links": lambda n: "[" * (n // 8) + "a" + "](http://a)" * (n // 12),
    "images in images": lambda n: "![" * (n // 8) + "a" + "](http://a)" * (n // 12),
    "openings": lambda n: "[a](" * (n // 4),
    "brackets": lambda n: "[" * n,
    "marks": lambda n: "*a **b _c " * (n // 10),
    "words in marks": lambda n: "_a" * (n // 2),
    "runs of ticks": lambda n: " ".join("`" * k for k in range(int((2 * n) ** 0.5), 1, -1)),
    "dots behind an address": lambda n: "https://" + "." * n + "a",
    "brackets behind an address": lambda n: "https://a" + ")" * n + "a",
    "wide rows": lambda n: "|a" * 50 + "|\n" + "|-" * 50 + "|\n" + ("|a" * 50 + "|\n") * (n // 100),
    "empty lines in a list": lambda n: "- a\n\n" * (n // 5),
    "lists in lists": lambda n: "".join(" " * (k % 60) + "- a\n" for k in range(n // 30)),
    "quotes in quotes": lambda n: ("> - " * 30 + "x\n") * (n // 120),
    "an image without an end": lambda n: "![a](data:image/png;base64," + "_a" * (n // 2),
    "escaped ticks in code": lambda n: "```js\n" + "`" + "\\`" * min(n // 2, 19_000) + "\n```",
    "escaped quotes in code": lambda n: "```js\n" + '"' + '\\"' * min(n // 2, 19_000) + "\n```",
}

LENGTH = 100_000
MOST_MS = 3000  # what takes the square of its length takes 20,000 and more

READ = """async texts => {
    const { markdown } = await import("/page/script/markdown.js");
    const took = [];
    let deepest = 0, nested = 0;
    for (const text of texts) {
        let least = Infinity;
        for (let turn = 0; turn < 3; turn += 1) {
            const began = performance.now();
            const nodes = markdown(text);
            least = Math.min(least, performance.now() - began);
            const box = document.createElement("div");
            for (const node of nodes) box.append(node);
            nested += box.querySelectorAll("a a").length;
            if (turn) continue;
            for (const each of box.querySelectorAll("*")) {
                let depth = 0;
                for (let at = each; at !== box && depth < 1000; at = at.parentNode) depth += 1;
                deepest = Math.max(deepest, depth);
            }
        }
        took.push(least);
    }
    return { took, deepest, nested };
}"""

GROW = """async ([text, size]) => {
    const { markdown, MarkdownReader } = await import("/page/script/markdown.js");
    const html = box => {
        box.normalize();
        return box.innerHTML;
    };
    const box = document.createElement("div"), other = document.createElement("div");
    const reader = new MarkdownReader(box);
    for (let at = 0; at < text.length; at += size) {
        reader.push(text.slice(at, at + size));
        if (at % 3) reader.read();
        if (at % 2) reader.show();
    }
    while (!reader.read({ ms: 0, nodes: 0 }));
    reader.end();
    for (const node of markdown(text)) other.append(node);
    return [html(box), html(other)];
}"""


@pytest.fixture(scope="module")
def page(browser: "Browser") -> Iterator["Page"]:
    with serve(desk(acme()), store=open_store(":memory:")) as served:
        page = browser.new_page()
        page.set_default_timeout(2 * WAIT_MS)
        page.goto(served.base_url)
        yield page
        page.close()


@pytest.mark.parametrize("name", SHAPES)
def test_a_hostile_shape_takes_time_by_its_length_alone(page: "Page", name: str) -> None:
    found = page.evaluate(READ, [SHAPES[name](LENGTH // 2), SHAPES[name](LENGTH)])

    half, whole = found["took"]
    print(f"\n{name}: {half:.1f} ms for {LENGTH // 2}, {whole:.1f} ms for {LENGTH} characters")
    assert whole < MOST_MS
    assert found["deepest"] < 60
    assert found["nested"] == 0


# Each of these once took seconds, or the tab with it.
ONCE_SLOW: dict[str, str] = {
    "links in links": "[" * 2500 + "a" + "](http://a)" * 2500,
    "spaces": " " * 100_000,
    "spaces in a line": "a" + " " * 100_000 + "b",
    "spaces in a heading": "# a" + " " * 100_000 + "b",
    "spaces behind a fence": "```" + " " * 100_000 + "`",
    "spaces in an address": "[a](" + " " * 100_000,
    "spaces in a divider": "a|b\n-" + " " * 100_000 + "x",
    "backticks": "`" * 20_000,
    "backticks by two": "`` " * 10_000,
    "backticks in words": "`a" * 10_000,
    "backticks of every length": " ".join("`" * n for n in range(1, 200)),
}
# Twice as much of what people write; each of those took a hundred times as long and more.
USUAL = "Some **words**, some `code`, and [a link](http://a) to *somewhere* else. " * 800
MOST_TIMES_USUAL = 8


@pytest.mark.parametrize("name", ONCE_SLOW)
def test_what_once_hung_takes_no_longer_than_usual_text(
    page: "Page", name: str, record_property: Callable[[str, object], None]
) -> None:
    """The best of five each, in turn: what else the machine does is not this text's fault."""
    took, usual = page.evaluate(
        """async texts => {
            const { markdown } = await import("/page/script/markdown.js");
            const least = texts.map(() => Infinity);
            for (let turn = 0; turn < 5; turn += 1) {
                texts.forEach((text, at) => {
                    const began = performance.now();
                    markdown(text);
                    least[at] = Math.min(least[at], performance.now() - began);
                });
            }
            return least;
        }""",
        [ONCE_SLOW[name], USUAL],
    )

    record_property(f"{name}, read at once, best of 5, ms", took)
    print(f"\n{name}: {took:.1f} ms, {took / usual:.2f} times the usual")
    assert took < MOST_TIMES_USUAL * usual


def test_links_do_not_nest(page: "Page") -> None:
    """HTML allows none in another, and a browser dies of some thousand."""
    links: list[str] = page.evaluate(
        """async texts => {
            const { markdown } = await import("/page/script/markdown.js");
            return texts.map(text => {
                const box = document.createElement("div");
                box.append(...markdown(text));
                return [...box.querySelectorAll("a")].map(each => each.textContent).join() +
                    " in " + box.textContent;
            });
        }""",
        [
            "[a [b](http://b.example) c](mailto:a)",
            "[![a](http://i.example/x.png)](http://a.example)",
            "[see http://b.example](http://a.example)",
        ],
    )

    assert links == [
        "b in [a b c](mailto:a)",
        "Image: a in Image: a",
        "see http://b.example in see http://b.example",
    ]


ALPHABET = [
    *"*_`~[]()<>!|#-+>\\ \n",
    "  ",
    "\n\n",
    "\r\n",
    "- ",
    "1. ",
    "```",
    "|--|",
    "](http://a)",
]
ALPHABET += [
    "word",
    "![",
    "data:image/png;base64,",
    "https://a.b/c)",
    "- [x] ",
    "> ",
    "    ",
    "***",
]


@pytest.mark.parametrize("seed", range(40))
def test_random_marks_look_the_same_however_they_came(page: "Page", seed: int) -> None:
    chance = random.Random(seed)
    text = "".join(chance.choices(ALPHABET, k=400))

    grown, whole = page.evaluate(GROW, [text, chance.choice([1, 3, 7, 50, 1000])])

    assert grown == whole


@pytest.mark.parametrize("text", [*PAYLOADS, *[make(9_000) for make in SHAPES.values()]])
def test_hostile_text_looks_the_same_however_it_came(page: "Page", text: str) -> None:
    grown, whole = page.evaluate(GROW, [text, 501])

    assert grown == whole


def test_prose_of_one_long_line_keeps_its_marks(page: "Page") -> None:
    """It is shown for good bit by bit, and never cut within a mark."""
    text = "A **bold _and_ so** on `code here` and [a link](https://a.example/) or 2 * 3. " * 400

    grown, whole = page.evaluate(GROW, [text, 333])

    assert grown == whole
    for tag in ("strong", "em", "code", "a"):
        assert whole.count(f"</{tag}>") == 400
    assert whole.count("<p>") == 1
    assert "**" not in whole
