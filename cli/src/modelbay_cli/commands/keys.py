"""`modelbay keys`: keys of hosted providers, stored where no file of the project holds them."""

import os
import sys
from urllib.parse import urlsplit

import click

from modelbay import Host
from modelbay.config import locations
from modelbay.errors import UnknownProviderError
from modelbay.host.handles import ProviderHandle
from modelbay.keys import KeyStore
from modelbay_cli.options import examples, json_option, verbose_option
from modelbay_cli.output import NOTHING, Screen, Section, table
from modelbay_cli.session import Session


@click.group(
    epilog=examples(
        "modelbay keys set deepseek           # asks for the key, and does not show it",
        "modelbay keys set desk --file < key.txt",
        "modelbay keys list",
        "modelbay keys rm deepseek",
    )
)
def command() -> None:
    """Store keys for providers, in the system's keyring or in a file of your own.

    A variable always comes first. Keys are never shown, and each is sent to one host alone.
    """


@command.command(
    epilog=examples("modelbay keys set deepseek", "modelbay keys set DEEPSEEK_API_KEY --file")
)
@click.argument("name", metavar="PROVIDER|VARIABLE")
@click.option(
    "--file",
    "in_file",
    is_flag=True,
    help="Keep it in a file that you alone may read, instead of the keyring.",
)
@verbose_option
def set(name: str, in_file: bool) -> None:
    """Store a key: asked for, or read from what is piped in.

    PROVIDER is a provider's id. A VARIABLE, in capitals, stands in for the one of that name, so
    that a provider is proposed as if it were set.
    """
    with Session() as session:
        host = _host_of(session.host, name)
    if sys.stdin.isatty():
        key = click.prompt(f"key of {name}", hide_input=True, err=True)
    else:
        key = sys.stdin.readline()
    key = key.strip()
    if not key:
        raise click.UsageError("the key is empty")
    _store().set(name, key, place="file" if in_file else "keyring", host=host)
    where = "the file of stored keys" if in_file else "the system's keyring"
    bound = f", for {host} alone" if host else ""
    Screen.stdout().line(f"the key of {name} is in {where}{bound}")


@command.command("list", epilog=examples("modelbay keys list", "modelbay keys list --json"))
@json_option
@verbose_option
def list_(as_json: bool) -> None:
    """Print which keys are stored and where, never the keys."""
    out = Screen.stdout()
    stored = _store().list()
    if as_json:
        out.json([{"name": k.name, "place": k.place, "host": k.host} for k in stored])
        return
    rows = [[key.name, key.place, key.host or NOTHING] for key in stored]
    if rows:
        table(out, ("NAME", "STORED IN", "SENT TO"), [Section(rows)])
    else:
        Screen.stderr().line("no keys are stored", style="dim")


@command.command(epilog=examples("modelbay keys rm deepseek"))
@click.argument("name", metavar="PROVIDER|VARIABLE")
@verbose_option
@click.pass_context
def rm(ctx: click.Context, name: str) -> None:
    """Forget a stored key."""
    if not _store().remove(name):
        Screen.stderr().line(f"no key of '{name}' is stored")
        ctx.exit(1)
    Screen.stdout().line(f"the key of {name} is forgotten")


def _store() -> KeyStore:
    return KeyStore(locations(os.environ).data / "keys.json")


def _host_of(host: Host, name: str) -> str | None:
    """The one host this key may be sent to.

    Raises:
        UnknownProviderError: It is neither a provider nor the name of a variable.
    """
    for handle in host.providers:
        if name in (handle.id, handle.config.api_key_env):
            return _address(handle)
    if name.isupper():
        return None
    ids = ", ".join(handle.id for handle in host.providers)
    raise UnknownProviderError(
        f"'{name}' is no provider ({ids or 'there are none'})",
        hint="modelbay keys set VARIABLE   # stands in for a variable, such as DEEPSEEK_API_KEY",
    )


def _address(handle: ProviderHandle) -> str | None:
    return urlsplit(handle.config.base_url).hostname
