"""``POST /v1/embeddings``."""

import base64
import math
import struct
from dataclasses import dataclass
from typing import Literal

from modelbay.errors import ProtocolError
from modelbay.models.frozen import JsonObject
from modelbay.models.media import EmbedRequest, EmbedResult
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.fields import Fields, made, parse, unsupported, wrong
from modelbay_gateway.json_line import to_json
from modelbay_gateway.openai.chat import model_headers
from modelbay_gateway.openai.decode import own_fields
from modelbay_gateway.refusal import Refused
from modelbay_gateway.retention import allowed


@dataclass(frozen=True, slots=True)
class EmbedCall:
    request: EmbedRequest
    model: str | None
    encoding: Literal["float", "base64"] = "float"


def decode_embed(body: bytes) -> EmbedCall:
    """The request in a body of ``POST /v1/embeddings``.

    Raises:
        Refused: It is no such request, or holds token ids; the field is named.
    """
    fields = parse(body)
    model = fields.text("model") or None
    texts = _input(fields)
    encoding = fields.text("encoding_format") or "float"
    if encoding != "float" and encoding != "base64":
        raise Refused(
            "invalid_field",
            "'encoding_format' is neither float nor base64",
            field="encoding_format",
        )
    own_fields(fields)
    request = made(
        EmbedRequest,
        model=model,
        input=texts,
        dimensions=fields.whole("dimensions"),
        extra=fields.rest(),
    )
    return EmbedCall(request, model, "base64" if encoding == "base64" else "float")


def _input(fields: Fields) -> list[str]:
    raw = fields.any("input")
    if raw is None:
        raise fields.missing("input")
    texts = [raw] if isinstance(raw, str) else raw
    if not isinstance(texts, list):
        raise wrong("input", "a string or a list of strings", raw)
    if not texts:
        raise Refused("invalid_field", "'input' is empty", field="input")
    for index, text in enumerate(texts):
        if isinstance(text, int | list) and not isinstance(text, bool):
            raise unsupported(
                "input",
                "token ids are those of another model's vocabulary; send the text",
                "in LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False)",
            )
        if not isinstance(text, str):
            raise wrong(f"input[{index}]", "a string", text)
        if not text:
            raise Refused("invalid_field", f"'input[{index}]' is empty", field=f"input[{index}]")
    return texts


def encode_embed(result: EmbedResult, *, model: str, encoding: Literal["float", "base64"]) -> bytes:
    """The body of the answer, vectors in the order of the texts.

    Raises:
        ProtocolError: A vector holds what is no number; JSON has none such.
    """
    data: list[JsonObject] = []
    for index, vector in enumerate(result.vectors):
        if not all(map(math.isfinite, vector)):
            raise ProtocolError(f"vector {index} holds what is no finite number", stage="decode")
        data.append(
            {
                "object": "embedding",
                "index": index,
                "embedding": packed(vector) if encoding == "base64" else [*vector],
            }
        )
    body: JsonObject = {"object": "list", "data": [*data], "model": model}
    if result.usage is not None:
        count = result.usage.input_tokens
        body["usage"] = {"prompt_tokens": count, "total_tokens": count}
    return to_json(body)


def packed(vector: list[float]) -> str:
    """32-bit floats, the least significant byte first, as base64."""
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except OverflowError:
        raise ProtocolError(
            "a vector holds a number too large for 32 bits", stage="decode"
        ) from None


async def embeddings(bay: Bay, call: Call) -> None:
    """Vectors, as numbers or as base64."""
    asked = decode_embed(await call.body())
    request, notices = allowed(call.caller, asked.request)
    model = await bay.find(asked.model, task="embeddings")
    result = await call.attended(bay.embed(model, request, call.caller.name))
    await call.reply(
        encode_embed(result, model=asked.model or model.id, encoding=asked.encoding),
        headers=model_headers(model, notices),
    )
