"""Checks of the table: asked of nobody, founded on something, and true."""

from collections.abc import Iterator
from typing import get_args

import pytest

from modelbay.errors import (
    ModelbayError,
    PluginError,
    UnsupportedActionError,
    UnsupportedFeatureError,
)
from modelbay.models.capabilities import CapabilityTable, Facts
from modelbay.models.chat import JsonSchema, Tool
from modelbay.models.manage import (
    OUTCOMES,
    Action,
    ActionName,
    Balance,
    Copy,
    Create,
    Delete,
    Health,
    ListModels,
    Load,
    Logs,
    Pull,
    Running,
    Show,
    Unload,
)
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance.audit import watched
from modelbay.testing.conformance.bay import Bay, Rule
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.target import Ability
from modelbay.testing.streams import reasoning_of

NOBODY = "kit-no-such-model"
ACTIONS: dict[ActionName, Action] = {
    "list": ListModels(),
    "running": Running(),
    "load": Load(model=NOBODY),
    "unload": Unload(model=NOBODY),
    "pull": Pull(model=NOBODY),
    "delete": Delete(model=NOBODY),
    "copy": Copy(model=NOBODY, to=f"{NOBODY}-2"),
    "create": Create(model=NOBODY),
    "show": Show(model=NOBODY),
    "health": Health(),
    "logs": Logs(model=NOBODY),
    "balance": Balance(),
}
# A fact that only an optional hook can make true.
HOOK_OF = {"embeddings": "embed", "rerank": "rerank", "image_generation": "generate_image"}

# Of a declared lack: a turn that asks for it. Vectors, rankings and images are in `media`.
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
REFUSED_WHERE_MISSING: dict[Ability, dict[str, object]] = {
    "tools": {"tools": [Tool(name="kit_tool", parameters={"type": "object"})]},
    "json_schema": {"response_format": JsonSchema.model_validate({"schema": _SCHEMA})},
    "reasoning": {},
    "load": {},
}


