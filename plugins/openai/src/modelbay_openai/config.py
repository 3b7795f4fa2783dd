"""What a user may set for a provider of this kind, and the providers proposed without any file."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import ConfigDict, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from modelbay.config import config_error
from modelbay.context import ProviderContext
from modelbay.models.frozen import Frozen
from modelbay.models.provider import ProviderConfig
from modelbay_openai.dialects import BY_NAME

KIND = "openai"
KEY_VARIABLE = "OPENAI_API_KEY"
ADDRESS_VARIABLE = "OPENAI_BASE_URL"
OPENAI = "https://api.openai.com/v1"

_PATH = re.compile(r"([\w.~-]+(/[\w.~-]+)*)?", re.ASCII)
_CAMEL = ConfigDict(
    frozen=True,
    extra="forbid",
    alias_generator=to_camel,
    populate_by_name=True,
    hide_input_in_errors=True,
)


class DialectSwitches(Frozen):
    """How this server differs, where the user knows better; see `modelbay.wire.openai_chat`.

    Attributes:
        reasoning_history: The message field that takes earlier reasoning; ``""`` sends none.
        reasoning_effort: ``field`` sends ``reasoning_effort``, ``object`` sends
            ``reasoning: {effort}``, ``none`` leaves it out.
    """

    model_config = _CAMEL

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    stream_usage: bool | None = None
    named_tool_choice: Literal["object", "single"] | None = None
    tools_with_format: bool | None = None
    reasoning_history: Literal["", "reasoning", "reasoning_content"] | None = None
    reasoning_effort: Literal["field", "object", "none"] | None = None
    top_k: bool | None = None
    developer_role: bool | None = None
    image_urls: bool | None = None
    think_tags: bool | None = None
    renamed: dict[str, str] = {}


class OpenAIOptions(Frozen):
    """The keys of a provider's entry that only this kind knows; camelCase in the file.

    Attributes:
        server: Which server it is, by the name of a row; recognised by itself if ``None``.
        local: It runs on hardware of the user's own; judged by the address if ``None``.
        discover: Ask it for its models. Without that the names in ``models`` are listed.
        api_prefix: What stands between the address and a route such as ``chat/completions``;
            ``""`` is nothing. Found out if ``None``: mostly ``v1``.
        dialect: How it differs from that row.
    """

    model_config = _CAMEL

    server: str | None = None
    local: bool | None = None
    discover: bool = True
    api_prefix: str | None = None
    dialect: DialectSwitches = DialectSwitches()

    @field_validator("api_prefix")
    @classmethod
    def _a_path(cls, value: str | None) -> str | None:
        if value is None:
            return None
        path = value.strip("/")
        if not _PATH.fullmatch(path):
            raise ValueError('expected a path such as "api/v2", or "" for none')
        return path

    @field_validator("server")
    @classmethod
    def _a_known_server(cls, value: str | None) -> str | None:
        if value is not None and value not in BY_NAME:
            raise ValueError(f"expected one of {', '.join(sorted(BY_NAME))}")
        return value


_NO_OPTIONS = OpenAIOptions()


def options(provider: ProviderContext) -> OpenAIOptions:
    """Raises ConfigError: a key is unknown or of the wrong type."""
    return provider.options(OpenAIOptions) if provider.config.model_extra else _NO_OPTIONS


def default_providers(env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    """OpenAI if its key is set, and local servers on ports that no other software claims.

    vLLM's 8000 and TabbyAPI's 5000 are left alone: web servers under development and AirPlay
    live there, and should not be asked for models at every start.

    Raises:
        ConfigError: ``OPENAI_BASE_URL`` is no address.
    """
    proposed = []
    if env.get(KEY_VARIABLE):
        address = env.get(ADDRESS_VARIABLE, "").strip() or OPENAI
        ours = address.rstrip("/") == OPENAI
        proposed.append(
            _proposal(
                id=KIND,
                label="OpenAI" if ours else "OpenAI-compatible",
                base_url=address,
                api_key_env=KEY_VARIABLE,
                source="environment",
            )
        )
    proposed.append(
        _proposal(
            id="lmstudio",
            label="LM Studio",
            base_url="http://127.0.0.1:1234",
            api_key_env="LM_API_TOKEN" if env.get("LM_API_TOKEN") else None,
            source="loopback",
            server="lmstudio",
        )
    )
    proposed.append(
        _proposal(
            id="koboldcpp",
            label="KoboldCpp",
            base_url="http://127.0.0.1:5001",
            source="loopback",
            server="koboldcpp",
        )
    )
    return proposed


def _proposal(**fields: object) -> ProviderConfig:
    try:
        return ProviderConfig.model_validate({"kind": KIND, **fields})
    except ValidationError as exc:
        raise config_error(exc, where=ADDRESS_VARIABLE) from exc
