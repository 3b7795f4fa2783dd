"""Nothing is left out: every hook, command, code, key, variable, event and action has its place."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic.alias_generators import to_camel

import modelbay
import modelbay.testing
from docs import generated, matrix
from docs.command_pages import every_command
from modelbay import errors, hookspecs
from modelbay.config_schema import schema
from modelbay.models.capabilities import FACT_NAMES, Prices
from modelbay.models.events import EVENT_TYPES
from modelbay.models.manage import ActionName
from modelbay_cli.diagnosis.codes import CODES
from modelbay_gateway.openai.encode import refuse
from modelbay_gateway.refusal import OWN, Refusal

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCES = ("core", "cli", "gateway", "plugins")
# Texts that look like variables and are none of them, or are those of somebody else.
NO_VARIABLES = {
    "CONVERSATION_ID": "a placeholder in the help",
    "PROVIDER_ID": "a placeholder in the help",
    "GGML_NO_BACKTRACE": "set for the engine's process, not read",
    "TERM_SESSION_ID": "tells one terminal's cache from another's",
    "TMUX_PANE": "tells one terminal's cache from another's",
}
# Told there by their status alone.
UNNAMED = {
    "method_not_allowed",
    "request_too_large",
    "unsupported_encoding",
    "headers_too_large",
}
QUANTIZATION = re.compile(r"(I?Q|TQ|MXFP|NVFP|BF)\d")
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def in_code(name: str, text: str) -> bool:
    """Whether a name stands in the page as code."""
    return re.search(rf"[`\"]{re.escape(name)}[`\"\[(=]", text) is not None


def test_what_is_made_from_the_code_is_as_the_code_is() -> None:
    made = generated.pages().items()
    stale = [path.name for path, text in made if path.read_text(encoding="utf-8") != text]
    assert stale == [], "PYTHONPATH=tests python -m docs.generated   # makes them anew"


@pytest.mark.parametrize("hook", [*hookspecs.REQUIRED, *hookspecs.OPTIONAL])
def test_a_hook_is_in_the_authors_guide_and_in_the_reference(hook: str) -> None:
    required = "required" if hook in hookspecs.REQUIRED else ""
    assert f"| [`{hook}`](reference/hooks.md#{hook}) | {required}" in page("writing-a-provider.md")
    assert f"### {hook}\n" in page("reference/hooks.md")


def test_there_are_no_other_hooks() -> None:
    told = re.findall(r"^\| \[`(\w+)`\]\(reference/hooks", page("writing-a-provider.md"), re.M)
    assert told == [*hookspecs.REQUIRED, *hookspecs.OPTIONAL]


def test_every_command_is_in_the_reference() -> None:
    told = re.findall(r"^#{2,3} modelbay (.+)$", page("reference/cli.md"), re.M)
    assert told == [path for path, _ in every_command()]


def test_every_command_is_told_of_in_words_too() -> None:
    pages = [*DOCS.glob("*.md"), ROOT / "README.md"]
    text = "".join(path.read_text(encoding="utf-8") for path in pages)
    names = [path for path, _ in every_command() if " " not in path]
    assert [name for name in names if f"modelbay {name}" not in text] == []


def tree(error: type[errors.ModelbayError]) -> Iterator[type[errors.ModelbayError]]:
    yield error
    for inner in error.__subclasses__():
        if inner.__module__ == errors.__name__:
            yield from tree(inner)


def test_every_error_has_a_row_with_its_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page("errors.md"), re.M)
    assert sorted(rows) == sorted((e.code, e.__name__) for e in tree(errors.ModelbayError))
    for error in tree(errors.ModelbayError):
        assert f"### {error.__name__}" in page("reference/exceptions.md")


def test_every_code_of_the_gateway_has_a_row_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", page("errors.md"), re.M)
    assert {code: int(status) for status, code in rows} == OWN


@pytest.mark.parametrize("code", [*errors.CODES, *OWN])
def test_what_openais_clients_read_of_an_error_is_in_the_gateways_guide(code: str) -> None:
    envelope = json.loads(refuse(Refusal(status=500, code=code, message="m")))
    sent = envelope["error"]["code"]
    assert f"`{sent}`" in page("gateway.md") or sent in UNNAMED


def test_every_diagnosis_of_doctor_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", page("doctor.md").partition("## Every code")[2], re.M)
    assert sorted(rows) == sorted(CODES)


def rows_under(heading: str, text: str) -> list[str]:
    """The names in the first cells of the table under a heading."""
    part = text.partition(f"\n{heading}\n")[2]
    cells = re.findall(r"^\| (`[^|]+) \|", re.split(r"\n#", part)[0], re.M)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_every_key_of_the_file_has_a_row() -> None:
    text, found = page("providers-json.md"), schema()
    assert sorted(rows_under("## Its keys", text)) == sorted(found["properties"])
    provider = found["$defs"]["Provider"]["properties"]
    assert sorted(rows_under("### A provider", text)) == sorted(provider)


def test_every_fact_and_price_has_a_row() -> None:
    part = page("providers-json.md").partition("### What you know of models")[2]
    facts = rows_under("### What you know of models", page("providers-json.md"))
    assert sorted(facts) == sorted(map(to_camel, FACT_NAMES))
    for name in Prices.model_fields:
        assert f"`{to_camel(name)}`" in part.partition("### Kind")[0]


@pytest.mark.parametrize("kind", matrix.KINDS)
def test_a_backends_own_keys_are_on_its_page_and_in_the_reference(kind: str) -> None:
    keys = [to_camel(name) for name in generated.options_models()[kind].model_fields]
    backend = page(f"backends/{kind.replace('-', '')}.md")
    assert [key for key in keys if not in_code(key, backend)] == []
    told = re.findall(
        r"^\| `(\w+)` \|", generated.part(page("providers-json.md"), f"keys of {kind}"), re.M
    )
    assert told == keys


def variables() -> set[str]:
    """What the source calls by the form of a variable's name, simulators aside."""
    found: set[str] = set()
    for part in SOURCES:
        for path in (ROOT / part).rglob("*.py"):
            if "src" not in path.parts or {"simulator", "testing", "build"} & set(path.parts):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found |= {node.value} if VARIABLE.fullmatch(node.value) else set()
    return {name for name in found - set(NO_VARIABLES) if not QUANTIZATION.match(name)}


