"""Which models of a catalogue somebody asks for. Pure: no network, no printing."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from modelbay.models.catalog import Catalog, ModelInfo, ProviderEntry
from modelbay_cli import facts

# The words of the column CAN.
CAPABILITIES = (
    "tools",
    "vision",
    "audio",
    "reasoning",
    "json",
    "embeddings",
    "rerank",
    "images",
)

_ALIKE = 0.6  # of difflib's ratio
_MOST_ALIKE = 10
_LOOSEST = 3  # how many times as long as the text a stretch with its letters may be

Groups = list[tuple[ProviderEntry, list[ModelInfo]]]


@dataclass(frozen=True, slots=True)
class Sift:
    """What to keep of a catalogue.

    Attributes:
        text: Part of a ref, a provider's id, or something like a ref; empty for everything.
        capabilities: What a model must be known to do, as words of the column CAN.
    """

    text: str = ""
    capabilities: frozenset[str] = frozenset()
    is_loaded: bool = False

    @property
    def is_narrow(self) -> bool:
        return bool(self.text or self.capabilities or self.is_loaded)

    def __str__(self) -> str:
        parts = [f"'{self.text}'"] if self.text else []
        parts += [f"--capability {word}" for word in sorted(self.capabilities)]
        parts += ["--loaded"] if self.is_loaded else []
        return " ".join(parts)

    def asked(self, catalog: Catalog, everything: bool) -> list[ProviderEntry]:
        """The providers the answer depends on."""
        seen = [entry for entry in catalog.providers if everything or not entry.hidden]
        return [entry for entry in seen if entry.id == self.text] or seen

    def groups(self, catalog: Catalog, everything: bool) -> tuple[Groups, bool]:
        """The providers to show, each with its models; one that is filtered empty is left out.

        Returns:
            And whether these only look like the text, since nothing contains it.
        """
        entries = [entry for entry in catalog.providers if everything or not entry.hidden]
        wanted = self.text.casefold()
        groups = self._kept(entries, lambda model: any(wanted in n for n in _names(model)))
        if groups or not wanted:
            return groups, False
        near = _near(wanted, (model for entry in entries for model in entry.models))
        groups = self._kept(entries, lambda model: model.id in near)
        return groups, bool(groups)

    def _kept(self, entries: list[ProviderEntry], fits: Callable[[ModelInfo], bool]) -> Groups:
        groups = []
        for entry in entries:
            models = [model for model in entry.models if self._can(model) and fits(model)]
            is_named = self.text in ("", entry.id)
            if models or (is_named and not (self.capabilities or self.is_loaded)):
                groups.append((entry, models))
        return groups

    def _can(self, model: ModelInfo) -> bool:
        if self.is_loaded and model.state != "loaded":
            return False
        return not self.capabilities or self.capabilities <= set(facts.can(model.capabilities))


def _names(model: ModelInfo) -> list[str]:
    return [name.casefold() for name in (model.id, model.name, *model.aliases)]


def _near(wanted: str, models: Iterable[ModelInfo]) -> set[str]:
    """The refs whose names have the same letters in this order, else those spelt alike."""
    names = {model.id: model.ref.wire_id.casefold() for model in models}
    spans = {ref: _span(wanted, name) for ref, name in names.items()}
    # Letters that lie far apart are in every long name.
    if close := {ref for ref, span in spans.items() if 0 < span <= _LOOSEST * len(wanted)}:
        return close
    alike = difflib.get_close_matches(wanted, [*names, *names.values()], _MOST_ALIKE, _ALIKE)
    return {ref for ref, name in names.items() if ref in alike or name in alike}


def _span(wanted: str, name: str) -> int:
    """The shortest stretch of the name with these letters in this order; 0 if there is none."""
    best = 0
    for start, letter in enumerate(name):
        if letter != wanted[0]:
            continue
        at = start
        for each in wanted[1:]:
            at = name.find(each, at + 1)
            if at < 0:
                break
        else:
            found = at + 1 - start
            best = min(best or found, found)
    return best
