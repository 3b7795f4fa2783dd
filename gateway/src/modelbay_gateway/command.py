"""`modelbay serve`: one address for every model."""

import asyncio
import gc
import logging
import os
import time
from typing import TYPE_CHECKING

import click

from modelbay.config import locations
from modelbay.dsn import parse_dsn
from modelbay_gateway.client_keys import FILE, ClientKeys
from modelbay_gateway.scopes import SCOPES
from modelbay_gateway.style import REASONING_FIELDS, ReasoningField

if TYPE_CHECKING:
    from modelbay.host.host import Host
    from modelbay_gateway.limits import Limits
    from modelbay_gateway.security import Access

PORT = 4747
HOST = "127.0.0.1"
STATE_FILE = "state.db"
_YOUNG_OBJECTS = 10_000  # some megabytes; Python looks through them after each 700


def _examples(*lines: str) -> str:
    """The last section of a command's help; ``\\b`` keeps click from filling the lines."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    invoke_without_command=True,
    epilog=_examples(
        "modelbay serve",
        "modelbay serve --port 8080",
        "modelbay serve keys add laptop && modelbay serve --host 0.0.0.0",
        "modelbay serve --allow-origin https://chat.example.org",
    ),
)
@click.option("--host", default=HOST, show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="The port; 0 is any free one.",
)
@click.option(
    "--key",
    "given",
    multiple=True,
    metavar="KEY",
    help="A client key for this run; others on this machine may see it. Better: serve keys add.",
)
@click.option("--force", is_flag=True, help="Listen beyond this machine without any client key.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="Answer to this name.")
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of this web origin use it; * is all.",
)
@click.option(
    "--reasoning-field",
    type=click.Choice(REASONING_FIELDS),
    default="reasoning_content",
    show_default=True,
    help="Where OpenAI-style answers carry a model's thinking.",
)
@click.option(
    "--max-body",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    metavar="MIB",
    help="The largest body of a request, in MiB.",
)
@click.option(
    "--max-active",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Requests one provider works on at the same time; others wait.",
)
@click.option(
    "--drain",
    "drain_s",
    type=click.FloatRange(min=0),
    default=20,
    show_default=True,
    metavar="SECONDS",
    help="What running streams have to end, when it is told to stop.",
)
@click.option("-v", "--verbose", count=True, help="Log HTTP requests on stderr; -vv: everything.")
@click.pass_context
def command(
    ctx: click.Context,
    host: str,
    port: int,
    given: tuple[str, ...],
    force: bool,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    reasoning_field: ReasoningField,
    max_body: int,
    max_active: int,
    drain_s: float,
    verbose: int,
) -> None:
    """Serve every model at one address, in the protocols programs know.

    Reached from this machine alone, unless told otherwise.
    """
    if ctx.invoked_subcommand is not None:
        return
    from modelbay.host.host import Host
    from modelbay_gateway.limits import MIB, Limits
    from modelbay_gateway.security import Access, key_for_this_run
    from modelbay_gateway.server import new_event_loop

    _log_more(ctx, verbose)
    named = [
        parse_dsn(text, where="--provider")
        for text in getattr(ctx.find_root().obj, "providers", ())
    ]
    found = Host.open(also=named, cache=True)
    access = Access(
        bind=host,
        keys=ClientKeys(found.locations.data / FILE, clock=time.monotonic),
        given_keys=tuple(key_for_this_run(key, n) for n, key in enumerate(given, 1)),
        hosts=frozenset(hosts),
        origins=frozenset(origins),
        is_forced=force,
    )
    access.check()
    limits = Limits(body_bytes=max_body * MIB, active=max_active, drain_s=drain_s)
    _collect_seldom()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(found, access, limits, reasoning_field, port))


async def _serve(
    host: "Host", access: "Access", limits: "Limits", reasoning_field: ReasoningField, port: int
) -> None:
    from modelbay.state import open_store
    from modelbay_gateway.app import Gateway
    from modelbay_gateway.bay import Bay
    from modelbay_gateway.server import Server, address_of, listen
    from modelbay_gateway.style import Style

    # Its log is for those who run uvicorn itself; what matters here stands in ours.
    logging.getLogger("uvicorn").propagate = False
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())
    async with host, open_store(host.locations.data / STATE_FILE) as store:
        bay = Bay(host, store=store, limits=limits, style=Style(reasoning_field))
        with listen(access.bind, port) as listening:
            base = address_of(listening)
            server = Server(Gateway(bay, access), on_started=lambda: _tell(base))
            await server.serve(sockets=[listening])


def _collect_seldom() -> None:
    """What is imported by now stays; and an answer leaves nothing that refers to itself.

    With Python's own numbers, of a gateway's time with 256 requests at once a sixth goes into
    looking for it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)


def _log_more(ctx: click.Context, verbosity: int) -> None:
    """``-v`` here is the same as behind any other command."""
    invocation = ctx.find_root().obj
    if verbosity and hasattr(invocation, "verbosity"):
        invocation.verbosity = max(invocation.verbosity, verbosity)
        logging.getLogger("modelbay").setLevel(logging.DEBUG)


def _tell(base: str) -> None:
    click.echo(f"modelbay serves at {base}   (OpenAI: {base}/v1)")
    click.echo("Ctrl-C stops it", err=True)


@command.group(epilog=_examples("modelbay serve keys add laptop", "modelbay serve keys list"))
def keys() -> None:
    """Keys of clients. Once there is one, every request needs one."""


@keys.command(
    epilog=_examples("modelbay serve keys add laptop", "modelbay serve keys add ops --scope manage")
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("chat",),
    show_default=True,
    help="What it is good for; may be given several times.",
)
def add(name: str, scopes: tuple[str, ...]) -> None:
    """Make a key and print it, this once."""
    secret = _client_keys().add(name, scopes, now=int(time.time()))
    click.echo(secret)
    click.echo(f"this key is shown once; it is good for {', '.join(scopes)}", err=True)


@keys.command(
    "list", epilog=_examples("modelbay serve keys list", "modelbay serve keys list --json")
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Print the names of the keys and what they are good for."""
    import json

    found = _client_keys().list()
    if as_json:
        entries = [
            {"name": key.name, "scopes": sorted(key.scopes), "created": key.created}
            for key in found
        ]
        click.echo(json.dumps(entries, indent=2))
        return
    for key in found:
        click.echo(f"{key.name}  {', '.join(sorted(key.scopes))}")
    if not found:
        click.echo("there are no client keys", err=True)


@keys.command(epilog=_examples("modelbay serve keys rm laptop"))
@click.argument("name")
@click.pass_context
def rm(ctx: click.Context, name: str) -> None:
    """Forget a key; a running server refuses it from the next second on."""
    known = _client_keys()
    if not known.remove(name):
        click.echo(f"there is no key '{name}'", err=True)
        ctx.exit(1)
    click.echo(f"the key '{name}' is forgotten")
    if not known.list():
        click.echo(
            "it was the last one: a server that runs refuses every request until there is a new"
            " key; one that is started without any lets in whoever is on this machine",
            err=True,
        )


def _client_keys() -> ClientKeys:
    return ClientKeys(locations(os.environ).data / FILE, clock=time.monotonic)
