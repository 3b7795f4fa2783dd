"""`modelbay replay`: serve recorded exchanges, or make a test of them."""

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelbay_cli.failure import tell
from modelbay_cli.options import examples, verbose_option
from modelbay_cli.output import Screen

if TYPE_CHECKING:
    from modelbay.models.frozen import JsonObject


@click.command(
    context_settings={"allow_interspersed_args": True},
    epilog=examples(
        "modelbay replay recording                    # until Ctrl-C",
        "modelbay replay recording --port 8080 --paced",
        "modelbay replay recording -- modelbay chat hello",
        "modelbay replay recording --as-test test_desk.py",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("words", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--port",
    type=click.IntRange(min=0, max=65535),
    default=0,
    help="Of the first provider; others take the next ones.  [default: any free one]",
)
@click.option(
    "--provider",
    "only",
    multiple=True,
    metavar="ID",
    help="Serve this provider alone; several may be given.",
)
@click.option("--paced", is_flag=True, help="Answer as slowly as recorded with --times.")
@click.option(
    "--as-test",
    "test_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a pytest module that asks the recording again, and serve nothing.",
)
@verbose_option
@click.pass_context
def command(
    ctx: click.Context,
    folder: Path,
    words: Sequence[str],
    port: int,
    only: Sequence[str],
    paced: bool,
    test_file: Path | None,
) -> None:
    """Serve the exchanges in FOLDER on this machine, and run COMMAND with them if there is one.

    Without COMMAND it prints a providers.json that leads here, and serves until Ctrl-C. What was
    not recorded is answered with 501, and which part of the request differs.
    """
    if test_file is not None:
        if words or port or only or paced:
            raise click.UsageError("--as-test goes with FOLDER alone")
        from modelbay_cli.recording.test_file import write

        write(folder, test_file)
        return
    from modelbay.testing.recording import Replay
    from modelbay_cli.recording import running

    out, err = Screen.stdout(), Screen.stderr()
    with Replay(folder, provider_ids=only, port=port, paced=paced) as replay:
        document: JsonObject = {"providers": [*replay.entries]}
        try:
            if words:
                ctx.exit(running.run(words, document, {}, os.environ))
            out.line(json.dumps(document, ensure_ascii=False))
            for entry in replay.entries:
                err.line(f"{entry['id']} is at {entry['baseUrl']}; Ctrl-C ends it", style="dim")
            threading.Event().wait()
        except running.NotRunError as exc:
            tell(exc)
            ctx.exit(exc.exit_code)
        finally:
            for miss in replay.misses:
                err.line(str(miss), style="warning")
