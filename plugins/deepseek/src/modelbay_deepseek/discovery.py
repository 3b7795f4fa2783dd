"""The model list, which says little or much depending on its age, as modelbay lists models."""

from collections.abc import Sequence

import msgspec

from modelbay.context import ProviderContext
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.frozen import JsonObject
from modelbay_deepseek import config
from modelbay_deepseek.client import fetch
from modelbay_deepseek.memory import memory


class Entry(msgspec.Struct):
    """One entry of ``GET /models``. All but the id came with the year 2026 and may be missing.

    Of an unexpected type they count as missing: a list must not be lost for one field.
    """

    id: str
    name: object = None
    owned_by: object = None
    context_window: object = None
    max_output_tokens: object = None
    input_modalities: object = None
    output_modalities: object = None
    effort: object = None


class ModelListBody(msgspec.Struct):
    data: list[Entry]


async def discover(provider: ProviderContext) -> Sequence[DiscoveredModel]:
    """List the models; the table fills in what the list leaves out.

    Raises:
        AuthenticationError: There is no key, so nobody is asked; or the server refuses it.
    """
    config.options(provider)  # a wrong key in the file should not wait for the first chat
    return tuple(describe(entry) for entry in await entries(provider))


async def entries(provider: ProviderContext) -> list[Entry]:
    """The list as it is now, each id once."""
    body = await fetch(provider, config.addresses(provider).models, ModelListBody)
    by_id = {entry.id: entry for entry in body.data if entry.id}
    memory(provider).listed = frozenset(by_id)
    return list(by_id.values())


def describe(entry: Entry) -> DiscoveredModel:
    """One entry as a model, with what it says itself."""
    facts: dict[str, object] = {}
    evidence: dict[str, str] = {}

    def add(name: str, value: object, where: str) -> None:
        if value is not None:
            facts[name], evidence[name] = value, f"/models data[].{where}"

    add("context_window", _count(entry.context_window), "context_window")
    add("max_output_tokens", _count(entry.max_output_tokens), "max_output_tokens")
    if isinstance(entry.input_modalities, list):
        add("vision", "image" in entry.input_modalities, "input_modalities")
        add("audio", "audio" in entry.input_modalities, "input_modalities")
    levels = _levels(entry.effort)
    if levels:
        add("reasoning", True, "effort.supported_levels")
    return DiscoveredModel(
        wire_id=entry.id,
        name=entry.name if isinstance(entry.name, str) else "",
        facts=Facts.model_validate(facts),
        evidence=evidence,
        origin="remote",
        family="deepseek" if entry.owned_by == "deepseek" else None,
        details=_details(entry, levels),
    )


def _count(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _levels(effort: object) -> list[str]:
    found = effort.get("supported_levels") if isinstance(effort, dict) else None
    return [level for level in found if isinstance(level, str)] if isinstance(found, list) else []


def _details(entry: Entry, levels: list[str]) -> JsonObject:
    details: JsonObject = {}
    if levels:
        details["effort_levels"] = [*levels]
    if isinstance(entry.effort, dict) and isinstance(entry.effort.get("default_level"), str):
        details["default_effort"] = entry.effort["default_level"]
    return details
