"""Why an engine ended, told from what it wrote. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

from modelbay_embedded.engine import REASON_PREFIX

_LINES = 2  # the first ones name the cause, later ones its consequences
_LENGTH = 500  # characters
_LINE_LENGTH = 1000

# "0.00.005.924 E srv    load_model: text": time, level, source, function; each part may be missing.
_PREFIX = re.compile(r"^(?:\d+\.\d+\.\d+\.\d+ )?[EWIDC] (?:\w{3}  +)?[\w~():<>]+: +")
_ERROR = re.compile(r"^\d+\.\d+\.\d+\.\d+ E ")
_AGAIN = re.compile(r"^(?:error loading model|error|init|operator\(\)|[a-z_]+_[a-z_]+): +")
_ASSERTION = re.compile(r"(?:\S*[/\\])?([\w.+-]+:\d+: (?:GGML_ASSERT|GGML_ABORT|fatal error).*)")
_THROWN = re.compile(r"^\s*what\(\):\s*(.+)")

_TEMPLATE = (
    " common_chat_templates_init: error: "  # what follows speaks of tokens, not of templates
)

# What llama.cpp says after it has named the cause, and when it knows none.
_CONSEQUENCE = re.compile(
    r"failed to load model\b"
    r"|exiting due to"
    r"|encountered an error while trying to fit params"
    r"|failed to initialize chat template"
    r"|please consider"
    r"|for example:"
    r"|: std::exception$"
    r"|Failed to init server",
)


def reason_from(log: str, exit_code: int | None) -> str:
    """The cause in one line.

    Args:
        log: What stands at the end of the child's stderr.
        exit_code: As ``subprocess`` gives it: negative for a signal; None while it runs.
    """
    found = list(dict.fromkeys(_causes(log)))[:_LINES]
    if found:
        # Names and templates from a damaged file may hold anything, and this goes to a terminal.
        line = "; ".join(found)[:_LENGTH]
        return "".join(c if c.isprintable() else "\ufffd" for c in line)
    if exit_code is None:
        return "no reason yet: the engine is running"
    if exit_code < 0:
        return f"the engine was ended by {_signal_name(-exit_code)}"
    return f"the engine ended with code {exit_code} and gave no reason"


def _causes(log: str) -> Iterator[str]:
    own: list[str] = []
    for whole in log.splitlines():
        line = whole[:_LINE_LENGTH]  # some patterns take long over long words
        if line.startswith(REASON_PREFIX):
            own.append(line.removeprefix(REASON_PREFIX))
        elif match := _ASSERTION.search(line) or _THROWN.match(line):
            yield match[1].strip()
        elif _ERROR.match(line):
            text = _AGAIN.sub("", _PREFIX.sub("", line)).strip()
            if text and not _CONSEQUENCE.search(text):
                yield f"chat template: {text}" if _TEMPLATE in line else text
    # The engine's exception repeats what llama.cpp has written, or is the only thing there is.
    yield from (text for text in own if not _CONSEQUENCE.search(text))


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (was there enough memory?)" if name == "SIGKILL" else name
