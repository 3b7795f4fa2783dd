"""Mirrors modelbay/host/importing.py: whatever a stranger's module does, the program goes on."""

import asyncio
import sys
from collections.abc import Callable

import pytest

from modelbay.errors import PluginLoadError
from modelbay.host.importing import Imported, import_guarded


class Unheard(BaseException):
    """Neither an Exception nor one of Python's own."""


def clock(*times: float) -> Callable[[], float]:
    left = list(times)
    return lambda: left.pop(0)


def imported(load: Callable[[], object], *times: float) -> Imported:
    at = clock(*times) if times else clock(0.0, 0.0)
    return import_guarded(load, "plugin 'acme'", "modelbay-acme", "acme.plugin", at)


def raising(exc: BaseException) -> Callable[[], object]:
    def load() -> object:
        raise exc

    return load


def test_the_module_comes_with_the_time_it_took() -> None:
    assert imported(lambda: sys, 10.0, 13.0) == Imported(sys, 3.0)


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("x"),
        SystemExit(3),
        GeneratorExit("x"),
        asyncio.CancelledError("x"),
        Unheard("x"),
        RecursionError("x"),
        MemoryError("x"),
    ],
)
def test_whatever_it_raises_is_its_fault_and_has_a_fix(exc: BaseException) -> None:
    done = imported(raising(exc), 1.0, 1.5)

    assert (done.module, done.took_s, done.fault) == (None, 0.5, "import")
    assert isinstance(done.error, PluginLoadError)
    assert done.error.message == f"plugin 'acme' cannot be imported: {type(exc).__name__}: {exc}"
    fix = "modelbay plugin upgrade modelbay-acme   # or: modelbay plugin uninstall modelbay-acme"
    assert done.error.hint == fix
    assert done.error.__cause__ is exc


def test_ctrl_c_is_the_users() -> None:
    with pytest.raises(KeyboardInterrupt):
        imported(raising(KeyboardInterrupt()))


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        ("torch", "dependency", "needs the module 'torch', which is not installed"),
        ("modelbay.novel", "hooks", "needs modelbay.novel, which modelbay-core"),
        ("acme.missing", "import", "cannot be imported: ModuleNotFoundError"),
        (None, "import", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_missing_module_is_told_by_whose_it_is(name: str | None, fault: str, words: str) -> None:
    done = imported(raising(ModuleNotFoundError("No module", name=name)))

    assert done.fault == fault
    assert words in str(done.error)


def test_what_it_prints_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    def load() -> object:
        print("hello")
        sys.stdout.flush()
        assert not sys.stdout.isatty()
        return sys

    done = imported(load)
    print("data")

    assert (done.module, done.printed) == (sys, True)
    assert capsys.readouterr() == ("data\n", "hello\n")


def test_what_it_prints_before_it_breaks_goes_there_too(capsys: pytest.CaptureFixture[str]) -> None:
    def load() -> object:
        print("hello")
        raise SystemExit

    done = imported(load)

    assert (done.fault, done.printed) == ("import", True)
    assert capsys.readouterr() == ("", "hello\n")


def test_who_kept_standard_output_has_the_real_one_afterwards(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = imported(lambda: sys.stdout)
    print("later", file=done.module)  # type: ignore[call-overload] # what it gave is a stream

    assert (done.printed, sys.stdout is done.module) == (False, False)
    assert capsys.readouterr() == ("later\n", "")


def test_a_module_that_puts_its_own_stream_there_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own = sys.stderr

    def load() -> object:
        sys.stdout = own
        return sys

    monkeypatch.setattr(sys, "stdout", sys.stdout)
    imported(load)

    assert sys.stdout is own


def test_without_standard_streams_it_prints_into_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    done = imported(lambda: print("hello"))

    assert (done.printed, done.error) == (True, None)
