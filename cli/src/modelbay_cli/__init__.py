"""The `modelbay` command; the version and the help come before anything large is imported."""

import os
import sys


def main() -> int:
    """Run the command line; the result is the exit code.

    Neither modelbay, click nor typing is imported up here: starting them takes longer than all
    that the cheap calls have to do.
    """
    try:
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
        # Else the interpreter complains once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0
