"""One chat turn, and raw completion: the shared OpenAI-style wire, and what llama-swap adds."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

from modelbay.client import openai_compat
from modelbay.client.http import HttpResponse, drain, open_stream, raise_for_status, read_body
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendError,
    ProtocolError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, Status, StreamEvent
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest
from modelbay.wire.errors import error_class, parse_error_body
from modelbay.wire.openai_chat import ChatDecoder, Dialect, encode_chat
from modelbay.wire.sse import SSEDecoder
from modelbay_llamaswap import config, sidecar
from modelbay_llamaswap.explaining import CALLED_OFF, raise_explained
from modelbay_llamaswap.loading_text import LoadingText
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.opening import Opening
from modelbay_llamaswap.sidecar import Endpoint
from modelbay_llamaswap.waiting import NOT_READY, Watch, attempts, is_virtual
from modelbay_llamaswap.wire import classify

PATH = "v1/chat/completions"
_FIXED = "the model's cmd in llama-swap's config fixes it"
_STATUS = re.compile(r"[45][0-9][0-9]")
# Errors inside a stream name their status by a word.
_CODES = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "concurrency_limit": 429,
    "bad_gateway": 502,
    "service_unavailable": 503,
    "gateway_timeout": 504,
}


def dialect(provider: ProviderContext) -> Dialect:
    """What the servers behind a llama-swap have in common: nearly all are llama-server.

    The legacy ``max_tokens`` is the field all of them read (S1-03).
    """
    return Dialect(
        named_tool_choice="single",  # llama-server reads the object as "auto"
        tools_with_format=False,  # in llama-server the format wins without a word
        reasoning_history="reasoning_content",
        image_urls=config.options(provider).allow_remote_media,
        renamed={"num_predict": "max_tokens"},
        fixed_at_start={"num_ctx": _FIXED, "n_ctx": _FIXED},
    )


async def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Answer one chat turn.

    While the model is swapped in, `Status` events say what is waited for. There is no limit on
    that wait but the caller's (S1-05, S1-21).

    Raises:
        StreamInterruptedError: The model's process died or was unloaded; holds the partial text.
        BackendBusyError: The model had no place for it when `busy_wait_s` was over.
        BackendError: Among others because the model could not be started.
    """
    place = sidecar.endpoint(provider, request)
    encoded = encode_chat(
        request,
        model.wire_id,
        dialect(provider),
        max_tokens=model.capabilities.max_output_tokens,
    )
    for notice in encoded.notices:
        yield notice
    known = memory(provider)
    if place.is_sidecar:
        events = _turn(provider, place, encoded.body, model, None)
        async with closing(events):
            async for event in events:
                yield replace(event, endpoint=place.shown) if type(event) is Finish else event
        return
    with known.using(model.wire_id):
        watch = Watch(provider, model)
        for status in watch.at_once(model):
            yield status
        events = attempts(provider, lambda: _turn(provider, place, encoded.body, model, watch))
        async with closing(events):
            async for event in events:
                if type(event) is Finish and place.shown is not None:
                    yield replace(event, endpoint=place.shown)
                else:
                    yield event


