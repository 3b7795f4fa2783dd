"""Every value of the configuration with where it comes from, and secrets made unreadable."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from modelbay import Host, ProviderConfig
from modelbay.config import Locations
from modelbay_cli.output import shown_url
from modelbay_cli.secrecy import is_secret

Layer: TypeAlias = Literal["flag", "file", "environment", "stored", "discovered", "default"]

SET = "(set)"
# Fields of a provider with the names they have in the file.
_FIELDS = {
    name: str(info.serialization_alias or info.alias or name)
    for name, info in ProviderConfig.model_fields.items()
}


@dataclass(frozen=True, slots=True)
class Voice:
    """One layer's word on one value.

    Attributes:
        key: ``defaultModel``, ``providers.desk.baseUrl``.
        where: The file and pointer, the variable, or who proposes it.
        wins: It is the one that counts.
    """

    key: str
    value: object
    source: Layer
    where: str
    wins: bool = True


def places(found: Locations) -> list[Voice]:
    """The file and the folders."""
    decided = {
        "providersFile": (found.providers_file, found.providers_file_from),
        "dataFolder": (found.data, found.data_from),
        "cacheFolder": (found.cache, found.cache_from),
    }
    return [
        Voice(key, str(path), "environment", variable)
        if variable != "default"
        else Voice(key, str(path), "default", "the platform's own folder")
        for key, (path, variable) in decided.items()
    ]


def voices(host: Host) -> Iterator[Voice]:
    """Everything, each value's winner first."""
    file = host.file.where or ""
    yield from places(host.locations)
    if host.file.default_provider:
        yield Voice(
            "defaultProvider", host.file.default_provider, "file", f"{file}#/defaultProvider"
        )
    else:
        chosen = host.catalog.default_provider
        yield Voice("defaultProvider", chosen, "default", "the first provider that is local")
    named = host.env.get("DEFAULT_MODEL")
    if named:
        yield Voice("defaultModel", named, "environment", "DEFAULT_MODEL")
    if host.file.default_model:
        where = f"{file}#/defaultModel"
        yield Voice("defaultModel", host.file.default_model, "file", where, wins=not named)
    elif not named:
        yield Voice("defaultModel", None, "default", "chosen anew for each turn")
    if host.env.get("MODELBAY_DISABLE"):
        yield Voice("disabled", host.env["MODELBAY_DISABLE"], "environment", "MODELBAY_DISABLE")
    if host.file.wrappers:
        yield Voice("wrappers", list(host.file.wrappers), "file", f"{file}#/wrappers")
    for provider in configured(host):
        yield from _provider(provider, host)


def configured(host: Host) -> list[ProviderConfig]:
    """Every provider in its order, and those the file switches off after them."""
    active = [handle.config for handle in host.providers]
    return [*active, *(config for config in host.file.providers if not config.enabled)]


def _provider(config: ProviderConfig, host: Host) -> Iterator[Voice]:
    index = next((i for i, p in enumerate(host.file.providers) if p.id == config.id), None)
    source: Layer
    origin = host.roster.origins.get(config.id)
    if origin is not None:
        source, where = ("environment", origin) if origin in host.env else ("flag", "--provider")
    elif index is not None:
        source, where = "file", f"{host.file.where}#/providers/{index}"
    elif config.source == "environment":
        source, where = "environment", f"read by the plugin for {config.kind}"
    else:
        source, where = "discovered", f"proposed by the plugin for {config.kind} ({config.source})"
    for name, value in shown(config).items():
        field = next((field for field, alias in _FIELDS.items() if alias == name), None)
        key = f"providers.{config.id}.{name}"
        place = f"{where}/{name}" if source == "file" else where
        if field is not None and field not in config.model_fields_set:
            yield Voice(key, value, "default", "")
        elif name == "apiKey" and config.id in host.roster.key_places:
            yield _key_voice(key, value, host.roster.key_places[config.id])
        else:
            yield Voice(key, value, source, place)


def _key_voice(key: str, value: object, place: str) -> Voice:
    if place in ("keyring", "file"):
        return Voice(key, value, "stored", f"modelbay keys ({place})")
    return Voice(key, value, "environment", place)


def shown(config: ProviderConfig) -> dict[str, Any]:
    """A provider as the file would have it, without a single secret."""
    values: dict[str, Any] = {
        name: value
        for name, value in config.model_dump(mode="json", by_alias=True, exclude={"models"}).items()
        if value not in (None, "")
    }
    values["baseUrl"] = shown_url(config.base_url) if config.base_url else ""
    if config.api_key is not None:
        values["apiKey"] = SET
    if config.headers:
        values["headers"] = dict.fromkeys(config.headers, SET)
    for name in config.extra:
        values[name] = _without_secrets(name, config.extra[name])
    if config.models:
        values["models"] = {
            pattern: facts.model_dump(mode="json", by_alias=True, exclude_none=True)
            for pattern, facts in config.models.items()
        }
    return values


def _without_secrets(name: str, value: object) -> object:
    """A plugin's own key: nobody here knows what it means, so its name decides."""
    if is_secret(name) and not name.lower().endswith("env"):
        return SET
    if isinstance(value, dict):
        return {inner: _without_secrets(inner, held) for inner, held in value.items()}
    if isinstance(value, list):
        return [_without_secrets(name, held) for held in value]
    if isinstance(value, str) and "://" in value:
        return shown_url(value)
    return value
