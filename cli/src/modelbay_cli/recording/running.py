"""A program that is run with a providers file of its own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from modelbay.errors import ConfigError
from modelbay.models.frozen import JsonObject

NOT_FOUND, NOT_A_PROGRAM = 127, 126  # as shells have it
FILE_VARIABLE = "LLAMA_PROVIDERS_PATH"
_OURSELVES = "modelbay"
_PASSED_ON = ("SIGTERM", "SIGHUP")


def run(
    command: Sequence[str], document: JsonObject, more: Mapping[str, str], env: Mapping[str, str]
) -> int:
    """Run a program whose modelbay reads this ``providers.json``; its exit code.

    The file is for this user alone, and gone afterwards. Ctrl-C is the program's to deal with.

    Args:
        more: Variables to add.
    """
    with _file(document) as path:
        environment = {**env, **more, FILE_VARIABLE: str(path)}
        return _exit_code(_program(command), environment)


@contextlib.contextmanager
def _file(document: JsonObject) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="modelbay-"))  # for this user alone
    try:
        path = folder / "providers.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(command: Sequence[str]) -> list[str]:
    """Our own program is found also where it is not on the path."""
    if command[0] == _OURSELVES and shutil.which(_OURSELVES) is None:
        return [sys.executable, "-m", "modelbay_cli", *command[1:]]
    return list(command)


def _exit_code(command: Sequence[str], environment: Mapping[str, str]) -> int:
    try:
        process = subprocess.Popen(command, env=dict(environment))  # noqa: S603 - the user's own
    except FileNotFoundError:
        raise NotRunError(command[0], "there is no such program", NOT_FOUND) from None
    except OSError as exc:
        raise NotRunError(command[0], os.strerror(exc.errno or 0), NOT_A_PROGRAM) from exc
    with _passing_on(process):
        while True:
            try:
                code = process.wait()
            except KeyboardInterrupt:  # it got one too, and decides
                continue
            return code if code >= 0 else 128 - code


class NotRunError(ConfigError):
    """The program could not be started.

    Attributes:
        exit_code: What a shell would end with.
    """

    def __init__(self, program: str, why: str, exit_code: int) -> None:
        super().__init__(f"{program} cannot be run: {why}")
        self.exit_code = exit_code


@contextlib.contextmanager
def _passing_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whoever ends us ends the program, and we still write what there is."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)

    before = {}
    for name in _PASSED_ON:
        number = getattr(signal, name, None)
        if number is not None:
            with contextlib.suppress(ValueError):  # not in the main thread
                before[number] = signal.signal(number, pass_on)
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
