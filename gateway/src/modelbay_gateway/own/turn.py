"""Which model a turn of a conversation goes to, and what is remembered of it."""

from collections.abc import Awaitable
from dataclasses import dataclass

from modelbay.errors import ModelbayError, RoutingError, UnknownModelError
from modelbay.models.catalog import ModelInfo
from modelbay.state import rules
from modelbay.state.records import ConversationModel
from modelbay.state.rules import Listing
from modelbay_gateway.bay import Bay


@dataclass(frozen=True, slots=True)
class ResolvedTurn:
    """The model of one turn.

    Attributes:
        name: The id to echo: as it was asked for or remembered, else the model's own.
    """

    model: ModelInfo
    name: str


async def resolve_turn(
    bay: Bay, conversation_id: str | None, requested: str | None, *, persist: bool = True
) -> ResolvedTurn:
    """The request's model, then the conversation's, then the defaults (S2-14 to S2-17).

    What a request names is remembered for its conversation, with its provider (S0-72), whether
    there is such a model or not (S2-21); a turn without a model remembers nothing.

    Args:
        conversation_id: ``None`` or empty for a turn that belongs to none.
        persist: ``False`` for a single turn, or a warm-up, that leaves no trace (U12).

    Raises:
        RoutingError: There is no such model. Where it is the conversation's that is gone, the hint
            names another one.
        BackendError: The model's provider could not be asked.
    """
    remembered = None
    if bay.store is not None and conversation_id:
        if requested and persist:
            await bay.store.turn(conversation_id, await written(bay, requested))
        elif not requested:
            remembered = (await bay.store.turn(conversation_id)).model
    wanted = requested or remembered
    try:
        model = await bay.find(wanted)
    except RoutingError:
        if remembered is None or conversation_id is None:
            raise
        await bay.catalog()
        default = await default_model(bay)
        known = listing(bay)
        error = rules.vanished(conversation_id, remembered, known, default=default)
        instead = rules.fallback(remembered, known, default=default)
        if instead is not None:
            error.hint = f'send "model": "{instead}"'
        raise error from None
    return ResolvedTurn(model, wanted or model.id)


async def remembered(
    bay: Bay,
    conversation_id: str | None,
    requested: str,
    found: Awaitable[ModelInfo],
    *,
    persist: bool = True,
) -> ModelInfo:
    """The same for a protocol that always names a model, and looks for it by rules of its own.

    Args:
        found: Looks for the model. One that there is is remembered by its ref: the name may be the
            protocol's own.

    Raises:
        RoutingError: There is no such model.
        BackendError: The model's provider could not be asked.
    """
    try:
        model = await found
    except ModelbayError:
        if persist and conversation_id:
            await bay.turn(conversation_id, await written(bay, requested))
        raise
    await bay.turn(conversation_id, model.id, persist=persist)
    return model


async def written(bay: Bay, text: str) -> str:
    """How a model is remembered: as its ref, where it is listed or the provider is clear.

    A text that means nothing is remembered as it is (S2-21).
    """
    try:
        found = bay.listed(text)
        if found is None:  # which provider's it is may come out at the first look
            await bay.catalog()
            found = bay.listed(text)
    except UnknownModelError:  # several providers list it
        return text
    return rules.composite(text, listing(bay)) if found is None else found.id


def listing(bay: Bay) -> Listing:
    """The catalogue as it is now, for questions about remembered ids."""
    handles = bay.host.providers
    asked = [h.id for h in handles if h.table is not None and h.table.server_checks_names]
    return Listing(bay.host.catalog, asked)


async def default_model(bay: Bay) -> str | None:
    """The ref a turn without any model would go to; ``None`` if to none (S2-08)."""
    try:
        return (await bay.find(None)).id
    except ModelbayError:
        return None


async def described(bay: Bay, conversation_id: str, stored: str | None) -> ConversationModel:
    """What to tell about the model a conversation remembers (S2-05)."""
    await bay.catalog()
    known = listing(bay)
    # The default is looked for where it is told: that may wait for a provider.
    is_told = stored is None or known.standing(stored) != "listed"
    default = await default_model(bay) if is_told else None
    found = rules.conversation_model(conversation_id, stored, known, default=default)
    if stored is None:  # who shows it can say which one answers (S2-11)
        return found.model_copy(update={"fallback": default})
    return found
