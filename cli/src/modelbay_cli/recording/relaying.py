"""The providers of this user, with a relay in front of each."""

import re
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from modelbay import Host, ProviderConfig
from modelbay.errors import ConfigError
from modelbay.models.frozen import JsonObject
from modelbay.testing.recording import Recorder
from modelbay.testing.recording.entry import entry_of
from modelbay.testing.recording.redaction import address_secrets, is_secret_name

RELAY_VARIABLE = "MODELBAY_RELAY_"  # and the id, in capitals
_KEY_VARIABLE = "MODELBAY_RELAYED_KEY_"
_NO_NAME = re.compile(r"\W", re.ASCII)
_LOOK_S = 0.3
_SHORTEST_OF_VARIABLE = 8  # characters; shorter ones are rarely keys, and often words


@dataclass(slots=True)
class Relayed:
    """A configuration whose requests pass through relays.

    Attributes:
        document: The ``providers.json``.
        variables: What the program needs besides: keys, which stand in no file, and addresses.
        addresses: Of the relays, by provider.
        direct: Providers that are not recorded, and why.
    """

    document: JsonObject
    variables: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    direct: dict[str, str] = field(default_factory=dict)


def require_providers(host: Host, ids: Collection[str]) -> None:
    """Raises UnknownProviderError: one of them is none."""
    for name in ids:
        host.registry.handle(name)


def relay(host: Host, only: Collection[str], recorder: Recorder) -> Relayed:
    """Start the relays.

    A provider that a plugin merely proposes at an address where nobody listens is left out: the
    program would find nobody there either.

    Args:
        only: The ids of those that are recorded; all if empty.

    Raises:
        ConfigError: None can be recorded.
    """
    entries: list[JsonObject] = []
    relayed = Relayed({})
    for at, config in enumerate(handle.config for handle in host.providers):
        if config.source == "loopback" and config.id not in only and not _listens(config):
            continue
        entry = entry_of(config)
        if config.headers:
            entry["headers"] = dict(config.headers)
        if config.api_key is not None:
            variable = f"{_KEY_VARIABLE}{at}"
            relayed.variables[variable] = config.api_key.get_secret_value()
            entry["apiKeyEnv"] = variable
        if only and config.id not in only:
            relayed.direct[config.id] = "it was not asked for"
        elif not config.base_url:
            relayed.direct[config.id] = "it has no address"
        else:
            address = entry["baseUrl"] = recorder.relay(config)
            relayed.addresses[config.id] = address
            name = _NO_NAME.sub("_", config.id).upper()
            relayed.variables[f"{RELAY_VARIABLE}{name}"] = address
        entries.append(entry)
    if not relayed.addresses:
        raise ConfigError(
            "there is no provider to record", hint="modelbay providers add KIND://HOST:PORT"
        )
    relayed.document = {"providers": [*entries], **_top(host, {str(e["id"]) for e in entries})}
    return relayed


def secrets_of(host: Host) -> Iterator[str]:
    """Every secret this host can know: of its providers, the environment and the stored keys."""
    for name, value in host.env.items():
        if is_secret_name(name) and len(value) >= _SHORTEST_OF_VARIABLE:
            yield value
        if "://" in value and "@" in value:
            yield from _of_address(value)
    for handle in host.providers:
        config = handle.config
        if config.api_key is not None:
            yield config.api_key.get_secret_value()
        for name, value in config.headers.items():
            if is_secret_name(name):
                yield value
                yield value.partition(" ")[2]
        yield from _of_address(config.base_url)
        yield from _members(config.extra)
    try:
        stored = [key.name for key in host.keys.list() if key.place == "file"]
        yield from filter(None, map(host.keys.get, stored))
    except ConfigError:
        pass  # what cannot be read cannot be sent either


def _of_address(url: str) -> Iterator[str]:
    try:
        yield from address_secrets(url)
    except ValueError:
        yield url.partition("://")[2].rpartition("@")[0]


def _members(value: object) -> Iterator[str]:
    match value:
        case dict():
            for name, held in value.items():
                if isinstance(held, str) and is_secret_name(name):
                    yield held
                yield from _members(held)
        case list():
            for held in value:
                yield from _members(held)


def _top(host: Host, ids: Collection[str]) -> JsonObject:
    """What stands beside the providers, so that the same ones are chosen."""
    found: JsonObject = {}
    default = host.catalog.default_provider
    if default in ids:
        found["defaultProvider"] = default
    if host.file.default_model is not None:
        found["defaultModel"] = host.file.default_model
    if host.file.wrappers:
        found["wrappers"] = [*host.file.wrappers]
    return found


def _listens(config: ProviderConfig) -> bool:
    parts = urlsplit(config.base_url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), _LOOK_S).close()
    except (OSError, ValueError):
        return False
    return True
