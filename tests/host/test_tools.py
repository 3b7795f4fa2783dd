"""Mirrors modelbay/host/tools.py: what a model may do to models, and what it may not."""

import json
from collections.abc import AsyncIterator

import pytest

from modelbay.errors import BackendError, InvalidRequestError
from modelbay.host.host import Host
from modelbay.host.tools import tool_name
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.events import ToolCall
from modelbay.models.manage import (
    Action,
    Done,
    Health,
    HealthReport,
    ManageEvent,
    Progress,
    Pull,
    Running,
    RunningModel,
    RunningModels,
)
from modelbay.models.provider import ProviderConfig
from pretend import installed, plugin

pytestmark = pytest.mark.anyio

MODELS = [
    DiscoveredModel(wire_id="a", state="loaded", size_bytes=7),
    DiscoveredModel(wire_id="b:1"),
]
TABLE = CapabilityTable(actions=frozenset({"list", "running", "pull", "delete", "health"}))


class Server:
    """Remembers what it was told to do."""

    def __init__(self) -> None:
        self.done: list[Action] = []
        self.lists = 0

    async def manage(self, action: Action) -> AsyncIterator[ManageEvent]:
        self.done.append(action)
        match action:
            case Running():
                yield RunningModels(models=(RunningModel(wire_id="a", vram_bytes=5),))
            case Health():
                yield HealthReport(healthy=True, server="acme", version="2")
            case Pull(model="missing"):
                raise BackendError("no such model", hint="look at its page")
            case Pull():
                yield Progress(status="pulling", fraction=0.5)
                yield Done(message="ready")

    async def discover(self) -> list[DiscoveredModel]:
        self.lists += 1
        return MODELS


def opened(server: Server, *ids: str) -> Host:
    acme = plugin(
        capabilities=lambda: TABLE,
        manage=lambda action: server.manage(action),
        discover_models=lambda: server.discover(),
    )
    kinds = installed(acme=acme)
    configs = [ProviderConfig(id=one, kind="acme") for one in ids or ("desk",)]
    return Host.open(providers=configs, env={}, installed=kinds)


async def called(host: Host, name: str, **arguments: object) -> object:
    return json.loads(await host.call_tool(ToolCall("c1", name, json.dumps(arguments))))


@pytest.mark.parametrize(
    "arguments",
    [
        '{"action": "pull", "model": "\ud83d"}',
        '{"action": "pull", "model": "\\ud83d"}',
        '{"action": "list", "\ud83d": 1}',
        '{"action": ' + "[" * 200_000,
        "\ud83d",
        "[]",
        "null",
    ],
    ids=["half a character", "half of it escaped", "as a key", "deep", "bare", "list", "null"],
)
async def test_arguments_that_are_no_text_are_told_to_the_model(arguments: str) -> None:
    server = Server()
    async with opened(server) as host:
        for name in ("manage_models", "acme_manage"):
            answer = json.loads(await host.call_tool(ToolCall("c1", name, arguments)))
            assert answer["error"].startswith("the arguments are wrong: ")
            assert answer["actions"] == ["list", "pull", "status", "ps"]
    assert server.done == []


async def test_there_is_a_tool_for_all_and_one_for_each_kind() -> None:
    """S4-89, S4-90: the kind's tool takes an action and a model, and cannot delete."""
    async with opened(Server(), "desk", "tower") as host:
        everywhere, acme = host.tools()

    assert (everywhere.name, acme.name) == ("manage_models", "acme_manage")
    properties = {
        "action": {"type": "string", "enum": ["list", "pull", "status", "ps"]},
        "model": {"type": "string", "description": "The model's name; needed for pull."},
    }
    whole = {"type": "object", "required": ["action"], "additionalProperties": False}
    assert acme.parameters == {**whole, "properties": properties}
    which = {
        "type": "string",
        "enum": ["desk", "tower"],
        "description": "Which provider; all of them if left out. Needed for pull.",
    }
    assert everywhere.parameters == {**whole, "properties": {**properties, "provider": which}}
    assert "Cannot delete." in acme.description


