"""``POST /api/providers/{id}/manage``: pull, load, delete and the rest, as a stream of events."""

from collections.abc import AsyncIterator

from pydantic import TypeAdapter, ValidationError

from modelbay.host.streams import EventStream
from modelbay.models.manage import Action, Copy, Create, Delete, Done, ManageEvent, Progress, Unload
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.fields import parse
from modelbay_gateway.own.feed import send_events
from modelbay_gateway.own.reading import refused
from modelbay_gateway.refusal import Refused

ACTION: TypeAdapter[Action] = TypeAdapter(Action)
_SECRET = frozenset(("logs", "balance"))  # prompts stand in the one; the other is about money


async def manage(bay: Bay, call: Call) -> None:
    """Do one action at one provider. Its model is a ref of this provider, or the server's name.

    What destroys something needs ``"confirm": true`` too; logs and the balance need the scope
    ``admin``.
    """
    provider_id = call.param("id")
    fields = parse(await call.body())
    is_confirmed = fields.flag("confirm") is True
    bay.host.registry.handle(provider_id).require()
    try:
        action = ACTION.validate_python(fields.rest(), strict=True)
    except ValidationError as exc:
        raise refused(exc) from None
    if action.action in _SECRET and "admin" not in call.caller.scopes:
        raise Refused(
            "missing_scope",
            f"'{action.action}' needs a key that is good for 'admin'",
            hint="modelbay serve keys add NAME --scope manage --scope admin",
        )
    action = _named(bay, provider_id, action)
    lost = _destroyed(provider_id, action)
    if lost is not None and not is_confirmed:
        raise Refused("missing_field", lost, field="confirm", hint='send "confirm": true')
    await send_events(bay, call, managed(bay, provider_id, action, call.caller.name))


def managed(bay: Bay, provider_id: str, action: Action, client: str) -> EventStream[ManageEvent]:
    """The action's events. Before it says that it is done, the catalogue knows what has changed.

    Args:
        client: Who asks; one client may not have too many actions at work.
    """
    stream: EventStream[ManageEvent] = EventStream()
    return stream.over(_managed(bay, provider_id, action, client))


async def _managed(
    bay: Bay, provider_id: str, action: Action, client: str
) -> AsyncIterator[ManageEvent]:
    has_begun = False
    async with bay.manage(provider_id, action, client) as events:
        async for event in events:
            if isinstance(event, Done):
                await bay.host.refresh(provider_id)
            elif isinstance(event, Progress) and not has_begun:
                has_begun = True
                if bay.host.registry.listener is not None:
                    # Those who watch see it loading now, and not at the next look.
                    await bay.host.refresh(provider_id, force=True)
            yield event


def nothing_to_do(message: str) -> EventStream[ManageEvent]:
    """The events of an action that is done already."""

    async def done() -> AsyncIterator[ManageEvent]:
        yield Done(message=message, changed=False)

    stream: EventStream[ManageEvent] = EventStream()
    return stream.over(done())


def _named(bay: Bay, provider_id: str, action: Action) -> Action:
    """The same, its model by the server's own name."""
    text = getattr(action, "model", None)
    if not text:
        return action
    find, prefix = bay.host.registry.find, f"{provider_id}/"
    known = find(prefix + text) or (find(text) if text.startswith(prefix) else None)
    name = text.removeprefix(prefix) if known is None else known.wire_id
    return action.model_copy(update={"model": name})


def _destroyed(provider_id: str, action: Action) -> str | None:
    """What would be lost by this, in words; ``None`` for nothing."""
    match action:
        case Delete(model=model):
            return f"this deletes '{model}' at '{provider_id}'"
        case Unload(force=True):
            return "this breaks the answers that are running"
        case Copy(to=target) | Create(model=target):
            # Always: what is known here may be old, and a server may not tell capitals apart.
            return f"this replaces '{target}' at '{provider_id}', if it is there"
        case _:
            return None
