"""What a user may set for a llama.cpp provider, and the providers proposed without any file."""

from collections.abc import Mapping, Sequence

from pydantic import ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from modelbay.config import config_error
from modelbay.context import ProviderContext
from modelbay.models.frozen import Frozen
from modelbay.models.provider import ProviderConfig

KIND = "llamacpp"
ADDRESS_VARIABLES = ("LLAMA_CPP_URL", "LLAMA_SERVER_URL", "LLAMACPP_API_BASE")
KEY_VARIABLE = "LLAMA_API_KEY"  # the server reads the same one
LOOPBACK = "http://127.0.0.1:8080"


class LlamaCppOptions(Frozen):
    """The keys of a provider's entry that only this kind knows; camelCase in the file.

    Attributes:
        allow_remote_media: Let the server fetch images from addresses in messages. Off, because
            whoever can chat could then make the server read addresses inside its own network.
        busy_wait_s: Seconds a request may wait while the server says that it is loading or has no
            free place.
        load_deadline_s: Seconds an explicit load may take.
        stop_timeout_s: The router's own ``stop-timeout``: seconds a busy model may go on after an
            unload.
        rescan: Let the router look at its folder, cache and presets anew for the action ``list``
            and before a name counts as unknown in a load. Off, because a router then also
            unloads running models whose preset was edited.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    allow_remote_media: bool = False
    busy_wait_s: float = Field(default=600.0, ge=0)
    load_deadline_s: float = Field(default=600.0, gt=0)
    stop_timeout_s: float = Field(default=10.0, ge=0)
    rescan: bool = False


def options(provider: ProviderContext) -> LlamaCppOptions:
    """Raises ConfigError: a key is unknown or of the wrong type."""
    return provider.options(LlamaCppOptions)


def at(provider: ProviderContext, path: str) -> str:
    """Where a route lives.

    OpenAI clients want the ``/v1`` in their base URL, so it is often left in an address; the
    management routes have none.
    """
    base = provider.base_url
    if base.endswith("/v1"):
        return f"{base.removesuffix('/v1')}/{path}"
    return path


def default_providers(env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    """The server an environment variable names, else whatever answers on the default port.

    Raises:
        ConfigError: The variable holds no address.
    """
    key = env.get(KEY_VARIABLE)
    variable = next((name for name in ADDRESS_VARIABLES if env.get(name)), None)
    address = LOOPBACK if variable is None else _address(env[variable])
    try:
        proposed = ProviderConfig(
            id=KIND,
            kind=KIND,
            label="llama.cpp",
            base_url=address,
            api_key=SecretStr(key) if key else None,
            api_key_env=KEY_VARIABLE if key else None,
            source="loopback" if variable is None else "environment",
        )
    except ValidationError as exc:
        raise config_error(exc, where=variable or KIND) from exc
    return [proposed]


def _address(text: str) -> str:
    """An address as people write it: the scheme may be missing, ``/v1`` may be left on."""
    text = text.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    return text if "://" in text else f"http://{text}"
