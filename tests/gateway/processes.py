"""Upstreams and a gateway in processes of their own, which can be killed and measured."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx

PROGRAMS = Path(__file__).parent / "programs"
WAIT_S = 30.0
UNSET = ("DEFAULT_MODEL", "LLAMA_PROVIDERS_PATH")
FILES = 8192  # a gateway with a thousand streams has two sockets for each


class Running:
    """A process that has printed its address.

    Attributes:
        base_url: Without a path.
    """

    def __init__(self, process: "subprocess.Popen[str]", base_url: str) -> None:
        self._process = process
        self.base_url = base_url

    @property
    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    @property
    def memory_kib(self) -> int:
        """What of its memory is in RAM."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1])

    @property
    def tasks(self) -> int:
        """Of its loop; `counted.py` tells them."""
        self._process.send_signal(signal.SIGUSR1)
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def counts(self) -> dict[str, int]:
        """What an upstream holds open, but for the connection that asks."""
        found: dict[str, int] = httpx.get(f"{self.base_url}/counts", timeout=WAIT_S).json()
        return found

    def kill(self) -> None:
        """``kill -9``."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(WAIT_S)


@contextmanager
def upstream(kind: str, delay_s: float) -> Iterator[Running]:
    """A simulated server, with so many seconds before each piece of an answer."""
    with _process(r"(http://\S+)", "upstream.py", kind, str(delay_s)) as running:
        yield running


@contextmanager
def gateway(home: Path, **providers: tuple[str, str]) -> Iterator[Running]:
    """``modelbay serve`` before these: kind and address by id."""
    document: dict[str, Any] = {
        "providers": [
            {"id": id, "kind": kind, "baseUrl": f"{address}/v1" if kind == "openai" else address}
            for id, (kind, address) in providers.items()
        ]
    }
    (home / "providers.json").write_text(json.dumps(document))
    found = {name: value for name, value in os.environ.items() if name not in UNSET}
    env = {**found, "MODELBAY_HOME": str(home)}
    told = r"modelbay serves at (http://\S+)"
    with _process(told, "counted.py", "serve", "--port", "0", env=env) as running:
        yield running


@contextmanager
def _process(told: str, *program: str, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, PROGRAMS / program[0], *program[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(told, line)
        assert found is not None, line
        yield Running(process, found[1])
    finally:
        process.kill()
        process.communicate()


@contextmanager
def many_files() -> Iterator[None]:
    """Let this process, and those it starts, open many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