class CapabilityChecks(Kit):
    read = "modelbay/hookspecs.py: capabilities; modelbay/models/capabilities.py"

    async def test_capabilities_touch_nothing(self, bay: Bay, rule: Rule) -> None:
        """The table is asked of nobody: no socket, no file, no process."""
        bay.hook("capabilities")(provider=bay.context())  # imports it makes late are over now
        with watched() as touched:
            bay.hook("capabilities")(provider=bay.context())
        rule.holds(not touched, touched[:5])

    async def test_capabilities_are_the_same_each_time(self, bay: Bay, rule: Rule) -> None:
        """Asked twice, also for another provider, the hook gives equal tables."""
        first = _table(bay)
        rule.holds(first == _table(bay), "the second table differs from the first")

    async def test_capabilities_do_not_depend_on_discovery(self, bay: Bay, rule: Rule) -> None:
        """What a server said never changes the table; that is the live layer's to say."""
        before = _table(bay)
        await bay.host.refresh(force=True)
        rule.holds(before == _table(bay), "the table is another one after a look at the server")

    async def test_table_rows_have_evidence(self, bay: Bay, rule: Rule) -> None:
        """Every row says how it is known."""
        table = _table(bay)
        bare = [row.pattern for row in table.rows if len(row.evidence.strip()) < 4]
        rule.holds(not bare, f"rows without evidence: {bare}")
        rule.holds(table.every_model_evidence.strip(), "every_model without evidence")

    async def test_table_rows_say_something(self, bay: Bay, rule: Rule) -> None:
        """A row that states no fact, or stands twice, is a mistake."""
        rows = _table(bay).rows
        empty = [row.pattern for row in rows if not _known(row.facts)]
        rule.holds(not empty, f"rows without a fact: {empty}")
        patterns = [row.pattern for row in rows]
        twice = sorted({p for p in patterns if patterns.count(p) > 1})
        rule.holds(not twice, f"patterns that stand twice: {twice}")

    async def test_table_claims_only_what_hooks_can_do(self, bay: Bay, rule: Rule) -> None:
        """A table that promises embeddings, ranking or images needs the hook that makes them."""
        table = _table(bay)
        for where, facts in [("every_model", table.every_model), *_by_row(table)]:
            for fact, hook in HOOK_OF.items():
                claimed = getattr(facts, fact) is True
                rule.holds(
                    not claimed or bay.backend().offers(hook),
                    f"{where} says {fact}=True and there is no hook {hook}",
                )

    async def test_hints_are_for_what_is_missing(self, bay: Bay, rule: Rule) -> None:
        """A hint stands for an action the table does not have, and says something."""
        table = _table(bay)
        both = sorted(table.actions & set(table.hints))
        rule.holds(not both, f"declared and excused at once: {both}")
        empty = [name for name, hint in table.hints.items() if len(hint.strip()) < 4]
        rule.holds(not empty, f"hints without words: {empty}")

    @pytest.mark.parametrize("name", get_args(ActionName))
    async def test_an_undeclared_action_is_refused(
        self, bay: Bay, rule: Rule, name: ActionName
    ) -> None:
        """An action the table does not have is UnsupportedActionError with a hint."""
        if name in _table(bay).actions:
            return  # declared: the checks of management ask for it
        try:
            async with bay.host.manage(bay.provider_id, ACTIONS[name]) as events:
                seen = [event async for event in events]
        except UnsupportedActionError as exc:
            rule.holds(exc.hint and exc.hint.strip(), "no hint says what to do instead")
            return
        except ModelbayError as exc:
            rule.broken(repr(exc))
        rule.broken(f"it was done: {seen}")

    @pytest.mark.parametrize("name", get_args(ActionName))
    async def test_the_plugin_itself_does_nothing_undeclared(
        self, bay: Bay, rule: Rule, name: ActionName
    ) -> None:
        """Asked past the host, an undeclared action never ends as if it had been done."""
        if name in _table(bay).actions:
            return
        try:
            stream = bay.hook("manage")(provider=bay.context(), action=ACTIONS[name])
            seen = [event async for event in stream]  # type: ignore[attr-defined]
        except Exception:
            return  # any refusal will do; the host never lets it come to this
        done = [event for event in seen if isinstance(event, OUTCOMES)]
        rule.holds(not done, f"the table does not name it, and it gave {done}")

    @pytest.mark.parametrize("ability", REFUSED_WHERE_MISSING)
    async def test_a_declared_lack_is_refused(self, bay: Bay, rule: Rule, ability: Ability) -> None:
        """What the target declares to be missing is refused with a typed error, or never comes."""
        if bay.target.has(ability):
            return  # declared to be there: other checks ask for it
        if ability == "reasoning":
            outcome = await bay.chat(bay.request())
            thought = reasoning_of(outcome.events)
            rule.holds(not thought, f"declared to be missing, and it thought {thought!r}")
            return
        if ability == "load":
            await _one_is_refused(bay, rule)
            return
        outcome = await bay.chat(bay.request(**REFUSED_WHERE_MISSING[ability]))
        rule.holds(isinstance(outcome.error, UnsupportedFeatureError), outcome)
        rule.holds(getattr(outcome.error, "hint", None), "no hint says what to do instead")

    async def test_what_a_model_does_is_not_denied(self, bay: Bay, rule: Rule) -> None:
        """No layer of the plugin's says that a model cannot do what it is shown to do."""
        target = bay.target
        shown: list[tuple[str | None, str]] = [
            (target.thinks.model if target.thinks else None, "reasoning"),
            (target.calls.model if target.calls else None, "tools"),
            (target.json_model, "json_schema"),
            (target.embedder, "embeddings"),
            (target.reranker, "rerank"),
            (target.painter, "image_generation"),
        ]
        for wire_id, fact in shown:
            if wire_id is None:
                continue
            known = (await bay.model(wire_id)).capabilities
            rule.holds(
                getattr(known, fact) is not False,
                f"'{wire_id}' is known for {fact}=False by {known.provenance.get(fact)}",
            )

    async def test_default_providers_touch_nothing(self, bay: Bay, rule: Rule) -> None:
        """Proposals come from the environment alone: no socket, no file, the same each time."""
        hook = _proposals_hook(bay)
        if hook is None:
            return
        hook(env={})
        with watched() as touched:
            first, second = hook(env={}), hook(env={})
        rule.holds(not touched, touched[:5])
        rule.holds(first == second, f"first {first}, then {second}")

    async def test_default_providers_are_of_this_kind(self, bay: Bay, rule: Rule) -> None:
        """A plugin proposes providers of its own kind, and never as configured ones."""
        hook = _proposals_hook(bay)
        for config in () if hook is None else hook(env=_Anything()):
            rule.holds(isinstance(config, ProviderConfig), f"a {type(config).__name__}")
            rule.holds(config.implicit, f"'{config.id}' says that the user configured it")
            plugin = bay.host.plugins[0]
            rule.holds(
                config.kind in (plugin.kind, *plugin.aliases) or config.kind == _kind(bay),
                f"'{config.id}' is of kind '{config.kind}'",
            )

    async def test_default_providers_keep_secrets(self, bay: Bay, rule: Rule) -> None:
        """A key from the environment is in no proposal's repr and in no JSON."""
        hook = _proposals_hook(bay)
        for config in () if hook is None else hook(env=_Anything()):
            for shown in (repr(config), config.model_dump_json()):
                rule.holds(SECRET not in shown, f"'{config.id}' shows it")

    async def test_a_contract_error_is_never_the_answer(self, bay: Bay, rule: Rule) -> None:
        """Declared actions on a model nobody has raise typed errors, not foreign exceptions."""
        for name in sorted(_table(bay).actions - {"pull", "create", "logs"}):
            try:
                async with bay.host.manage(bay.provider_id, ACTIONS[name], deadline_s=5) as events:
                    async for _ in events:
                        pass
            except PluginError as exc:
                rule.broken(f"{name}: {exc!r}, caused by {exc.__cause__!r}")
            except ModelbayError:
                pass


