"""``GET /api/models`` and ``GET /api/providers``: what there is, from the registry."""

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
    """``GET /api/providers``; no address and no key of a provider stands in it."""
    catalog = await bay.catalog()
    handles = {handle.id: handle for handle in bay.host.providers}
    found = ProvidersResponse(
        providers=tuple(
            _summary(bay, entry, handles[entry.id], catalog.default_provider)
            for entry in catalog.providers
            if not entry.hidden
        ),
        default_provider=catalog.default_provider,
    )
    await call.reply(found.model_dump_json().encode())


def _summary(
    bay: Bay, entry: ProviderEntry, handle: ProviderHandle, default: str | None
) -> ProviderSummary:
    table = handle.table or CapabilityTable()
    return ProviderSummary(
        id=entry.id,
        label=entry.label,
        kind=entry.kind,
        status=entry.status,
        problem=entry.problem,
        models=len(entry.models),
        is_default=entry.id == default,
        is_local=table.local,
        is_implicit=entry.implicit,
        actions=tuple(sorted(table.actions)),
        hints=table.hints,
        active=bay.admission.active(entry.id),
        waiting=bay.admission.waiting(entry.id),
    )
