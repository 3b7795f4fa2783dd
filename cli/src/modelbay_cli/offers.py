"""What could be added to the configuration: what plugins propose, and what answers right now."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from modelbay import Host, ProviderConfig
from modelbay.host.loader import Plugin
from modelbay.models.frozen import JsonObject

_EXPORT = re.compile(r"\bexport ([A-Z][A-Z0-9_]*)=")
_ASKED = "asked"  # stands in for a key while a plugin is asked what it would propose with one


@dataclass(frozen=True, slots=True)
class Offer:
    """A provider that could be added.

    Attributes:
        entry: As it would stand in the file.
        needs_key: Nothing is proposed without a key.
        has_key: Its variable is set, or its key stored.
        models: How many it lists now; ``None`` if it does not answer.
        needs_address: Its plugin proposes no address.
    """

    kind: str
    id: str
    label: str
    address: str
    entry: JsonObject
    needs_key: bool = False
    key_variable: str | None = None
    has_key: bool = False
    models: int | None = None
    needs_address: bool = False


async def offers(host: Host, *, look: bool) -> list[Offer]:
    """One or more for every kind that can be used: those that answer first, then by name.

    Args:
        host: Whose environment and plugins count; its providers do not.
        look: Ask the proposed addresses whether anybody is there.
    """
    usable = [plugin for plugin in host.plugins if plugin.manager is not None]
    variables = _key_variables(host, usable)
    bare = {name: value for name, value in host.env.items() if name not in variables}
    without_keys = set(_proposed(host, bare))
    asked = {**host.env, **{name: host.env.get(name) or _ASKED for name in variables}}
    everything = _proposed(host, asked)
    stored = {key.name for key in host.keys.list()}
    answers = await _answers(host) if look else {}
    found = [
        Offer(
            kind=config.kind,
            id=config.id,
            label=config.name,
            address=config.base_url,
            entry=_entry(config),
            needs_key=config.id not in without_keys,
            key_variable=config.api_key_env,
            has_key=bool(host.env.get(config.api_key_env or ""))
            or bool(stored & {config.id, config.api_key_env}),
            models=answers.get(config.id),
        )
        for config in everything.values()
    ]
    kinds = {offer.kind for offer in found}
    found += [
        Offer(
            kind=plugin.kind,
            id=plugin.kind,
            label=plugin.kind,
            address="",
            entry={"id": plugin.kind, "kind": plugin.kind},
            needs_address=True,
        )
        for plugin in usable
        if plugin.kind not in kinds
    ]
    return sorted(found, key=lambda offer: (offer.models is None, offer.needs_key, offer.id))


def _proposed(host: Host, env: Mapping[str, str]) -> dict[str, ProviderConfig]:
    """What plugins propose in an environment when nothing is configured."""
    nobody = Host.open(providers=(), env=env, installed=host.installed)
    return {
        handle.id: handle.config
        for handle in nobody.providers
        if handle.config.implicit and handle.backend is not None
    }


async def _answers(host: Host) -> dict[str, int]:
    """How many models each proposal lists that answers."""
    async with Host.open(providers=(), env=host.env, installed=host.installed) as nobody:
        catalog = await nobody.refresh(force=True)
    return {entry.id: len(entry.models) for entry in catalog.providers if entry.status == "ok"}


def _key_variables(host: Host, plugins: list[Plugin]) -> set[str]:
    """The variables that hold keys: by convention, and as each plugin's table says."""
    names = {f"{re.sub(r'[^A-Z0-9]', '_', plugin.kind.upper())}_API_KEY" for plugin in plugins}
    kinds = [ProviderConfig(id=plugin.kind, kind=plugin.kind) for plugin in plugins]
    probe = Host.open(providers=kinds, env=host.env, installed=host.installed)
    for handle in probe.providers:
        if handle.table is not None:
            names |= {name for name in _EXPORT.findall(handle.table.start_hint) if "KEY" in name}
    return names


def _entry(config: ProviderConfig) -> JsonObject:
    entry: JsonObject = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    entry.pop("source", None)
    return entry