async def test_a_kind_that_can_manage_nothing_has_no_tool() -> None:
    idle = plugin(capabilities=lambda: CapabilityTable())
    configs = [ProviderConfig(id="desk", kind="idle")]
    async with Host.open(providers=configs, env={}, installed=installed(idle=idle)) as host:
        assert host.tools() == []


@pytest.mark.parametrize(
    ("kind", "name"), [("acme", "acme_manage"), ("acme-server", "acme_server_manage")]
)
def test_a_tool_s_name_is_one_every_server_takes(kind: str, name: str) -> None:
    assert tool_name(kind) == name


async def test_list_names_the_models() -> None:
    async with opened(Server()) as host:
        assert await called(host, "acme_manage", action="list") == {
            "models": [
                {"id": "desk/a", "state": "loaded", "size_bytes": 7},
                {"id": "desk/b:1", "state": "unknown", "size_bytes": None},
            ]
        }


async def test_pull_pulls_and_the_list_is_looked_at_anew() -> None:
    """S4-91: an agent that needs a model gets it."""
    server = Server()
    async with opened(server) as host:
        assert await called(host, "acme_manage", action="pull", model="desk/new") == {
            "done": True,
            "model": "desk/new",
            "message": "ready",
        }
        before = server.lists
        await host.refresh()

    assert server.done == [Pull(model="new")]
    assert server.lists == before + 1


async def test_status_and_ps_tell_of_every_provider() -> None:
    async with opened(Server(), "desk", "tower") as host:
        status = await called(host, "manage_models", action="status")
        running = await called(host, "manage_models", action="ps", provider="tower")

    healthy = {"healthy": True, "server": "acme", "version": "2"}
    assert status == {"desk": healthy, "tower": healthy}
    assert running == {"tower": {"models": [{"id": "tower/a", "state": "loaded", "vram_bytes": 5}]}}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"action": "delete", "model": "a"}, "the arguments are wrong: "),
        ({"action": "list", "force": True}, "the arguments are wrong: "),
        ({}, "the arguments are wrong: "),
        ({"action": "pull"}, "pull needs a model"),
        ({"action": "pull", "model": "missing"}, "no such model"),
    ],
)
async def test_what_cannot_be_done_is_told_to_the_model(
    arguments: dict[str, object], problem: str
) -> None:
    """Deleting is not among the actions, and nothing but code enforces it (U14)."""
    server = Server()
    async with opened(server) as host:
        told = await called(host, "acme_manage", **arguments)

    assert isinstance(told, dict)
    assert told["error"].startswith(problem)
    assert not [action for action in server.done if action.action == "delete"]


async def test_a_provider_that_is_down_is_told_beside_the_others() -> None:
    server = Server()

    async def down() -> AsyncIterator[ManageEvent]:
        raise BackendError("nobody answers", hint="start it")
        yield  # an async generator like any other

    kinds = {
        "acme": plugin(capabilities=lambda: TABLE, manage=lambda action: server.manage(action)),
        "gone": plugin(capabilities=lambda: TABLE, manage=lambda: down()),
    }
    configs = [ProviderConfig(id=kind, kind=kind) for kind in kinds]
    async with Host.open(providers=configs, env={}, installed=installed(**kinds)) as host:
        status = await called(host, "manage_models", action="status")
        running = await called(host, "manage_models", action="ps")

    assert isinstance(status, dict)
    assert isinstance(running, dict)
    assert status["acme"]["healthy"] is True
    assert status["gone"] == {"healthy": False, "problem": "nobody answers", "hint": "start it"}
    assert running["gone"] == {"error": "nobody answers"}


async def test_a_provider_nobody_has_is_told_to_the_model() -> None:
    async with opened(Server()) as host:
        assert await called(host, "manage_models", action="list", provider="moon") == {
            "error": "there is no provider 'moon'"
        }


async def test_a_pull_for_all_providers_asks_which() -> None:
    async with opened(Server(), "desk", "tower") as host:
        assert await called(host, "manage_models", action="pull", model="x") == {
            "error": "say which provider",
            "providers": ["desk", "tower"],
        }


async def test_an_unknown_tool_is_refused() -> None:
    async with opened(Server()) as host:
        with pytest.raises(InvalidRequestError, match="there is no tool 'rm_manage'"):
            await called(host, "rm_manage", action="list")
