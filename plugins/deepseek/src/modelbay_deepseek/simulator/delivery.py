"""An answer on its way to the client: one JSON text, or the chunks of a stream."""

import math
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from modelbay.testing.simulator import ClientGone, Exchange
from modelbay_deepseek.simulator.answer import Answer
from modelbay_deepseek.simulator.knobs import TICK_MS, Knobs

FINGERPRINT = "fp_0000000000_simulated"
_GAP = 4  # pieces a tool call's arguments come in

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is billed.

    Attributes:
        hit: Of the prompt, found in the cache.
        reasoning: None where the model did not think.
    """

    prompt: int
    hit: int
    completion: int
    reasoning: int | None

    def as_json(self) -> Json:
        usage: Json = {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.hit},
            "prompt_cache_hit_tokens": self.hit,
            "prompt_cache_miss_tokens": self.prompt - self.hit,
        }
        if self.reasoning is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": self.reasoning}
        return usage


class Envelope:
    """What all parts of one answer have in common."""

    def __init__(self, model: object, kind: str) -> None:
        self._head: Json = {
            "id": str(uuid.uuid4()),
            "object": kind,
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": FINGERPRINT,
        }

    def with_choice(self, **choice: object) -> Json:
        return {**self._head, "choices": [{"index": 0, "logprobs": None, **choice}]}

    def without_choice(self) -> Json:
        return {**self._head, "choices": []}


async def queue(exchange: Exchange, knobs: Knobs, *, stream: bool) -> None:
    """Hold the request as the server's queue does: the head goes out, then keep-alives."""
    await exchange.start_stream(
        "text/event-stream; charset=utf-8" if stream else "application/json"
    )
    for _ in range(math.ceil(knobs.queue_ms / TICK_MS)):
        await exchange.raw(b": keep-alive\n\n" if stream else b"\n")
        await exchange.sleep(knobs.tick_s)


async def send_whole(
    exchange: Exchange, model: object, answer: Answer, tokens: Tokens, knobs: Knobs
) -> None:
    """One JSON text."""
    message: Json = {"role": "assistant", "content": "".join(answer.text)}
    if answer.thinking:
        message["reasoning_content"] = "".join(answer.reasoning)
    if answer.calls:
        message["tool_calls"] = [
            {
                "index": index,
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(answer.calls)
        ]
    envelope = Envelope(model, "chat.completion")
    whole = envelope.with_choice(message=message, finish_reason=knobs.finish or answer.finish)
    whole["usage"] = tokens.as_json()
    await _send_json(exchange, whole, knobs)


async def _send_json(exchange: Exchange, whole: Json, knobs: Knobs) -> None:
    if knobs.cut_after is not None:
        if not exchange.head_sent:
            await exchange.start_stream("application/json")
        exchange.abort()
        raise ClientGone("cut by a knob")
    if exchange.head_sent:
        from modelbay.testing.exchange import dump_json

        await exchange.raw(dump_json(whole).encode())
    else:
        await exchange.json(whole)


async def send_stream(
    exchange: Exchange,
    model: object,
    answer: Answer,
    tokens: Tokens,
    knobs: Knobs,
    *,
    include_usage: bool,
) -> None:
    """Chunks in the order of the real server; the usage rides on the last one."""
    envelope = Envelope(model, "chat.completion.chunk")
    chunks = [envelope.with_choice(delta=delta, finish_reason=None) for delta in _deltas(answer)]
    last_delta: Json = {"content": ""}
    if answer.thinking:
        last_delta["reasoning_content"] = None
    last = envelope.with_choice(delta=last_delta, finish_reason=knobs.finish or answer.finish)
    more = []
    if include_usage:
        for chunk in chunks:
            chunk["usage"] = None
    if knobs.trailing_usage_chunk:
        more = [{**envelope.without_choice(), "usage": tokens.as_json()}]
    else:
        last["usage"] = tokens.as_json()
    await send_chunks(exchange, [*chunks, last, *more], knobs)


async def send_chunks(exchange: Exchange, chunks: list[Json], knobs: Knobs) -> None:
    """The events of a stream and its end mark, with the faults that are wanted."""
    if not exchange.head_sent:
        await exchange.start_stream("text/event-stream; charset=utf-8")
    for number, chunk in enumerate(chunks):
        if number == knobs.cut_after:
            exchange.abort()
            raise ClientGone("cut by a knob")
        if knobs.slow_ms:
            await exchange.sleep(knobs.slow_ms / 1000)
        await exchange.sse(chunk)
        if number == 0 and knobs.error_in_stream:
            await exchange.sse(
                {"error": {"message": knobs.error_in_stream, "type": "server_error"}}
            )
            return
        while knobs.endless and number == len(chunks) - 2:
            await exchange.sleep(max(knobs.slow_ms, 1.0) / 1000)
            await exchange.sse(chunk)
    if not knobs.no_done:
        await exchange.sse("[DONE]")


def _deltas(answer: Answer) -> Iterator[Json]:
    if answer.thinking:
        yield {"role": "assistant", "content": None, "reasoning_content": ""}
        for piece in answer.reasoning:
            yield {"content": None, "reasoning_content": piece}
    else:
        yield {"role": "assistant", "content": ""}
    for piece in answer.text:
        yield {"content": piece, **({"reasoning_content": None} if answer.thinking else {})}
    for index, call in enumerate(answer.calls):
        function: Json = {"name": call.name, "arguments": ""}
        head = {"index": index, "id": call.id, "type": "function", "function": function}
        yield {"tool_calls": [head]}
    # The arguments of parallel calls are interleaved, which a client must take apart by index.
    size = max((-(-len(call.arguments) // _GAP) for call in answer.calls), default=1)
    for at in range(0, size * _GAP, size):
        for index, call in enumerate(answer.calls):
            piece = call.arguments[at : at + size]
            if piece:
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
