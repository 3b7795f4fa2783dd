"""Which providers a host has: named by somebody, or proposed by a plugin; each with its key."""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from pydantic import SecretStr

from modelbay.dsn import kind_of, parse_dsn
from modelbay.errors import ConfigError, PluginContractError
from modelbay.host import select
from modelbay.host.loader import Plugin
from modelbay.keys import KeyStore, StoredKey, origin
from modelbay.models.provider import ProviderConfig

DSN_PREFIX = "LLM_"
_NO_ID = re.compile(r"[^a-z0-9._-]+")
_MARK = "\0stored:"  # where a plugin copies a variable whose value lies in the store


@dataclass(slots=True)
class Roster:
    """The providers in their order.

    Attributes:
        origins: Who named a provider that stands in no file: a variable, or ``the caller``.
        key_places: Where a provider's key comes from, if not from its own entry: a variable's
            name, ``keyring`` or ``file``.
        problems: What is wrong with a provider, by its id.
    """

    providers: list[ProviderConfig] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    key_places: dict[str, str] = field(default_factory=dict)
    problems: dict[str, ConfigError] = field(default_factory=dict)


def call_roll(
    filed: Sequence[ProviderConfig],
    also: Sequence[ProviderConfig],
    env: Mapping[str, str],
    plugins: Sequence[Plugin],
    by_kind: Mapping[str, Plugin],
    keys: KeyStore,
) -> Roster:
    """The file's and the caller's providers, the environment's DSNs, then what is proposed.

    A kind that the file mentions is left to the file; an address that somebody named is proposed
    by nobody.
    """
    roster = Roster()
    named = [*filed]
    for config in also:
        place = next((i for i, other in enumerate(named) if other.id == config.id), len(named))
        named[place : place + 1] = [config]
        roster.origins[config.id] = "the caller"
    taken = {config.id for config in named}
    named += _from_variables(roster, env, by_kind, taken)
    taken = {config.id for config in named}
    mentioned = {by_kind[config.kind].kind for config in filed if config.kind in by_kind}
    addresses = {(by_kind[c.kind].kind, c.base_url) for c in named if c.kind in by_kind}
    stored = _Stored(keys)
    proposed: dict[str, ProviderConfig] = {}
    for plugin in plugins:
        if plugin.manager is None or plugin.kind in mentioned:
            continue
        for config in _proposals(roster, plugin, stored.added_to(env)):
            if config.id not in taken and (plugin.kind, config.base_url) not in addresses:
                taken.add(config.id)
                proposed[config.id] = config
    configured = {config.id: config for config in named if config.enabled}
    ids = select.order(
        list(configured),
        [(config.id, config.kind, config.source) for config in proposed.values()],
    )
    found = configured | proposed
    roster.providers = [_with_key(roster, found[name], env, stored) for name in ids]
    return roster


def _from_variables(
    roster: Roster, env: Mapping[str, str], by_kind: Mapping[str, Plugin], taken: AbstractSet[str]
) -> list[ProviderConfig]:
    """``LLM_<NAME>=KIND://...`` is provider ``<name>``, where the kind is an installed one.

    Other programs have variables of that form too, so all else is none of ours. Of two that name
    one provider neither is believed, and what is no provider is a row that says why.

    Args:
        taken: Ids that somebody else has named, who comes before a variable.
    """
    found: dict[str, ProviderConfig] = {}
    broken: list[tuple[str, str, str, ConfigError]] = []
    for variable in sorted(env):
        kind = kind_of(env[variable]) if variable.startswith(DSN_PREFIX) else None
        if kind is None or kind not in by_kind:
            continue
        name = variable.removeprefix(DSN_PREFIX).lower().replace("_", "-").strip("-") or kind
        try:
            config = parse_dsn(env[variable], where=variable, provider_id=name)
        except ConfigError as exc:
            broken.append((variable, name, kind, exc))
            continue
        if config.id in taken:
            continue
        if config.id in found:
            roster.problems.setdefault(
                config.id,
                ConfigError(
                    f"{roster.origins[config.id]} and {variable} both name provider '{config.id}'",
                    provider_id=config.id,
                    hint=f"unset {variable}   # or end it with another name: #NAME",
                ),
            )
            continue
        roster.origins[config.id] = variable
        found[config.id] = config
    for variable, name, kind, problem in broken:
        if name in taken:
            continue
        # A row of its own, whatever else goes by that name.
        fitting = _NO_ID.sub("-", variable.lower()).strip("-")
        free = (one for one in (name, fitting) if one not in found and not _NO_ID.search(one))
        row = next((one for one in free if one[:1].isalnum()), None)
        if row is not None:
            roster.problems[row], roster.origins[row] = problem, variable
            found[row] = ProviderConfig(id=row, kind=kind)
    return list(found.values())


