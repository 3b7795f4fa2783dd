"""Which model answers a turn that names none, and what to say about one that is not there."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from modelbay.errors import UnknownModelError
from modelbay.models.catalog import Catalog, ModelInfo, ProviderEntry

NEAR = 3

# What a model is wanted for; all but the first are fields of `Capabilities`.
Task: TypeAlias = Literal["chat", "embeddings", "rerank", "image_generation"]


def of_default_provider(catalog: Catalog, task: Task = "chat") -> ModelInfo | None:
    """The default provider's first loaded or only model."""
    default = catalog.provider(catalog.default_provider or "")
    if default is None:
        return None
    fitting = _fitting(default.models, task)
    loaded = [model for model in fitting if model.state == "loaded"]
    return (loaded or fitting)[0] if loaded or len(fitting) == 1 else None


def of_favorites(
    catalog: Catalog, favorites: Sequence[ModelInfo], task: Task = "chat"
) -> ModelInfo | None:
    """The first favourite whose provider answers."""
    online = {entry.id for entry in catalog.providers if entry.problem is None}
    fitting = _fitting([model for model in favorites if model.ref.provider_id in online], task)
    return fitting[0] if fitting else None


def pick(catalog: Catalog, task: Task = "chat") -> ModelInfo:
    """A local model that costs nothing.

    Raises:
        UnknownModelError: There is none; the message names what was probed.
    """
    free = [model for model in _fitting(catalog.models, task) if _is_free(model)]
    for model in (*(m for m in free if m.state == "loaded"), *free):
        return model
    what = {"chat": "to answer with"}.get(task, f"for {task.replace('_', ' ')}")
    raise UnknownModelError(
        f"no model {what}; asked {_probed(catalog.providers)}",
        hint="modelbay doctor   # says what each provider needs",
    )


def unknown(text: str, catalog: Catalog, provider_id: str | None = None) -> UnknownModelError:
    """A model that is not listed: what was probed, and names that look alike."""
    ids = [model.id for model in catalog.models]
    bare = {model.ref.wire_id: model.id for model in catalog.models}
    close = difflib.get_close_matches(text, ids, NEAR, 0.6)
    close += [bare[name] for name in difflib.get_close_matches(text, list(bare), NEAR, 0.6)]
    part = [ref for ref in ids if text.lower() in ref.lower()]
    near = list(dict.fromkeys((*close, *part)))[:NEAR]
    asked = [p for p in catalog.providers if provider_id in (None, p.id)]
    return UnknownModelError(
        f"unknown model '{text}'; asked {_probed(asked)}",
        provider_id=provider_id,
        model=text,
        hint=f"did you mean {' or '.join(near)}?" if near else "modelbay models",
    )


def _probed(providers: Iterable[ProviderEntry]) -> str:
    def told(provider: ProviderEntry) -> str:
        count = len(provider.models)
        if provider.problem is None:
            return f"{provider.id} ({count} model{'' if count == 1 else 's'})"
        return f"{provider.id} ({provider.status})"

    return ", ".join(told(provider) for provider in providers if not provider.hidden) or "nobody"


def _fitting(models: Iterable[ModelInfo], task: Task) -> list[ModelInfo]:
    """Those known to do it; if there are none, those not known to be for something else."""
    usable = [model for model in models if model.state != "failed"]
    if task == "chat":
        return [model for model in usable if not _is_special(model)]
    known = [(model, getattr(model.capabilities, task)) for model in usable]
    return [model for model, can in known if can] or [m for m, can in known if can is None]


def _is_special(model: ModelInfo) -> bool:
    facts = model.capabilities
    return bool(facts.embeddings or facts.rerank or facts.image_generation)


def _is_free(model: ModelInfo) -> bool:
    prices = model.capabilities.prices
    return (
        model.origin != "remote"
        and prices is not None
        and prices.input_per_mtok == 0
        and prices.output_per_mtok == 0
    )


def order(configured: Sequence[str], proposed: Sequence[tuple[str, str, str]]) -> list[str]:
    """Provider ids in the order everybody sees: the file's, then proposals.

    Args:
        proposed: ``(id, kind, source)``; sources rank environment, loopback, hosted, bundled.
    """
    rank = {"configured": 0, "environment": 1, "loopback": 2, "hosted": 3, "bundled": 4}
    later = sorted(proposed, key=lambda item: (rank[item[2]], item[1], item[0]))
    return [*configured, *(item[0] for item in later)]
