"""Every link inside the project leads somewhere, down to the heading it names."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\(([^)\s]+)\)")


def without_code(text: str) -> str:
    text = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!\[)`[^`\n]*`(?!\])", "", text)


def anchors(page: Path) -> Iterator[str]:
    """What a heading can be reached by, as the site and code hosts make it."""
    seen: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", without_fences(page), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading))
        anchor = re.sub(r"[ \-]+", "-", plain.strip().lower())
        count = seen[anchor] = seen.get(anchor, -1) + 1
        yield anchor if not count else f"{anchor}_{count}"


def without_fences(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


def broken(page: Path) -> list[str]:
    found = []
    for link in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_to_what_is_there(page: Path) -> None:
    assert broken(page) == []


def test_a_link_to_nothing_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# One thing\n")
    page = tmp_path / "page.md"
    page.write_text("[a](there.md#one-thing) [b](there.md#other) [c](gone.md) `[d](gone.md)`\n")
    assert broken(page) == ["there.md#other", "gone.md"]


def test_the_documents_name_no_place_that_packages_come_from() -> None:
    """Whoever installs has a place of their own."""
    hosts = re.compile(r"https?://[\w.]*(pypi|pythonhosted|npmjs|anaconda|conda)", re.IGNORECASE)
    assert [p.name for p in PAGES if hosts.search(p.read_text(encoding="utf-8"))] == []
