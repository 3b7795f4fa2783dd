"""Management: each action one hop from the work, and the actions that only look."""

from collections.abc import AsyncIterator

import msgspec

from modelbay.client.http import open_stream, raise_for_status, read_body
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, ModelNotFoundError, UnsupportedActionError
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import (
    Action,
    Health,
    HealthReport,
    ListedModel,
    ListModels,
    Load,
    Logs,
    ManageEvent,
    ModelDetails,
    ModelList,
    Running,
    RunningModel,
    RunningModels,
    Show,
    Unload,
)
from modelbay_llamaswap import config
from modelbay_llamaswap.activity import activity_of, performance
from modelbay_llamaswap.discovery import describe
from modelbay_llamaswap.inventory import list_models, list_running, read_version
from modelbay_llamaswap.loading import load, unload
from modelbay_llamaswap.logs import logs
from modelbay_llamaswap.measuring import measure
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.sidecar import credentials
from modelbay_llamaswap.wire import (
    known_names,
    model_state,
    version_number,
)


def run(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    """The events of one action."""
    match action:
        case ListModels():
            return _list(provider)
        case Running():
            return _running(provider)
        case Load():
            return load(provider, action)
        case Unload():
            return unload(provider, action)
        case Show():
            return _show(provider, action)
        case Health():
            return _health(provider)
        case Logs():
            return logs(provider, action)
        case _:
            raise UnsupportedActionError(
                f"llama-swap cannot {action.action}", provider_id=provider.id
            )


async def _list(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    entries = await list_models(provider)
    models = describe(provider, entries, await list_running(provider))
    yield ModelList(
        models=tuple(
            ListedModel(
                wire_id=model.wire_id,
                state=model.state,
                details={
                    **({"aliases": list(model.aliases)} if model.aliases else {}),
                    **model.details,
                },
            )
            for model in models
        )
    )


async def _running(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    """The processes, unlisted ones too. What is left of a ``ttl`` nobody says."""
    running = await list_running(provider)
    if not running.known:
        raise UnsupportedActionError(
            "this llama-swap (before v94) does not say what is running",
            provider_id=provider.id,
            hint="update llama-swap",
        )
    known = memory(provider)
    with_commands = config.options(provider).show_commands
    models = []
    for wire_id, entry in running.entries.items():
        props = await measure(provider, wire_id, running)
        raw = running.raw[wire_id]
        details: JsonObject = {"unloads_after_idle_s": entry.ttl} if entry.ttl else {}
        models.append(
            RunningModel(
                wire_id=wire_id,
                state=model_state(entry.state),
                context=None if props is None else props.n_ctx,
                active_streams=known.ours(wire_id)[0],
                details=details,
                raw=raw
                if with_commands
                else {key: value for key, value in raw.items() if key != "cmd"},
            )
        )
    yield RunningModels(models=tuple(models))


async def _show(provider: ProviderContext, action: Show) -> AsyncIterator[ManageEvent]:
    """What is known of one model without starting it; a running one is asked itself."""
    entries = await list_models(provider)
    running = await list_running(provider)
    wire_id = memory(provider).real_id(action.model)
    props = await measure(provider, wire_id, running)
    models = {model.wire_id: model for model in describe(provider, entries, running)}
    model = models.get(wire_id) or models.get(action.model)
    process = running.entries.get(wire_id)
    if model is None and process is None:
        raise ModelNotFoundError(
            f"llama-swap lists no model '{action.model}'",
            provider_id=provider.id,
            model=action.model,
            hint=f"this server lists: {known_names(models)}",
        )
    details: JsonObject = {}
    if model is not None:
        details["state"] = model.state
        details.update(model.details)
        if model.aliases:
            details["aliases"] = list(model.aliases)
        if model.facts.configured_context:
            details["context_configured"] = model.facts.configured_context
    else:
        details["unlisted"] = True
    if process is not None:
        details["state"] = model_state(process.state)
        if process.ttl:
            details["unloads_after_idle_s"] = process.ttl
        if process.cmd and config.options(provider).show_commands:
            details["cmd"] = process.cmd
    if props is not None:
        for name, value in (("context", props.n_ctx), ("slots", props.total_slots)):
            if value is not None:
                details[name] = value
    if activity := await activity_of(provider, wire_id):
        details["activity"] = activity
    if machine := await performance(provider):
        details["machine"] = machine
    yield ModelDetails(wire_id=wire_id, details=details)


async def _health(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    """`/health` asks for no key and says only that llama-swap is up; `/running` checks the key."""
    entries = await list_models(provider)
    running = await list_running(provider)
    version = await read_version(provider)
    number = version_number(version.version)
    details: JsonObject = {
        "models": len(describe(provider, entries, running)),
        "running": [
            {"model": entry.model, "state": model_state(entry.state)}
            for entry in running.entries.values()
        ],
    }
    if version.commit:
        details["commit"] = version.commit
    if version.build_date:
        details["build_date"] = version.build_date
    if sidecar := config.options(provider).sidecar_url:
        details["sidecar"] = await _sidecar(provider, sidecar)
    if machine := await performance(provider):
        details["machine"] = machine
    yield HealthReport(
        healthy=True,
        server="llama-swap" if number is None else f"llama-swap v{number}",
        version=version.version or None,
        details=details,
    )


async def _sidecar(provider: ProviderContext, address: str) -> JsonObject:
    """Whether the sidecar answers, and with what sort of list."""
    shown: JsonObject = {"answers": False}
    try:
        known = credentials(provider, address)
        async with open_stream(
            provider,
            "GET",
            f"{address}/v1/models",
            headers={**config.JSON, **known.headers},
            deadline_s=2.0,
            anonymous=known.anonymous,
        ) as response:
            await raise_for_status(provider, response)
            shown["answers"] = isinstance(msgspec.json.decode(await read_body(response)), dict)
    except BackendError as exc:
        shown["problem"] = exc.code
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        shown["problem"] = "protocol_error"
    return shown
