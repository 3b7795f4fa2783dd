"""What Acme means to modelbay. The kit's own tests break it on purpose, line by line."""

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from modelbay.client.http import fetch_json, open_stream, raise_for_status, read_body
from modelbay.client.openai_compat import embed as embed_over_http
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, StreamInterruptedError, UnsupportedActionError
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable, Facts, TableRow
from modelbay.models.catalog import DiscoveredModel, ModelInfo, ModelState
from modelbay.models.chat import ChatRequest
from modelbay.models.events import StreamEvent
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
    Running,
    RunningModel,
    RunningModels,
    Show,
    Unload,
)
from modelbay.models.media import EmbedRequest, EmbedResult
from modelbay.models.provider import ProviderConfig
from modelbay.wire.openai_chat import ChatDecoder, Dialect, encode_chat
from modelbay.wire.sse import SSEDecoder

DIALECT = Dialect()
STATES: Mapping[str, ModelState] = {"loaded": "loaded", "unloaded": "unloaded"}
TABLE = CapabilityTable(
    rows=(TableRow(pattern="thinker*", facts=Facts(reasoning=True), evidence="Acme model card"),),
    actions=frozenset({"list", "running", "health", "show", "load", "unload"}),
    hints={"pull": "acme fetches models by itself: acme get NAME"},
    server_checks_names=True,
)


class Entry(msgspec.Struct):
    id: str
    state: str = "unknown"


class Listing(msgspec.Struct):
    data: list[Entry]


@hookimpl
def capabilities() -> CapabilityTable:
    return TABLE


@hookimpl
def default_providers(env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    url = env.get("ACME_URL") or "http://127.0.0.1:7001"
    return [ProviderConfig(id="acme", kind="acme", base_url=url, source="loopback")]


async def fetch(provider: ProviderContext) -> list[Entry]:
    return (await fetch_json(provider, "GET", "v1/models", into=Listing)).data


@hookimpl
async def discover_models(provider: ProviderContext) -> Sequence[DiscoveredModel]:
    return [
        DiscoveredModel(wire_id=entry.id, state=STATES.get(entry.state, "unknown"))
        for entry in await fetch(provider)
    ]


@hookimpl
async def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    encoded = encode_chat(request, model.ref.wire_id, DIALECT)
    for notice in encoded.notices:
        yield notice
    sse, decoder = SSEDecoder(), ChatDecoder(DIALECT)
    try:
        async with open_stream(
            provider, "POST", "v1/chat/completions", json=encoded.body
        ) as response:
            await raise_for_status(provider, response, model=str(model.ref))
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                async for block in response.blocks():
                    for data in sse.feed(block):
                        for event in decoder.decode(data):
                            yield event
                for data in sse.close():
                    for event in decoder.decode(data):
                        yield event
                if sse.stray and not decoder.finished:
                    raise StreamInterruptedError("stray text", partial=decoder.partial)
            else:
                for event in decoder.decode(await read_body(response)):
                    yield event
            for event in decoder.close():
                yield event
    except BackendError as exc:
        if isinstance(exc, StreamInterruptedError) and not exc.partial:
            exc.partial = decoder.partial
        raise


@hookimpl
async def embed(provider: ProviderContext, request: EmbedRequest, model: ModelInfo) -> EmbedResult:
    return await embed_over_http(provider, request, model)


@hookimpl
async def manage(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    match action:
        case ListModels():
            models = [ListedModel(wire_id=e.id, state=e.state) for e in await fetch(provider)]
            yield ModelList(models=tuple(models))
        case Running():
            loaded = [entry for entry in await fetch(provider) if entry.state == "loaded"]
            yield RunningModels(models=tuple(RunningModel(wire_id=entry.id) for entry in loaded))
        case Health():
            await fetch(provider)
            yield HealthReport(healthy=True, server="acme")
        case Show():
            details = await fetch_json(provider, "GET", f"v1/models/{action.model}", into=Entry)
            yield ModelDetails(wire_id=details.id)
        case Load() | Unload():
            path = f"{action.action}/{action.model}"
            answer = await fetch_json(provider, "POST", path, into=dict[str, bool])
            yield Done(changed=answer["changed"])
        case _:
            raise UnsupportedActionError(f"acme cannot {action.action}")
