"""``GET /api/models`` and ``GET /api/providers``: what there is, from the registry."""

from urllib.parse import urlsplit

import msgspec
from pydantic import Field, TypeAdapter

from modelbay.host.handles import ProviderHandle
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import ModelInfo, Problem, ProviderEntry, ProviderStatus
from modelbay.models.catalog_json import provider_json
from modelbay.models.frozen import Frozen
from modelbay.models.manage import ActionName
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.own.reading import Query

_PORTS = {"http": 80, "https": 443}


class ModelCatalogProvider(Frozen):
    """A provider and its models (S0-36). What stands beside id, label and models is its health."""

    id: str
    label: str
    kind: str
    status: ProviderStatus
    problem: Problem | None
    age_s: float | None
    took_s: float | None
    next_look_s: float | None
    models: tuple[ModelInfo, ...]


class ModelCatalogResponse(Frozen):
    """All models by provider (S0-35). Favourites are the user's, not the catalogue's (S0-38)."""

    providers: tuple[ModelCatalogProvider, ...]


class ProviderSummary(Frozen):
    """A provider without its models.

    Attributes:
        models: How many it lists.
        is_default: Names without a provider are its own.
        actions: What it can be asked to do at ``/api/providers/{id}/manage``.
        hints: What to do instead, by the name of an action it cannot do.
        active, waiting: Requests at work there, and in the queue for it.
        address: Where it is, as ``host:port``, without its path; told to a key that is good for
            ``manage``, and ``None`` where there is no server.
        loading_s: Seconds since this gateway first saw a model load or be downloaded, by ref.
    """

    id: str
    label: str
    kind: str
    status: ProviderStatus
    problem: Problem | None
    models: int
    is_default: bool
    is_local: bool
    is_implicit: bool
    actions: tuple[ActionName, ...]
    hints: dict[ActionName, str]
    active: int
    waiting: int
    address: str | None
    loading_s: dict[str, float]


class ProvidersResponse(Frozen):
    providers: tuple[ProviderSummary, ...]
    default_provider: str | None = Field(description="Names without a provider belong to it.")


_MODELS = TypeAdapter(tuple[ModelInfo, ...])


async def models(bay: Bay, call: Call) -> None:
    """``GET /api/models``; ``?refresh=1`` looks at every provider first."""
    if Query(call).flag("refresh"):
        catalog = await bay.host.refresh(force=True)
    else:
        catalog = await bay.catalog()
    listed = [
        # Written by pydantic at once: a fifth of the time that thousands of dicts would take.
        {**provider_json(entry, ()), "models": msgspec.Raw(_MODELS.dump_json(entry.models))}
        for entry in catalog.providers
        if not entry.hidden
    ]
    await call.reply(msgspec.json.encode({"providers": listed}))


async def providers(bay: Bay, call: Call) -> None:
    """``GET /api/providers``; no key of a provider stands in it, and no path of its address."""
    catalog = await bay.catalog()
    times = bay.loading.look(catalog.models)
    tells_address = "manage" in call.caller.scopes
    handles = {handle.id: handle for handle in bay.host.providers}
    found = ProvidersResponse(
        providers=tuple(
            _summary(
                bay,
                entry,
                handles[entry.id],
                is_default=entry.id == catalog.default_provider,
                address=_address(entry.base_url) if tells_address else None,
                loading_s={
                    model.id: round(times[model.id], 3)
                    for model in entry.models
                    if model.id in times
                },
            )
            for entry in catalog.providers
            if not entry.hidden
        ),
        default_provider=catalog.default_provider,
    )
    await call.reply(found.model_dump_json().encode())


def _summary(
    bay: Bay,
    entry: ProviderEntry,
    handle: ProviderHandle,
    *,
    is_default: bool,
    address: str | None,
    loading_s: dict[str, float],
) -> ProviderSummary:
    table = handle.table or CapabilityTable()
    return ProviderSummary(
        id=entry.id,
        label=entry.label,
        kind=entry.kind,
        status=entry.status,
        problem=entry.problem,
        models=len(entry.models),
        is_default=is_default,
        is_local=table.local,
        is_implicit=entry.implicit,
        actions=tuple(sorted(table.actions)),
        hints=table.hints,
        active=bay.admission.active(entry.id),
        waiting=bay.admission.waiting(entry.id),
        address=address,
        loading_s=loading_s,
    )


def _address(base_url: str) -> str | None:
    """Host and port; a name and a password before them, and a key behind them, stay out."""
    try:
        url = urlsplit(base_url)
        port = url.port or _PORTS.get(url.scheme)
    except ValueError:
        return None
    host = url.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if host else None
