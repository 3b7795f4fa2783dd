"""Chat over the native API: opens the request, feeds the decoder, tries again, closes."""

from collections.abc import AsyncIterator

import anyio

from modelbay.client.http import open_stream, raise_for_status
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, ProtocolError, StreamInterruptedError
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, Status, StreamEvent
from modelbay.models.frozen import JsonObject
from modelbay.wire.lines import LineDecoder
from modelbay_ollama import config
from modelbay_ollama.asking import Refusal, at, raise_explained
from modelbay_ollama.attempts import Attempts
from modelbay_ollama.decoding import AnswerDecoder
from modelbay_ollama.encoding import encode_chat
from modelbay_ollama.memory import memory
from modelbay_ollama.requests import as_sent, require_consent, setup_for
from modelbay_ollama.residence import is_cold
from modelbay_ollama.truncation import Prompt, measure
from modelbay_ollama.verdicts import of_loss


async def chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Answer one chat turn over ``POST /api/chat``.

    Raises:
        UnsupportedFeatureError: Something that would change the answer's meaning cannot be sent.
        ReportedFailureError: The server wrote an error into the answer.
        SilentEndError: The answer ended without its last line.
        BackendError: The server refused or failed.
    """
    await require_consent(provider, model)
    known = memory(provider)
    setup = setup_for(provider, model)
    encoded = encode_chat(request, model, setup)
    for notice in encoded.notices:
        yield notice
    said = "think" if "think" in request.extra else "reasoning_effort"
    attempts = Attempts(encoded.body, asked=encoded.asked, think_name=said)
    num_ctx, keep_alive = as_sent(encoded.body)
    prompt = _measured(model, encoded.body)
    with known.using(model.wire_id):
        if await is_cold(provider, model, num_ctx):
            yield Status("loading")
        while True:
            decoder = AnswerDecoder(encoded.schema)
            refusal = Refusal()
            answer = answer_lines(provider, "api/chat", attempts.body, decoder, refusal, model)
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


async def answer_lines(
    provider: ProviderContext,
    path: str,
    body: JsonObject,
    decoder: AnswerDecoder,
    refusal: Refusal,
    model: ModelInfo,
) -> AsyncIterator[StreamEvent]:
    """The events of one request. No limit of time: the head comes when the model is loaded."""
    lines = LineDecoder()
    try:
        async with open_stream(provider, "POST", at(provider, path), json=body) as response:
            await raise_for_status(provider, response, model=str(model.ref), classify=refusal)
            async with closing(response.blocks()) as blocks:
                async for block in blocks:
                    for line in lines.feed(block):
                        for event in decoder.decode(line):
                            yield event
            for event in decoder.close(lines.close()):
                yield event
    except StreamInterruptedError as exc:
        exc.partial = exc.partial or decoder.partial
        raise
    except ProtocolError as exc:
        if not decoder.begun:
            raise
        raise StreamInterruptedError(exc.message, partial=decoder.partial) from exc


def _measured(model: ModelInfo, body: JsonObject) -> Prompt:
    messages = body["messages"]
    assert isinstance(messages, list)  # made by `encode_chat`
    return measure(
        model.wire_id, [each for each in messages if isinstance(each, dict)], body.get("tools")
    )
