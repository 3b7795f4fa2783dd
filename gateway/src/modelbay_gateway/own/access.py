"""``GET /api/key``: what the key of a request is good for, so that a program offers only that."""

from modelbay.models.frozen import Frozen
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import KEY_PREFIX, Call
from modelbay_gateway.scopes import SCOPES, Scope


class KeyResponse(Frozen):
    """A key without its secret.

    Attributes:
        name: ``null`` where the gateway asks for no key.
        scopes: All of them where it asks for none.
    """

    name: str | None
    scopes: tuple[Scope, ...]


async def key(bay: Bay, call: Call) -> None:
    caller = call.caller
    is_key = caller.name.startswith(KEY_PREFIX)
    found = KeyResponse(
        name=caller.name.removeprefix(KEY_PREFIX) if is_key else None,
        scopes=tuple(each for each in SCOPES if each in caller.scopes),
    )
    await call.reply(found.model_dump_json().encode())
