"""What a user may set for a llama-swap provider, and the providers proposed without any file."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pydantic import ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from modelbay.config import config_error
from modelbay.context import ProviderContext
from modelbay.dsn import kind_of, parse_dsn
from modelbay.errors import ConfigError
from modelbay.models.frozen import Frozen
from modelbay.models.provider import ProviderConfig

KIND = "llama-swap"
URL_VARIABLE = "LLAMA_SWAP_URL"
SIDECAR_VARIABLE = "LLAMA_SIDECAR_URL"
# Up to v217 errors are JSON only for who asks for it; with text/html later ones answer pages.
JSON: Mapping[str, str] = MappingProxyType({"Accept": "application/json"})
LOOPBACK = "http://127.0.0.1:8080"


class LlamaSwapOptions(Frozen):
    """The keys of a provider's entry that only this kind knows; camelCase in the file.

    Attributes:
        sidecar_url: A second OpenAI-style endpoint, which may serve some of the requests.
        sidecar_api_key_env: Name of the variable that holds the sidecar's own key. The key itself
            has no option: what stands under names only a plugin knows is shown by the host.
        sidecar_flags: Which flags of a request send it to the sidecar.
        allow_remote_media: Let a model's server fetch images from addresses in messages. Off,
            because whoever can chat could then make it read addresses inside its own network.
        busy_wait_s: Seconds a request may wait while its model has all the requests it may have.
        poll_s: Seconds between two looks at what a request that has no answer yet waits for.
        load_deadline_s: Seconds an explicit load may take.
        unload_timeout_s: llama-swap's own ``unloadTimeout``: an unload is answered when the
            processes are gone, or have been killed after so long.
        show_commands: Let ``running`` and ``show`` tell the command lines. Off: they may hold keys.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    sidecar_url: str | None = None
    sidecar_api_key_env: str | None = None
    sidecar_flags: frozenset[str] = frozenset({"agent"})
    allow_remote_media: bool = False
    busy_wait_s: float = Field(default=600.0, ge=0)
    poll_s: float = Field(default=1.0, gt=0)
    load_deadline_s: float = Field(default=900.0, gt=0)
    unload_timeout_s: float = Field(default=10.0, ge=0)
    show_commands: bool = False

    @field_validator("sidecar_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("expected an address that starts with http:// or https://")
        return _root(value) if value else None


def options(provider: ProviderContext) -> LlamaSwapOptions:
    """Raises ConfigError: a key is unknown or of the wrong type."""
    return provider.options(LlamaSwapOptions)


def root(provider: ProviderContext) -> str:
    """The address without ``/v1``, which OpenAI clients want in theirs (S1-23, S1-26).

    Raises:
        ConfigError: The provider has no address; made without one it fails at its first use
            (S1-09, S1-29, S1-32).
    """
    if not provider.config.base_url:
        variable = provider.id.upper().replace("-", "_").replace(".", "_")
        raise ConfigError(
            f"provider '{provider.id}' has no address",
            provider_id=provider.id,
            hint=f'set "baseUrl" of provider "{provider.id}" in providers.json, or'
            f" LLM_{variable}=llama-swap://TOKEN@HOST:PORT",
        )
    return _root(provider.config.base_url)


def at(provider: ProviderContext, path: str) -> str:
    """Where a route of llama-swap itself lives."""
    base = root(provider)
    return path if base == provider.config.base_url else f"{base}/{path}"


def default_providers(env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    """The server ``LLAMA_SWAP_URL`` names (S0-05, S0-24), else what answers on the default port.

    ``LLAMA_SIDECAR_URL`` is the sidecar of either.

    Raises:
        ConfigError: A variable holds no address.
    """
    named = env.get(URL_VARIABLE, "").strip()
    sidecar = env.get(SIDECAR_VARIABLE, "").strip()
    address, key, name = _written(named) if named else (LOOPBACK, "", KIND)
    extra: dict[str, str] = {"sidecarUrl": _with_scheme(sidecar)} if sidecar else {}
    try:
        LlamaSwapOptions.model_validate(extra)
    except ValidationError as exc:
        raise config_error(exc, where=SIDECAR_VARIABLE) from exc
    try:
        proposed = ProviderConfig.model_validate(
            {
                "id": name,
                "kind": KIND,
                "label": name,
                "baseUrl": address,
                "apiKey": SecretStr(key) if key else None,
                "source": "environment" if named else "loopback",
                **extra,
            }
        )
    except ValidationError as exc:
        raise config_error(exc, where=URL_VARIABLE) from exc
    return [proposed]


def _written(text: str) -> tuple[str, str, str]:
    """An address as people write it, a key and an id; the latter two only a DSN has."""
    if kind_of(text) == KIND:
        given = parse_dsn(text, where=URL_VARIABLE)
        key = given.api_key.get_secret_value() if given.api_key else ""
        return given.base_url, key, given.id
    return _root(_with_scheme(text)), "", KIND


def _with_scheme(text: str) -> str:
    return text if "://" in text else f"http://{text}"


def _root(address: str) -> str:
    return address.rstrip("/").removesuffix("/v1").rstrip("/")
