"""Commands that come from elsewhere: the entry-point group ``modelbay.commands``.

Looked for only when a name is not one of ours, or when all of them are to be listed: reading the
metadata of everything that is installed takes longer than most commands.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from modelbay.host.entry_points import Found

GROUP = "modelbay.commands"
KINDS = "modelbay"


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
    return next((_load(found) for found in _offers() if found.name == name), None)


def all_commands() -> list[PluginCommand]:
    """Every plugin's commands, by name; one that cannot be loaded says so in its summary."""
    from modelbay.errors import PluginLoadError

    listed: dict[str, PluginCommand] = {}
    for entry in _offers():
        try:
            summary = _load(entry).get_short_help_str(60)
        except PluginLoadError as exc:
            summary = f"(broken: {exc.message})"
        listed.setdefault(entry.name, PluginCommand(entry.name, entry.dist, summary))
    return [listed[name] for name in sorted(listed)]


def _offers() -> "Iterator[Found]":
    """Name, distribution and entry point, in the order of the path.

    None of a distribution whose kind ``MODELBAY_DISABLE`` names: nothing of it is imported.
    """
    from modelbay.host.entry_points import installed_distributions, read_entry_points

    # `modelbay doctor` names those whose metadata is damaged.
    found, _ = read_entry_points(installed_distributions(), (KINDS, GROUP))
    off = {name.strip() for name in os.environ.get("MODELBAY_DISABLE", "").split(",")}
    disabled = {entry.dist for entry in found[KINDS] if entry.name in off}
    yield from (entry for entry in found[GROUP] if entry.dist not in disabled)


def _load(entry: "Found") -> click.Command:
    from modelbay.errors import PluginLoadError
    from modelbay.host.importing import import_guarded
    from modelbay.host.versions import misfit

    what, dist = f"the command '{entry.name}' of {entry.dist}", entry.dist
    unfit = misfit(what, dist, entry.version, entry.requires)
    if unfit is not None:
        raise PluginLoadError(unfit[0], hint=unfit[1])
    done = import_guarded(entry.load, what, dist, entry.value)
    if done.error is not None:
        raise done.error
    if not isinstance(done.module, click.Command):
        raise PluginLoadError(
            f"{what} is {type(done.module).__name__}, no click command",
            hint=f"modelbay plugin upgrade {dist}   # or: modelbay plugin uninstall {dist}",
        )
    return done.module
