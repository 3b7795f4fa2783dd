"""What a user may set for DeepSeek, where its endpoints lie, and the provider proposed by a key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from modelbay.config import config_error
from modelbay.context import ProviderContext
from modelbay.errors import AuthenticationError
from modelbay.models.frozen import Frozen
from modelbay.models.provider import ProviderConfig

KIND = "deepseek"
KEY_VARIABLE = "DEEPSEEK_API_KEY"
ADDRESS_VARIABLES = ("DEEPSEEK_BASE_URL", "DEEPSEEK_API_BASE")
ADDRESS = "https://api.deepseek.com"
PROBE_TIMEOUT_S = 5.0  # a model list over the internet, not over loopback


class DeepSeekOptions(Frozen):
    """The keys of a provider's entry that only this kind knows; camelCase in the file.

    Attributes:
        thinking: For requests that do not say; ``None`` leaves it to the server, which thinks.
        effort: For requests that think and do not say how hard; ``None`` is the server's ``high``.
        retries: How often a request is sent again that failed before any of its answer came.
        max_concurrent: Requests of this provider at once; further ones wait here instead of
            being refused there. ``None`` is without limit.
        stall_timeout_s: Seconds without an event, however many keep-alives come. The server itself
            gives up after 600 s in its queue.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    thinking: bool | None = None
    effort: Literal["low", "high", "max"] | None = None
    retries: int = Field(default=3, ge=0, le=10)
    max_concurrent: int | None = Field(default=None, gt=0)
    stall_timeout_s: float = Field(default=660.0, gt=0)


def options(provider: ProviderContext) -> DeepSeekOptions:
    """Raises ConfigError: a key is unknown or of the wrong type."""
    return provider.options(DeepSeekOptions)


def require_key(provider: ProviderContext) -> None:
    """There is no use in asking DeepSeek without a key.

    Raises:
        AuthenticationError: There is none.
    """
    config = provider.config
    named = {name.lower() for name in config.headers}
    if config.api_key is not None and config.api_key.get_secret_value().strip():
        return
    if "authorization" in named:
        return
    variable = config.api_key_env or KEY_VARIABLE
    missing = f"{variable} is not set" if config.api_key_env else "none is configured"
    raise AuthenticationError(
        f"DeepSeek needs a key, and {missing}",
        provider_id=provider.id,
        hint=f"export {variable}=sk-..."
        if config.api_key_env
        else f'set "apiKeyEnv": "{variable}" for provider "{provider.id}" in providers.json',
        stage="connect",
    )


_FLAVOURS = ("/v1", "/beta", "/anthropic")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Whole addresses of the endpoints.

    Attributes:
        beta_chat: Chat with prefix completion and strict tools, which live nowhere else.
        completions: Fill-in-the-middle; beta too.
    """

    chat: str
    beta_chat: str
    completions: str
    models: str
    balance: str


def addresses(provider: ProviderContext) -> Addresses:
    """All endpoints, from an address as people write it.

    ``/v1``, ``/beta`` and ``/anthropic`` are flavours of one root. What the user wrote serves the
    chat, if it can; everything else is made from the root: ``/v1/beta`` is no address there is.
    """
    base = provider.base_url
    root, flavours = base, set[str]()
    while (ending := f"/{root.rpartition('/')[2]}") in _FLAVOURS:
        root = root.removesuffix(ending)
        flavours.add(ending)
    plain = f"{root}/v1" if "/v1" in flavours else root
    beta = f"{root}/beta"
    return Addresses(
        chat=f"{beta if '/beta' in flavours else plain}/chat/completions",
        beta_chat=f"{beta}/chat/completions",
        completions=f"{beta}/completions",
        models=f"{plain}/models",
        balance=f"{root}/user/balance",
    )


def default_providers(env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    """The group ``deepseek``, if the environment holds its key (S0-26, S0-27).

    Raises:
        ConfigError: The variable for the address holds none.
    """
    key = (env.get(KEY_VARIABLE) or "").strip()
    if not key:
        return []
    variable = next((name for name in ADDRESS_VARIABLES if (env.get(name) or "").strip()), None)
    address = ADDRESS if variable is None else _address(env[variable])
    try:
        proposed = ProviderConfig(
            id=KIND,
            kind=KIND,
            label="DeepSeek",
            base_url=address,
            api_key=SecretStr(key),
            api_key_env=KEY_VARIABLE,
            probe_timeout_s=PROBE_TIMEOUT_S,
            source="hosted" if variable is None else "environment",
        )
    except ValidationError as exc:
        raise config_error(exc, where=variable or KIND) from exc
    return [proposed]


def _address(text: str) -> str:
    text = text.strip().rstrip("/")
    return text if "://" in text else f"https://{text}"
