"""Embeddings, reranking and image generation: requests and results."""

from typing import Literal, TypeAlias

from pydantic import Field

from modelbay.models.chat import ImagePart
from modelbay.models.events import Usage
from modelbay.models.frozen import Frozen, JsonObject
from modelbay.refs import ModelRef


class EmbedRequest(Frozen):
    model: ModelRef | str | None = None
    input: list[str] = Field(min_length=1)
    dimensions: int | None = Field(default=None, gt=0)
    extra: JsonObject = {}


class EmbedResult(Frozen):
    """One vector for each input, in the order of the inputs."""

    vectors: list[list[float]]
    model: str | None = None
    usage: Usage | None = None


class RerankRequest(Frozen):
    model: ModelRef | str | None = None
    query: str
    documents: list[str] = Field(min_length=1)
    top_n: int | None = Field(default=None, gt=0)
    extra: JsonObject = {}


class RankedDocument(Frozen):
    """``index`` is the document's place in the request."""

    index: int
    score: float


class RerankResult(Frozen):
    """The best first."""

    results: list[RankedDocument]
    model: str | None = None
    usage: Usage | None = None


class CompleteRequest(Frozen):
    """A raw prompt, no chat template; with ``suffix`` the middle is filled in."""

    model: ModelRef | str | None = None
    prompt: str
    suffix: str | None = None
    max_tokens: int | None = Field(default=None, gt=0)
    temperature: float | None = None
    stop: list[str] = []
    stream: bool = True
    extra: JsonObject = {}


ImageFormat: TypeAlias = Literal["png", "jpeg", "webp"]

_SIGNATURES: tuple[tuple[bytes, ImageFormat], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
)


class ImageRequest(Frozen):
    """Images from a text, or with ``image`` a changed image."""

    model: ModelRef | str | None = None
    prompt: str
    n: int = Field(default=1, ge=1, le=16)
    size: str | None = Field(default=None, pattern=r"^\d+x\d+$")
    seed: int | None = None
    image: ImagePart | None = Field(default=None, description="an image to edit")
    extra: JsonObject = {}


class ImageResult(Frozen):
    """The images as chat image parts with base64 data: they can be sent straight back (S1-11)."""

    images: list[ImagePart]
    model: str | None = None


def image_format(content: bytes) -> ImageFormat | None:
    """By the first bytes of a file; what a server or a file name says is not asked."""
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return None
