"""The parent's side of one engine: start it, know when it ends and why, end it.

EngineError             path, reason, exit_code
├── EngineMissingError  the llama.cpp wheel is not installed on this platform
└── EngineTimeoutError  not ready within the start deadline
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import anyio
from anyio.abc import Process

from modelbay_embedded.engine import EXIT_NOT_INSTALLED, EngineOptions
from modelbay_embedded.engine_log import reason_from

STOP_LIMIT_S = 5.0

_TAIL_BYTES = 16 << 10
_READY_BYTES = 4096


class EngineError(Exception):
    """The engine did not start, or has ended.

    Args:
        path: The model's file.
        reason: Why, in llama.cpp's words where it had any; without the path.
        exit_code: As ``subprocess`` gives it; None when it was not the engine that gave up.
    """

    def __init__(self, path: Path, reason: str, exit_code: int | None = None) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.exit_code = exit_code


class EngineMissingError(EngineError):
    """The llama.cpp wheel is not installed, or does not work on this platform."""


class EngineTimeoutError(EngineError):
    """The engine was not ready within the start deadline; it has been killed."""


class Engine:
    """A running child. Make one with `start_engine`; close it with `aclose`.

    It belongs to the event loop that started it. If it is never closed, the child still ends with
    this process: its stdin closes.
    """

    def __init__(
        self, path: Path, url: str, api_key: str, process: Process, log: IO[bytes], stop_s: float
    ) -> None:
        self.path = path
        self.url = url
        """``http://127.0.0.1:<port>``, without a trailing slash or ``/v1``."""
        self.api_key = api_key
        """Every request needs it as ``Authorization: Bearer``."""
        self.pid = process.pid
        self._process = process
        self._log = log
        self._stop_s = stop_s
        self._reason: str | None = None
        self._closed = False

    def exited(self) -> bool:
        """Whether the child is gone, by our doing or its own."""
        return self._process.returncode is not None

    def reason(self) -> str | None:
        """Why the child ended by itself; None while it runs and after `aclose` ended it."""
        if self._reason is None and self.exited() and not self._closed:
            self._reason = reason_from(_tail(self._log), self._process.returncode)
        return self._reason

    async def wait_closed(self) -> None:
        """Return when the child has ended, whatever the cause."""
        await self._process.wait()

    async def aclose(self) -> None:
        """End the child: close its stdin, kill it when it has not ended within the stop limit.

        Close streams from it first; they break otherwise. Safe to call twice and while being
        cancelled; takes no longer than the limit and a kill.
        """
        with anyio.CancelScope(shield=True):
            self.reason()  # while the log is open
            self._closed = True
            try:
                await _end(self._process, self._stop_s)
            finally:  # the shield keeps scopes out, not an event loop that cancels the task itself
                self._log.close()


async def start_engine(
    options: EngineOptions,
    *,
    deadline_s: float | None = None,
    stop_s: float = STOP_LIMIT_S,
    env: Mapping[str, str] | None = None,
) -> Engine:
    """Start a child for one model and return when it can be asked.

    Args:
        options: What to load, and how.
        deadline_s: Longest time until it is ready; None waits as long as the child lives.
        stop_s: How long `Engine.aclose` waits before it kills.
        env: The child's environment; this process's when left out.

    Raises:
        EngineMissingError: There is no engine on this platform.
        EngineTimeoutError: It was not ready in time.
        EngineError: The model could not be loaded; ``reason`` says why.
    """
    path = Path(options.model)
    api_key = secrets.token_urlsafe(32)
    # A file, not a pipe: a load holds the child's GIL, and nobody has to drain a file meanwhile.
    log = tempfile.TemporaryFile(prefix="modelbay-engine-")  # noqa: SIM115 - closed with the engine
    try:
        with anyio.CancelScope(shield=True):  # a process nobody knows of could not be killed
            process = await _spawn(log, env, path)
    except BaseException:
        log.close()
        raise
    try:
        with anyio.fail_after(deadline_s):
            line = await _introduce(process, options.line(api_key))
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await _end(process, 0)
        log.close()
        if isinstance(error, TimeoutError):
            raise EngineTimeoutError(path, f"not ready within {deadline_s:g} s") from error
        raise
    url = _url(line)
    if url is not None:
        return Engine(path, url, api_key, process, log, stop_s)
    with anyio.CancelScope(shield=True):
        await _end(process, stop_s)
    code = process.returncode
    reason = f"the engine answered {line[:80]!r}" if line else reason_from(_tail(log), code)
    log.close()
    kind = EngineMissingError if code == EXIT_NOT_INSTALLED else EngineError
    raise kind(path, reason, code)


async def _spawn(log: IO[bytes], env: Mapping[str, str] | None, path: Path) -> Process:
    environment = dict(os.environ if env is None else env)
    # Without it a failed assertion makes llama.cpp start a debugger on itself.
    environment["GGML_NO_BACKTRACE"] = "1"
    # -P: a json.py of the user's, in the folder we happen to run in, is not ours to import.
    command = [sys.executable, "-P", "-m", "modelbay_embedded.engine"]
    try:
        return await anyio.open_process(
            command, stderr=log, env=environment, start_new_session=os.name == "posix"
        )
    except OSError as error:
        raise EngineError(path, f"cannot start {command[0]!r}: {error}") from error


async def _introduce(process: Process, options: bytes) -> bytes:
    """Hand over the options and wait for the child's one line; empty when it ended instead."""
    assert process.stdin is not None
    assert process.stdout is not None
    line = b""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        await process.stdin.send(options)
        while not line.endswith(b"\n") and len(line) < _READY_BYTES:
            line += await process.stdout.receive(_READY_BYTES)
    return line


def _url(line: bytes) -> str | None:
    with suppress(ValueError, TypeError, KeyError):
        url = json.loads(line)["url"]
        return url if isinstance(url, str) else None
    return None


async def _end(process: Process, limit_s: float) -> None:
    """Close the child's stdin, wait, kill; call it shielded."""
    assert process.stdin is not None
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        await process.stdin.aclose()
    try:
        with anyio.move_on_after(limit_s):
            await process.wait()
    finally:
        with suppress(ProcessLookupError):
            if process.returncode is None:
                process.kill()
    await process.aclose()


def _tail(log: IO[bytes]) -> str:
    """The end of the log; only for a child that has ended, since it shares the file's position."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _TAIL_BYTES))
    return log.read().decode("utf-8", "replace")
