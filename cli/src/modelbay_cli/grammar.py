"""What every command takes, worked out from click's own description, for `completion` to keep."""

from typing import TYPE_CHECKING

import click

from modelbay_cli.app import app
from modelbay_cli.ready import ALIASES, COMMANDS

if TYPE_CHECKING:
    from modelbay_cli.completion import Grammar

# What an argument or an option's value is, by the word that help shows for it.
_KINDS = {
    "REF": "ref",
    "PROVIDER/NAME": "ref",
    "FILTER": "filter",
    "PROVIDER": "provider",
    "PROVIDER_ID": "provider",
    "PROVIDER|VARIABLE": "provider",
    "CONVERSATION": "conversation",
    "CONVERSATION_ID": "conversation",
    "FILE": "file",
    "COMMAND": "=" + "|".join(COMMANDS),
}


def work_out() -> "Grammar":
    """Every command by its words; ``""`` is the program itself, and ``?`` one that is not known.

    A command that cannot be imported takes nothing.
    """
    root = click.Context(app, info_name="modelbay", resilient_parsing=True, **app.context_settings)
    found: Grammar = {"?": {"options": {}, "arguments": [], "commands": {}}}
    shown = {name: (text, "shown") for name, text in COMMANDS.items()}
    aliases = {alias: (COMMANDS[name], "") for alias, name in ALIASES.items() if name in COMMANDS}
    found[""] = {"options": _options("", app, root), "arguments": [], "commands": shown | aliases}
    for name in (*COMMANDS, *ALIASES):
        try:
            command = app.get_command(root, name)
        except Exception:  # noqa: S112 - whatever is wrong with it, calling it says so
            continue
        if command is not None:
            _add(found, name, command, root)
    if "run" in found:  # it takes the model first
        found["run"]["arguments"] = ["ref", *found["run"]["arguments"]]
    return found


def _add(found: "Grammar", path: str, command: click.Command, parent: click.Context) -> None:
    context = click.Context(command, info_name=path, parent=parent, resilient_parsing=True)
    inner = command.commands if isinstance(command, click.Group) else {}
    found[path] = {
        "options": _options(path, command, context),
        "arguments": [
            _kind(path, parameter) + ("*" if parameter.nargs == -1 else "")
            for parameter in command.params
            if isinstance(parameter, click.Argument)
        ],
        "commands": {
            name: (each.get_short_help_str(60), "" if each.hidden else "shown")
            for name, each in inner.items()
        },
    }
    for name, each in inner.items():
        _add(found, f"{path} {name}", each, context)


def _options(
    path: str, command: click.Command, context: click.Context
) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            takes = not (parameter.is_flag or parameter.count)
            kind = (_kind(path, parameter) or "?") if takes else ""
            for name in (*parameter.opts, *parameter.secondary_opts):
                found[name] = (kind, parameter.help or "")
    return found


def _kind(path: str, parameter: click.Parameter) -> str:
    if isinstance(parameter.type, click.Choice):
        return "=" + "|".join(str(choice) for choice in parameter.type.choices)
    if isinstance(parameter.type, click.Path):
        return "file"
    name = (parameter.name or "").upper()
    shown = (parameter.metavar or name).strip("[].")
    kind = _KINDS.get(shown) or _KINDS.get(name, "")
    if kind == "ref" and path.startswith("fav") and path != "fav add":
        return "favorite"
    return kind
