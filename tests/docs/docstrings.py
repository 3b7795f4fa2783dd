"""Docstrings as Markdown: their paragraphs, their sections, and tables of what they tell."""

import re
from collections.abc import Iterator, Sequence
from textwrap import dedent

SECTIONS = ("Args", "Attributes", "Yields", "Returns", "Raises", "Source")
HEADINGS = {"Args": "Arguments"}


def split(text: str) -> tuple[list[str], dict[str, str]]:
    """The paragraphs of a docstring, and its sections by name."""
    found = re.split(rf"^({'|'.join(SECTIONS)}):", text, flags=re.MULTILINE)
    sections, after = {}, ""
    for name, content in zip(found[1::2], found[2::2], strict=True):
        # What stands at the margin again is no part of the section.
        sections[name], _, more = re.sub(r"\n\n(?=\S)", "\0", content, count=1).partition("\0")
        after += f"\n\n{more}"
    parts: list[str] = []
    for part in re.split(r"\n *\n", (found[0] + after).strip("\n")):
        if part.startswith("    ") and parts and parts[-1].startswith("    "):
            parts[-1] += f"\n\n{part}"  # one example, with a blank line in it
        else:
            parts.append(part)
    return [paragraph(part) for part in parts if part.strip()], sections


def paragraph(text: str) -> str:
    if text.startswith("    ") or "──" in text:
        return fenced(dedent(text).strip("\n"), "text" if "──" in text else "python")
    return marked(text.strip())


def marked(text: str) -> str:
    """Names between one or two backticks, as Markdown has them; a star outside of them is one."""
    single = re.sub(r"``(.+?)``", r"`\1`", text)
    return re.sub(r"`[^`]*`|\*", lambda span: r"\*" if span[0] == "*" else span[0], single)


def items(content: str) -> Iterator[tuple[str, str]]:
    """``name: text`` of a section; ``a, b: text`` is told of both."""
    body = re.sub(r"^\n", "", content)
    for piece in re.split(r"\n(?= {4}\S)", "\n" + body.rstrip()):
        names, colon, text = piece.strip().partition(": ")
        if colon:
            for name in names.split(", "):
                yield name, marked(" ".join(text.split()))


def section(name: str, content: str) -> str:
    heading = f"**{HEADINGS.get(name, name)}**"
    found = list(items(content))
    if name in ("Yields", "Returns", "Source") or not found:
        return f"{heading}: {marked(' '.join(content.split()))}"
    return "\n".join([heading, "", *(f"- `{what}`: {text}" for what, text in found)])


def fenced(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}\n```"


def code(text: str) -> str:
    return f"`{text}`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
