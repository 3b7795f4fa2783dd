"""What is remembered of a model, and what it means later. Pure: no SQL, no network."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from modelbay.errors import UnknownModelError
from modelbay.models.catalog import Catalog, ModelInfo, ProviderEntry
from modelbay.refs import ModelRef, parse_model_ref
from modelbay.state.records import ConversationModel

Standing: TypeAlias = Literal["listed", "unsure", "gone"]


@dataclass(frozen=True, slots=True)
class Turn:
    """The model of one turn, as far as the conversation decides it.

    Attributes:
        model: As it was written; ``None`` leaves it to the defaults (S2-08).
        source: Who named it.
        write: What has to be remembered for the conversation; ``None`` for nothing.
    """

    model: str | None
    source: Literal["request", "conversation"] | None
    write: str | None = None


def turn(requested: str | None, stored: str | None, *, persist: bool = True) -> Turn:
    """The request's model, else the conversation's (S2-14 to S2-16).

    A request without a model, or with an empty one, names none and clears nothing. What a request
    names is remembered without asking whether there is such a model (S2-21).

    Args:
        persist: ``False`` for a single turn, or a warm-up, that must leave no trace (U12).
    """
    if requested:
        write = requested if persist and requested != stored else None
        return Turn(requested, "request", write)
    return Turn(stored, "conversation") if stored else Turn(None, None)


def resulting(model: str | None) -> str | None:
    """What there is after setting this: ``None`` and an empty string clear (S2-06, S2-22)."""
    return model or None


# --- what a remembered id means now ---------------------------------------------------------------


class Listing:
    """A catalogue, made ready for questions about remembered ids.

    Args:
        asked_by_name: Providers whose server is asked for a name that it does not list.
    """

    __slots__ = ("_asked_by_name", "_by_id", "_providers", "default")

    def __init__(self, catalog: Catalog, asked_by_name: Collection[str] = ()) -> None:
        self.default = catalog.default_provider
        self._providers = {provider.id: provider for provider in catalog.providers}
        self._asked_by_name = frozenset(asked_by_name)
        self._by_id: dict[str, ModelInfo] = {}
        for provider in catalog.providers:
            for model in provider.models:  # an alias never hides a name
                for alias in model.aliases:
                    self._by_id.setdefault(f"{provider.id}/{alias}", model)
            for model in provider.models:
                self._by_id[str(model.ref)] = model

    def ref(self, text: str) -> ModelRef | None:
        """The ref, bare ids being the default provider's (S0-31, S0-71); ``None`` if it is none."""
        try:
            ref = parse_model_ref(
                text, default_provider=self.default or "", known_providers=self._providers
            )
        except UnknownModelError:
            return None
        return ref if ref.provider_id else None

    def model(self, text: str) -> ModelInfo | None:
        """The listed model that this id means."""
        ref = self.ref(text)
        return None if ref is None else self._by_id.get(str(ref))

    def is_online(self, model: ModelInfo) -> bool:
        """Whether the last look at its provider went well, or found it busy loading."""
        provider = self._providers[model.ref.provider_id]
        return provider.problem is None or provider.status == "loading"

    def standing(self, text: str) -> Standing:
        """Whether a turn with this id finds its model."""
        if self.model(text) is not None:
            return "listed"
        ref = self.ref(text)
        provider = None if ref is None else self._providers.get(ref.provider_id)
        if ref is None or provider is None:
            return "gone"
        if provider.age_s is None or provider.problem is not None:
            return "unsure"
        # A slash behind an unknown prefix is more likely a provider that was taken away.
        named = provider.id in self._asked_by_name and not (ref.is_legacy_bare and "/" in text)
        return "unsure" if named else "gone"

    def elsewhere(self, wire_id: str) -> list[ModelInfo]:
        """All listed models of this name or alias, in the order of the providers."""
        ids = (f"{provider_id}/{wire_id}" for provider_id in self._providers)
        return [self._by_id[each] for each in ids if each in self._by_id]

    def why_ambiguous(self, text: str) -> str | None:
        """Why a bare id cannot be given the default provider's prefix; ``None`` if it can."""
        ref = self.ref(text)
        if ref is None:
            return "there is no default provider"
        if not ref.is_legacy_bare:
            return "it has its provider already"
        if str(ref) not in self._by_id:
            return f"the default provider '{ref.provider_id}' does not list it"
        others = [m.ref.provider_id for m in self.elsewhere(text)]
        others = [each for each in others if each != ref.provider_id]
        if others:
            return f"'{others[0]}' lists it too"
        unread = [p.id for p in self._providers.values() if p.age_s is None and _is_configured(p)]
        if unread:
            return f"'{unread[0]}' has not listed its models"
        return None


