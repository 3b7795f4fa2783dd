"""From what is configured to what a host holds: the file read, and a handle for each provider."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelbay.config import ProvidersFile, parse_providers_file, unreadable
from modelbay.context import ProviderContext
from modelbay.errors import ConfigError, ModelbayError, PluginLoadError
from modelbay.host.backend import Backend
from modelbay.host.handles import ProviderHandle
from modelbay.host.loader import Plugin
from modelbay.host.resources import HostResources
from modelbay.models.provider import ProviderConfig
from modelbay.resolve import Resolver


def read_providers(path: Path) -> ProvidersFile:
    """The file; an empty one where there is none.

    Raises:
        ConfigError: It cannot be read, or is malformed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows begin with its mark
    except FileNotFoundError:
        return ProvidersFile()  # normal: there is no configuration until somebody writes one
    except UnicodeDecodeError as exc:
        raise ConfigError("not UTF-8 text", where=str(path)) from exc
    except OSError as exc:
        unreadable(path, exc)
    return parse_providers_file(text, str(path))


def require_unique(providers: Sequence[ProviderConfig]) -> None:
    """Raises ConfigError for an id that is given twice."""
    ids = [provider.id for provider in providers]
    twice = next((one for one in ids if ids.count(one) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"the id '{twice}' is given to {ids.count(twice)} providers",
            where="providers",
            hint="give every provider an id of its own",
        )


def make_handle(
    config: ProviderConfig, by_kind: Mapping[str, Plugin], resources: HostResources
) -> ProviderHandle:
    """The provider with its plugin's backend, or with the reason why it has none."""
    plugin = by_kind.get(config.kind)
    if plugin is None:
        return ProviderHandle(
            config,
            problem=not_installed(config.kind, sorted(by_kind), provider_id=config.id),
        )
    if plugin.manager is None:
        return ProviderHandle(config, problem=_absent(plugin, config))
    try:
        backend = Backend(plugin.kind, plugin.manager, ProviderContext(config, resources))
        if backend.table.tls_in_dsn and (secure := config.over_tls()) is not config:
            config = secure
            backend = Backend(plugin.kind, plugin.manager, ProviderContext(config, resources))
    except ModelbayError as exc:
        return ProviderHandle(config, problem=exc)
    return ProviderHandle(config, backend, Resolver(config, backend.table), version=plugin.version)


def choose_default_provider(file: ProvidersFile, handles: Sequence[ProviderHandle]) -> str | None:
    """The one that is configured, else the first local one, else the first.

    Raises:
        ConfigError: What is configured is none of them.
    """
    wanted = file.default_provider
    ids = [handle.id for handle in handles]
    if wanted is not None:
        if wanted not in ids:
            raise ConfigError(
                f"'{wanted}' is none of the providers ({', '.join(ids) or 'none'})",
                where=file.where,
                pointer="/defaultProvider",
                hint="name one of them, or remove the key",
            )
        return wanted
    local = [h.id for h in handles if h.table is not None and h.table.local]
    return next(iter((*local, *ids)), None)


def not_installed(
    kind: str, kinds: Sequence[str], *, provider_id: str | None = None
) -> PluginLoadError:
    """The error for a kind that is none of ``kinds``, which are installed.

    No package's name is guessed: whoever mistypes a kind would be told to install a stranger's.
    """
    near = difflib.get_close_matches(kind.lower(), kinds, 1)
    return PluginLoadError(
        f"no plugin for kind '{kind}' is installed (installed: {', '.join(kinds) or 'none'})",
        provider_id=provider_id,
        hint=f"modelbay plugin list   # did you mean '{near[0]}'?"
        if near
        else "modelbay plugin list",
    )


def _absent(plugin: Plugin, config: ProviderConfig) -> ModelbayError:
    if plugin.error is not None:
        return plugin.error
    return PluginLoadError(
        f"the plugin for kind '{config.kind}' is switched off",
        provider_id=config.id,
        hint=f"take '{plugin.kind}' out of MODELBAY_DISABLE",
    )
