"""modelbay's log on stderr: warnings always, HTTP with ``-v``, everything with ``-vv``."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from modelbay_cli.failure import Invocation
from modelbay_cli.output import Screen

_HTTP = "modelbay.http"


class _ToStderr(logging.Handler):
    def __init__(self, invocation: Invocation) -> None:
        super().__init__()
        self._invocation = invocation

    def emit(self, record: logging.LogRecord) -> None:
        verbosity = self._invocation.verbosity
        wanted = record.levelno >= logging.WARNING or verbosity > 1
        if not wanted and not (verbosity and record.name == _HTTP):
            return
        if verbosity < 2:
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        Screen.stderr().line(self.format(record), style="dim")


@contextmanager
def logging_to_stderr(invocation: Invocation) -> Iterator[None]:
    """The log goes to stderr within this block, as much of it as ``-v`` asks for by then."""
    logger = logging.getLogger("modelbay")
    to_stderr = _ToStderr(invocation)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(to_stderr)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(to_stderr)
        logger.setLevel(level)
        logger.propagate = propagate


def set_verbosity(invocation: Invocation, verbosity: int) -> None:
    """Take ``-v`` into account from now on."""
    invocation.verbosity = max(invocation.verbosity, verbosity)
    if invocation.verbosity:
        logging.getLogger("modelbay").setLevel(logging.DEBUG)
