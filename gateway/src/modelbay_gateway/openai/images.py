"""``POST /v1/images/generations``."""

from dataclasses import dataclass

from modelbay.models.frozen import JsonObject
from modelbay.models.media import ImageRequest, ImageResult
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.fields import made, parse, unsupported
from modelbay_gateway.json_line import to_json
from modelbay_gateway.openai.chat import model_headers
from modelbay_gateway.openai.decode import own_fields
from modelbay_gateway.refusal import Refused
from modelbay_gateway.retention import allowed


@dataclass(frozen=True, slots=True)
class ImageCall:
    """
    Attributes:
        as_url: The answer holds ``data:`` addresses; a gateway keeps no files to link to.
    """

    request: ImageRequest
    model: str | None
    as_url: bool = False


def decode_image(body: bytes) -> ImageCall:
    """The request in a body of ``POST /v1/images/generations``.

    Raises:
        Refused: It is no such request; the field is named.
    """
    fields = parse(body)
    model = fields.text("model") or None
    form = fields.text("response_format") or "b64_json"
    if form not in ("b64_json", "url"):
        raise Refused(
            "invalid_field",
            "'response_format' is neither b64_json nor url",
            field="response_format",
        )
    if fields.flag("stream") or fields.whole("partial_images"):
        raise unsupported("stream", "images come whole here", "leave stream out")
    size = fields.text("size")
    count = fields.whole("n")
    own_fields(fields)
    request = made(
        ImageRequest,
        model=model,
        prompt=fields.needed_text("prompt"),
        n=1 if count is None else count,
        size=None if size == "auto" else size,
        seed=fields.whole("seed"),
        extra=fields.rest(),
    )
    return ImageCall(request, model, as_url=form == "url")


def encode_images(result: ImageResult, *, created: int, as_url: bool) -> bytes:
    """The body of the answer."""
    data: list[JsonObject] = []
    for image in result.images:
        if as_url or image.data is None:
            url = image.url or f"data:{image.media_type};base64,{image.data}"
            data.append({"url": url})
        else:
            data.append({"b64_json": image.data})
    return to_json({"created": created, "data": data})


async def images(bay: Bay, call: Call) -> None:
    """Make images from a text."""
    asked = decode_image(await call.body())
    request, notices = allowed(call.caller, asked.request)
    model = await bay.find(asked.model, task="image_generation")
    result = await call.attended(bay.generate_image(model, request, call.caller.name))
    await call.reply(
        encode_images(result, created=int(bay.wall_clock()), as_url=asked.as_url),
        headers=model_headers(model, notices),
    )
