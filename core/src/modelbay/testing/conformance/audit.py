"""Notices what code does to the outside, in this process and in a fresh one."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

# Events of the interpreter's own audit: https://docs.python.org/3/library/audit_events.html
_OUTSIDE = (
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"),
    *("subprocess.Popen", "os.system", "os.fork", "os.posix_spawn", "os.exec"),
)
_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.putenv")


@dataclass(frozen=True, slots=True)
class Import:
    """What a first import of a module did.

    Attributes:
        touched: Sockets, processes and changes to files, by audit event.
        threads: Names of the threads it left running.
        error: Why it failed, if it did.
    """

    touched: tuple[str, ...]
    threads: tuple[str, ...]
    error: str = ""


_SCRIPT = """
import importlib, json, sys, threading
name, path, events = json.loads(sys.argv[1])
sys.path[:] = path
touched = []
def hook(event, args):
    if event in events:
        touched.append(f"{event} {args[1:2]}")
    elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        touched.append(f"open {args[0]} to write")
sys.addaudithook(hook)
error = ""
try:
    importlib.import_module(name)
except BaseException as exc:
    error = f"{type(exc).__name__}: {exc}"
left = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
print(json.dumps([touched, left, error]))
"""


@cache
def import_of(module: str, path: tuple[str, ...]) -> Import:
    """Import a module in a fresh interpreter and report."""
    argument = json.dumps([module, path, [*_OUTSIDE, *_CHANGES]])
    # -B: writing bytecode would look like a change to files.
    done = subprocess.run(  # noqa: S603 - our own interpreter, our own script
        [sys.executable, "-B", "-c", _SCRIPT, argument],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        return Import((), (), done.stderr[-400:] or f"exit code {done.returncode}")
    touched, threads, error = json.loads(done.stdout.splitlines()[-1])
    return Import(tuple(touched), tuple(threads), error)


_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
_writes: list[list[str]] = []  # of those who look at this moment


class _Watch(threading.local):
    log: list[str] | None = None


_watch = _Watch()


@cache
def _install() -> None:
    sys.addaudithook(_note)  # cannot be removed again; without a watch it does next to nothing


def _note(event: str, args: tuple[object, ...]) -> None:
    if _writes and (event in _CHANGES or event == "open"):
        written = _written(event, args)
        for seen in _writes if written else ():
            seen.append(written)
    log = _watch.log
    if log is not None and (event in _OUTSIDE or event in _CHANGES or event == "open"):
        log.append(f"{event} {str(args[:1])[:80]}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """What this thread does to the outside in the block; other threads go unnoticed."""
    _install()
    seen: list[str] = []
    _watch.log = seen
    try:
        yield seen
    finally:
        _watch.log = None


@contextmanager
def writes() -> Iterator[list[str]]:
    """Files this process writes to, makes or removes in the block, whichever thread does it."""
    _install()
    seen: list[str] = []
    _writes.append(seen)
    try:
        yield seen
    finally:
        _writes.remove(seen)


def _written(event: str, args: tuple[object, ...]) -> str:
    if event != "open":
        return "" if event == "os.putenv" else f"{event} {str(args[:1])[:80]}"
    path, flags = args[0], args[2]
    written = isinstance(flags, int) and flags & _WRITES
    return f"open {str(path)[:80]} to write" if written and path != os.devnull else ""
