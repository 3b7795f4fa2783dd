"""Catalogues for the rules of the state store."""

from modelbay.models.capabilities import Capabilities
from modelbay.models.catalog import Catalog, ModelInfo, ModelState, Problem, ProviderEntry
from modelbay.refs import ModelRef
from modelbay.state.rules import Listing


def listed(
    provider_id: str, wire_id: str, *aliases: str, state: ModelState = "unloaded"
) -> ModelInfo:
    return ModelInfo(
        ref=ModelRef(provider_id, wire_id),
        name=wire_id,
        kind="openai",
        capabilities=Capabilities(),
        aliases=aliases,
        state=state,
    )


def heard(provider_id: str, *models: str | ModelInfo) -> ProviderEntry:
    """A provider that has just listed its models."""
    infos = (listed(provider_id, each) if isinstance(each, str) else each for each in models)
    return ProviderEntry(
        id=provider_id, label="", kind="openai", status="ok", models=tuple(infos), age_s=1.0
    )


def stale(provider_id: str, *models: str) -> ProviderEntry:
    """A provider that listed these and does not answer any more."""
    problem = Problem(code="backend_unreachable", message="no connection")
    return heard(provider_id, *models).model_copy(update={"status": "stale", "problem": problem})


def silent(provider_id: str, *, implicit: bool = False) -> ProviderEntry:
    """A provider that has never answered; a mere proposal is hidden."""
    return ProviderEntry(
        id=provider_id,
        label="",
        kind="openai",
        status="down",
        problem=Problem(code="backend_unreachable", message="no connection"),
        implicit=implicit,
        hidden=implicit,
    )


def listing(*providers: ProviderEntry, asked_by_name: tuple[str, ...] = ()) -> Listing:
    """The first provider is the default one."""
    default = providers[0].id if providers else None
    return Listing(Catalog(providers=providers, default_provider=default), asked_by_name)
