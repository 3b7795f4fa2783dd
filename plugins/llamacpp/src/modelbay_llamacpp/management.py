"""Management: each action one hop from the work, and the actions that only look."""

from collections.abc import AsyncIterator

from modelbay.client.http import fetch_json
from modelbay.context import ProviderContext
from modelbay.errors import BackendBusyError, BackendError, UnsupportedActionError
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import (
    Action,
    Delete,
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
from modelbay_llamacpp import config
from modelbay_llamacpp.config import at
from modelbay_llamacpp.discovery import describe
from modelbay_llamacpp.failures import classify
from modelbay_llamacpp.loading import load, unload
from modelbay_llamacpp.memory import memory
from modelbay_llamacpp.probe import entry_of, look, model_props
from modelbay_llamacpp.pulling import delete, pull
from modelbay_llamacpp.wire import IN_MEMORY, RUNNING, Props, sampling_defaults


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
            return delete(provider, action)
        case Show():
            return _show(provider, action)
        case Health():
            return _health(provider)
        case _:
            raise UnsupportedActionError(
                f"llama.cpp cannot {action.action}", provider_id=provider.id
            )


async def _list(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    server = await look(provider, rescan=config.options(provider).rescan)
    models = describe(server, memory(provider))
    yield ModelList(
        models=tuple(
            ListedModel(
                wire_id=model.wire_id,
                state=model.state,
                size_bytes=model.size_bytes,
                details={
                    **({"aliases": list(model.aliases)} if model.aliases else {}),
                    **({"problem": model.problem} if model.problem else {}),
                    **model.details,
                },
            )
            for model in models
        )
    )


async def _running(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    """Models that hold a place: loaded, asleep, or on their way in."""
    server = await look(provider)
    known = memory(provider)
    models = {model.wire_id: model for model in describe(server, known)}
    yield RunningModels(
        models=tuple(
            RunningModel(
                wire_id=entry.id,
                state=models[entry.id].state,
                size_bytes=models[entry.id].size_bytes,
                context=models[entry.id].loaded_context,
                active_streams=known.active[entry.id],
                details=models[entry.id].details,
            )
            for entry in server.entries
            if entry.state in RUNNING
        )
    )


async def _show(provider: ProviderContext, action: Show) -> AsyncIterator[ManageEvent]:
    server = await look(provider)
    entry = entry_of(provider, server, action.model)
    model = next(m for m in describe(server, memory(provider)) if m.wire_id == entry.id)
    details: JsonObject = {"mode": server.mode, "state": entry.state, **model.details}
    if model.aliases:
        details["aliases"] = list(model.aliases)
    if model.problem:
        details["problem"] = model.problem
    if entry.architecture is not None:
        details["input_modalities"] = list(entry.architecture.input_modalities or ())
        details["output_modalities"] = list(entry.architecture.output_modalities or ())
    if (meta := entry.meta) is not None:
        _put(details, "context_trained", meta.n_ctx_train)
        _put(details, "size_bytes", meta.size)
        _put(details, "quantization", meta.ftype)
        _put(details, "embedding_length", meta.n_embd)
        _put(details, "vocabulary", meta.n_vocab)
    _put(details, "context_configured", model.facts.configured_context)
    _put(details, "context", model.loaded_context)
    props = server.props if server.mode == "single" else None
    if server.mode == "router" and entry.state in IN_MEMORY:
        props = await _props_if_loaded(provider, entry.id)
    if props is not None:
        _describe_props(details, props)
    yield ModelDetails(wire_id=entry.id, details=details)


def _describe_props(details: JsonObject, props: Props) -> None:
    """Fields by name: a template's text, the model's path and the rest stay with the server."""
    _put(details, "context", props.n_ctx)
    _put(details, "slots", props.total_slots)
    _put(details, "quantization", props.model_ftype)
    _put(details, "build", props.build_info)
    _put(details, "sleeping", props.is_sleeping)
    if props.modalities is not None:
        for name in ("vision", "audio", "video"):
            _put(details, name, getattr(props.modalities, name))
    if (caps := props.chat_template_caps) is not None:
        details["template"] = {
            name.removeprefix("supports_"): getattr(caps, name)
            for name in caps.__struct_fields__
            if getattr(caps, name) is not None
        }
    if sampling := sampling_defaults(props):
        details["sampling"] = sampling


async def _props_if_loaded(provider: ProviderContext, wire_id: str) -> Props | None:
    try:
        return await model_props(provider, wire_id)
    except BackendError as exc:
        if exc.status in (400, 500, 503):
            return None  # it went away between the two requests
        raise


async def _health(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    """``/health`` of a router says nothing about any model, so the rest is told beside it."""
    try:
        await fetch_json(
            provider, "GET", at(provider, "health"), into=dict[str, object], classify=classify
        )
        server = await look(provider)
    except BackendBusyError as exc:
        yield HealthReport(
            healthy=False, server="llama.cpp", details={"state": "loading", "message": exc.message}
        )
        return
    props = server.props or Props()
    details: JsonObject = {"mode": server.mode, "models": len(server.entries)}
    details["running"] = sum(entry.state in RUNNING for entry in server.entries)
    _put(details, "models_max", props.max_instances)
    _put(details, "autoload", props.models_autoload)
    _put(details, "slots", props.total_slots)
    _put(details, "sleeping", props.is_sleeping)
    words = ["llama.cpp", "router" if server.mode == "router" else "server", props.build_info or ""]
    yield HealthReport(
        healthy=True,
        server=" ".join(word for word in words if word),
        version=props.build_info,
        details=details,
    )


def _put(details: JsonObject, name: str, value: str | float | None) -> None:
    if value is not None:
        details[name] = value
