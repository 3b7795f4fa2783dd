"""Which of a provider's two addresses serves a request. One answer for every sort of call."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from modelbay.context import ProviderContext
from modelbay.models.frozen import Frozen
from modelbay_llamaswap import config

_NO_FLAGS: frozenset[str] = frozenset()
_BEARER = "Bearer "
_SHORTEST_SECRET = 4  # characters; to blot out a shorter one would blot out half the text


@dataclass(frozen=True, slots=True)
class Pass:
    """What a request shows of who we are.

    Attributes:
        headers: Of its own.
        anonymous: The provider's key and headers are none of theirs.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    anonymous: bool = False

    def redact(self, text: str) -> str:
        """The text without the key; servers echo it in their errors."""
        key = self.headers.get("Authorization", "").removeprefix(_BEARER)
        return text.replace(key, "***") if len(key) >= _SHORTEST_SECRET else text


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that serves requests.

    Attributes:
        root: Without ``/v1``.
        is_sidecar: llama-swap knows nothing of it: no model is swapped for it.
        shown: The address as an answer names it, where there are two; else ``None``.
        credentials: What a request shows there.
    """

    root: str
    is_sidecar: bool
    shown: str | None
    credentials: Pass = Pass()

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
        known = credentials(provider, sidecar)
        return Endpoint(sidecar, is_sidecar=True, shown=_shown(sidecar), credentials=known)
    return Endpoint(base, is_sidecar=False, shown=_shown(base))


def credentials(provider: ProviderContext, sidecar: str) -> Pass:
    """What a request shows to the sidecar: its own key, or the user in its address.

    Without either the provider's key and headers, if it is the same host; another port is the same
    host, and an address without TLS beside one with it is not. A key is never sent to a host it
    was not given for.
    """
    variable = config.options(provider).sidecar_api_key_env
    if variable is not None:
        key = provider.resources.env.get(variable, "").strip()
        return Pass({"Authorization": f"{_BEARER}{key}"} if key else {}, anonymous=True)
    own, other = urlsplit(config.root(provider)), urlsplit(sidecar)
    is_same = own.hostname == other.hostname and (own.scheme, other.scheme) != ("https", "http")
    return Pass(anonymous=other.username is not None or not is_same)


def _shown(address: str) -> str:
    """Without user and password."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
