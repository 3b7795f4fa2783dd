"""The server's OpenAI-style layer, for providers that ask for it with ``"api": "openai"``.

It loses much against the native API: ``num_ctx``, ``keep_alive``, times, errors in mid-stream, and
it sets a missing temperature to 1.0 (trap 30).
"""

from collections.abc import AsyncIterator, Iterable, Iterator

from modelbay.client import openai_compat
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import InvalidRequestError, UnsupportedFeatureError
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest, NamedTool
from modelbay.models.events import Finish, Notice, StreamEvent, Usage
from modelbay.wire.openai_chat import Dialect
from modelbay_ollama import config
from modelbay_ollama.asking import at
from modelbay_ollama.encoding import (
    encode_messages,
    of_hints,
    of_names,
    require_messages,
    users_limit,
)
from modelbay_ollama.extras import dropped
from modelbay_ollama.failures import classify
from modelbay_ollama.memory import memory
from modelbay_ollama.requests import require_consent
from modelbay_ollama.truncation import measure
from modelbay_ollama.verdicts import of_loss
from modelbay_ollama.versions import Version, reaches
from modelbay_ollama.window import wished_window

PATH = "v1/chat/completions"
# What the layer reads (api of v0.33.0-rc2); everything else it passes over without a word.
_READ = frozenset(
    {
        *("stream_options", "max_tokens", "seed", "stop", "temperature", "top_p", "n"),
        *("frequency_penalty", "presence_penalty", "response_format", "reasoning_effort"),
        *("reasoning", "logprobs", "top_logprobs", "_debug_render_only"),
    }
)
_REQUEST = ("model", "messages", "tools")
_NATIVE_ONLY = 'this layer passes it over; take "api": "openai" out of the provider\'s entry'


def dialect(version: Version | None, extra: Iterable[str] = ()) -> Dialect:
    """How the layer of a server of some age differs (S4-58 to S4-61, U8).

    The two versions are those of the release notes as remembered, not read in the source.

    Args:
        extra: Names of the caller's own fields.
    """
    return Dialect(
        max_tokens_field="max_tokens",  # it passes over max_completion_tokens
        default_limit=False,
        stream_usage=reaches(version, 0, 5, 2),
        reasoning_effort=reaches(version, 0, 11, 0),
        top_k=False,
        developer_role=False,
        image_urls=False,
        think_tags=not reaches(version, 0, 12, 4),
        renamed={"max_completion_tokens": "max_tokens"},
        fixed_at_start={
            name: _NATIVE_ONLY
            for name in extra
            if name not in _READ and name != "max_completion_tokens"
        },
    )


async def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Answer one chat turn over ``POST /v1/chat/completions``.

    Raises:
        UnsupportedFeatureError: A forced tool call, which the layer would pass over (trap 19).
        InvalidRequestError: There is no message, or ``extra`` has a field of the request itself.
        BackendError: The server refused or failed.
    """
    await require_consent(provider, model)
    wanted = _as_the_layer_takes_it(request, model)
    prompt = measure(
        f"{model.wire_id} openai",
        encode_messages(request.messages),
        [tool.model_dump(mode="json") for tool in wanted.tools],
    )
    for notice in _notices(provider, request, model):
        yield notice
    known = memory(provider)
    answer = openai_compat.stream_chat(
        provider,
        wanted,
        model,
        dialect=dialect(known.version, request.extra),
        path=at(provider, PATH),
        classify=classify,
    )
    tokens: int | None = None
    with known.using(model.wire_id):
        async with closing(answer) as events:
            async for event in events:
                if type(event) is Usage:
                    tokens = event.input_tokens
                elif type(event) is Finish:
                    loss = await of_loss(provider, model, prompt, tokens)
                    if loss is not None:
                        yield loss
                yield event


def _as_the_layer_takes_it(request: ChatRequest, model: ModelInfo) -> ChatRequest:
    require_messages(request)
    for name in _REQUEST:
        if name in request.extra:
            raise InvalidRequestError(
                f"{name} is a field of the request itself",
                hint=f"set it there, and take {name} out of extra",
                stage="encode",
            )
    choice = request.tool_choice
    if isinstance(choice, NamedTool) or (choice == "required" and request.tools):
        raise UnsupportedFeatureError(
            "a tool call cannot be forced with Ollama",
            hint="leave tool_choice on auto, and say in the prompt that the tool is to be used",
            stage="encode",
        )
    changes: dict[str, object] = {"max_tokens": request.max_tokens or users_limit(model)}
    if choice == "none":
        changes["tools"] = []
    return request.model_copy(update={**changes, "tool_choice": None})


def _notices(provider: ProviderContext, request: ChatRequest, model: ModelInfo) -> Iterator[Notice]:
    yield from of_names(request)
    yield from of_hints(request)
    window, where = wished_window(model.capabilities, config.options(provider).num_ctx)
    if window is not None:
        yield dropped(where, _NATIVE_ONLY)
