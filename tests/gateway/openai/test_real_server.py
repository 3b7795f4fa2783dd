"""The OpenAI client through the gateway to a real llama.cpp server."""

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

import modelbay_llamacpp.plugin
import pretend
from gateway.serving import serve
from plugins.llamacpp.conftest import llama as llama

pytestmark = pytest.mark.real


@pytest.fixture
def ai(llama: Callable[..., str]) -> Iterator[openai.OpenAI]:
    address = llama("tiny-gateway", {"say": "Hi."}, n_ctx=512)
    host = pretend.host(
        [pretend.config("desk", "llamacpp", baseUrl=address)], llamacpp=modelbay_llamacpp.plugin
    )
    with serve(host) as served, openai.OpenAI(base_url=served.base_url, api_key="x") as ai:
        yield ai


def test_list_chat_and_stream(ai: openai.OpenAI) -> None:
    [model] = ai.models.list()
    ask: dict[str, Any] = {
        "model": model.id,
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 16,
    }

    whole = ai.chat.completions.create(**ask)
    chunks = list(
        ai.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
    )

    assert whole.choices[0].message.content == "Hi."
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hi."
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens > 0


def test_a_request_that_does_not_fit_is_told_so(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ai.chat.completions.create(
            model="desk/tiny-gateway", messages=[{"role": "user", "content": "x" * 5000}]
        )

    assert caught.value.code == "context_length_exceeded"
    assert "maximum context length is 512 tokens" in caught.value.message
