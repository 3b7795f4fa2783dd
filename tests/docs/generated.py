"""What in the documents is made from the code: ``PYTHONPATH=tests python -m docs.generated``.

Whole pages in docs/reference, and parts of other pages between two comments.
"""

import importlib
import inspect
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from docs import command_pages, docstrings, matrix, reference
from modelbay.models.frozen import Frozen

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CAMEL = re.compile(r"`([a-z]+(?:_[a-z]+)+)`")


@cache
def options_models() -> dict[str, type[BaseModel]]:
    """What each first-party plugin reads of a provider's entry, by kind."""
    found: dict[str, type[BaseModel]] = {}
    for kind, plugin in matrix.plugins_by_kind().items():
        package = plugin.entry_point.partition(".")[0]
        config = importlib.import_module(f"{package}.config")
        (model,) = (
            value
            for name, value in vars(config).items()
            if inspect.isclass(value) and issubclass(value, Frozen) and name.endswith("Options")
        )
        found[kind] = model
    return found


def keys_of(model: type[BaseModel]) -> str:
    """A table of a model's keys as they stand in the file, with the docstring's word on each."""
    told = dict(docstrings.items(docstrings.split(inspect.getdoc(model) or "")[1]["Attributes"]))
    found = model.model_json_schema(by_alias=True)
    rows = []
    for name in model.model_fields:
        value = found["properties"][to_camel(name)]
        meaning = CAMEL.sub(lambda span: f"`{to_camel(span[1])}`", told.get(name, ""))
        default = json.dumps(value["default"]) if value.get("default") is not None else ""
        inner = found.get("$defs", {}).get(value.get("$ref", "").rpartition("/")[2])
        if inner is not None:
            default, names = "", ", ".join(f"`{key}`" for key in inner["properties"])
            meaning += f" Its keys: {names}."
        meaning = meaning.replace("`None`", "`null`")
        rows.append((f"`{to_camel(name)}`", written(value), default and f"`{default}`", meaning))
    return docstrings.table(("key", "type", "default", "meaning"), rows)


def written(value: Mapping[str, Any]) -> str:
    """What a key may hold, in the words of JSON."""
    if "anyOf" in value:
        kinds = [written(one) for one in value["anyOf"] if one.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in value:
        return " or ".join(f'`"{one}"`' for one in value["enum"])
    if value.get("type") == "array":
        return f"list of {written(value['items'])}"
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {value[name]}" for name, sign in signs.items() if name in value]
    return " ".join([value.get("type", "object"), ", ".join(limits)]).strip()


@cache
def pages() -> dict[Path, str]:
    """Every file with something made, as it should be."""
    made = {DOCS / "reference" / "cli.md": command_pages.render()}
    for name, page in reference.PAGES.items():
        made[DOCS / "reference" / f"{name}.md"] = reference.render(page)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    made[ROOT / "README.md"] = between(readme, "matrix", matrix.render())
    compatibility = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    made[DOCS / "compatibility.md"] = between(compatibility, "matrix", matrix.render())
    text = (DOCS / "providers-json.md").read_text(encoding="utf-8")
    for kind, model in options_models().items():
        text = between(text, f"keys of {kind}", keys_of(model))
    made[DOCS / "providers-json.md"] = text
    return made


def between(text: str, name: str, made: str) -> str:
    """The text with another part between the two comments of this name.

    Raises:
        ValueError: They are not there, or not once.
    """
    begin, end = f"<!-- made: {name} -->\n", f"<!-- end: {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the comments of '{name}' are missing, or there twice")
    head, rest = text.split(begin)
    return f"{head}{begin}\n{made}\n\n{end}{rest.split(end)[1]}"


def part(text: str, name: str) -> str:
    """What stands between the two comments of this name."""
    return text.partition(f"<!-- made: {name} -->\n")[2].partition(f"<!-- end: {name} -->")[0]


if __name__ == "__main__":
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")
