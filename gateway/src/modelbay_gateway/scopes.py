"""What a client's key is good for."""

from typing import Literal, TypeAlias, get_args

# chat: ask models. manage: load, pull, delete models. admin: settings and whatever is secret.
Scope: TypeAlias = Literal["chat", "manage", "admin"]
# What a request may need: one scope, or only that there is a key that is known.
Need: TypeAlias = Scope | Literal["any"]

SCOPES: tuple[Scope, ...] = get_args(Scope)
EVERY_SCOPE: frozenset[str] = frozenset(SCOPES)
