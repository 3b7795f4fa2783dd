"""A stranger's provider for the tests of the command line: the model's name says what it does.

It is installed the way a real one is, as a distribution on the path. What happens to its streams
it notes in the file that FAKE_NOTES names, where tests in another process can read it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from pathlib import Path

from modelbay.context import ProviderContext
from modelbay.errors import (
    AuthenticationError,
    BackendError,
    BackendUnreachableError,
    ModelNotFoundError,
    StreamInterruptedError,
)
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable, Facts
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest, ImagePart
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    Status,
    StreamEvent,
    TextDelta,
    Usage,
)
from modelbay.models.frozen import Frozen, JsonObject
from modelbay.models.manage import (
    Action,
    Delete,
    Done,
    Health,
    HealthReport,
    Load,
    LogLine,
    ManageEvent,
    ModelDetails,
    Progress,
    Pull,
    Running,
    RunningModel,
    RunningModels,
    Show,
    Unload,
)
from modelbay.models.provider import ProviderConfig

MODELS = ("echo", "slow", "breaks", "busy", "thinks", "escapes", "refuses", "cut", "crashes")


class Options(Frozen):
    """A provider's own keys in the tests' providers.json."""

    mode: str = "up"
    sidecar_key: str | None = None

    model_config = {"extra": "allow"}


def _mode(provider: ProviderContext) -> str:
    return provider.options(Options).mode


def _there(provider: ProviderContext) -> Sequence[str]:
    """Its models: the usual ones, until a test says else."""
    path = Path(provider.resources.env["FAKE_NOTES"]).with_name("models")
    return path.read_text().splitlines() if path.exists() else MODELS


def _note(provider: ProviderContext, line: str) -> None:
    path = provider.resources.env.get("FAKE_NOTES")
    if path:
        with Path(path).open("a") as notes:
            notes.write(f"{line}\n")


@hookimpl
def capabilities(provider: ProviderContext) -> CapabilityTable:
    if _mode(provider) == "bare":
        return CapabilityTable(hints={"pull": "fetch it yourself", "running": "look at its page"})
    return CapabilityTable(
        actions=frozenset({"running", "load", "unload", "pull", "delete", "show", "health"}),
        hints={"copy": "copy the file"},
    )


@hookimpl
def default_providers(env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    mode, _, source = env.get("FAKE_PROPOSAL", "").partition(" ")
    if not mode:
        return []
    entry = {"id": "nearby", "kind": "fake", "mode": mode, "source": source}
    return [ProviderConfig.model_validate(entry)]


@hookimpl
def discover_models(provider: ProviderContext) -> Awaitable[Sequence[DiscoveredModel]]:
    return _discover(provider)


async def _discover(provider: ProviderContext) -> Sequence[DiscoveredModel]:
    match _mode(provider):
        case "down":
            raise BackendUnreachableError(
                "nothing answers at http://127.0.0.1:1", hint="start the server"
            )
        case "locked":
            raise AuthenticationError("the key is refused", hint="set FAKE_API_KEY")
        case "hangs":
            await asyncio.sleep(3600)
        case "empty":
            return []
        case "stand-in":
            return [DiscoveredModel(wire_id="welcome", origin="stand_in")]
        case "bare":
            return [DiscoveredModel(wire_id="user/one:q4", state="loaded")]
    facts = Facts(context_window=8192, tools=True, json_schema=True, vision=True)
    return [
        DiscoveredModel(
            wire_id=name,
            facts=facts if name == "echo" else Facts(trained_context=131_072),
            state="loaded" if name == "echo" else "unloaded",
            size_bytes=4_100_000_000 if name == "echo" else None,
        )
        for name in _there(provider)
    ]


@hookimpl
async def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    try:
        async for event in _answer(request, model.ref.wire_id):
            yield event
    finally:
        _note(provider, f"closed {model.ref.wire_id}")


async def _answer(request: ChatRequest, name: str) -> AsyncIterator[StreamEvent]:
    match name:
        case "slow":
            for number in range(1000):
                yield TextDelta(f"{number} ")
                await asyncio.sleep(0.05)
        case "breaks":
            yield TextDelta("half an ans")
            raise StreamInterruptedError("the server closed the connection", partial="half an ans")
        case "busy":
            yield Status("loading", 0.4)
            yield Status("loading", 0.8)
            yield Status("processing")
            yield Notice("dropped_field", "top_k is not sent")
            yield TextDelta("ready")
        case "thinks":
            yield ReasoningDelta("let me see")
            yield TextDelta("42")
        case "escapes":
            yield TextDelta("a\x1b]0;owned\x07b\tc\n\x9b31md")
        case "refuses":
            raise AuthenticationError("the key is refused", hint="set FAKE_API_KEY")
        case "cut":
            yield TextDelta("as far as")
            yield Finish("length")
            return
        case "crashes":
            raise RuntimeError("secret-in-a-foreign-message")
        case _:
            for message in request.messages:
                yield TextDelta(f"[{message.role}] {message.text}")
                parts = [] if isinstance(message.content, str) else message.content
                for part in parts:
                    if isinstance(part, ImagePart):
                        yield TextDelta(f" <{part.media_type} {len(part.data or '')}>")
                yield TextDelta("\n")
            yield Usage(input_tokens=7, output_tokens=5)
    yield Finish("stop")


@hookimpl
async def manage(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    if _mode(provider) in ("down", "hangs"):
        raise BackendUnreachableError("nothing answers there", hint="start the server")
    _note(provider, action.model_dump_json())
    match action:
        case Running():
            yield RunningModels(
                models=(RunningModel(wire_id="echo", vram_bytes=5_000_000_000, context=8192),)
            )
        case Load(model="echo"):
            yield Done(changed=False)
        case Load():
            yield LogLine(text="reading the file")
            yield Progress(status="loading", fraction=0.5)
            yield Done()
        case Unload():
            yield Done(message="freed")
        case Pull(model="nosuch"):
            raise ModelNotFoundError("there is no model 'nosuch'", hint="check the name")
        case Pull():
            total = 1_000_000_000
            for step in range(101):
                done = total * step // 100
                yield Progress(
                    status="pulling", fraction=step / 100, done_bytes=done, total_bytes=total
                )
            yield Done()
        case Delete():
            yield Done()
        case Show(model=name):
            details: JsonObject = {"template": "x" * 500, "limits": {"streams": 4}}
            yield ModelDetails(wire_id=name, details=details)
        case Health():
            searched: JsonObject = {
                "slots": 2,
                "searched": [{"path": "/models", "found": 3}, {"path": "/gone", "found": 0}],
            }
            yield HealthReport(healthy=True, server="fake server", version="7", details=searched)
        case _:
            raise BackendError(f"no {action.action} here")
