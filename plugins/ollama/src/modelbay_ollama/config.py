"""What a user may set for an Ollama provider, and the provider proposed without any file."""

import base64
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator
from pydantic.alias_generators import to_camel

from modelbay.context import ProviderContext
from modelbay.errors import ConfigError
from modelbay.models.frozen import Frozen
from modelbay.models.provider import ProviderConfig
from modelbay_ollama.options import LEAST_WINDOW, KeepAlive, keep_alive

KIND = "ollama"
ADDRESS_VARIABLE = "OLLAMA_HOST"
KEY_VARIABLE = "OLLAMA_API_KEY"
CLOUD_HOST = "ollama.com"
PORT = 11434


class OllamaOptions(Frozen):
    """The keys of a provider's entry that only this kind knows; camelCase in the file.

    Attributes:
        api: ``openai`` talks to the server's compatibility layer, which cannot do half of it.
        num_ctx: Context window every request asks for, in tokens; ``None`` leaves it to the server.
            One number, because each change of it makes the server load the model anew.
        keep_alive: How long a model stays in memory after a request: seconds, or text such as
            ``10m``, ``1d``, ``-1`` for ever; ``null`` leaves it to the server.
        allow_cloud: List and use models that run in Ollama's cloud. Their prompts leave the
            machine.
        busy_tries: How often a request is repeated that the server's full queue refused.
        load_deadline_s: Seconds an explicit load may take.
        unload_deadline_s: Seconds an unload waits for running requests of others to end.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    api: Literal["native", "openai"] = "native"
    num_ctx: int | None = Field(default=None, ge=LEAST_WINDOW, lt=2**31)
    keep_alive: KeepAlive | None = "5m"  # S4-73
    allow_cloud: bool = True
    busy_tries: int = Field(default=3, ge=0, le=20)
    load_deadline_s: float = Field(default=600.0, gt=0)
    unload_deadline_s: float = Field(default=30.0, gt=0)

    @field_validator("keep_alive", mode="before")
    @classmethod
    def _as_the_server_reads_it(cls, value: object) -> KeepAlive | None:
        return None if value is None else keep_alive(value)


def options(provider: ProviderContext) -> OllamaOptions:
    """Raises ConfigError: a key is unknown or of the wrong type."""
    return provider.options(OllamaOptions)


def is_cloud_host(provider: ProviderContext) -> bool:
    """Whether the address is Ollama's own cloud: nothing there runs on the user's hardware."""
    host = (urlsplit(provider.config.base_url).hostname or "").lower()
    return host == CLOUD_HOST or host.endswith(f".{CLOUD_HOST}")


# --- OLLAMA_HOST ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """An address as Ollama's own client understands the variable.

    Attributes:
        host: May be empty: any interface.
        path: Base path, without slashes at its ends.
        user: ``user:password`` that stood before the host, still percent-encoded.
        query: It holds a ``?`` or ``#``, of which Ollama makes part of the port or of the path.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    user: str = ""
    query: bool = False

    @property
    def url(self) -> str:
        """What Ollama's client uses."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path and f'/{self.path}'}"


def parse_address(value: str | None) -> Address:
    """Read ``OLLAMA_HOST`` as Ollama does: envconfig at v0.33.0-rc2, step by step.

    Differs in one point: a user before the host is understood, where Ollama makes nonsense of it.
    """
    text = (value or "").strip().strip("\"'").strip()
    scheme, separator, rest = text.partition("://")
    default = PORT
    if not separator:
        scheme, rest = "http", text
        if text == CLOUD_HOST:  # exactly, and case counts
            scheme, default = "https", 443
    elif scheme == "http":
        default = 80
    elif scheme == "https":
        default = 443
    place, _, path = rest.partition("/")
    user, at, after = place.rpartition("@")
    if at:
        place = after
    host, port = _split(place, default)
    path = re.sub("/{2,}", "/", path).strip("/")
    return Address(scheme, host, port, path, user if at else "", bool({"?", "#"} & set(rest)))


def _split(place: str, default: int) -> tuple[str, int]:
    """Host and port by the rules of Go: a bare text with several colons has no port."""
    bracketed = re.fullmatch(r"\[([^\[\]]*)\]:(.*)", place)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
    elif place.count(":") == 1 and "[" not in place and "]" not in place:
        host, _, port = place.partition(":")
    else:
        return _normal_ip(place.strip("[]")) or place or "127.0.0.1", default
    number = int(port) if re.fullmatch(r"[+-]?[0-9]{1,9}", port) else -1
    return host, number if 0 <= number <= 65535 else default


def _normal_ip(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def connect_url(address: Address) -> str:
    """Where a client connects: an address to listen on becomes loopback (U16).

    Raises:
        ConfigError: It cannot be connected to; the hint is an example that can.
    """
    if address.scheme not in ("http", "https"):
        raise _bad(f"'{address.scheme}' is no scheme this client speaks; use http or https")
    if address.query:
        raise _bad("an address has no query and no fragment")
    if address.port == 0:
        raise _bad("port 0 is any free port for a server, and none to connect to")
    normal = _normal_ip(address.host) or address.host
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(  # noqa: S104 - replaced
        normal, address.host
    )
    if not re.fullmatch(r"[A-Za-z0-9._~%:\-]+", host):
        raise _bad("the host holds a character no host has")
    return Address(address.scheme, host, address.port, address.path).url


def _bad(message: str) -> ConfigError:
    return ConfigError(
        message, where=ADDRESS_VARIABLE, hint=f"export {ADDRESS_VARIABLE}=http://127.0.0.1:{PORT}"
    )


def default_providers(env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    """The server ``OLLAMA_HOST`` names, else the one on the usual port of this machine (S4-24).

    ``OLLAMA_API_KEY`` goes to Ollama's own cloud alone: a server in the local network has no use
    for it, and whoever runs that server would have it.

    Raises:
        ConfigError: The variable holds no address to connect to.
    """
    value = env.get(ADDRESS_VARIABLE)
    address = parse_address(value)
    key = env.get(KEY_VARIABLE)
    trusted = address.scheme == "https" and address.host == CLOUD_HOST and bool(key)
    headers = {}
    if address.user:
        pair = base64.b64encode(unquote(address.user).encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    return [
        ProviderConfig(
            id=KIND,
            kind=KIND,
            label="Ollama",
            base_url=connect_url(address),
            api_key=SecretStr(key) if trusted and key else None,
            api_key_env=KEY_VARIABLE if trusted else None,
            headers=headers,
            source="environment" if (value or "").strip() else "loopback",
        )
    ]
