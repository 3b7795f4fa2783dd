"""A bench for misconfigurations: each is set up for real, and its fix is typed into the program."""

import json
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from cli.conftest import Installation, Invoke, install
from cli.lab_server import Lab

SOURCE = Path(__file__).with_name("fake_lab.py")
KEY = "sk-the-right-one-123456"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE")

Apply: TypeAlias = "Callable[[dict[str, str]], None]"
Case: TypeAlias = "Callable[[Bench], Apply]"


@dataclass
class Bench:
    """What a case is set up with, and what its fix is typed into."""

    installation: Installation
    invoke: Invoke
    labs: list[Lab] = field(default_factory=list)
    listeners: list[socket.socket] = field(default_factory=list)

    def lab(self, **more: Any) -> Lab:
        lab = Lab(**more).start()
        self.labs.append(lab)
        return lab

    def configure(self, url: str, **more: Any) -> None:
        # Long, so that a busy machine does not make a server slow that is not.
        entry = {"id": "desk", "kind": "lab", "baseUrl": url, "probeTimeoutS": 10, **more}
        self.installation.configure(entry)

    def findings(self) -> list[dict[str, str]]:
        result = self.invoke("doctor", "--json")
        found: list[dict[str, str]] = json.loads(result.stdout)["findings"]
        assert result.exit_code == int(any(one["level"] == "error" for one in found))
        return found

    def type(self, fix: str, stdin: str = "") -> None:
        """Do what a user who copies the fix to his shell does."""
        for part in fix.partition("   #")[0].split(" && "):
            self._type(part, stdin)

    def _type(self, fix: str, stdin: str) -> None:
        words = shlex.split(fix)
        match words[0]:
            case "modelbay":
                result = self.invoke(*words[1:], stdin=stdin)
                assert result.exit_code == 0, result.output
            case "export":
                name, _, value = words[1].partition("=")
                self.installation.setenv(name, value)
            case "unset":
                for name in words[1:]:
                    self.installation.patch.delenv(name, raising=False)
                    self.installation.env.pop(name, None)
            case "chmod" | "mv" | "rm":
                assert str(self.installation.home.parent) in fix
                subprocess.run(words, check=True)
            case _:
                raise AssertionError(f"nothing to type: {fix}")

    def edit(self, change: Callable[[str], str]) -> None:
        """What a user does in the editor that `modelbay config edit` opens."""
        script = self.installation.home.parent / "editor.py"
        after = self.installation.home.parent / "after.json"
        after.write_text(change(self.installation.file.read_text()))
        script.write_text(f"import shutil, sys\nshutil.copyfile({str(after)!r}, sys.argv[1])\n")
        self.installation.setenv("EDITOR", shlex.join([sys.executable, str(script)]))
        self.type("modelbay config edit")


@pytest.fixture
def bench(installation: Installation, invoke: Invoke) -> Iterator[Bench]:
    for name in PROXIES:
        installation.patch.delenv(name, raising=False)
        installation.patch.delenv(name.lower(), raising=False)
    for kind in ("lab", "mill"):
        entry_points = f"[modelbay]\n{kind} = modelbay_{kind}\n"
        install(installation.packages, f"modelbay-{kind}", entry_points, SOURCE.read_text())
    made = Bench(installation, invoke)
    yield made
    for lab in made.labs:
        lab.stop()
    for listener in made.listeners:
        listener.close()


class Cases(dict[str, Case]):
    """Ways to get it wrong, by the code that doctor must give."""

    def add(self, code: str, name: str = "") -> Callable[[Case], Case]:
        """The function sets it up, and gives back what does what the fix says."""

        def add(made: Case) -> Case:
            self[f"{code}{f': {name}' if name else ''}"] = made
            return made

        return add


def require_code_and_fix(bench: Bench, cases: Cases, name: str) -> None:
    """Doctor gives the one code; after its fix it has nothing more to say."""
    apply = cases[name](bench)

    before = bench.findings()
    assert [found["code"] for found in before] == [name.partition(":")[0]], before
    assert before[0]["fix"]
    apply(before[0])
    after = bench.findings()

    assert after == []


def typed(bench: Bench, stdin: str = "") -> Apply:
    """The fix is typed as it stands."""
    return lambda found: bench.type(found["fix"], stdin)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port
