"""`modelbay fake`: a pretended server, to try things without a real one."""

import threading
from importlib.metadata import EntryPoint, entry_points

import click

from modelbay.testing.simulator import Simulator
from modelbay_cli.options import examples, verbose_option
from modelbay_cli.output import Screen

GROUP = "modelbay.simulators"


@click.command(
    epilog=examples(
        "modelbay fake                # which ones there are",
        "modelbay fake ollama         # on its usual port, until Ctrl-C",
        "modelbay fake llamacpp --port 0",
    )
)
@click.argument("kind", default="")
@click.option(
    "--port",
    type=click.IntRange(min=0, max=65535),
    help="Instead of the server's usual port; 0 for any free one.",
)
@verbose_option
def command(kind: str, port: int | None) -> None:
    """Start a simulator of a server, with a few pretended models, on this machine alone.

    What it answers is made up. It ends with Ctrl-C.
    """
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    out = Screen.stdout()
    if not kind:
        for name in sorted(known):
            out.line(name)
        return
    if kind not in known:
        raise click.BadParameter(f"known: {', '.join(sorted(known)) or 'none'}", param_hint="KIND")
    with _simulator(known[kind], port) as simulator:
        out.line(simulator.base_url)
        Screen.stderr().line(f"a pretended {kind} server; Ctrl-C ends it", style="dim")
        threading.Event().wait()


def _simulator(entry: EntryPoint, port: int | None) -> Simulator:
    """The plugin's own, made by ``demo(port)``; without a port on the server's usual one."""
    demo = entry.load()
    simulator = demo() if port is None else demo(port)
    assert isinstance(simulator, Simulator)  # the group's one promise
    return simulator