SECRET = "kit-secret-5f3a9c"  # noqa: S105 - planted, to be looked for


class _Anything(dict[str, str]):
    """An environment where every variable that may name a key holds one."""

    def get(self, name: str, default: object = None) -> str | None:  # type: ignore[override]
        if any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET")):
            return SECRET
        return default if isinstance(default, str) else None

    def __getitem__(self, name: str) -> str:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None


async def _one_is_refused(bay: Bay, rule: Rule) -> None:
    """Of a server that cannot load and unload: at least one of the two is refused by type."""
    seen: list[object] = []
    for action in (Load(model=bay.target.model), Unload(model=bay.target.model)):
        try:
            async with bay.host.manage(bay.provider_id, action, deadline_s=10) as events:
                seen.append([event async for event in events][-1])
        except UnsupportedActionError as exc:
            rule.holds(exc.hint, f"{action.action}: no hint says what to do instead")
            return
        except ModelbayError as exc:
            rule.broken(f"{action.action}: {exc!r}")
    rule.broken(f"declared to be missing, and both are done: {seen}")


def _table(bay: Bay) -> CapabilityTable:
    table = bay.hook("capabilities")(provider=bay.context())
    assert isinstance(table, CapabilityTable)  # the host would not have opened
    return table


def _by_row(table: CapabilityTable) -> Iterator[tuple[str, Facts]]:
    return ((f"the row '{row.pattern}'", row.facts) for row in table.rows)


def _known(facts: Facts) -> bool:
    return any(getattr(facts, name) is not None for name in facts.model_fields_set)


def _kind(bay: Bay) -> str:
    return bay.target.config.kind


def _proposals_hook(bay: Bay):  # type: ignore[no-untyped-def] # what a plugin gives is checked
    return bay.hook("default_providers") if bay.backend().offers("default_providers") else None
