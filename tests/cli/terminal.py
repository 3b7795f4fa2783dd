"""The program at a terminal, and somebody who answers its questions."""

import os
import pty
import select
import time

from cli.conftest import Installation


def on_a_terminal(home: Installation, *arguments: str, answers: list[str], code: int = 0) -> str:
    """Run the program at a terminal; each question that ends in ``:`` gets the next answer."""
    controller, terminal = pty.openpty()
    process = home.process(*arguments, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown, waiting, deadline = "", list(answers), time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if not select.select([controller], [], [], 0.2)[0]:
                continue
            try:
                block = os.read(controller, 65536)
            except OSError:  # Linux says so when the last writer has closed the terminal
                break
            if not block:
                break
            shown += block.decode()
            if shown.endswith(": ") and waiting:
                os.write(controller, f"{waiting.pop(0)}\n".encode())
        assert process.wait(timeout=10) == code, shown
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    assert waiting == []
    return shown.replace("\r", "")
