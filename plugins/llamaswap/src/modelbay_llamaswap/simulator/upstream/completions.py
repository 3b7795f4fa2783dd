"""What else a llama-server answers with text: raw completions, Responses, Messages."""

import struct
import time
from collections.abc import Mapping

from modelbay_llamaswap.simulator.upstream.chat import limit_of, moment, prompt_of
from modelbay_llamaswap.simulator.upstream.engine import Engine, Run
from modelbay_llamaswap.simulator.upstream.reply import Reply
from modelbay_llamaswap.simulator.upstream.request import (
    Fields,
    UpstreamError,
    UpstreamRequest,
    items_of,
    whole_number,
)
from modelbay_llamaswap.simulator.upstream.script import chat_script, message_of, plain_script
from modelbay_llamaswap.simulator.upstream.tokens import tokenize

_SEED = 4_294_967_295
# What a request may set and an answer echoes; defaults of llama-server.
SAMPLING: Mapping[str, float] = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "seed": _SEED,
}


async def text_completion(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /v1/completions``"""
    body = request.json()
    async with engine.slot():
        run = Run(engine, plain_script(engine.model), _prompt(body), limit_of(body))
        if body.get("stream") is True:
            await _streamed_text(engine, run, reply)
            return
        text = "".join(delta.text for delta in await run.all())
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": run.finish}
    await reply.json(
        {
            "choices": [choice],
            **moment(engine),
            "object": "text_completion",
            "usage": run.usage(),
            "id": f"chatcmpl-{engine.random_id()}",
            "timings": run.timings(),
        }
    )


async def _streamed_text(engine: Engine, run: Run, reply: Reply) -> None:
    key = f"chatcmpl-{engine.random_id()}"

    def chunk(text: str, finish: str | None = None) -> Fields:
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
        return {"choices": [choice], **moment(engine), "object": "text_completion", "id": key}

    delta = await run.step()
    await reply.stream()
    while delta is not None:
        await reply.event(chunk(delta.text))
        delta = await run.step()
    await reply.event(
        {**chunk("", run.finish), "usage": run.usage(), "timings": run.timings()},
    )
    await reply.event("[DONE]")


async def completion(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /completion``, llama-server's own; `response_fields` picks from the answer."""
    body = request.json()
    async with engine.slot():
        run = Run(engine, plain_script(engine.model), _prompt(body), limit_of(body))
        content = "".join(delta.text for delta in await run.all())
    used = settings(body)
    known: Fields = {
        "content": content,
        "model": engine.model.model_file,
        "stop": True,
        "stop_type": "limit" if run.finish == "length" else "eos",
        "tokens_predicted": run.completed,
        "generation_settings": used,
        "timings": run.timings(),
        **{f"generation_settings/{name}": value for name, value in used.items()},
    }
    wanted = [name for name in items_of(body, "response_fields") if isinstance(name, str)]
    names = wanted or [name for name in known if "/" not in name]
    await reply.json({name: known[name] for name in names if name in known})


def settings(body: Mapping[str, object]) -> Fields:
    """Sampling as the server understood it, with the noise a float32 leaves in JSON."""
    used: Fields = {}
    for name, default in SAMPLING.items():
        value = body.get(name, default)
        number = value if isinstance(value, int | float) else default
        used[name] = number if isinstance(default, int) else _float32(number)
    return used


def _float32(value: float) -> float:
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def _prompt(body: Mapping[str, object]) -> list[int]:
    prompt = body.get("prompt")
    if prompt is None:
        raise UpstreamError(400, '"prompt" must be provided')
    return tokenize(prompt if isinstance(prompt, str) else "".join(map(str, [prompt])))


async def infill(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /infill``: no simulated model has the tokens for it."""
    parts = "".join(f"{name} token is missing. " for name in ("prefix", "suffix", "middle"))
    raise UpstreamError(501, f"Infill is not supported by this model: {parts}")


async def responses(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /v1/responses``, text in and out, in one piece."""
    body = request.json()
    given = body.get("input")
    messages = given if isinstance(given, list) else [{"role": "user", "content": given}]
    chat = {**body, "messages": messages}
    prompt = prompt_of(engine.model, chat)
    limit = whole_number(body, "max_output_tokens", default=-1)
    async with engine.slot():
        run = Run(engine, chat_script(engine.model, {"messages": messages}), prompt, limit)
        text = message_of(await run.all(), "")["content"]
    now = int(time.time())
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    message = {
        "content": [part],
        "id": f"msg_{engine.random_id()}",
        "role": "assistant",
        "status": "completed",
        "type": "message",
    }
    await reply.json(
        {
            "completed_at": now,
            "created_at": now,
            "id": f"resp_{engine.random_id()}",
            "model": engine.model.model_file,
            "object": "response",
            "output": [message],
            "status": "completed",
            "usage": {
                "input_tokens": len(prompt),
                "output_tokens": run.completed,
                "total_tokens": len(prompt) + run.completed,
                "input_tokens_details": {"cached_tokens": run.cached},
            },
        }
    )


_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


async def messages(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /v1/messages``, text in and out."""
    body = request.json()
    prompt = prompt_of(engine.model, body)
    key = f"chatcmpl-{engine.random_id()}"
    async with engine.slot():
        script = chat_script(engine.model, {"messages": body["messages"]})
        run = Run(engine, script, prompt, limit_of(body))
        usage = {"cache_read_input_tokens": run.cached, "input_tokens": len(prompt) - run.cached}
        if body.get("stream") is True:
            await _streamed_message(engine, run, reply, key, usage)
            return
        text = message_of(await run.all(), "")["content"]
    await reply.json(
        {
            "id": key,
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": text}],
            "model": engine.model.model_file,
            "stop_reason": _STOP_REASONS[run.finish or "stop"],
            "stop_sequence": None,
            "usage": {**usage, "output_tokens": run.completed},
        }
    )


async def _streamed_message(
    engine: Engine, run: Run, reply: Reply, key: str, usage: Mapping[str, int]
) -> None:
    message: Fields = {
        "id": key,
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": engine.model.model_file,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 0},
    }
    delta = await run.step()
    await reply.stream()

    async def event(kind: str, **fields: object) -> None:
        await reply.named(kind, {"type": kind, **fields})

    await event("message_start", message=message)
    await event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    while delta is not None:
        if delta.part == "content":
            text = {"type": "text_delta", "text": delta.text}
            await event("content_block_delta", index=0, delta=text)
        delta = await run.step()
    await event("content_block_stop", index=0)
    reason = {"stop_reason": _STOP_REASONS[run.finish or "stop"], "stop_sequence": None}
    await event("message_delta", delta=reason, usage={"output_tokens": run.completed})
    await event("message_stop")


async def count_tokens(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /v1/messages/count_tokens``"""
    await reply.json({"input_tokens": len(prompt_of(engine.model, request.json()))})
