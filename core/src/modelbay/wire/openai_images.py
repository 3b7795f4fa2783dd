"""OpenAI-style image generation and editing: a request to its body, the answer to images."""

import base64
import binascii

import msgspec

from modelbay.errors import ProtocolError, UnsupportedFeatureError
from modelbay.models.chat import ImagePart
from modelbay.models.frozen import JsonObject
from modelbay.models.media import ImageRequest, image_format


class ImageItem(msgspec.Struct):
    b64_json: str | None = None
    url: str | None = None


class ImagesBody(msgspec.Struct):
    data: list[ImageItem]
    model: str | None = None


def encode_image(request: ImageRequest, wire_id: str, *, response_format: bool) -> JsonObject:
    """The body of ``POST .../images/generations``, and the fields of ``.../images/edits``.

    Args:
        response_format: Ask for base64. Some servers know nothing else and refuse the field.
    """
    body: JsonObject = {"model": wire_id, "prompt": request.prompt, "n": request.n}
    if request.size is not None:
        body["size"] = request.size
    if request.seed is not None:
        body["seed"] = request.seed
    if response_format:
        body["response_format"] = "b64_json"
    return {**body, **request.extra}


def encode_edit(fields: JsonObject, image: ImagePart, boundary: str) -> bytes:
    """The body of ``POST .../images/edits``: a form with the image as a file.

    Args:
        boundary: Must not occur in the prompt or the image.

    Raises:
        UnsupportedFeatureError: The image is an address, or no base64.
    """
    content = inline_bytes(image)
    kind = image_format(content) or "png"
    parts = []
    for name, value in fields.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'
            f"{text}\r\n".encode()
        )
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image.{kind}"\r\n'
        f"Content-Type: image/{kind}\r\n\r\n".encode()
        + content
        + b"\r\n"
    )
    return b"".join((*parts, f"--{boundary}--\r\n".encode()))


def inline_bytes(image: ImagePart) -> bytes:
    """The bytes of an image that came as base64, or as a ``data:`` address.

    Raises:
        UnsupportedFeatureError: It is an address, or no base64.
    """
    text = image.data
    if text is None and (image.url or "").startswith("data:"):
        text = (image.url or "").partition(",")[2]
    if text is None:
        raise UnsupportedFeatureError(
            "an image to edit must be sent inline",
            hint="read the image and pass ImagePart(data=<base64>)",
            stage="encode",
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise UnsupportedFeatureError(
            "the image is not base64", hint="encode the file's bytes as base64", stage="encode"
        ) from exc


def decode_item(item: ImageItem) -> bytes | str:
    """The bytes of one image, or the address it lies at.

    Raises:
        ProtocolError: It is neither, or no base64.
    """
    text = item.b64_json
    if not text and (item.url or "").startswith("data:"):
        text = (item.url or "").partition(",")[2]
    if text:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as exc:
            raise ProtocolError(f"an image is no base64: {exc}", stage="decode") from exc
    if item.url:
        return item.url
    raise ProtocolError("an image came without data and without an address", stage="decode")


def to_part(content: bytes) -> ImagePart:
    """An image as a part of a chat message (S1-11).

    Raises:
        ProtocolError: The bytes are no PNG, JPEG or WebP.
    """
    kind = image_format(content)
    if kind is None:
        raise ProtocolError(
            f"what came as an image is none of PNG, JPEG and WebP ({len(content)} bytes)",
            stage="decode",
        )
    return ImagePart(data=base64.b64encode(content).decode(), media_type=f"image/{kind}")


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
