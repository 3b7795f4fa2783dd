"""Import a stranger's module, whatever it does: raise, leave, take its time, or talk."""

import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TextIO, TypeAlias

from modelbay.errors import PluginLoadError
from modelbay.host.versions import CORE_VERSION

ImportFault: TypeAlias = Literal["import", "dependency", "hooks"]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it.

    Attributes:
        took_s: Seconds it took.
        printed: It wrote to standard output, which went to standard error.
        fault: What is wrong; ``None`` if nothing is.
    """

    module: object
    took_s: float
    printed: bool = False
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
        KeyboardInterrupt: Somebody pressed Ctrl-C, as far as anybody can tell.
    """
    voice = _Voice()
    began = clock()
    try:
        with voice:
            module = load()
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # SystemExit, or whatever else a stranger's module comes up with
        fault, reason, hint = _judged(exc, dist, value)
        error = PluginLoadError(f"{what} {reason}", hint=hint)
        error.__cause__ = exc
        return Imported(None, clock() - began, voice.spoke, fault, error)
    return Imported(module, clock() - began, voice.spoke)


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
    reason = f"cannot be imported: {type(exc).__name__}: {exc}"
    return "import", reason, f"modelbay plugin upgrade {dist}   # or: {away}"


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