def test_every_variable_is_documented() -> None:
    text = page("environment.md")
    assert [name for name in sorted(variables()) if f"`{name}`" not in text] == []


def test_what_is_called_no_variable_is_still_in_the_source() -> None:
    text = "".join(p.read_text("utf-8") for s in SOURCES for p in (ROOT / s).rglob("src/**/*.py"))
    assert [name for name in NO_VARIABLES if name not in text] == []


def test_every_event_is_in_the_guide_for_embedders() -> None:
    text = page("embedding.md")
    assert [e.__name__ for e in EVENT_TYPES if f"`{e.__name__}`" not in text] == []


def test_every_action_has_its_promise() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| `\w+` \|", page("writing-a-provider.md"), re.M)
    told = [name for row in rows for name in re.findall(r"\w+", row)]
    assert sorted(told) == sorted(get_args(ActionName))


def test_every_kind_has_a_page_and_a_column() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for kind in matrix.plugins_by_kind():
        assert (DOCS / "backends" / f"{kind.replace('-', '')}.md").is_file()
        assert f" `{kind}` |" in readme


def test_every_page_is_in_the_navigation() -> None:
    """The build would warn; this says it without building."""
    told = set(re.findall(r"\S+\.md$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M))
    assert told == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}


def test_the_site_fetches_nothing() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings
    assert not re.search(r"https?://|//cdn|analytics|extra_(css|javascript)", settings)


@pytest.mark.parametrize("name", [*modelbay._PUBLIC, *modelbay.testing.__all__])
def test_a_public_name_is_in_the_reference(name: str) -> None:
    pages = "".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
    assert re.search(rf"^### {name}( \(.*\))?$", pages, re.MULTILINE)
