"""What a protocol brings to the gateway."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from starlette.routing import BaseRoute

from modelbay_gateway.bay import Bay
from modelbay_gateway.refusal import Refusal
from modelbay_gateway.scopes import Need

Header: TypeAlias = tuple[bytes, bytes]


def _chat(method: str, path: str) -> Need | None:
    return "chat"


@dataclass(frozen=True, slots=True)
class Surface:
    """One protocol: its routes, and how it says that something went wrong.

    Attributes:
        prefixes: The beginnings of the paths that are this protocol's, also where nothing is
            there: a refusal under them is in its words. The longest one wins.
        routes: Called once, when the app is made.
        refuse: The body of a refusal, JSON.
        headers: More headers a refusal has in this protocol.
        needs: The scope a request needs, by method and path; ``any`` is a key for whatever it be,
            and ``None`` is open to everybody, without a key too.
    """

    name: str
    prefixes: tuple[str, ...]
    routes: Callable[[Bay], Sequence[BaseRoute]]
    refuse: Callable[[Refusal, str], bytes]
    headers: Callable[[Refusal], Sequence[Header]] = lambda refusal: ()
    needs: Callable[[str, str], Need | None] = _chat
