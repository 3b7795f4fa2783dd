"""The server's OpenAI-style layer, for providers that ask for it with ``"api": "openai"``.

It loses much against the native API: ``num_ctx``, ``keep_alive``, times, errors in mid-stream, and
it sets a missing temperature to 1.0 (trap 30).
"""

from collections.abc import AsyncIterator

from modelbay.client import openai_compat
from modelbay.context import ProviderContext
from modelbay.errors import UnsupportedFeatureError
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest, NamedTool
from modelbay.models.events import StreamEvent
from modelbay.wire.openai_chat import Dialect
from modelbay_ollama.asking import at
from modelbay_ollama.failures import classify
from modelbay_ollama.memory import memory
from modelbay_ollama.requests import require_consent
from modelbay_ollama.versions import Version, reaches

_NATIVE_ONLY = 'this layer passes it over; take "api": "openai" out of the provider\'s entry'


def dialect(version: Version | None) -> Dialect:
    """How the layer of a server of some age differs (S4-58 to S4-61, U8).

    The two versions are those of the release notes as remembered, not read in the source.
    """
    return Dialect(
        max_tokens_field="max_tokens",  # it passes over max_completion_tokens
        stream_usage=reaches(version, 0, 5, 2),
        reasoning_effort=reaches(version, 0, 11, 0),
        top_k=False,
        developer_role=False,
        image_urls=False,
        think_tags=not reaches(version, 0, 12, 4),
        fixed_at_start=dict.fromkeys(
            ("num_ctx", "keep_alive", "think", "options", "min_p", "repeat_penalty", "logit_bias"),
            _NATIVE_ONLY,
        ),
    )


def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Answer one chat turn over ``POST /v1/chat/completions``.

    Raises:
        UnsupportedFeatureError: A forced tool call, which the layer would pass over (trap 19).
    """
    require_consent(provider, model)
    choice = request.tool_choice
    if isinstance(choice, NamedTool) or (choice == "required" and request.tools):
        raise UnsupportedFeatureError(
            "a tool call cannot be forced with Ollama",
            hint="leave tool_choice on auto, and say in the prompt that the tool is to be used",
            stage="encode",
        )
    if choice == "none":
        request = request.model_copy(update={"tools": [], "tool_choice": None})
    return openai_compat.stream_chat(
        provider,
        request,
        model,
        dialect=dialect(memory(provider).version),
        path=at(provider, "v1/chat/completions"),
        classify=classify,
    )
