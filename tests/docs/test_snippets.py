"""Examples that are not run as a whole: they are the language they say, and import what is."""

import ast
import importlib
import json
import tomllib
from pathlib import Path

import pytest

from docs.blocks import Block, blocks
from modelbay.config import parse_providers_file

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MADE = ROOT / "docs" / "reference"  # signatures, which are no programs


def found(*languages: str) -> list[tuple[str, Block]]:
    return [
        (f"{page.relative_to(ROOT)}:{block.line}", block)
        for page in PAGES
        if page.parent != MADE
        for block in blocks(page)
        if block.language in languages
    ]


def of(*languages: str) -> pytest.MarkDecorator:
    given = found(*languages)
    return pytest.mark.parametrize(
        "block", [b for _, b in given], ids=[where for where, _ in given]
    )


@of("python")
def test_python_is_python_and_imports_what_there_is(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("modelbay"):
            if node.module.partition(".")[0] in ("modelbay_acme", "modelbay_parrot"):
                continue  # made by the page itself
            module = importlib.import_module(node.module)
            assert [n.name for n in node.names if not hasattr(module, n.name)] == []


@of("json")
def test_json_is_json_and_a_configuration_is_accepted(block: Block) -> None:
    text = block.text.strip()
    value = json.loads(text if text.startswith(("{", "[")) else f"{{{text}}}")
    if isinstance(value, dict) and "providers" in value:
        parse_providers_file(block.text, "the page")


def test_toml_is_toml() -> None:
    for _, block in found("toml"):
        tomllib.loads(block.text)
