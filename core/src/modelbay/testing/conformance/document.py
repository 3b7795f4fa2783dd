"""The page of all rules, written from the checks.

``python -m modelbay.testing.conformance.document > docs/conformance.md`` writes it anew. A failed
check names its group's heading on this page.
"""

import inspect
import sys
from typing import get_args

from modelbay.testing.conformance.kit import Kit, group_name
from modelbay.testing.conformance.report import GROUPS, LEVELS, checks_of
from modelbay.testing.conformance.target import Ability, Peculiarity

_HEAD = """\
# The rules of the conformance kit

This page is written from the checks themselves. `modelbay plugin check KIND` runs them on an
installed plugin; `class TestAcme(ProviderConformance)` runs them under pytest. [Writing a
provider](writing-a-provider.md) shows how to begin.

A broken rule is told with its name, what was seen, and where to read. The kit is offline: it
talks to servers on this machine alone. Checks share nothing, so they may run side by side
(`pytest -n 4`).

## Levels

A level asks for its own groups and for those of the levels below it.

| level | groups | checks |
|---|---|---|
"""
_DECLARING = """
The kit prints its digest (`modelbay kit 0123456789abcdef`) at the end of a run, and reports carry
it. It changes when a rule does: only results of one digest can be compared.

## What a server lacks

Nothing is skipped without a declaration. What the server under test cannot do, or cannot be made
to do, is declared in `Target.cannot` with the reason:

| ability | what it is |
|---|---|
"""
_DECLARED = """
A declaration is checked too. Without `tools`, `json_schema`, `embeddings`, `rerank`, `images`,
`complete` or `load` the plugin has to refuse what asks for it with `UnsupportedFeatureError` or
`UnsupportedActionError`, and a hint; without `reasoning` no thought may come. What a target shows
to be there is no lack: a `SimulatorTarget` has `faults`, `requests` and `streams`; `says`,
`counts`, `thinks`, `other` and the like belie their abilities. An action that the
table does not name, and a hook that the plugin does not have, are declarations as well. What is
declared to be there has to work. A check that is skipped in any other way is a broken one.

## Where a plugin differs

What a plugin rightly does otherwise than a rule says is declared in `Target.differs`, with the
reason. The rule is then turned round: a declaration that nothing bears out is broken.

| peculiarity | what it is |
|---|---|
@peculiarities@
Numbers that a plugin sends without being asked are declared in `Target.adds`, by the field's name.

## Overriding a check

A check may be overridden only to say why it is expected to fail:

```python
class TestAcme(ProviderConformance):
    @pytest.mark.xfail(reason="acme sends no counts before 2.0: issue 12")
    async def test_usage_is_told(self, bay: Bay, rule: Rule) -> None:
        await super().test_usage_is_told(bay, rule)
```

Anything else (another body, `None`, a skip, an xfail without a reason, a mark on the whole class)
raises `OverriddenCheckError` when the class is made, so pytest does not collect it; a class that is
mixed in counts too, and so do the kit's own fixtures other than `target`. A check that
is expected to fail is reported as `excused`, and does not hold its level.
"""
_ABILITIES: dict[str, str] = {
    "address": "the provider is a server at an address, which may be dead",
    "faults": "the server can be made to fail: `Target.arm`, `Target.clear`",
    "requests": "what the server was sent can be read: `Target.requests`",
    "streams": "how many streams the server has open can be read: `Target.open_streams`",
    "loads": "how many model loads the server has begun can be read: `Target.loads`",
    "second": "there is another server: `Target.second`",
    "metadata": "the plugin has a distribution or a `pyproject.toml`",
    "usage": "the server counts tokens",
    "text": "the exact text of an answer is known: `Target.says`",
    "reasoning": "some model reasons: `Target.thinks`",
    "tools": "some model calls a tool: `Target.calls`",
    "json_schema": "some model holds to a schema: `Target.json_model`",
    "embeddings": "some model makes vectors: `Target.embedder`",
    "rerank": "some model orders documents: `Target.reranker`",
    "complete": "the model continues raw prompts",
    "images": "some model makes images: `Target.painter`",
    "load": "models can be loaded and unloaded on this very server",
}

_PECULIARITIES: dict[Peculiarity, str] = {
    "white space": "a message's outer white space does not reach the server",
    "long prompt": "a long message does not reach the server whole",
    "many messages": "of many messages not all reach the server",
    "empty message": "a message without text does not reach the server",
    "second system": "of two system messages only one reaches the server",
    "roles": "the server is not told who said what",
    "other requests": "a turn asks the server for more than its answer",
    "retries": "a turn for which the server is too busy (503) is asked again by itself",
    "address path": "requests leave the path of the provider's address",
    "unstreamed": "the server is asked the same whether the answer shall be streamed or not",
    "state": "a model is called loaded although the server's words for it are unheard of",
    "files": "a turn writes files",
}


def document() -> str:
    """The page as Markdown; every check is on it, with its rule."""
    parts = [_HEAD]
    for level in LEVELS:
        names = ", ".join(f"[{group_name(g)}](#{group_name(g)})" for g in GROUPS[level])
        parts.append(f"| {level} | {names} | {sum(len(checks_of(g)) for g in GROUPS[level])} |\n")
    parts.append(_DECLARING)
    parts += [f"| `{ability}` | {_ABILITIES[ability]} |\n" for ability in get_args(Ability)]
    rows = "".join(f"| `{name}` | {_PECULIARITIES[name]} |\n" for name in get_args(Peculiarity))
    parts.append(_DECLARED.replace("@peculiarities@\n", f"{rows}\n"))
    parts += [_section(group) for level in LEVELS for group in GROUPS[level]]
    return "".join(parts)


def _section(group: type[Kit]) -> str:
    source = sys.modules[group.__module__].__doc__ or ""
    rows = "".join(
        f"| `{name}` | {' '.join(inspect.cleandoc(vars(group)[name].__doc__).split())} |\n"
        for name in checks_of(group)
    )
    return (
        f"\n## {group_name(group)}\n\n{source.splitlines()[0]}\nRead: `{group.read}`.\n\n"
        f"| check | rule |\n|---|---|\n{rows}"
    )


if __name__ == "__main__":
    sys.stdout.write(document())
