"""Which kit it was: results of one digest can be compared, and pytest says it at the end."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from modelbay.testing.conformance.ruling import Judge

_NOT_RULES = ("report.py", "recorder.py", "running.py", "installed.py", "document.py")
_NAME = "modelbay-kit-digest"


@cache
def kit_digest() -> str:
    """Sixteen hexadecimal digits that change when a rule of the kit does."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name not in _NOT_RULES:
            found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


class _Digest(Judge):
    """Prints one line after all tests, and has skips judged."""

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(f"modelbay kit {kit_digest()}")


def announce(config: pytest.Config, is_check: Callable[[pytest.Item], bool]) -> None:
    """Have the digest printed in the summary of this run, once, and skips judged from now on."""
    if not config.pluginmanager.has_plugin(_NAME):
        config.pluginmanager.register(_Digest(is_check), _NAME)
