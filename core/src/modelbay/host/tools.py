"""Tools a model can call to look after models: their schemas, and what happens on a call.

One for all providers, `manage_models`, and one for each kind that can manage anything
(`<kind>_manage`, for the first provider of that kind). Deleting is not among their actions, and
that is enforced here, not asked for in a prompt.
"""

from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias, get_args

import msgspec

from modelbay.errors import InvalidRequestError, ModelbayError
from modelbay.host.handles import ProviderHandle
from modelbay.host.streams import EventStream
from modelbay.models.catalog import Catalog
from modelbay.models.chat import Tool
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import (
    Action,
    Done,
    Health,
    HealthReport,
    ManageEvent,
    Progress,
    Pull,
    Running,
    RunningModels,
)

ToolAction: TypeAlias = Literal["list", "pull", "status", "ps"]
ACTIONS: tuple[ToolAction, ...] = get_args(ToolAction)
EVERY_PROVIDER = "manage_models"

Manage: TypeAlias = Callable[[str, Action], EventStream[ManageEvent]]


class _Arguments(msgspec.Struct, forbid_unknown_fields=True):
    action: ToolAction
    model: str | None = None
    provider: str | None = None


def management_tools(handles: Iterable[ProviderHandle]) -> list[Tool]:
    """The tools for these providers, as a chat request takes them."""
    able = [handle for handle in handles if handle.table is not None and handle.table.actions]
    if not able:
        return []
    kinds = dict.fromkeys(handle.kind for handle in able)
    everywhere: JsonObject = {
        "type": "string",
        "enum": [handle.id for handle in able],
        "description": "Which provider; all of them if left out. Needed for pull.",
    }
    return [
        _tool(EVERY_PROVIDER, "the models of every provider", {"provider": everywhere}),
        *(_tool(tool_name(kind), f"the models of {kind}", {}) for kind in kinds),
    ]


def tool_name(kind: str) -> str:
    """``acme-server`` gives ``acme_server_manage``: not everywhere may a name hold a hyphen."""
    return f"{''.join(c if c.isalnum() else '_' for c in kind)}_manage"


def _tool(name: str, what: str, more: JsonObject) -> Tool:
    return Tool(
        name=name,
        description=(
            f"Look after {what}: list them, pull (download) one, show the server's status, or"
            " show what is in memory (ps). Cannot delete."
        ),
        parameters={
            "type": "object",
            "properties": {
                "action": {"type": "string", "enum": [*ACTIONS]},
                "model": {"type": "string", "description": "The model's name; needed for pull."},
                **more,
            },
            "required": ["action"],
            "additionalProperties": False,
        },
    )


async def call_tool(
    name: str, arguments: str, handles: Iterable[ProviderHandle], catalog: Catalog, manage: Manage
) -> str:
    """Do what a model asked for; the result is JSON text for the tool message.

    An action that fails is a result too, with its hint, so that the model can tell the user.

    Args:
        arguments: JSON text, as the model wrote it.

    Raises:
        InvalidRequestError: There is no such tool.
    """
    able = [handle for handle in handles if handle.table is not None and handle.table.actions]
    meant = [h for h in able if name in (EVERY_PROVIDER, tool_name(h.kind))]
    if not meant:
        raise InvalidRequestError(
            f"there is no tool '{name}'", hint=f"known: {EVERY_PROVIDER} and one for each kind"
        )
    try:
        # Half of a surrogate pair, which a model may write, is bytes that are no UTF-8.
        raw = arguments.encode("utf-8", "surrogatepass")
        asked = msgspec.json.decode(raw or b"{}", type=_Arguments)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        return _json({"error": f"the arguments are wrong: {exc}", "actions": [*ACTIONS]})
    if name != EVERY_PROVIDER:
        meant = meant[:1]
    elif asked.provider is not None:
        meant = [handle for handle in meant if handle.id == asked.provider]
        if not meant:
            return _json({"error": f"there is no provider '{asked.provider}'"})
    try:
        return _json(await _answer(asked, meant, catalog, manage))
    except ModelbayError as exc:
        return _json({"error": exc.message, "code": exc.code, "hint": exc.hint})


async def _answer(
    asked: _Arguments, meant: list[ProviderHandle], catalog: Catalog, manage: Manage
) -> JsonObject:
    match asked.action:
        case "list":
            ids = {handle.id for handle in meant}
            return {
                "models": [
                    {"id": model.id, "state": model.state, "size_bytes": model.size_bytes}
                    for model in catalog.models
                    if model.ref.provider_id in ids
                ]
            }
        case "pull":
            if not asked.model:
                return {"error": "pull needs a model"}
            if len(meant) != 1:
                return {"error": "say which provider", "providers": [h.id for h in meant]}
            provider_id = meant[0].id
            model = asked.model.removeprefix(f"{provider_id}/")
            outcome = await _outcome(manage(provider_id, Pull(model=model)))
            message = outcome.message if isinstance(outcome, Done) else ""
            return {"done": True, "model": f"{provider_id}/{model}", "message": message}
        case "ps":
            return {handle.id: await _running(handle, manage) for handle in meant}
        case "status":
            return {handle.id: await _status(handle, manage) for handle in meant}


async def _running(handle: ProviderHandle, manage: Manage) -> JsonObject:
    try:
        outcome = await _outcome(manage(handle.id, Running()))
    except ModelbayError as exc:
        return {"error": exc.message}
    models = outcome.models if isinstance(outcome, RunningModels) else ()
    return {
        "models": [
            {"id": f"{handle.id}/{m.wire_id}", "state": m.state, "vram_bytes": m.vram_bytes}
            for m in models
        ]
    }


async def _status(handle: ProviderHandle, manage: Manage) -> JsonObject:
    try:
        outcome = await _outcome(manage(handle.id, Health()))
    except ModelbayError as exc:
        return {"healthy": False, "problem": exc.message, "hint": exc.hint}
    if not isinstance(outcome, HealthReport):
        return {"healthy": True}
    return {"healthy": outcome.healthy, "server": outcome.server, "version": outcome.version}


async def _outcome(events: EventStream[ManageEvent]) -> ManageEvent | None:
    last: ManageEvent | None = None
    async with events:
        async for event in events:
            if not isinstance(event, Progress):
                last = event
    return last


def _json(value: JsonObject) -> str:
    return msgspec.json.encode(value).decode()
