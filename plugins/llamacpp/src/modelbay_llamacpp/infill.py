"""Fill in the middle over llama-server's own ``/infill``."""

from collections.abc import AsyncIterator

from modelbay.client.http import open_stream, raise_for_status
from modelbay.client.openai_compat import IDLE_S
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, StreamInterruptedError
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import (
    Finish,
    FinishReason,
    StreamEvent,
    TextDelta,
    Timings,
    Usage,
)
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest
from modelbay.wire.errors import error_class, parse_error_body
from modelbay.wire.sse import SSEDecoder
from modelbay_llamacpp.config import at
from modelbay_llamacpp.failures import classify
from modelbay_llamacpp.wire import InfillChunk, decode_infill

_STOPS: dict[str, FinishReason] = {"eos": "stop", "word": "stop", "limit": "length"}


async def stream(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """``POST /infill``: the native form, since ``/v1/completions`` drops ``suffix``."""
    partial: list[str] = []
    try:
        async with open_stream(
            provider,
            "POST",
            at(provider, "infill"),
            json=_body(request, model.wire_id),
            idle_s=IDLE_S,
        ) as response:
            await raise_for_status(provider, response, model=str(model.ref), classify=classify)
            sse = SSEDecoder()
            last: InfillChunk | None = None
            async for block in response.blocks():
                for data in sse.feed(block):
                    chunk = decode_infill(data)
                    _raise_reported(provider, chunk, data)
                    if chunk.content:
                        partial.append(chunk.content)
                        yield TextDelta(chunk.content)
                    if chunk.stop:
                        last = chunk
            if last is None:
                reason = parse_error_body(sse.stray).message
                raise StreamInterruptedError(reason or "the stream ended before its own end")
            for event in _end(last):
                yield event
    except BackendError as exc:
        exc.model = exc.model or str(model.ref)
        if isinstance(exc, StreamInterruptedError):
            exc.partial = exc.partial or "".join(partial)
        raise


def _body(request: CompleteRequest, wire_id: str) -> JsonObject:
    body: JsonObject = {
        "model": wire_id,
        "input_prefix": request.prompt,
        "input_suffix": request.suffix or "",
        "stream": True,
        "max_tokens": request.max_tokens,
        **request.extra,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop"] = list(request.stop)
    return body


def _raise_reported(provider: ProviderContext, chunk: InfillChunk, data: bytes) -> None:
    if chunk.error:
        body = parse_error_body(data)
        status = int(body.code) if body.code.isdigit() else 500
        message = provider.redact(body.message)
        raise error_class(status, body, classify)(message, status=status, stage="decode")


def _end(chunk: InfillChunk) -> list[StreamEvent]:
    cached = None if chunk.timings is None else chunk.timings.cache_n
    events: list[StreamEvent] = [Usage(chunk.tokens_evaluated, chunk.tokens_predicted, cached)]
    if (t := chunk.timings) is not None:
        input_s = None if t.prompt_ms is None else t.prompt_ms / 1000
        output_s = None if t.predicted_ms is None else t.predicted_ms / 1000
        events.append(
            Timings(
                total_s=None if input_s is None or output_s is None else input_s + output_s,
                input_s=input_s,
                input_tokens_per_s=t.prompt_per_second or None,
                output_s=output_s,
                output_tokens_per_s=t.predicted_per_second or None,
            )
        )
    known = chunk.stop_type in _STOPS
    events.append(
        Finish(
            _STOPS.get(chunk.stop_type, "other"),
            raw_reason=None if known else chunk.stop_type,
            model=chunk.model,
        )
    )
    return events