def _proposals(roster: Roster, plugin: Plugin, env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    assert plugin.manager is not None  # the caller looked
    try:
        proposed = plugin.manager.hook.default_providers(env=env) or ()
        if not all(isinstance(config, ProviderConfig) for config in proposed):
            raise TypeError
    except ConfigError as exc:  # a variable of the user's is wrong, and nothing of the plugin's
        problem = ProviderConfig(id=plugin.kind, kind=plugin.kind, source="environment")
        roster.problems[problem.id] = exc
        return [problem]
    except (Exception, SystemExit) as exc:
        plugin.state, plugin.manager = "broken", None
        # The words of a foreign exception may hold anything the environment does.
        plugin.error = PluginContractError(
            f"plugin '{plugin.kind}': default_providers failed: {type(exc).__name__}",
            hint=f"modelbay plugin upgrade {plugin.dist}   # or uninstall it",
        )
        return ()
    return [
        config if config.implicit else config.model_copy(update={"source": "loopback"})
        for config in proposed
    ]


# --- keys -----------------------------------------------------------------------------------------


class _Stored:
    """The stored keys, read once; what is wrong with them concerns those who need one."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self.problem: ConfigError | None = None
        self._known: dict[str, StoredKey] = {}
        try:
            self._known = {key.name: key for key in keys.list()}
        except ConfigError as exc:
            self.problem = exc

    def added_to(self, env: Mapping[str, str]) -> Mapping[str, str]:
        """The environment, with the keys that stand in for variables which are not set.

        A plugin proposes its provider when it sees the variable. The value is not read for that: a
        mark stands there, which no variable can hold, and the key itself comes later.
        """
        missing = [name for name in self._known if name.isupper() and not _set(env, name)]
        return {**env, **{name: f"{_MARK}{name}" for name in missing}} if missing else env

    def find(self, config: ProviderConfig, marked: str | None) -> StoredKey | None:
        for name in (config.id, marked, config.api_key_env):
            if name in self._known:
                return self._known[name]
        return None

    def read(self, key: StoredKey, host: str) -> str | None:
        """The key; from now on it is for this origin alone."""
        value = self._keys.get(key.name)
        if value and key.host is None and host:
            self._keys.bind(key.name, host)
            self._known[key.name] = replace(key, host=host)
        return value


def _set(env: Mapping[str, str], name: str | None) -> str:
    """A variable's value; blank is not set."""
    return env.get(name, "").strip() if name else ""


def _with_key(
    roster: Roster, config: ProviderConfig, env: Mapping[str, str], stored: _Stored
) -> ProviderConfig:
    """The provider with its key: the variable's, else its own, else the stored one."""
    marked = None
    value: str | None = _set(env, config.api_key_env)
    if config.api_key is not None:
        own = config.api_key.get_secret_value()
        in_file = not config.implicit and config.id not in roster.origins
        if not own.startswith(_MARK) and not (value and in_file):
            return config
        marked = own.removeprefix(_MARK) if own.startswith(_MARK) else None
        config = config.model_copy(update={"api_key": None})
    if config.id in roster.problems:
        return config
    if value:
        roster.key_places[config.id] = config.api_key_env or ""
        return config.model_copy(update={"api_key": SecretStr(value)})
    key = stored.find(config, marked)
    if key is None:
        if stored.problem is not None and config.api_key_env:
            roster.problems[config.id] = stored.problem
        return config
    host = origin(config.base_url)
    secure = config.over_tls()  # of an address given in one line the kind says later which it is
    if key.host is not None and host and key.host not in (host, origin(secure.base_url)):
        roster.problems[config.id] = ConfigError(
            f"the stored key of '{key.name}' is for {key.host}, and the provider is at {host}",
            provider_id=config.id,
            hint=f"modelbay keys set {config.id}   # a key for {host}",
        )
        return config
    try:
        value = stored.read(key, host if secure is config else "")
    except ConfigError as exc:
        roster.problems[config.id] = exc
        return config
    if not value:
        return config
    roster.key_places[config.id] = key.place
    return config.model_copy(update={"api_key": SecretStr(value)})
