"""List, show, load, unload, running, health: what one machine's files and engines allow."""

from collections.abc import AsyncIterator
from importlib.metadata import version

from modelbay.context import ProviderContext
from modelbay.errors import UnsupportedActionError
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import (
    Action,
    Done,
    Health,
    HealthReport,
    ListedModel,
    ListModels,
    Load,
    ManageEvent,
    ModelDetails,
    ModelList,
    Progress,
    Running,
    RunningModel,
    RunningModels,
    Show,
    Unload,
)
from modelbay_embedded.discovery import discover, model_file, require_engine, search
from modelbay_embedded.engines import Engines
from modelbay_embedded.running import make_ready


async def run(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    """One action; ends with its outcome."""
    engines = Engines.of(provider)
    match action:
        case ListModels():
            yield ModelList(
                models=tuple(
                    ListedModel(
                        wire_id=found.wire_id, state=found.state, size_bytes=found.size_bytes
                    )
                    for found in await discover(provider)
                )
            )
        case Running():
            now = provider.resources.monotonic()
            yield RunningModels(
                models=tuple(
                    RunningModel(
                        wire_id=loaded.name,
                        size_bytes=loaded.size_bytes,
                        context=loaded.context_length,
                        active_streams=loaded.active,
                        expires_in_s=engines.expires_in_s(loaded, now),
                    )
                    for loaded in engines.loaded()
                )
            )
        case Load(model=name):
            before = engines.state(name)
            if before != "loaded":
                yield Progress(status=f"loading {name}")
            engines.release(await make_ready(provider, name))
            yield Done(message=f"{name} is loaded", changed=before != "loaded")
        case Unload(model=name, force=force):
            names = [loaded.name for loaded in engines.loaded()] if name is None else [name]
            ended = [one for one in names if await engines.unload(one, force=force)]
            told = ", ".join(ended) or "nothing"
            yield Done(message=f"unloaded {told}", changed=bool(ended))
        case Show(model=name):
            yield ModelDetails(wire_id=name, details=await _details(provider, name))
        case Health():
            yield await _health(provider)
        case _:
            raise UnsupportedActionError(f"embedded cannot {action.action}")


async def _details(provider: ProviderContext, name: str) -> JsonObject:
    file = await model_file(provider, name)
    details: JsonObject = {
        "file": str(file.found.path),
        "store": file.found.store,
        "size_bytes": file.found.size_bytes,
    }
    if file.found.shards:
        details["files"] = len(file.found.shards)
    if file.found.projector is not None:
        details["projector"] = str(file.found.projector)
    if file.header is None:
        details["problem"] = file.problem
        return details
    header = file.header
    facts: JsonObject = {
        "name": header.name,
        "architecture": header.architecture,
        "quantization": header.quantization,
        "parameters": header.parameter_count,
        "trained_context": header.context_length,
        "pooling": header.pooling,
        "chat_template": header.chat_template is not None,
    }
    return details | {key: value for key, value in facts.items() if value is not None}


async def _health(provider: ProviderContext) -> HealthReport:
    require_engine()
    looked = search(provider)
    places: list[JsonObject] = [
        {
            "store": place.store,
            "path": str(place.path),
            "state": place.state,
            "models": place.models,
            "problems": list(place.problems),
        }
        for place in looked.places
    ]
    return HealthReport(
        healthy=True,
        server="llama.cpp, embedded",
        version=version("xllamacpp"),
        details={"searched": [*places]},
    )
