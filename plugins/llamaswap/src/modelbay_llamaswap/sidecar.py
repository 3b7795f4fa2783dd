"""Which of a provider's two addresses serves a request. One answer for every sort of call."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from modelbay.context import ProviderContext
from modelbay.models.frozen import Frozen
from modelbay_llamaswap import config

_NO_FLAGS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that serves requests.

    Attributes:
        root: Without ``/v1``.
        is_sidecar: llama-swap knows nothing of it: no model is swapped for it.
        shown: The address as an answer names it, where there are two; else ``None``.
    """

    root: str
    is_sidecar: bool
    shown: str | None

    def at(self, path: str) -> str:
        """The whole address of a route."""
        return f"{self.root}/{path}"


def endpoint(provider: ProviderContext, request: Frozen) -> Endpoint:
    """The sidecar, if the provider has one and a flag of the request calls for it; else the base.

    Opt-in by provider, never a fallback: a sidecar that is down is an error (S0-16, S0-40, S0-41).
    A request of a sort that has no flags goes to the base.
    """
    options = config.options(provider)
    flags = getattr(request, "routing", _NO_FLAGS)
    base = config.root(provider)
    sidecar = options.sidecar_url
    if sidecar is None:
        return Endpoint(base, is_sidecar=False, shown=None)
    if isinstance(flags, AbstractSet) and flags & options.sidecar_flags:
        return Endpoint(sidecar, is_sidecar=True, shown=_shown(sidecar))
    return Endpoint(base, is_sidecar=False, shown=_shown(base))


def _shown(address: str) -> str:
    """Without user and password."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
