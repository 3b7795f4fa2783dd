"""Raw completion over the native API."""

from collections.abc import AsyncIterator

import anyio

from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import BackendError
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Status, StreamEvent
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest
from modelbay_ollama import config
from modelbay_ollama.asking import Refusal, raise_explained
from modelbay_ollama.attempts import Attempts
from modelbay_ollama.client import answer_lines
from modelbay_ollama.decoding import AnswerDecoder
from modelbay_ollama.encoding import Setup
from modelbay_ollama.memory import memory
from modelbay_ollama.options import options
from modelbay_ollama.requests import as_sent, require_consent, setup_for, take_extra
from modelbay_ollama.residence import is_cold


async def complete(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Continue a raw prompt over ``POST /api/generate``, or with a suffix fill in the middle.

    Without a suffix the prompt goes to the model as it is; a suffix needs the model's own template.
    """
    require_consent(provider, model)
    known = memory(provider)
    body = _complete_body(request, model, setup_for(provider, model))
    num_ctx, keep_alive = as_sent(body)
    with known.using(model.wire_id):
        if await is_cold(provider, model, num_ctx):
            yield Status("loading")
        attempts = Attempts(body)
        while True:
            decoder, refusal = AnswerDecoder(), Refusal()
            answer = answer_lines(provider, "api/generate", attempts.body, decoder, refusal, model)
            try:
                async with closing(answer) as events:
                    async for event in events:
                        yield event
                known.used(model.wire_id, provider.resources.monotonic(), keep_alive, num_ctx)
                return
            except BackendError as exc:
                failure = exc
            if decoder.begun or not attempts.another(failure, config.options(provider).busy_tries):
                raise_explained(provider, failure, refusal.body, str(model.ref))
            for told in attempts.news:
                yield told
            await anyio.sleep(attempts.pause_s)


def _complete_body(request: CompleteRequest, model: ModelInfo, setup: Setup) -> JsonObject:
    chosen = options(
        {
            "num_ctx": setup.num_ctx,
            "num_predict": request.max_tokens or model.capabilities.max_output_tokens,
            "temperature": request.temperature,
            "stop": list(request.stop) or None,
        }
    )
    body: JsonObject = {
        "model": model.ref.wire_id,
        "prompt": request.prompt,
        "stream": request.stream,
    }
    if request.suffix is None:
        body["raw"] = True
    else:
        body["suffix"] = request.suffix
    if setup.keep_alive is not None:
        body["keep_alive"] = setup.keep_alive
    take_extra(request.extra, chosen, body)
    return {**body, "options": chosen}
