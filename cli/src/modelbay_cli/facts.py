"""A model's and a provider's facts as words and figures."""

from collections.abc import Mapping

from modelbay.models.capabilities import Capabilities
from modelbay.models.catalog import ModelInfo, Problem
from modelbay.models.catalog_json import model_json as model_json
from modelbay.models.catalog_json import provider_json as provider_json
from modelbay_cli import figures
from modelbay_cli.output import NOTHING

_LONGEST = 200  # characters of one detail; a chat template would fill screens

STAND_IN = "built-in welcome text, not a language model"

_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tools", ("tools",)),
    ("vision", ("vision",)),
    ("audio", ("audio",)),
    ("reasoning", ("reasoning",)),
    ("json", ("json_schema", "json_mode")),
    ("embeddings", ("embeddings",)),
    ("rerank", ("rerank",)),
    ("images", ("image_generation",)),
)


def can(capabilities: Capabilities) -> list[str]:
    """What the model is known to do, as words."""
    return [
        word
        for word, fields in _WORDS
        if any(getattr(capabilities, field) is True for field in fields)
    ]


def context(capabilities: Capabilities) -> str:
    """Tokens a request may use. A trained context is an upper bound and no more."""
    if capabilities.context_window is not None:
        return figures.tokens(capabilities.context_window)
    if capabilities.trained_context is not None:
        return f"<={figures.tokens(capabilities.trained_context)}"
    return "?"


def size(model: ModelInfo) -> str:
    """Bytes on disk; nothing for a model that is on somebody else's."""
    remote = model.origin == "remote" and model.size_bytes is None
    return NOTHING if remote else figures.size(model.size_bytes)


def note(model: ModelInfo) -> str:
    parts = [STAND_IN] if model.origin == "stand_in" else []
    if model.problem:
        parts.append(model.problem)
    return "; ".join(parts)


def problem(found: Problem | None) -> str:
    """A problem and its next step on one line."""
    if found is None:
        return ""
    return f"{found.message}; {found.hint}" if found.hint else found.message


def worded(value: object) -> str:
    """Any value of JSON on one line."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Mapping():
            words = {name: worded(inner) for name, inner in value.items()}
            return ", ".join(f"{name}: {text}" for name, text in words.items() if text)
        case list() | tuple():
            return ", ".join(worded(item) for item in value)
        case _:
            return str(value)


def flattened(details: Mapping[str, object]) -> list[list[str]]:
    """A server's own details as rows of name and value; what is inside has a dotted name."""
    rows: list[list[str]] = []
    for name, value in details.items():
        inside: Mapping[str, object] = {}
        if isinstance(value, dict):
            inside = value
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            # An object in a list is one line: its fields belong together.
            inside = {str(number): worded(item) for number, item in enumerate(value)}
        if inside:
            rows += [[f"{name}.{inner}", text] for inner, text in flattened(inside)]
            continue
        text = worded(value)
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]}... ({len(text)} characters; --json has all)"
        rows.append([name, text])
    return rows
