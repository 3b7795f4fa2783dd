"""Commands that come from elsewhere: the entry-point group ``modelbay.commands``.

Looked for only when a name is not one of ours, or when all of them are to be listed: reading the
metadata of everything that is installed takes longer than most commands.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import click

GROUP = "modelbay.commands"


@dataclass(frozen=True, slots=True)
class PluginCommand:
    """A command of a plugin: its name, the distribution it is from, and what it does."""

    name: str
    dist: str
    summary: str


def find_command(name: str) -> click.Command | None:
    """The command a plugin offers under this name.

    Raises:
        PluginLoadError: It is there and cannot be loaded.
    """
    return next((_load(*found) for found in _offers() if found[0] == name), None)


def all_commands() -> list[PluginCommand]:
    """Every plugin's commands, by name; one that cannot be loaded says so in its summary."""
    from modelbay.errors import PluginLoadError

    listed: dict[str, PluginCommand] = {}
    for name, dist, entry in _offers():
        try:
            summary = _load(name, dist, entry).get_short_help_str(60)
        except PluginLoadError as exc:
            summary = f"(broken: {exc.message})"
        listed.setdefault(name, PluginCommand(name, dist, summary))
    return [listed[name] for name in sorted(listed)]


def _offers() -> Iterator[tuple[str, str, object]]:
    """Name, distribution and entry point, one distribution at a time.

    One damaged distribution would make ``entry_points()`` lose all; `modelbay doctor` names it.
    """
    import importlib_metadata

    for dist in importlib_metadata.distributions():
        try:
            entries = [entry for entry in dist.entry_points if entry.group == GROUP]
            name = dist.metadata["Name"]
        except Exception:  # noqa: S112 - damaged in whatever way, and reported by doctor
            continue
        for entry in entries:
            yield entry.name, str(name), entry


def _load(name: str, dist: str, entry: object) -> click.Command:
    from modelbay.errors import PluginLoadError

    hint = f"pip install --upgrade {dist}   # or: pip uninstall {dist}"
    try:
        command = entry.load()  # type: ignore[attr-defined] # any version's EntryPoint
    except (Exception, SystemExit) as exc:  # whatever a stranger's module does when imported
        raise PluginLoadError(
            f"the command '{name}' of {dist} cannot be imported: {type(exc).__name__}: {exc}",
            hint=hint,
        ) from exc
    if not isinstance(command, click.Command):
        raise PluginLoadError(
            f"the command '{name}' of {dist} is {type(command).__name__}, no click command",
            hint=hint,
        )
    return command
