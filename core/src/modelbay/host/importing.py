"""Import a stranger's module, whatever it does: raise, leave, take its time, or talk."""

import io
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Literal, TextIO, TypeAlias

from modelbay.errors import PluginLoadError
from modelbay.host.versions import CORE_VERSION

ImportFault: TypeAlias = Literal["import", "dependency", "hooks"]

# Threads that imports have left running: nobody here wrote what they do.
_LEFT: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it.

    Attributes:
        took_s: Seconds it took.
        printed: It wrote to standard output, which went to standard error.
        threads: Names of the threads it started and left running.
        fault: What is wrong; ``None`` if nothing is.
    """

    module: object
    took_s: float
    printed: bool = False
    threads: tuple[str, ...] = ()
    fault: ImportFault | None = None
    error: PluginLoadError | None = None


def import_guarded(
    load: Callable[[], object],
    what: str,
    dist: str,
    value: str,
    clock: Callable[[], float] = time.perf_counter,
) -> Imported:
    """Load an entry point.

    Args:
        what: Such as ``plugin 'acme'``, for the message.
        value: The entry point's module, with or without an object in it.

    Raises:
        KeyboardInterrupt: Somebody pressed Ctrl-C. One that the module raises itself is its fault.
    """
    voice, keyboard, before = _Voice(), _Keyboard(), set(threading.enumerate())
    module: object = None
    fault: ImportFault | None = None
    error: PluginLoadError | None = None
    began = clock()
    with keyboard:
        try:
            with _descriptor_kept(), voice:
                module = load()
        except BaseException as exc:  # SystemExit, or whatever else a stranger comes up with
            if isinstance(exc, KeyboardInterrupt) and keyboard.pressed:
                raise
            fault, reason, hint = _judged(exc, dist, value)
            error = PluginLoadError(f"{what} {reason}", hint=hint)
            error.__cause__ = exc
    took_s = clock() - began
    left = [thread for thread in threading.enumerate() if thread not in before]
    _LEFT.update(left)
    names = tuple(sorted(thread.name for thread in left))
    return Imported(module, took_s, voice.spoke, names, fault, error)


def _judged(exc: BaseException, dist: str, value: str) -> tuple[ImportFault, str, str]:
    away = f"modelbay plugin uninstall {dist}"
    missing = exc.name if isinstance(exc, ModuleNotFoundError) and exc.name else ""
    top, own = missing.partition(".")[0], value.partition(":")[0].partition(".")[0]
    if top == "modelbay":
        reason = f"needs {missing}, which modelbay-core {CORE_VERSION} does not have"
        return "hooks", reason, f"modelbay plugin upgrade {dist}   # or: {away}"
    if missing and top != own:
        reason = f"needs the module '{missing}', which is not installed"
        return "dependency", reason, f"modelbay plugin install {dist}   # or: {away}"
    reason = f"cannot be imported: {type(exc).__name__}: {exc}".removesuffix(": ")
    return "import", reason, f"modelbay plugin upgrade {dist}   # or: {away}"


class _Keyboard:
    """Notes whether Ctrl-C was pressed: an exception alone does not tell who raised it.

    Signals come to the main thread only; in another one nobody's Ctrl-C is raised.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._before: object = None

    def __enter__(self) -> "_Keyboard":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if callable(self._before):
                with suppress(ValueError):  # not the main interpreter
                    signal.signal(signal.SIGINT, self._noted)
        return self

    def __exit__(self, *_: object) -> None:
        # Else the module has put a handler of its own there.
        if callable(self._before) and signal.getsignal(signal.SIGINT) == self._noted:
            signal.signal(signal.SIGINT, self._before)

    def _noted(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        if callable(self._before):
            self._before(number, frame)


@contextmanager
def _descriptor_kept() -> Iterator[None]:
    """Standard output's descriptor is standard error's meanwhile.

    What does not write through Python's `sys.stdout` (a library in C, a process that is started)
    must not stand among data either. Left alone where other threads of the program may be writing
    there, or starting processes that would keep it.
    """
    mine = threading.current_thread()
    if any(thread is not mine and thread not in _LEFT for thread in threading.enumerate()):
        yield
        return
    try:
        kept = os.dup(1)
    except OSError:  # a program without standard output
        yield
        return
    try:
        _flush()
        with suppress(OSError):  # without standard error
            os.dup2(2, 1)
        yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)


def _flush() -> None:
    """What stands in Python's own buffer goes where the descriptor leads at this moment."""
    if sys.__stdout__ is not None:
        with suppress(OSError, ValueError):  # its reader is gone, or it is closed
            sys.__stdout__.flush()


class _Voice(io.TextIOBase):
    """Standard output while a module is imported: what it says there must not stand among data.

    Whoever keeps it, as a handler of a log does, has the real one through it afterwards.
    """

    def __init__(self) -> None:
        self.spoke = False
        self._real: TextIO | None = sys.stdout  # None in a program without a terminal
        self._within = False

    def __enter__(self) -> "_Voice":
        self._within = True
        sys.stdout = self
        return self

    def __exit__(self, *_: object) -> None:
        self._within = False
        if sys.stdout is self:  # else the module has put one of its own there
            sys.stdout = self._real

    def write(self, text: str) -> int:
        self.spoke = self.spoke or (self._within and bool(text))
        place = sys.stderr if self._within else self._real
        return len(text) if place is None else place.write(text)

    def flush(self) -> None:
        if self._real is not None and not self._within:
            self._real.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return not self._within and self._real is not None and self._real.isatty()

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)
