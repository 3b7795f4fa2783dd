"""Load the wrappers that the configuration names, ours and those that are installed."""

import re
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module

import pluggy

from modelbay import hookspecs
from modelbay.errors import PluginLoadError
from modelbay.host.entry_points import Found
from modelbay.host.importing import import_guarded
from modelbay.host.versions import misfit

# These ship with the core and need no metadata; a name of theirs is never a stranger's.
OURS = {
    "concurrency": "modelbay.host.wrappers.concurrency",
    "request-log": "modelbay.host.wrappers.request_log",
}
NOT_INSTALLED = "this wrapper is switched on and not installed"


def load_wrappers(
    wanted: Iterable[str], found: Sequence[Found]
) -> tuple[list[tuple[str, object]], list[tuple[str, str]]]:
    """The wrappers by name, in the order given, and those that cannot be used, with the reason.

    Args:
        wanted: ``NAME`` or ``NAME:SETTINGS``; of two of one name the first counts.
        found: The entry points of the group ``modelbay.wrappers``.
    """
    installed = {entry.name: entry for entry in reversed(found)}
    settings: dict[str, str] = {}
    for text in wanted:
        name, _, given = text.partition(":")
        settings.setdefault(name, given)
    loaded: list[tuple[str, object]] = []
    failed: list[tuple[str, str]] = []
    missing: list[tuple[str, str]] = []
    for name, given in settings.items():
        try:
            if name in OURS:
                wrapper: object = import_module(OURS[name])
            elif name in installed:
                wrapper = _imported(installed[name])
            else:
                missing.append((name, NOT_INSTALLED))
                continue
            loaded.append((name, _fitting(_configured(wrapper, given))))
        except KeyboardInterrupt:
            raise
        except PluginLoadError as exc:
            failed.append((f"wrapper {name}", exc.message))
        except BaseException as exc:  # its `configure` is a stranger's
            failed.append((f"wrapper {name}", f"{type(exc).__name__}: {exc}"))
    return loaded, [*failed, *sorted(missing)]


def numbers(settings: str) -> tuple[int | None, dict[str, int]]:
    """Read ``4,desk=1``: a number for all, and others by name.

    Raises:
        ValueError: It is none of that, or a number is below 1.
    """
    every: int | None = None
    named: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in settings.split(","))):
        match = re.fullmatch(r"(?:(?P<name>[^=]+?)\s*=\s*)?(?P<number>[1-9][0-9]*)", part)
        if match is None:
            raise ValueError(f"'{part}' is no NUMBER and no NAME=NUMBER")
        if match["name"] is None:
            every = int(match["number"])
        else:
            named[match["name"]] = int(match["number"])
    return every, named


def _imported(entry: Found) -> object:
    """The module or object that an entry point names.

    Raises:
        PluginLoadError: It is not for this core, or cannot be imported.
    """
    unfit = misfit(f"wrapper '{entry.name}'", entry.dist, entry.version, entry.requires)
    if unfit is not None:
        raise PluginLoadError(unfit[0], hint=unfit[1])
    done = import_guarded(entry.load, f"wrapper '{entry.name}'", entry.dist, entry.value)
    if done.error is not None:
        raise done.error
    return done.module


def _configured(wrapper: object, settings: str) -> object:
    """What ``configure(settings)`` gives where there is such a function; else the thing itself.

    Raises:
        ValueError: Settings are given and nothing takes them.
    """
    configure: Callable[[str], object] | None = getattr(wrapper, "configure", None)
    if configure is not None:
        return configure(settings)
    if settings:
        raise ValueError(f"it takes no settings, and was given '{settings}'")
    return wrapper


def _fitting(wrapper: object) -> object:
    """The wrapper, proven to fit the hooks and to have one.

    Raises:
        PluginValidationError: A hook of it is unknown or asks for what there is not.
        ValueError: It wraps nothing, or would answer in a plugin's place.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(wrapper)
    manager.check_pending()
    names = (*hookspecs.REQUIRED, *hookspecs.OPTIONAL)
    hooks = [hook for name in names for hook in getattr(manager.hook, name).get_hookimpls()]
    if not hooks or not all(hook.wrapper or hook.hookwrapper for hook in hooks):
        raise ValueError("every hook of a wrapper is marked @hookimpl(wrapper=True)")
    return wrapper
