"""Mirrors modelbay/__init__.py: the public names, and what importing costs."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import modelbay
from modelbay.testing.simulator import Exchange, Simulator

NAMES = [
    "ChatRequest",
    "ChatResult",
    "EmbedRequest",
    "Host",
    "ImagePart",
    "ImageRequest",
    "Message",
    "ModelRef",
    "ModelbayError",
    "ProviderConfig",
    "SyncHost",
    "Tool",
    "parse_model_ref",
    "user",
]


def seen_by_type_checkers() -> dict[str, str]:
    """Name to module, as the block for type checkers has it."""
    assert modelbay.__file__ is not None
    tree = ast.parse(Path(modelbay.__file__).read_text())
    [block] = [
        node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    ]
    return {
        name.asname or name.name: str(line.module)
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for name in line.names
    }


def test_type_checkers_and_programs_see_the_same_names() -> None:
    checked = seen_by_type_checkers()

    assert sorted(checked) == NAMES
    for name, module in checked.items():
        assert getattr(modelbay, name) is getattr(importlib.import_module(module), name)


def test_all_public_names_are_found_by_dir() -> None:
    assert set(NAMES) <= set(dir(modelbay))


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'modelbay' has no attribute 'Hots'"):
        modelbay.Hots  # type: ignore[attr-defined] # noqa: B018


def test_importing_opens_no_socket_and_loads_nothing_heavy() -> None:
    program = """
import json, socket, sys
before = set(sys.modules)
def refuse(*args, **kwargs):
    raise SystemExit("a socket was opened")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
import modelbay
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    heavy = {"pydantic", "httpx", "httpx2", "pluggy", "msgspec", "asyncio", "importlib_metadata"}
    assert loaded & heavy == set()
    assert [name for name in loaded if name.startswith("modelbay_")] == []


def test_opening_a_host_opens_no_socket() -> None:
    program = """
import socket
from modelbay import Host
from modelbay.host.loader import Installed
def refuse(*args, **kwargs):
    raise SystemExit("a socket was opened")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
Host.open(env={"MODELBAY_HOME": "/nonexistent"}, installed=Installed((), ()))
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_plain_http_takes_no_library(sim: Simulator) -> None:
    """To import it takes longer than all the rest, and it is there for TLS and proxies."""

    @sim.route("GET", "/v1/models")
    async def models(exchange: Exchange) -> None:
        await exchange.json({"object": "list", "data": [{"id": "a", "object": "model"}]})

    program = """
import asyncio, sys
from modelbay import Host, ProviderConfig
async def look():
    desk = ProviderConfig(id="desk", kind="openai", base_url=sys.argv[1])
    async with Host.open(providers=[desk], env={"MODELBAY_HOME": "/nonexistent"}) as host:
        catalog = await host.refresh()
        print([model.id for entry in catalog.providers for model in entry.models])
asyncio.run(look())
print("httpx2" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, sim.base_url], capture_output=True, text=True, check=True
    )

    assert done.stdout == "['desk/a']\nFalse\n"


def test_the_kit_is_imported_only_when_it_is_asked_for() -> None:
    """The simulators are for programs too; only the kit needs pytest."""
    code = (
        "import sys, modelbay.testing; assert 'pytest' not in sys.modules;"
        "from modelbay.testing import ProviderConformance; assert 'pytest' in sys.modules;"
        "print(ProviderConformance.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("ProviderConformance\n", "")
