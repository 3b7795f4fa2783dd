"""Children that make pictures and sound, in the shape of sd-server and of speech servers."""

import base64
import math
import struct
import time
import zlib

from modelbay_llamaswap.simulator.forms import FormError, parse_form
from modelbay_llamaswap.simulator.upstream.engine import Engine
from modelbay_llamaswap.simulator.upstream.reply import Reply
from modelbay_llamaswap.simulator.upstream.request import (
    UpstreamError,
    UpstreamRequest,
    text_of,
    whole_number,
)

_LARGEST = 64  # pixels a side: enough to be an image, small enough for a test
_RATE = 8000


def png(text: str, width: int, height: int) -> bytes:
    """A valid PNG, RGB, whose colour depends on the text."""
    colour = struct.pack(">I", zlib.crc32(text.encode()))[:3]
    rows = (b"\x00" + colour * width) * height  # filter type 0 before each row

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bit, truecolour
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def wav(text: str) -> bytes:
    """A valid WAV, 16 bit mono: a tone, a twentieth of a second for each letter."""
    count = _RATE // 20 * max(1, len(text))
    samples = (round(8000 * math.sin(at / 6)) for at in range(count))
    data = struct.pack(f"<{count}h", *samples)
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _RATE, _RATE * 2, 2, 16)
    body = b"WAVE" + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


async def generations(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /v1/images/generations``: always `b64_json`, whatever `response_format` says."""
    body = request.json()
    await _draw(
        engine,
        reply,
        text_of(body, "prompt"),
        text_of(body, "size"),
        whole_number(body, "n", default=1),
    )


async def edits(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /v1/images/edits``: a form with `image` or `image[]`."""
    try:
        parts = parse_form(request.body, request.headers.get("content-type", ""))
    except FormError as exc:
        raise UpstreamError(400, str(exc)) from exc
    if not any(part.name in ("image", "image[]") for part in parts):
        raise UpstreamError(400, "no image given")
    texts = {part.name: part.text for part in parts if not part.filename}
    count = texts.get("n", "1")
    await _draw(
        engine,
        reply,
        texts.get("prompt", ""),
        texts.get("size", ""),
        int(count) if count.isdigit() else 1,
    )


async def _draw(engine: Engine, reply: Reply, prompt: str, size: str, count: int) -> None:
    if not prompt:
        raise UpstreamError(400, "prompt required")
    width, height = _size(size)
    data = []
    async with engine.slot():
        for at in range(max(1, count)):
            await engine.pause(engine.model.prompt_s)
            image = png(f"{prompt}/{at}", width, height)
            data.append({"b64_json": base64.b64encode(image).decode()})
    await reply.json({"created": int(time.time()), "data": data, "output_format": "png"})


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    sides = (int(side) if side.isdigit() and int(side) else 512 for side in (width, height))
    first, second = (min(side, _LARGEST) for side in sides)
    return first, second


async def sdapi(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /sdapi/v1/txt2img`` and ``img2img``."""
    body = request.json()
    prompt = text_of(body, "prompt")
    width = min(_LARGEST, whole_number(body, "width", default=512))
    height = min(_LARGEST, whole_number(body, "height", default=512))
    async with engine.slot():
        await engine.pause(engine.model.prompt_s)
    count = whole_number(body, "batch_size", default=1)
    images = [png(f"{prompt}/{at}", width, height) for at in range(count)]
    await reply.json(
        {
            "images": [base64.b64encode(image).decode() for image in images],
            "parameters": body,
            "info": "",
        }
    )


async def loras(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``GET /sdapi/v1/loras``: none"""
    await reply.json([])


async def speech(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /v1/audio/speech``"""
    text = text_of(request.json(), "input")
    if not text:
        raise UpstreamError(400, "input required")
    async with engine.slot():
        await engine.pause(engine.model.prompt_s)
    await reply.send(wav(text), "audio/wav")


async def transcription(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /v1/audio/transcriptions``: whatever was said, it is the model's answer."""
    try:
        parts = parse_form(request.body, request.headers.get("content-type", ""))
    except FormError as exc:
        raise UpstreamError(400, str(exc)) from exc
    if not any(part.name == "file" for part in parts):
        raise UpstreamError(400, "no file given")
    async with engine.slot():
        await engine.pause(engine.model.prompt_s)
    if any(part.name == "response_format" and part.text == "text" for part in parts):
        await reply.send(f"{engine.model.answer}\n".encode(), "text/plain; charset=utf-8")
    else:
        await reply.json({"text": engine.model.answer})


async def voices(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``/v1/audio/voices``; no standard says what it looks like."""
    await reply.json({"voices": ["alto", "bass"]})
