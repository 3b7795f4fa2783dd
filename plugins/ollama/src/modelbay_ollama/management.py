"""Management: each action one hop from the work, and the actions that only look."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec

from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    UnsupportedActionError,
)
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import (
    Action,
    Copy,
    Create,
    Delete,
    Done,
    Health,
    HealthReport,
    ListedModel,
    ListModels,
    Load,
    ManageEvent,
    ModelDetails,
    ModelList,
    Pull,
    Running,
    RunningModel,
    RunningModels,
    Show,
    Unload,
)
from modelbay_ollama.answers import (
    Listed,
    Loaded,
    Shown,
    VersionBody,
    find_listed,
    parse_parameters,
    whole,
)
from modelbay_ollama.asking import ask, order
from modelbay_ollama.discovery import asked_for, discover, look
from modelbay_ollama.loading import load, unload
from modelbay_ollama.memory import memory
from modelbay_ollama.names import humanise, identity, require_name
from modelbay_ollama.pulling import create, pull
from modelbay_ollama.residence import running
from modelbay_ollama.versions import parse_version
from modelbay_ollama.window import windows

LONGEST_TEXT = 4000  # characters; licences and templates of more are left out


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
        case Pull():
            return pull(provider, action)
        case Delete():
            return _delete(provider, action)
        case Copy():
            return _copy(provider, action)
        case Create():
            return create(provider, action)
        case Show():
            return _show(provider, action)
        case Health():
            return _health(provider)
        case _:
            raise UnsupportedActionError(f"Ollama cannot {action.action}", provider_id=provider.id)


async def _list(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    models = await discover(provider)
    yield ModelList(
        models=tuple(
            ListedModel(
                wire_id=model.wire_id,
                state=model.state,
                size_bytes=model.size_bytes,
                details={
                    "name": model.name,
                    "origin": model.origin,
                    **({"family": model.family} if model.family else {}),
                    **({"quantization": model.quantization} if model.quantization else {}),
                    **model.details,
                },
            )
            for model in models
        )
    )


async def _running(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    """Models in memory, the one that stays longest first."""
    try:
        entries = await running(provider)
    except BackendError as exc:
        if exc.status != 404:
            raise
        raise UnsupportedActionError(
            "this Ollama is too old to tell what is in memory",
            provider_id=provider.id,
            hint="upgrade it to 0.1.38 or later",
        ) from exc
    now = datetime.now(UTC)
    active = memory(provider).active
    yield RunningModels(
        models=tuple(_runner(entry, now, active[identity(entry.name)]) for entry in entries)
    )


def _runner(entry: Loaded, now: datetime, streams: int) -> RunningModel:
    told = entry.details
    details: JsonObject = {"name": humanise(entry.name)}
    if entry.size and entry.size_vram is not None:
        details["gpu_share"] = round(min(1.0, entry.size_vram / entry.size), 3)
    left_s = entry.expires_in_s(now)
    if entry.expires_at and left_s is None:
        details["expires"] = "never"
    for name, value in (
        ("digest", entry.digest),
        ("family", told and told.family),
        ("parameter_size", told and told.parameter_size),
        ("quantization", told and told.quantization_level),
    ):
        if value:
            details[name] = value
    return RunningModel(
        wire_id=entry.name,
        size_bytes=entry.size,
        vram_bytes=entry.size_vram,
        context=whole(entry.context_length),
        active_streams=streams,
        expires_in_s=left_s,
        details=details,
    )


async def _show(provider: ProviderContext, action: Show) -> AsyncIterator[ManageEvent]:
    require_name(provider, action.model)
    tags, loaded = await look(provider)
    entry = find_listed(tags.models or [], action.model)
    shown = await ask(
        provider,
        "POST",
        "api/show",
        into=Shown,
        json={"model": action.model, "name": action.model},
        model=action.model,
    )
    if entry is not None and entry.digest:
        memory(provider).keep_shown(entry.digest, shown)
    runner = memory(provider).runner(
        (loaded.models or []) if loaded is not None else [],
        action.model,
        None if entry is None else entry.digest,
    )
    name = action.model if entry is None else entry.name
    yield ModelDetails(
        wire_id=name,
        details=_described(name, shown, entry, runner, asked_for(provider, name)),
    )


def _described(
    name: str,
    shown: Shown,
    entry: Listed | None,
    runner: Loaded | None,
    asked: tuple[int | None, str],
) -> JsonObject:
    told = shown.details or (entry.details if entry is not None else None)
    remote = bool(shown.remote_host) or (entry is not None and entry.is_remote)
    sizes = windows(
        trained=shown.length("context_length")
        or (whole(told.context_length) if told is not None else None),
        modelfile=shown.configured_window,
        asked=asked[0],
        asked_by=asked[1],
        loaded=None if runner is None else whole(runner.context_length),
        remote=remote,
    )
    details: JsonObject = {
        "name": humanise(name),
        "origin": "remote" if remote else "local",
        "state": "unknown" if remote else "unloaded" if runner is None else "loaded",
    }
    texts = {"template": shown.template, "system": shown.system, "license": shown.license}
    # The tensors and the Modelfile stay out: they repeat the rest at length.
    for key, value in (
        ("context_trained", sizes.trained),
        ("context_configured", sizes.configured),
        ("context_effective", sizes.effective),
        ("size_bytes", None if entry is None else entry.size),
        ("digest", None if entry is None else entry.digest),
        ("family", told and told.family),
        ("parameter_size", told and told.parameter_size),
        ("parameter_count", shown.parameter_count),
        ("quantization", told and told.quantization_level),
        ("format", told and told.format),
        ("embedding_length", shown.length("embedding_length")),
        ("capabilities", sorted(shown.capabilities or ()) or None),
        ("parameters", parse_parameters(shown.parameters or "") or None),
        ("requires", shown.requires),
        ("remote_host", shown.remote_host),
        ("remote_model", shown.remote_model),
        ("modified_at", shown.modified_at),
        *((key, text) for key, text in texts.items() if len(text or "") <= LONGEST_TEXT),
    ):
        if value:
            details[key] = value  # type: ignore[assignment] # lists and objects are JSON
    return details


class _Cloud(msgspec.Struct):
    disabled: bool = False


class _Status(msgspec.Struct):
    cloud: _Cloud | None = None


async def _health(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    tags, loaded = await look(provider)
    version = await ask(provider, "GET", "api/version", into=VersionBody)
    memory(provider).saw(parse_version(version.version))
    details: JsonObject = {"models": len(tags.models or []), "address": provider.base_url}
    if loaded is not None:
        details["loaded"] = [entry.name for entry in loaded.models or []]
    try:
        status = await ask(provider, "GET", "api/status", into=_Status, deadline_s=1.0)
        if status.cloud is not None:
            details["cloud"] = not status.cloud.disabled
    except BackendError:
        pass  # servers before 0.16.2 do not tell
    yield HealthReport(
        healthy=True,
        server=f"Ollama {version.version}",
        version=version.version,
        details=details,
    )


async def _delete(provider: ProviderContext, action: Delete) -> AsyncIterator[ManageEvent]:
    """Remove a model from the disk. One in memory stays there until its time is up.

    Raises:
        ModelNotFoundError: It is not there.
        BackendBusyError: Requests of ours run on it.
    """
    require_name(provider, action.model)
    active = memory(provider).active[identity(action.model)]
    if active:
        raise BackendBusyError(
            f"{active} of our requests run on '{action.model}'",
            provider_id=provider.id,
            model=action.model,
            hint="wait for them, or end them",
        )
    body: JsonObject = {"model": action.model, "name": action.model}
    await order(provider, "DELETE", "api/delete", body, action.model)
    memory(provider).gone(action.model)
    yield Done(message=f"{action.model} deleted")


async def _copy(provider: ProviderContext, action: Copy) -> AsyncIterator[ManageEvent]:
    """A second name for a model; no bytes are copied. An older model of that name is replaced."""
    require_name(provider, action.model, sources=False)
    require_name(provider, action.to, sources=False)
    body: JsonObject = {"source": action.model, "destination": action.to}
    await order(provider, "POST", "api/copy", body, action.model)
    yield Done(message=f"{action.model} is also {action.to}")