def _is_configured(provider: ProviderEntry) -> bool:
    """Not a mere proposal that never answered: those are not there, and so they list nothing."""
    return not provider.hidden and not provider.implicit


def conversation_model(
    conversation_id: str, stored: str | None, listing: Listing, *, default: str | None
) -> ConversationModel:
    """What to answer about a conversation's model (S2-05, S2-21).

    Args:
        default: The ref a turn without any model would go to.
    """
    if stored is None:
        return ConversationModel(
            conversation_id=conversation_id, model=None, resolvable=default is not None
        )
    standing = listing.standing(stored)
    return ConversationModel(
        conversation_id=conversation_id,
        model=stored,
        resolvable={"listed": True, "unsure": None, "gone": False}[standing],
        fallback=None if standing == "listed" else fallback(stored, listing, default=default),
    )


def fallback(stored: str, listing: Listing, *, default: str | None) -> str | None:
    """A ref instead of one that does not answer: the same model elsewhere, else the default."""
    ref = listing.ref(stored)
    names = [] if ref is None else [ref.wire_id]
    if ref is None or ref.is_legacy_bare:
        names.append(stored.partition("/")[2])  # its provider may have been taken away
    for model in (model for name in names if name for model in listing.elsewhere(name)):
        if listing.is_online(model) and model.state != "failed":
            return str(model.ref)
    return default


def vanished(
    conversation_id: str, stored: str, listing: Listing, *, default: str | None
) -> UnknownModelError:
    """The error of a turn whose conversation remembers a model that is gone (S2-21)."""
    instead = fallback(stored, listing, default=default)
    return UnknownModelError(
        f"'{stored}', the model of conversation '{conversation_id}', is not there any more",
        model=stored,
        hint="modelbay models" if instead is None else f"modelbay chat -m {instead}",
    )


# --- bare ids of old ------------------------------------------------------------------------------


def composite(text: str, listing: Listing) -> str:
    """How a newly named model is written down: with its provider (S0-13, S0-72).

    Nothing is validated (S2-21). A text with a slash behind an unknown prefix stays as it is unless
    the default provider lists it: it may name a provider that is not configured at the moment.
    """
    ref = listing.ref(text)
    if ref is None or (ref.is_legacy_bare and "/" in text and listing.model(text) is None):
        return text
    return str(ref)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What rewriting bare ids would do.

    Attributes:
        rewrites: From the bare id to its ref.
        kept: Bare ids that stay as they are, and why; they remain routable (S0-14, S0-71).
    """

    rewrites: Mapping[str, str]
    kept: Mapping[str, str]


def normalisation(texts: Iterable[str], listing: Listing) -> Normalisation:
    """Which of these remembered ids can be rewritten as refs without a doubt (S0-51, S0-76).

    Only when a person asks for it. A bare id is the default provider's; there is a doubt if that
    provider does not list it, if another one does, or if another one has not been heard.
    """
    rewrites: dict[str, str] = {}
    kept: dict[str, str] = {}
    for text in dict.fromkeys(texts):
        ref = listing.ref(text)
        if ref is not None and not ref.is_legacy_bare:
            continue
        why = listing.why_ambiguous(text)
        if why is None:
            rewrites[text] = str(ref)
        else:
            kept[text] = why
    return Normalisation(rewrites, kept)
