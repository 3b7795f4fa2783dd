"""Long answers are shown bit by bit: nothing of them is lost, said twice, or made otherwise."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from gateway.page.conftest import WAIT_MS
from gateway.serving import acme, desk, serve
from modelbay.state import open_store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

ROWS = 700
TEXTS = {
    "list": "".join(f"{n}. **item** {n} `x`\n" for n in range(1, ROWS)),
    "table": "| a | b |\n|---|--:|\n" + "".join(f"| **{n}** | w {n} |\n" for n in range(ROWS)),
    "quote": "".join(f"> - said {n}\n" for n in range(ROWS)),
    "prose": "".join(f"word *{n}*\n\n" for n in range(ROWS)),
    "headings": "".join(f"# H{n}\ntext\n" for n in range(ROWS)),
    "nested": "".join(f"- top {n}\n  - in {n}\n  - in it\n" for n in range(ROWS // 3)),
    "line ends": "".join(f"- {n}\r\n" for n in range(ROWS)),
}

# Blocks as the page shows them in the end: grown in pieces with pauses, and made at once.
GROWN = """async ([text, size]) => {
    const { markdown } = await import("/page/script/markdown.js");
    const { GrowingText } = await import("/page/script/growing-text.js");
    const box = document.createElement("div"), other = document.createElement("div");
    box.className = other.className = "text";
    document.body.append(box);
    const growing = new GrowingText(box);
    for (let at = 0, n = 0; at < text.length; at += size, n += 1) {
        growing.push(text.slice(at, at + size));
        if (n % 5 === 0) await new Promise(done => setTimeout(done, 8));
    }
    let frames = 0;
    const count = () => { frames += 1; requestAnimationFrame(count); };
    count();
    await new Promise(done => growing.end(done));
    other.append(...markdown(text));
    for (const each of [box, other]) {
        each.querySelectorAll("table").forEach(table => {  // widths come from the page
            table.setAttribute("style", "");
            table.querySelector("colgroup")?.remove();
        });
        each.normalize();
    }
    box.remove();
    return [box.innerHTML, other.innerHTML, growing.source, frames];
}"""


@pytest.fixture(scope="module")
def page(browser: "Browser") -> Iterator["Page"]:
    with serve(desk(acme()), store=open_store(":memory:")) as served:
        page = browser.new_page()
        page.set_default_timeout(2 * WAIT_MS)
        page.goto(served.base_url)
        yield page
        page.close()


@pytest.mark.parametrize("size", [997, 20_000])
@pytest.mark.parametrize("name", TEXTS)
def test_what_grew_in_slices_is_what_is_made_at_once(page: "Page", name: str, size: int) -> None:
    grown, whole, source, frames = page.evaluate(GROWN, [TEXTS[name], size])

    assert grown == whole
    assert source == TEXTS[name]
    if size > len(TEXTS[name]):
        assert frames > 2  # it was more than one frame has time for


@pytest.mark.parametrize("name", ["list", "table"])
def test_answers_that_end_together_share_the_frames(page: "Page", name: str) -> None:
    """A conversation is opened again with many of them: between two frames little is made."""
    made: dict[str, Any] = page.evaluate(
        """async text => {
            const { GrowingText } = await import("/page/script/growing-text.js");
            const boxes = Array.from({ length: 6 }, () => document.createElement("div"));
            document.body.append(...boxes);
            const made = box => box.querySelectorAll("*").length;
            const count = () => boxes.reduce((sum, box) => sum + made(box), 0);
            let last = 0, most = 0, going = true;
            const look = () => {
                const now = count();
                most = Math.max(most, now - last);
                last = now;
                if (going) requestAnimationFrame(look);
            };
            requestAnimationFrame(look);
            await Promise.all(boxes.map(box => new Promise(done => {
                const growing = new GrowingText(box);
                growing.push(text);
                growing.end(done);
            })));
            going = false;
            const said = new Set(boxes.map(box => box.textContent));
            boxes.forEach(box => box.remove());
            return { most, alike: said.size, whole: count() };
        }""",
        TEXTS[name],
    )

    assert made["alike"] == 1
    assert made["most"] < made["whole"] / 10


def test_an_answer_ends_in_a_page_that_is_hidden(page: "Page") -> None:
    """Such a page shows no frames, however long it is waited for."""
    rows: int = page.evaluate(
        """async text => {
            const { GrowingText } = await import("/page/script/growing-text.js");
            const frame = window.requestAnimationFrame;
            window.requestAnimationFrame = () => 0;
            Object.defineProperty(document, "hidden", { get: () => true, configurable: true });
            try {
                const box = document.createElement("div");
                const growing = new GrowingText(box);
                growing.push(text);
                await new Promise(done => growing.end(done));
                return box.querySelectorAll("tbody tr").length;
            } finally {
                delete document.hidden;
                window.requestAnimationFrame = frame;
            }
        }""",
        TEXTS["table"],
    )

    assert rows == ROWS


def test_the_parts_of_a_long_table_stand_under_each_other(page: "Page") -> None:
    """Their columns are alike, and no word of them is broken."""
    rows = "".join(f"| {1000 + n} | word {n % 10} | {n % 7} |\n" for n in range(250))
    found: list[list[float]] = page.evaluate(
        """async text => {
            const { GrowingText } = await import("/page/script/growing-text.js");
            const box = document.createElement("div");
            box.className = "text";
            box.style.width = "300px";
            document.body.append(box);
            const growing = new GrowingText(box);
            growing.push(text);
            await new Promise(done => growing.end(done));
            const found = [...box.querySelectorAll("table")].map(table =>
                [...table.rows[table.rows.length - 1].cells].map(cell =>
                    Math.round(cell.getBoundingClientRect().right)));
            const heights = [...box.querySelectorAll("td")].map(cell => cell.offsetHeight);
            box.remove();
            return [...found, [Math.min(...heights), Math.max(...heights)]];
        }""",
        "| number | w | n |\n|---|---|--:|\n" + rows,
    )

    first, second, third, (low, high) = found
    assert len(first) == 3
    assert first == second == third
    assert high < 1.2 * low  # every row is one line


CODE = "".join(f'def f_{n}(x):  # no "{n}\n    return [x, {n}, "a{n}"]\n\n\n' for n in range(400))
REMARK = "let a = 1;\n/* " + "a remark of many lines\n" * 600 + "*/\nlet b = `x\ny`;\n"


@pytest.mark.parametrize(("language", "code"), [("python", CODE), ("js", REMARK)])
def test_long_code_has_its_colours_and_its_text(page: "Page", language: str, code: str) -> None:
    """They come part by part, and a remark that reaches over several keeps its one."""
    found = page.evaluate(
        """async ([language, code]) => {
            const { markdown } = await import("/page/script/markdown.js");
            const { coloured } = await import("/page/script/colours.js");
            const [box] = markdown("```" + language + "\\n" + code + "```");
            document.body.append(box);
            const inside = box.querySelector("code");
            const parts = inside.childNodes.length;
            const pieces = nodes => {
                const found = [];  // every letter with its colour, runs of one put together
                for (const node of nodes) {
                    const kind = node.className ?? "";
                    if (found.at(-1)?.[0] === kind) found.at(-1)[1] += node.textContent;
                    else found.push([kind, node.textContent]);
                }
                return found;
            };
            const leaves = () => [...inside.childNodes].flatMap(each =>
                each.tagName === "DIV" ? [...each.childNodes] : [each]);
            const meant = JSON.stringify(pieces(coloured(code.slice(0, -1), language)));
            let is = "";
            for (let turn = 0; turn < 200 && is !== meant; turn += 1) {
                await new Promise(done => requestAnimationFrame(done));
                is = JSON.stringify(pieces(leaves()));
            }
            box.remove();
            return { parts, text: inside.textContent, is, meant };
        }""",
        [language, code],
    )

    assert found["parts"] > 2
    assert found["text"] == code[:-1]
    assert found["is"] == found["meant"]


def test_a_line_of_code_without_an_end_stays_one_colour(page: "Page") -> None:
    """It is laid out as one, and a machine wrote it."""
    spans: list[int] = page.evaluate(
        """async texts => {
            const { markdown } = await import("/page/script/markdown.js");
            return texts.map(text => markdown(text)[0].querySelectorAll("pre span").length);
        }""",
        [f"```js\n[{'1, ' * count}]\n```" for count in (3000, 4000)],
    )

    assert spans == [3000, 0]