async def complete(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Continue a raw prompt.

    Raises:
        UnsupportedFeatureError: A suffix was given: most servers would ignore it.
    """
    if request.suffix is not None:
        raise UnsupportedFeatureError(
            "filling in the middle is not passed on: what runs behind llama-swap may ignore it",
            model=str(model.ref),
            hint="ask the model's own llama-server, as a provider of kind llamacpp",
            stage="encode",
        )
    place = sidecar.endpoint(provider, request)
    # Without a limit a model that loops runs until its context is full.
    limit = request.max_tokens or model.capabilities.max_output_tokens
    wanted = request.model_copy(update={"max_tokens": limit})
    with memory(provider).using(model.wire_id):
        if model.state in NOT_READY and not is_virtual(model):
            yield Status("loading")
        events = attempts(
            provider,
            lambda: openai_compat.complete(
                provider, wanted, model, path=place.at("v1/completions"), classify=classify
            ),
        )
        try:
            async with closing(events):
                async for event in events:
                    yield event
        except BackendError as exc:
            raise_explained(provider, exc, model.wire_id, place)


async def _turn(
    provider: ProviderContext,
    place: Endpoint,
    body: JsonObject,
    model: ModelInfo,
    watch: Watch | None,
) -> AsyncIterator[StreamEvent]:
    """One try: wait for the head, then read what comes."""
    decoder = ChatDecoder(dialect(provider), classify)
    poll_s = config.options(provider).poll_s
    request = open_stream(
        provider,
        "POST",
        place.at(PATH),
        json=body,
        headers={**config.JSON, **place.credentials.headers},
        anonymous=place.credentials.anonymous,
    )
    try:
        async with Opening(provider, request) as opening:
            while not await opening.ready(poll_s):
                if watch is not None:
                    for status in await watch.look():
                        yield status
            response = opening.result()
            await raise_for_status(provider, response, model=str(model.ref), classify=classify)
            # What a sidecar sends is its model's: it swaps nothing, and types no loading text.
            loading = None if place.is_sidecar else LoadingText()
            answer = _answer(response, decoder, loading)
            async with closing(answer):
                async for event in answer:
                    yield event
    except BackendError as exc:
        if isinstance(exc, StreamInterruptedError) and not exc.partial:
            exc.partial = decoder.partial
        provider.sign(exc, str(model.ref))
        raise_explained(provider, exc, model.wire_id, place)


async def _answer(
    response: HttpResponse, decoder: ChatDecoder, loading: LoadingText | None
) -> AsyncIterator[StreamEvent]:
    """The events of an answer whose head has come.

    Args:
        loading: Reads the loading text, where there can be one.
    """
    if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
        whole = await read_body(response)
        if not whole.strip():
            raise StreamInterruptedError(CALLED_OFF, status=response.status)
        for event in decoder.decode(whole):
            yield event
        for event in decoder.close():
            yield event
        return
    sse = SSEDecoder()
    async with closing(response.blocks()) as blocks:
        try:
            async for block in blocks:
                for data in sse.feed(block):
                    if loading is not None and not loading.over:
                        statuses = loading.read(data)
                        if statuses is not None:
                            for status in statuses:
                                yield status
                            continue
                    for event in decoder.decode(data):
                        yield event
                if decoder.done:
                    await drain(blocks)
                    break
        except StreamInterruptedError:
            if decoder.failed or not decoder.finished:
                raise  # else the answer was whole before its connection broke
    for data in sse.close():
        for event in _last(decoder, loading, data):
            yield event
    if not decoder.finished:
        if loading is not None and loading.failure:
            raise BackendError(f"the model could not be loaded: {loading.failure}", status=502)
        if sse.stray:
            raise _hidden(sse.stray, decoder.partial)
    for event in decoder.close():
        yield event


def _last(decoder: ChatDecoder, loading: LoadingText | None, data: bytes) -> list[StreamEvent]:
    """The events of a line that no blank line closed; half a line is no event."""
    if loading is not None and (statuses := loading.read(data)) is not None:
        return list(statuses)
    try:
        return decoder.decode(data)
    except (ProtocolError, StreamInterruptedError):
        return []


def _hidden(stray: bytes, partial: str) -> BackendError:
    """The error that stands bare in an event stream, under status 200 (trap 3).

    An SSE reader passes over such a line, and the answer would look empty and successful.
    """
    body = parse_error_body(stray)
    if partial or body.raw is None:
        return StreamInterruptedError(body.message, partial=partial)
    is_status = _STATUS.fullmatch(body.code)
    status = int(body.code) if is_status else _CODES.get(body.code, 500)
    kind = error_class(status, body, classify)
    return kind(f"{body.message} (inside a stream that began well)", status=status, stage="decode")
