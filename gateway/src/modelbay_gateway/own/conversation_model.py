"""``GET`` and ``PUT /conversations/{id}/model``, and warming that model up."""

from pydantic import ConfigDict, TypeAdapter

from modelbay.models.frozen import Frozen
from modelbay.models.manage import Load
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.own.feed import send_events
from modelbay_gateway.own.manage import managed, nothing_to_do
from modelbay_gateway.own.reading import body_of, conversation_id, store_of
from modelbay_gateway.own.turn import described, resolve_turn, written


class SetModelRequest(Frozen):
    """The model to remember (S2-06). ``null`` and an empty or blank text clear it (S2-22)."""

    # Later versions may send more (S2-04).
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    model: str | None


class ModelResponse(Frozen):
    """A `ConversationModel` in the names it has on the wire (S2-05)."""

    conversationId: str  # noqa: N815
    model: str | None
    resolvable: bool | None
    fallback: str | None


class WarmRequest(Frozen):
    """The model to make ready; ``null`` leaves it to the conversation (S2-17)."""

    model: str | None = None


_SET = TypeAdapter(SetModelRequest)
_WARM = TypeAdapter(WarmRequest)


async def read(bay: Bay, call: Call) -> None:
    """The model of a conversation; one that nobody has heard of has none (S2-07, S2-08)."""
    id = conversation_id(call)
    await _reply(bay, call, id, await store_of(bay).conversation_model(id))


async def write(bay: Bay, call: Call) -> None:
    """Remember a model, without asking whether there is one (S2-09, S2-21); answers with it."""
    id = conversation_id(call)
    model = (await body_of(call, _SET)).model
    wanted = await written(bay, model) if model and not model.isspace() else None
    await _reply(bay, call, id, await store_of(bay).set_conversation_model(id, wanted))


async def warm(bay: Bay, call: Call) -> None:
    """Make the model of the next turn ready (S2-17). Nothing is remembered by it."""
    id = conversation_id(call)
    wanted = (await body_of(call, _WARM)).model
    store_of(bay)
    model = (await resolve_turn(bay, id, wanted, persist=False)).model
    provider_id = model.ref.provider_id
    if "load" in bay.host.registry.handle(provider_id).require().table.actions:
        events = managed(bay, provider_id, Load(model=model.wire_id), call.caller.name)
    else:
        events = nothing_to_do(f"{model.id} is ready whenever it is asked")
    await send_events(bay, call, events)


async def _reply(bay: Bay, call: Call, id: str, stored: str | None) -> None:
    found = await described(bay, id, stored)
    answer = ModelResponse(
        conversationId=found.conversation_id,
        model=found.model,
        resolvable=found.resolvable,
        fallback=found.fallback,
    )
    await call.reply(answer.model_dump_json().encode())
