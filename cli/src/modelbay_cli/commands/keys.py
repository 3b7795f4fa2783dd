"""`modelbay keys`: keys of hosted providers, stored where no file of the project holds them."""

import os
import shlex
import sys
from dataclasses import dataclass

import click

from modelbay.config import locations
from modelbay.errors import UnknownProviderError
from modelbay.keys import KeyStore, origin
from modelbay_cli.offers import offers
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

    A variable always comes first. Keys are never shown, and each is sent to one server alone.
    """


@command.command(
    epilog=examples("modelbay keys set deepseek", "modelbay keys set DEEPSEEK_API_KEY --file")
)
@click.argument("name", metavar="PROVIDER|VARIABLE")
@click.argument("rest", nargs=-1, metavar="")
@click.option(
    "--file",
    "in_file",
    is_flag=True,
    help="Keep it in a file that you alone may read, instead of the keyring.",
)
@verbose_option
def set(name: str, rest: tuple[str, ...], in_file: bool) -> None:
    """Store a key: asked for, or read from what is piped in.

    PROVIDER is a provider's id, or a kind's name that is proposed once it has its key. A VARIABLE,
    in capitals, stands in for the one of that name, so that a provider is proposed as if it were
    set.
    """
    if rest:  # never shown: it is the key, as a rule
        raise click.UsageError(
            "a key is not an argument: it would stay in the shell's history. It is asked for,"
            f" or piped in: modelbay keys set {shlex.quote(name)} < FILE"
        )
    with Session() as session:
        target = _target(session, name)
    if sys.stdin.isatty():
        key = click.prompt(f"key of {name}", hide_input=True, err=True)
    else:
        key = sys.stdin.readline()
    key = key.strip()
    if not key:
        raise click.UsageError("the key is empty")
    host = origin(target.address) or None
    _store().set(target.name, key, place="file" if in_file else "keyring", host=host)
    where = "the file of stored keys" if in_file else "the system's keyring"
    out = Screen.stdout()
    out.line(
        f"the key of {target.name} is in {where}, for {host or 'the first it is sent to'} alone"
    )
    if target.name != name:
        out.line(f"{name} is proposed with it, as if the variable {target.name} were set")


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


@dataclass(frozen=True, slots=True)
class _Target:
    """The name a key is stored under, and the address it is for, where that is known."""

    name: str
    address: str = ""


def _target(session: Session, name: str) -> _Target:
    """What a key is for.

    Raises:
        UnknownProviderError: It is no provider, none that would be proposed, and no variable.
    """
    host = session.host
    for handle in host.providers:
        if name in (handle.id, handle.config.api_key_env):
            return _Target(name, handle.config.base_url)
    configured = {handle.kind for handle in host.providers}
    for offer in session.run(offers(host, look=False)):
        if offer.key_variable is None:
            continue
        is_named = name in (offer.id, offer.kind) and offer.kind not in configured
        if name == offer.key_variable or (is_named and offer.needs_key):
            return _Target(offer.key_variable, offer.address)
    if name.isupper():
        return _Target(name)
    ids = ", ".join(handle.id for handle in host.providers)
    raise UnknownProviderError(
        f"'{name}' is no provider ({ids or 'there are none'})",
        hint="modelbay keys set VARIABLE   # stands in for a variable, such as DEEPSEEK_API_KEY",
    )
