"""`modelbay record`: run a program and write down what it and the servers say to each other."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import click

from modelbay_cli.failure import FAILED, tell
from modelbay_cli.options import examples, verbose_option
from modelbay_cli.output import Screen

FOLDER = "recording"


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog=examples(
        "modelbay record -- modelbay chat hello",
        "modelbay record -o desk --provider desk -- modelbay chat -m desk/qwen3 hello",
        "modelbay record --test test_desk.py -- modelbay chat hello",
        "modelbay record -- sh -c 'curl $MODELBAY_RELAY_DESK/v1/models'",
    ),
)
@click.argument("words", metavar="[--] COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the exchanges are written; numbers go on in one that has some.  [default: the"
    " first of recording, recording-2, ... that is not there]",
)
@click.option(
    "--provider",
    "only",
    multiple=True,
    metavar="ID",
    help="Record this provider alone; several may be given.",
)
@click.option("--times", is_flag=True, help="Note when each piece of an answer came.")
@click.option(
    "--test",
    "test_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Then write a pytest module, as `modelbay replay --as-test` does.",
)
@verbose_option
@click.pass_context
def command(
    ctx: click.Context,
    words: Sequence[str],
    folder: Path | None,
    only: Sequence[str],
    times: bool,
    test_file: Path | None,
) -> None:
    """Run COMMAND, and write each exchange with a provider into a file of its own.

    COMMAND is any program that uses modelbay. Its providers are those it would have, each behind a
    relay on this machine; a program of another kind finds the relays' addresses in variables,
    MODELBAY_RELAY_ and the provider's id in capitals. The exit code is COMMAND's.

    Keys, tokens and cookies are blotted out, in whatever spelling. What was asked and answered is
    not: read it before you send it on.
    """
    from modelbay.testing.recording import Recorder
    from modelbay.testing.recording.entry import public_address
    from modelbay_cli.recording import running
    from modelbay_cli.recording.relaying import relay, require_providers, secrets_of
    from modelbay_cli.session import Session

    err = Screen.stderr()
    place = folder if folder is not None else _new_folder()
    with Session() as session:
        host = session.host
        require_providers(host, only)
        with Recorder(place, secrets=secrets_of(host), times=times) as recorder:
            relayed = relay(host, only, recorder)
            for name, address in relayed.addresses.items():
                err.line(f"recording {name} at {public_address(address)}", style="dim")
            for name, why in relayed.direct.items():
                err.line(f"not recording {name}: {why}", style="dim")
            try:
                code = running.run(words, relayed.document, relayed.variables, os.environ)
            except running.NotRunError as exc:
                tell(exc)
                code = exc.exit_code
    for problem in recorder.problems:
        # The words of others may hold anything that was sent.
        what = str(problem) if isinstance(problem, OSError) else type(problem).__name__
        err.line(f"not recorded: {what}", style="warning")
    count = len(recorder.folder.written)
    err.line(f"{count} exchange{'' if count == 1 else 's'} in {place}", style="dim")
    if test_file is not None and count:
        from modelbay_cli.recording.test_file import write

        write(place, test_file)
    ctx.exit(code or (FAILED if recorder.problems else 0))


def _new_folder() -> Path:
    numbered = (Path(f"{FOLDER}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([Path(FOLDER)], numbered) if not path.exists())
