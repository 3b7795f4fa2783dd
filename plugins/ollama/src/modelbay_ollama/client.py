"""Chat over the native API: opens the request, feeds the decoder, tries again, closes."""

from collections.abc import AsyncIterator

import anyio

from modelbay.client.http import open_stream, raise_for_status
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, ProtocolError, StreamInterruptedError
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, Notice, Status, StreamEvent
from modelbay.models.frozen import JsonObject
from modelbay.wire.lines import LineDecoder
from modelbay_ollama import config
from modelbay_ollama.asking import Refusal, at, raise_explained
from modelbay_ollama.attempts import Attempts
from modelbay_ollama.decoding import AnswerDecoder
from modelbay_ollama.encoding import encode_chat
from modelbay_ollama.memory import memory
from modelbay_ollama.requests import as_sent, require_consent, setup_for
from modelbay_ollama.residence import is_cold, known_window, look_at_window
from modelbay_ollama.truncation import Prompt, measure


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
    require_consent(provider, model)
    known = memory(provider)
    setup = setup_for(provider, model)
    encoded = encode_chat(request, model, setup)
    for notice in encoded.notices:
        yield notice
    attempts = Attempts(encoded.body, asked=encoded.asked)
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
                            tokens = decoder.prompt_tokens
                            cut = await _lost(provider, model, prompt, tokens, attempts, num_ctx)
                            if cut is not None:
                                yield cut
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


# --- was it whole --------------------------------------------------------------------------------


def _measured(model: ModelInfo, body: JsonObject) -> Prompt:
    messages = body["messages"]
    assert isinstance(messages, list)  # made by `encode_chat`
    return measure(
        model.wire_id, [each for each in messages if isinstance(each, dict)], body.get("tools")
    )


async def _lost(
    provider: ProviderContext,
    model: ModelInfo,
    prompt: Prompt,
    tokens: int | None,
    attempts: Attempts,
    num_ctx: int | None,
) -> Notice | None:
    """A notice if the server left out a part of the conversation; see truncation.py."""
    known = memory(provider)
    window = known_window(provider, model, num_ctx)
    if attempts.cut:
        known.refuses = known.refuses or model.origin != "remote"
        if window is None:
            window = await look_at_window(provider, model)
        if tokens is not None:
            known.turns.keep(prompt, tokens, "cut", window)
        return _truncated(tokens, window)
    if tokens is None or known.version == (0, 30, 0):  # it does not count what it had cached
        return None
    # That a server of its age should refuse is no proof that this one does, or its cloud.
    kept = attempts.asked and known.refuses and model.origin != "remote"
    verdict = known.turns.judge(prompt, tokens, window, asked=kept)
    if verdict == "unsure":
        window = await look_at_window(provider, model)
        verdict = known.turns.judge(prompt, tokens, window, asked=kept, last_word=window is None)
    known.turns.keep(prompt, tokens, verdict, window)
    return _truncated(tokens, window) if verdict == "cut" else None


def _truncated(tokens: int | None, window: int | None) -> Notice:
    size = "its window" if window is None else f"its window of {window} tokens"
    read = "" if tokens is None else f"; it read {tokens} tokens"
    return Notice(
        "truncated",
        f"the conversation is too long for {size}: the server left out the oldest messages"
        f'{read}. Raise "numCtx", or start a new conversation',
    )
