"""Checks of the target itself: what it declares to be missing is missing, and it says why."""

from typing import get_args

import pytest

from modelbay.models.events import Usage
from modelbay.testing.conformance.bay import Bay, Rule
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.packaging import found_metadata
from modelbay.testing.conformance.proxy import FaultProxy
from modelbay.testing.conformance.target import Ability, Peculiarity, SimulatorTarget, Target

# A field that shows what the ability is, and a method that nobody writes without having it.
_FIELDS: dict[Ability, str] = {
    "usage": "counts",
    "text": "says",
    "reasoning": "thinks",
    "tools": "calls",
    "json_schema": "json_model",
    "embeddings": "embedder",
    "rerank": "reranker",
    "images": "painter",
}
_METHODS: dict[Ability, str] = {
    "faults": "arm",
    "requests": "requests",
    "streams": "open_streams",
    "loads": "loads",
    "second": "second",
}
# What whoever writes a simulator knows of it, or can have by starting it twice.
_OF_ANY_SIMULATOR: tuple[Ability, ...] = ("faults", "requests", "streams", "second", "text")
_FACTS: dict[Ability, str] = {
    "reasoning": "reasoning",
    "tools": "tools",
    "json_schema": "json_schema",
    "embeddings": "embeddings",
    "rerank": "rerank",
    "images": "image_generation",
}


class DeclarationChecks(Kit):
    read = "modelbay/testing/conformance/target.py: Target.cannot"

    @pytest.mark.parametrize("ability", get_args(Ability))
    async def test_a_declared_lack_is_no_pretext(
        self, bay: Bay, rule: Rule, ability: Ability
    ) -> None:
        """What is declared to be missing, neither the target nor the server shows to be there."""
        if bay.target.has(ability):
            return  # declared to be there: other checks ask for it
        proof = _proof(bay.target, ability) or await _seen(bay, ability)
        rule.holds(not proof, f"'{ability}' is declared to be missing, and {proof}")

    def test_a_declaration_says_why(self, target: Target, rule: Rule) -> None:
        """Each declaration is of something the kit knows, and has a reason in words."""
        declared: dict[str, str] = dict([*target.cannot.items(), *target.differs.items()])
        strange = sorted(declared.keys() - {*get_args(Ability), *get_args(Peculiarity)})
        rule.holds(not strange, f"nothing is called {strange}")
        bare = [name for name, why in {**declared, **target.adds}.items() if len(why.split()) < 2]
        rule.holds(not bare, f"no reason for {bare}")


def _proof(target: Target, ability: Ability) -> str:
    """How the target itself belies its declaration; empty if it does not."""
    field = _FIELDS.get(ability)
    if field is not None and getattr(target, field) is not None:
        return f"Target.{field} is set"
    if ability == "address" and target.config.base_url:
        return f"the provider is at {target.config.base_url}"
    if ability == "metadata" and found_metadata(target) is not None:
        return "there are metadata"
    if isinstance(target, SimulatorTarget):
        return _proof_by_simulator(target, ability)
    method = _METHODS.get(ability)
    if method is not None and getattr(type(target), method) is not getattr(Target, method):
        return f"{type(target).__name__}.{method} is written"
    return ""


def _proof_by_simulator(target: SimulatorTarget, ability: Ability) -> str:
    real = isinstance(target.simulator, FaultProxy)  # what is behind it may be beyond control
    if ability in ("faults", "requests") or (ability in _OF_ANY_SIMULATOR and not real):
        return f"a {type(target.simulator).__name__} is a simulator, which has it"
    if ability == "second" and target.other is not None:
        return "SimulatorTarget.other is set"
    if ability == "loads" and target.count_loads is not None:
        return "SimulatorTarget.count_loads is set"
    return ""


async def _seen(bay: Bay, ability: Ability) -> str:
    """How the server or the plugin belies the declaration; empty if they do not."""
    if ability == "usage":
        told = [e for e in (await bay.chat()).events if isinstance(e, Usage)]
        return f"it told {told[0]}" if told else ""
    simulated = isinstance(bay.target, SimulatorTarget) and not isinstance(
        bay.target.simulator, FaultProxy
    )
    if ability == "loads" and simulated and bay.target.has("load"):
        loads = "load" in bay.backend().table.actions
        return "a simulator that loads models can count how often" if loads else ""
    fact = _FACTS.get(ability)
    if fact is None:
        return ""
    for model in (await bay.host.refresh(force=True)).models:
        if getattr(model.capabilities, fact) is True:
            return f"'{model.ref}' is known for {fact}=True"
    return ""
