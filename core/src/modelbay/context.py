"""What a hook may know and use: the provider it is about, and what the host lends it."""

import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from modelbay.errors import ConfigError, ModelbayError
from modelbay.models.provider import ProviderConfig
from modelbay.redaction import BLOT as BLOT
from modelbay.redaction import KnownSecrets, without_keys

if TYPE_CHECKING:
    import httpx2 as httpx
    from pydantic import BaseModel

    OptionsT = TypeVar("OptionsT", bound=BaseModel)


_SHORTEST_SECRET = 4  # characters; to blot out a shorter one would blot out half the text
# Of data no more than real keys are taken out: 'lm-studio' is a key some send, and a server's name.
_SHORTEST_KEY = 12
_CUT = "…"  # what `modelbay.wire.errors.shorten` puts where it cuts
_HOLDS_A_KEY = re.compile(r"auth|key|token|secret|cookie", re.IGNORECASE)


class Answer(Protocol):
    """The answer to a request over a connection of our own; its head has come."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def ended(self) -> bool:
        """Nothing of the body is left to read."""
        ...

    async def block(self) -> bytes:
        """The next of the body; empty at its end."""
        ...

    def close(self) -> None: ...


class Connections(Protocol):
    """Connections of our own, for plain HTTP."""

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Answer: ...


class Resources(Protocol):
    """What a host owns on a plugin's behalf."""

    def headers(self, config: ProviderConfig) -> Mapping[str, str]:
        """What every request of a provider carries: its own headers, and its key.

        Raises:
            ConfigError: One of them cannot be sent.
        """
        ...

    def connections(self, url: str) -> Connections | None:
        """Our own, where they will do; ``None`` for what needs TLS or a proxy."""
        ...

    def client(self, provider: "ProviderContext", base_url: str) -> "httpx.AsyncClient":
        """A new HTTP client for an address, over connections that the host owns and closes."""
        ...

    def start_soon(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run something beside the host, until it ends or the host closes."""
        ...

    def at_close(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call this when the host closes, last registered first."""
        ...

    def monotonic(self) -> float:
        """Seconds on the host's clock, which only goes forward."""
        ...

    @property
    def env(self) -> "dict[str, str]":
        """The environment as it was when the host opened."""
        ...


class ProviderContext:
    """One provider as its plugin's hooks see it.

    Attributes:
        config: As configured, the key resolved.
        memo: Scratch memory for this provider; lives as long as the host.
        resources: Owned by the host: HTTP clients, background work, the clock, the environment.
    """

    __slots__ = ("_clients", "_headers", "_known", "_options", "config", "memo", "resources")

    def __init__(self, config: ProviderConfig, resources: Resources) -> None:
        self.config = config
        self.memo: dict[str, object] = {}
        self.resources = resources
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._headers: Mapping[str, str] | None = None
        self._known: KnownSecrets | None = None
        self._options: dict[type[BaseModel], BaseModel] = {}

    @property
    def id(self) -> str:
        return self.config.id

    @property
    def base_url(self) -> str:
        """The address, without a trailing slash.

        Raises:
            ConfigError: The provider has none. Made without one, it fails at its first use (S1-29).
        """
        if not self.config.base_url:
            raise ConfigError(
                f"provider '{self.id}' has no address",
                provider_id=self.id,
                hint=f'set "baseUrl" of provider "{self.id}" in providers.json',
            )
        return self.config.base_url

    @property
    def headers(self) -> Mapping[str, str]:
        """What every request carries: the provider's own headers, and its key."""
        if self._headers is None:
            self._headers = self.resources.headers(self.config)
        return self._headers

    @property
    def http(self) -> "httpx.AsyncClient":
        """A client for the provider's address: 5 s to connect, no limit on reading."""
        return self.client_for(self.base_url)

    def client_for(self, url: str) -> "httpx.AsyncClient":
        """A client for another address of the same provider; its key goes there too."""
        client = self._clients.get(url)
        if client is None:
            client = self._clients[url] = self.resources.client(self, url)
        return client

    def redact(self, text: str) -> str:
        """The text without the key, the header values and what an address hides.

        Servers echo them in their errors, in whatever spelling. Where a cut has halved one, its
        first half goes too. So does what looks like anybody's key: it may be another caller's.
        """
        if self._known is None:
            self._known = KnownSecrets(self._secrets())
        return without_keys(self._known.out_of(text, cut=_CUT))

    def keys(self) -> list[str]:
        """What must not stand in a server's data either, as long as it is a key's length.

        Headers that hold no key are not among them: their values may well be a model's name.
        """
        return [secret for secret in self._secrets(only_keys=True) if len(secret) >= _SHORTEST_KEY]

    def _secrets(self, *, only_keys: bool = False) -> list[str]:
        """Longest first: one may be a part of another."""
        config = self.config
        found = []
        for name, value in config.headers.items():
            holds_key = _HOLDS_A_KEY.search(name) is not None
            if holds_key or not only_keys:
                found.append(value)
            if holds_key:
                found += value.split()[1:]  # without the word "Bearer"
        if config.api_key is not None:
            found.append(config.api_key.get_secret_value())
        address = urlsplit(config.base_url)
        found.append(address.query)
        if address.username:
            user, password = unquote(address.username), unquote(address.password or "")
            pair = f"{user}:{password}".encode()
            found += [password, address.password or "", base64.b64encode(pair).decode()]
        # Blanks and line ends around a key are not sent, and so are not echoed.
        stripped = {secret.strip() for secret in found}
        return sorted((s for s in stripped if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)

    def sign(self, error: ModelbayError, model: str | None = None) -> None:
        """Put into an error who it came from, and take this provider's secrets out of it."""
        error.provider_id = error.provider_id or self.id
        error.model = error.model or model
        error.message = self.redact(error.message)
        error.args = (error.message,)
        if error.hint is not None:
            error.hint = self.redact(error.hint)

    def options(self, model: "type[OptionsT]") -> "OptionsT":
        """The provider's own keys, read by the plugin's model.

        Raises:
            ConfigError: A key is unknown to the plugin or has the wrong type.
        """
        known = self._options.get(model)
        if isinstance(known, model):
            return known
        from modelbay.config import config_error

        try:
            options = model.model_validate(self.config.extra)
        except ValueError as exc:
            raise config_error(exc, where=f"provider '{self.id}'") from exc
        self._options[model] = options
        return options
