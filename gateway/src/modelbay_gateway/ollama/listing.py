"""What there is and what runs: ``/api/version``, ``/api/tags``, ``/api/show``, ``/api/ps``."""

import asyncio
import hashlib
import re
from collections.abc import Sequence

from modelbay.errors import ModelbayError
from modelbay.models.catalog import ModelInfo
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import Running, RunningModel, RunningModels
from modelbay.refs import ModelRef
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.fields import parse
from modelbay_gateway.json_line import to_json
from modelbay_gateway.ollama.decode import model_of
from modelbay_gateway.ollama.encode import stamp
from modelbay_gateway.ollama.names import known

# Programs look at it before they use what an older server lacked: the version spoken here.
VERSION = "0.33.0"

_PS_S = 2.0  # a provider that takes longer is shown as it was last seen
_FOREVER_S = 292 * 365 * 86400.0  # what a server says of a model that it keeps loaded


async def version(bay: Bay, call: Call) -> None:
    await call.reply(to_json({"version": VERSION}))


async def tags(bay: Bay, call: Call) -> None:
    """Every provider's models, by their composite ids."""
    catalog = await bay.catalog()
    await call.reply(
        to_json({"models": [entry(model, bay.started_at) for model in catalog.models]})
    )


async def show(bay: Bay, call: Call) -> None:
    """One model, as far as its provider tells of it."""
    model = await known(bay, model_of(parse(await call.body())))
    await call.reply(to_json(shown(model, bay.started_at)))


async def ps(bay: Bay, call: Call) -> None:
    """What is loaded now, by the providers that can tell."""
    catalog = await bay.catalog()
    able = []
    for provider in catalog.providers:
        table = bay.host.registry.handle(provider.id).table
        if table is not None and "running" in table.actions and not provider.hidden:
            able.append(provider.id)
    found = dict(zip(able, await call.attended(_looks(bay, able)), strict=True))
    now = bay.wall_clock()
    models: list[JsonObject] = []
    for provider in catalog.providers:
        seen = found.get(provider.id)
        if seen is not None:
            models += [loaded_entry(bay, provider.id, each, now) for each in seen]
            continue
        for model in provider.models:
            if model.state == "loaded":
                each = RunningModel(wire_id=model.wire_id, context=model.loaded_context)
                models.append(loaded_entry(bay, provider.id, each, now))
    await call.reply(to_json({"models": [*models]}))


async def _looks(bay: Bay, providers: Sequence[str]) -> list[Sequence[RunningModel] | None]:
    """All at the same time."""
    return await asyncio.gather(*(_running(bay, provider_id) for provider_id in providers))


async def _running(bay: Bay, provider_id: str) -> Sequence[RunningModel] | None:
    """What a provider says; ``None`` if it does not."""
    found: Sequence[RunningModel] | None = None
    try:
        async with bay.host.manage(provider_id, Running(), deadline_s=_PS_S) as events:
            async for event in events:
                if isinstance(event, RunningModels):
                    found = event.models
    except ModelbayError:
        return None
    return found


# --- entries --------------------------------------------------------------------------------------


def entry(model: ModelInfo, modified_at: float) -> JsonObject:
    """One model of the list.

    Args:
        modified_at: Seconds since 1970; models have no date of their own.
    """
    return {
        "name": model.id,
        "model": model.id,
        "modified_at": stamp(modified_at),
        "size": model.size_bytes or 0,
        "digest": digest(model),
        "details": {**details(model), **_lengths(model)},
        "capabilities": [*capabilities(model)],
    }


def shown(model: ModelInfo, modified_at: float) -> JsonObject:
    """One model in detail."""
    architecture = re.sub(r"[^a-z0-9]", "", (model.family or model.kind).lower()) or "unknown"
    info: JsonObject = {"general.architecture": architecture, "general.basename": model.name}
    size = model.details.get("parameters")
    if isinstance(size, int):
        info["general.parameter_count"] = size
    window = context_of(model)
    if window is not None:
        info[f"{architecture}.context_length"] = window
    body: JsonObject = {
        "modelfile": f"# served by modelbay\nFROM {model.id}\n",
        "template": "",
        "details": details(model),
        "model_info": info,
        "capabilities": [*capabilities(model)],
        "modified_at": stamp(modified_at),
    }
    if window is not None:
        body["parameters"] = f"{'num_ctx':<30} {window}"
    return body


def loaded_entry(bay: Bay, provider_id: str, running: RunningModel, now: float) -> JsonObject:
    """One model that is loaded.

    Args:
        now: Seconds since 1970.
    """
    ref = str(ModelRef(provider_id, running.wire_id))
    model = bay.host.registry.find(ref)
    size = running.size_bytes or (model.size_bytes if model is not None else None) or 0
    expires_in_s = _FOREVER_S if running.expires_in_s is None else running.expires_in_s
    body: JsonObject = {
        "name": ref,
        "model": ref,
        "size": size,
        "digest": digest(model) if model is not None else _digest_of(ref),
        "details": details(model) if model is not None else {},
        "expires_at": stamp(now + min(expires_in_s, _FOREVER_S)),
        "size_vram": running.vram_bytes or 0,
    }
    context = running.context or (model.loaded_context if model is not None else None)
    if context is not None:
        body["context_length"] = context
    return body


def digest(model: ModelInfo) -> str:
    """64 hex digits: the server's own, else of the id, since programs cut a piece out of it."""
    own = (model.digest or "").removeprefix("sha256:")
    return own if len(own) == 64 else _digest_of(model.id)


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def details(model: ModelInfo) -> JsonObject:
    told = model.details
    family = model.family or ""
    form, size = told.get("format"), told.get("parameter_size")
    return {
        "parent_model": "",
        "format": form if isinstance(form, str) else "",
        "family": family,
        "families": [family] if family else None,
        "parameter_size": size if isinstance(size, str) else "",
        "quantization_level": model.quantization or "",
    }


def context_of(model: ModelInfo) -> int | None:
    """What a request may use; programs set their own limit by it."""
    facts = model.capabilities
    return model.loaded_context or facts.context_window or facts.trained_context


def _lengths(model: ModelInfo) -> JsonObject:
    window = context_of(model)
    return {} if window is None else {"context_length": window}


def capabilities(model: ModelInfo) -> list[str]:
    """Those that are known; what nobody knows is not claimed."""
    facts = model.capabilities
    named = (
        ("embedding", facts.embeddings),
        ("completion", not facts.embeddings and not facts.rerank and not facts.image_generation),
        ("tools", facts.tools),
        ("vision", facts.vision),
        ("audio", facts.audio),
        ("thinking", facts.reasoning),
        ("image", facts.image_generation),
    )
    return [name for name, is_so in named if is_so]
