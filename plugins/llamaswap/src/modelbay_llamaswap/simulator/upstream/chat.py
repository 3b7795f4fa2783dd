"""``POST /v1/chat/completions`` of a child."""

import base64
import binascii
import time
from collections.abc import Mapping

from modelbay_llamaswap.simulator.model import SimulatedModel
from modelbay_llamaswap.simulator.upstream.engine import Engine, Run
from modelbay_llamaswap.simulator.upstream.reply import BUILD, Reply
from modelbay_llamaswap.simulator.upstream.request import (
    Fields,
    UpstreamError,
    UpstreamRequest,
    items_of,
    object_of,
    whole_number,
)
from modelbay_llamaswap.simulator.upstream.script import chat_script, delta_fields, message_of
from modelbay_llamaswap.simulator.upstream.tokens import content_text, render, tokenize

_ROLE = {"role": "assistant", "content": None}
_IMAGE_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")
_HINT = "hint: if this is unexpected, you may need to provide the mmproj"


def prompt_of(model: SimulatedModel, body: Mapping[str, object]) -> list[int]:
    """Tokens of the prompt of a chat.

    Raises:
        UpstreamError: The messages are missing, or hold what the model cannot take.
    """
    if "messages" not in body:
        raise UpstreamError(400, "'messages' is required")
    messages = [m for m in items_of(body, "messages") if isinstance(m, dict)]
    for message in messages:
        for part in items_of(message, "content"):
            if isinstance(part, dict) and part.get("type") == "image_url":
                _check_image(model, object_of(part, "image_url").get("url"))
    if model.flavour == "plain":
        return tokenize("".join(map(content_text, messages)))
    return tokenize(render(messages, items_of(body, "tools")))


def _check_image(model: SimulatedModel, url: object) -> None:
    if not model.vision:
        raise UpstreamError(500, f"image input is not supported - {_HINT}")
    text = url.partition(",")[2] if isinstance(url, str) and url.startswith("data:") else ""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data.startswith(_IMAGE_MAGIC):
        raise UpstreamError(400, "Failed to load image or audio file")


def limit_of(body: Mapping[str, object]) -> int:
    """The most tokens to make, -1 without limit; 0 still makes one."""
    limit = whole_number(body, "n_predict", "max_completion_tokens", "max_tokens", default=-1)
    return max(1, limit) if limit >= 0 else -1


def moment(engine: Engine) -> Fields:
    """The fields in the middle of every answer."""
    return {
        "created": int(time.time()),
        "model": engine.model.model_file,
        "system_fingerprint": BUILD,
    }


async def answer(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """Answer a chat, in one piece or streamed."""
    body = request.json()
    prompt = prompt_of(engine.model, body)
    async with engine.slot():
        run = Run(engine, chat_script(engine.model, body), prompt, limit_of(body))
        if body.get("stream") is True:
            await _streamed(engine, body, run, reply)
        else:
            await _whole(engine, body, run, reply)


async def _whole(engine: Engine, body: Fields, run: Run, reply: Reply) -> None:
    deltas = await run.all()
    message = message_of(deltas, engine.random_id()[:9])
    if reply.plain:
        await reply.json(_plain_whole(message, run, engine.model.model_file))
        return
    await reply.json(
        {
            "choices": [{"finish_reason": run.finish, "index": 0, "message": message}],
            **moment(engine),
            "object": "chat.completion",
            "usage": run.usage(),
            "id": f"chatcmpl-{engine.random_id()}",
            "timings": run.timings(),
        }
    )


def _plain_whole(message: Fields, run: Run, name: str) -> Fields:
    usage = run.usage()
    tokens = run.completed - (run.finish == "stop")  # no end token is counted there
    prompt = usage["prompt_tokens"]
    total = tokens + (prompt if isinstance(prompt, int) else 0)
    return {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [{"index": 0, "message": message, "finish_reason": run.finish}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": total},
    }


async def _streamed(engine: Engine, body: Fields, run: Run, reply: Reply) -> None:
    key, calls = f"chatcmpl-{engine.random_id()}", engine.random_id()[:9]

    def base() -> Fields:
        return {
            "created": int(time.time()),
            "id": key,
            "model": engine.model.model_file,
            "system_fingerprint": BUILD,
            "object": "chat.completion.chunk",
        }

    def chunk(delta: Fields, finish: str | None = None) -> Fields:
        choice = {"finish_reason": finish, "index": 0, "delta": delta}
        return {"choices": [choice], **base()}

    include_usage = object_of(body, "stream_options").get("include_usage") is True
    engine.streams += 1
    try:
        delta = await run.step()
        await reply.stream()
        await reply.event(chunk({**_ROLE}))
        while delta is not None:
            await reply.event(chunk(delta_fields(delta, calls)))
            delta = await run.step()
    finally:
        engine.streams -= 1
        engine.wake()
    timings: Fields = {} if reply.plain else {"timings": run.timings()}
    await reply.event({**chunk({}, run.finish), **({} if include_usage else timings)})
    if include_usage:
        await reply.event({"choices": [], **base(), "usage": run.usage(), **timings})
    await reply.event("[DONE]")
