"""Mirrors modelbay/host/importing.py: whatever a stranger's module does, the program goes on."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

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
        KeyboardInterrupt("x"),
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


def test_an_exception_without_words_is_told_by_its_name_alone() -> None:
    done = imported(raising(KeyboardInterrupt()))

    assert str(done.error) == "plugin 'acme' cannot be imported: KeyboardInterrupt"


def test_ctrl_c_is_the_users() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        imported(lambda: signal.raise_signal(signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is before


def test_whoever_handles_ctrl_c_is_told_of_it_and_goes_on_handling_it() -> None:
    told: list[int] = []

    def note(number: int, _frame: object) -> None:
        told.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        done = imported(lambda: signal.raise_signal(signal.SIGINT))
        assert signal.getsignal(signal.SIGINT) is note
    finally:
        signal.signal(signal.SIGINT, before)

    assert (done.error, told) == (None, [signal.SIGINT])


def test_a_handler_that_a_module_puts_there_stays() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        imported(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nobody_pressed_it() -> None:
    found: list[Imported] = []
    thread = threading.Thread(target=lambda: found.append(imported(raising(KeyboardInterrupt()))))
    thread.start()
    thread.join()

    assert [done.fault for done in found] == ["import"]


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


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What threads wait for; opened at the end, and the threads have then ended."""
    before, opened = set(threading.enumerate()), threading.Event()
    yield opened
    opened.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()


@pytest.mark.parametrize("daemon", [False, True])
def test_threads_that_it_leaves_running_are_named(daemon: bool, gate: threading.Event) -> None:
    def load() -> object:
        ended = threading.Thread(target=int)
        ended.start()
        ended.join()
        for name in ("second", "first"):
            threading.Thread(target=gate.wait, name=name, daemon=daemon).start()
        return sys

    assert imported(load) == Imported(sys, 0.0, threads=("first", "second"))
    assert imported(lambda: sys).threads == ()


def alone(program: str) -> tuple[list[str], list[str]]:
    """What a program of one thread writes, word by word; the one that runs the tests has more."""
    source = (
        "import os, subprocess, sys, threading\n"
        "from modelbay.host.importing import import_guarded\n"
        "def imported(load): import_guarded(load, 'x', 'x', 'x')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", source + program], check=True, capture_output=True, text=True
    )
    return sorted(ran.stdout.split()), sorted(ran.stderr.split())


def test_what_goes_past_pythons_standard_output_goes_to_standard_error_too() -> None:
    program = """
def talk():
    os.write(1, b"raw ")
    sys.__stdout__.write("first ")
    subprocess.run([sys.executable, "-c", "print('child')"], check=True)
    return sys

print("before")
imported(talk)
print("after", flush=True)
os.write(1, b"raw ")
"""
    assert alone(program) == (["after", "before", "raw"], ["child", "first", "raw"])


def test_a_thread_that_an_import_left_takes_the_protection_from_nobody() -> None:
    program = """
gate = threading.Event()
imported(lambda: threading.Thread(target=gate.wait).start())
imported(lambda: os.write(1, b"raw"))
gate.set()
"""
    assert alone(program) == ([], ["raw"])


def test_in_a_program_with_threads_of_its_own_the_descriptor_is_left_to_them(
    gate: threading.Event, capfd: pytest.CaptureFixture[str]
) -> None:
    threading.Thread(target=gate.wait).start()
    imported(lambda: os.write(1, b"raw"))

    assert capfd.readouterr() == ("raw", "")


def test_without_descriptors_it_is_imported_all_the_same() -> None:
    """In a process of its own, which closes them."""
    source = (
        "import os\n"
        "from modelbay.host.importing import import_guarded\n"
        "for number in {numbers}: os.close(number)\n"
        "done = import_guarded(lambda: 7, 'x', 'x', 'x')\n"
        "os._exit(done.module)\n"
    )
    for numbers in ((1,), (2,), (1, 2)):
        text = source.format(numbers=numbers)
        ran = subprocess.run([sys.executable, "-c", text], check=False, capture_output=True)
        assert ran.returncode == 7, numbers
