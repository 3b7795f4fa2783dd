"""What people see of an error: a message, the next step, and an exit code."""

import contextlib
import os
import sys
import traceback
from dataclasses import dataclass

import click

from modelbay.errors import ModelbayError, exit_code
from modelbay_cli.output import Screen

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
PIPE_CLOSED = 141  # 128 + SIGPIPE
PARTIAL = 7  # --strict, and not every provider answered
FAILED = 1


@dataclass(slots=True)
class Invocation:
    """One run of the program: what its options say about how to report.

    Attributes:
        verbosity: How often ``-v`` was given: 1 logs HTTP, 2 shows tracebacks.
        providers: Those of ``--provider``, as they were written.
    """

    verbosity: int = 0
    providers: tuple[str, ...] = ()


def exit_code_of(exc: BaseException, invocation: Invocation) -> int:
    """Tell the user what happened; the result is the exit code."""
    match exc:
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED
        case BrokenPipeError():
            _forget_output()
            return PIPE_CLOSED
        case SystemExit():
            return exc.code if isinstance(exc.code, int) else FAILED
    if invocation.verbosity > 1:
        Screen.stderr().line("".join(traceback.format_exception(exc)).rstrip())
    match exc:
        case ModelbayError():
            tell(exc)
            return exit_code(exc)
        case OSError():
            _say(str(exc), None)
            _forget_output()  # what could not be written would fail once more at the very end
        case _:
            # The text of a foreign exception may hold anything, a key too; its type is enough.
            _say(
                f"unexpected {type(exc).__name__}; this is a fault of modelbay",
                "run it again with -vv for the traceback",
            )
    return FAILED


def tell(exc: ModelbayError) -> None:
    """An error's message and hint on stderr; what the user wrote in them may be a DSN."""
    from modelbay_cli.secrecy import Veil

    veil = Veil()
    _say(veil.text(exc.message), veil.text(exc.hint) if exc.hint else None)


def _say(message: str, hint: str | None) -> None:
    screen = Screen.stderr()
    screen.line(f"{screen.styled('error:', 'error')} {screen.clean(message)}", raw=True)
    if hint:
        screen.line(f"{screen.styled('hint:', 'dim')} {screen.clean(hint)}", raw=True)


def _forget_output() -> None:
    """Send the rest nowhere: the interpreter flushes once more at its end, and would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # not a file at all, under a test
            os.dup2(nowhere, stream.fileno())
