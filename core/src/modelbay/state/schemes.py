"""Other places for the state: plugins that bring a URL scheme."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, cast

import importlib_metadata

from modelbay.errors import ConfigError, PluginLoadError
from modelbay.state.store import StateStore

GROUP = "modelbay.state"  # an entry point's name is the scheme, its object an `Opener`


class Opener(Protocol):
    """Makes the store of a URL of its scheme; connects to nothing yet."""

    def __call__(self, url: str, *, clock: Callable[[], float]) -> StateStore: ...


def opener(
    scheme: str,
    distributions: Callable[[], Iterable[importlib_metadata.Distribution]] | None = None,
) -> Opener:
    """What opens URLs of this scheme. The URL itself, which may hold a password, is never told.

    Raises:
        ConfigError: No installed distribution brings this scheme.
        PluginLoadError: One does, and cannot be imported, or makes no store.
    """
    known = {"sqlite"}
    for entry, dist in _entry_points((distributions or _installed)()):
        known.add(entry.name)
        if entry.name == scheme:
            return _checked(entry, dist)
    raise ConfigError(
        f"no state store for URLs of '{scheme}' (known: {', '.join(sorted(known))})",
        hint=f"sqlite:///PATH, or install a plugin that brings '{scheme}'",
    )


def _checked(entry: importlib_metadata.EntryPoint, dist: str) -> Opener:
    try:
        load = entry.load()
    except (Exception, SystemExit) as exc:  # whatever a stranger's module does when imported
        raise PluginLoadError(
            f"the state store '{entry.name}' of {dist} cannot be imported: {type(exc).__name__}",
            hint=f"pip install --force-reinstall {dist}   # or: pip uninstall {dist}",
        ) from exc

    def made(url: str, *, clock: Callable[[], float]) -> StateStore:
        try:
            store = load(url, clock=clock)
        except ConfigError:
            raise
        except Exception as exc:
            raise PluginLoadError(
                f"the state store '{entry.name}' of {dist} cannot be made: {type(exc).__name__}",
                hint=f"pip install --upgrade {dist}",
            ) from exc
        missing = [name for name in _methods() if not hasattr(store, name)]
        if missing:
            raise PluginLoadError(
                f"the state store '{entry.name}' of {dist} lacks {', '.join(missing)}",
                hint=f"pip install --upgrade {dist}",
            )
        return store  # type: ignore[no-any-return]  # it has every method of one

    return made


def _methods() -> list[str]:
    return [
        name
        for name in vars(StateStore)
        if not name.startswith("_") or name in ("__aenter__", "__aexit__")
    ]


def _installed() -> Iterator[importlib_metadata.Distribution]:
    for dist in importlib_metadata.distributions():
        yield cast("importlib_metadata.Distribution", dist)  # typed as a narrower protocol


def _entry_points(
    distributions: Iterable[importlib_metadata.Distribution],
) -> Iterator[tuple[importlib_metadata.EntryPoint, str]]:
    """One at a time: a distribution with damaged metadata must not hide the others."""
    for distribution in distributions:
        try:
            name = distribution.metadata["Name"] or "unknown"
            entries = tuple(distribution.entry_points.select(group=GROUP))
        except Exception:  # noqa: S112 - `modelbay doctor` names it
            continue
        yield from ((entry, name) for entry in entries)
