"""Management: only looking. The standard has no word for loading, pulling or deleting."""

from collections.abc import AsyncIterator

from modelbay.client.http import open_stream, raise_for_status
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, ModelNotFoundError, UnsupportedActionError
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import (
    Action,
    Health,
    HealthReport,
    ListedModel,
    ListModels,
    ManageEvent,
    ModelDetails,
    ModelList,
    Show,
)
from modelbay_openai.address import native
from modelbay_openai.discovery import discover
from modelbay_openai.failures import classify
from modelbay_openai.looks import server_version
from modelbay_openai.memory import memory

_READY_S = 5.0
_SHOWN_NAMES = 10


def run(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    """The events of one action."""
    match action:
        case ListModels():
            return _list(provider)
        case Show():
            return _show(provider, action)
        case Health():
            return _health(provider)
        case _:
            raise UnsupportedActionError(
                f"an OpenAI-compatible server cannot {action.action}", provider_id=provider.id
            )


async def _list(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    models = await discover(provider)
    yield ModelList(
        models=tuple(
            ListedModel(
                wire_id=model.wire_id,
                state=model.state,
                size_bytes=model.size_bytes,
                details=model.details,
            )
            for model in models
        )
    )


async def _show(provider: ProviderContext, action: Show) -> AsyncIterator[ManageEvent]:
    models = {model.wire_id: model for model in await discover(provider)}
    model = models.get(action.model)
    if model is None:
        names = sorted(models)
        more = ", ..." if len(names) > _SHOWN_NAMES else ""
        raise ModelNotFoundError(
            f"there is no model '{action.model}' here",
            provider_id=provider.id,
            model=action.model,
            hint=f"this server lists: {', '.join(names[:_SHOWN_NAMES]) or 'none'}{more}",
        )
    yield ModelDetails(wire_id=model.wire_id, details=_details(provider, model))


def _details(provider: ProviderContext, model: DiscoveredModel) -> JsonObject:
    details: JsonObject = {**model.details, "server": memory(provider).title}
    details.pop("server_version", None)
    for name in ("name", "family", "quantization", "size_bytes", "loaded_context"):
        if value := getattr(model, name):
            details[name] = value
    if model.state != "unknown":
        details["state"] = model.state
    return details


async def _health(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    """Which server it is, whether it can serve, and what it lists."""
    models = await discover(provider)
    known = memory(provider)
    known.version = known.version or await server_version(provider, known.server)
    details: JsonObject = {"models": len(models)}
    loaded = sum(model.state == "loaded" for model in models)
    if loaded:
        details["loaded"] = loaded
    if known.server.own_kind:
        details["note"] = f'"kind": "{known.server.own_kind}" can do more with this server'
    problem = await _not_ready(provider, known.server.ready) if known.server.ready else None
    if problem is not None:
        details["problem"] = problem
    yield HealthReport(
        healthy=problem is None,
        server=known.title,
        version=known.version,
        details=details,
    )


async def _not_ready(provider: ProviderContext, path: str) -> str | None:
    """Why the server cannot serve, by its own word; a missing route says nothing."""
    try:
        async with open_stream(
            provider, "GET", native(provider, path), deadline_s=_READY_S
        ) as response:
            if response.status == 404:
                return None
            await raise_for_status(provider, response, classify=classify)
    except BackendError as exc:
        provider.sign(exc)
        return exc.message
    return None
