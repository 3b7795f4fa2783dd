"""The `modelbay` command; the version and the help come before anything large is imported."""

import os
import sys


def main() -> int:
    """Run the command line; the result is the exit code.

    Neither modelbay, click nor typing is imported up here: starting them takes longer than all
    that the cheap calls have to do.
    """
    try:
        _open_closed_streams()
        arguments = sys.argv[1:]
        if "_MODELBAY_COMPLETE" in os.environ:  # a shell asks click what could come next
            from modelbay_cli.app import run

            return run(arguments)
        if arguments in ([], ["--help"], ["-h"]):
            from modelbay_cli.ready import help_text

            return _say(help_text())
        if arguments in (["--version"], ["-V"]):
            from modelbay_cli.ready import VERSION

            return _say(f"modelbay {VERSION}\n")
        if arguments[0] in ("models", "list", "ls"):
            from modelbay_cli.warm import text

            listing = text(arguments)
            if listing is not None:
                return _say(listing)
        from modelbay_cli.app import run

        return run(arguments)
    except KeyboardInterrupt:  # while importing; a command that runs deals with it itself
        return 130


def _say(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        return 141
    except OSError as exc:  # a full disk
        _forget_output()
        sys.stderr.write(f"error: {exc}\n")
        return 1
    return 0


def _forget_output() -> None:
    # Else the interpreter complains once more when it flushes at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed_streams() -> None:
    """Streams that are closed from the beginning lead nowhere, as with ``>&-``.

    In this order each becomes the number it has to be; else the next file that is opened, such as
    the state, would be standard output.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
