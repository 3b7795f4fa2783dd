"""Raw completion over the native API."""

from collections.abc import AsyncIterator

import anyio

from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, InvalidRequestError
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Finish, Notice, Status, StreamEvent
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest
from modelbay_ollama import config
from modelbay_ollama.asking import Refusal, raise_explained
from modelbay_ollama.attempts import Attempts
from modelbay_ollama.client import answer_lines
from modelbay_ollama.decoding import AnswerDecoder
from modelbay_ollama.encoding import Setup, users_limit
from modelbay_ollama.extras import take_extra
from modelbay_ollama.memory import memory
from modelbay_ollama.options import options
from modelbay_ollama.requests import as_sent, require_consent, setup_for
from modelbay_ollama.residence import is_cold
from modelbay_ollama.thinking import encode_think
from modelbay_ollama.truncation import measure
from modelbay_ollama.verdicts import of_loss
from modelbay_ollama.versions import reaches


async def complete(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Continue a raw prompt over ``POST /api/generate``, or with a suffix fill in the middle.

    Without a suffix the prompt goes to the model as it is; a suffix needs the model's own template.

    Raises:
        InvalidRequestError: The prompt is empty, which the server takes for a load.
        UnsupportedFeatureError: It runs in the cloud, and this provider may not use that.
        BackendError: The server refused or failed.
    """
    await require_consent(provider, model)
    known = memory(provider)
    notices: list[Notice] = []
    body, asked = _complete_body(request, model, setup_for(provider, model), notices)
    for notice in notices:
        yield notice
    num_ctx, keep_alive = as_sent(body)
    prompt = measure(f"{model.wire_id} raw", [{"role": "user", "content": request.prompt}])
    with known.using(model.wire_id):
        if await is_cold(provider, model, num_ctx):
            yield Status("loading")
        attempts = Attempts(body, asked=asked, think_name="think")
        while True:
            decoder, refusal = AnswerDecoder(), Refusal()
            answer = answer_lines(provider, "api/generate", attempts.body, decoder, refusal, model)
            try:
                async with closing(answer) as events:
                    async for event in events:
                        if type(event) is Finish:
                            now = provider.resources.monotonic()
                            known.used(model.wire_id, now, keep_alive, num_ctx)
                            loss = await of_loss(
                                provider,
                                model,
                                prompt,
                                decoder.prompt_tokens,
                                num_ctx=num_ctx,
                                asked=attempts.asked,
                                cut=attempts.cut,
                            )
                            if loss is not None:
                                yield loss
                        yield event
                return
            except BackendError as exc:
                failure = exc
            if decoder.begun or not attempts.another(failure, config.options(provider).busy_tries):
                raise_explained(provider, failure, refusal.body, str(model.ref))
            for told in attempts.news:
                yield told
            await anyio.sleep(attempts.pause_s)


def _complete_body(
    request: CompleteRequest, model: ModelInfo, setup: Setup, notices: list[Notice]
) -> tuple[JsonObject, bool]:
    """The body, and whether it asks the server not to cut the prompt."""
    if not request.prompt:
        raise InvalidRequestError(
            "there is no prompt to continue",
            hint="to load a model alone there is: modelbay load",
            stage="encode",
        )
    chosen = options(
        {
            **setup.fixed,
            "num_predict": request.max_tokens or users_limit(model),
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
    # A raw prompt is continued, not thought about; absent would mean on (trap 12).
    think = encode_think("none", model, setup.version, [])
    if think is not None:
        body["think"] = think
    if setup.keep_alive is not None:
        body["keep_alive"] = setup.keep_alive
    thinks = model.capabilities.reasoning is True
    take_extra(request.extra, chosen, body, notices, thinks=thinks, fixed=setup.fixed)
    asked = "truncate" not in request.extra and reaches(setup.version, 0, 12, 6)
    if asked:
        body["truncate"] = False  # see truncation.py
    return {**body, "options": chosen}, asked
