"""A whole client for OpenAI-style servers, for plugins: chat, embeddings, rerank, images."""

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from modelbay.client.http import (
    NOTHING,
    decode_body,
    drain,
    fetch_json,
    open_stream,
    raise_for_status,
    read_body,
)
from modelbay.closing import closing
from modelbay.errors import (
    BackendError,
    ProtocolError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Notice, StreamEvent
from modelbay.models.frozen import JsonObject
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    ImageRequest,
    ImageResult,
    RerankRequest,
    RerankResult,
)
from modelbay.wire.errors import Classify, ErrorBody, parse_error_body
from modelbay.wire.openai_chat import ChatDecoder, Dialect, encode_chat
from modelbay.wire.openai_images import (
    ImagesBody,
    decode_item,
    encode_edit,
    encode_image,
    to_part,
)
from modelbay.wire.openai_misc import (
    EmbeddingsBody,
    RerankBody,
    decode_embed,
    decode_rerank,
    encode_complete,
    encode_embed,
    encode_rerank,
)
from modelbay.wire.sse import SSEDecoder

if TYPE_CHECKING:
    from modelbay.context import ProviderContext

IMAGES_LIMIT = 256 * 1024 * 1024  # sixteen images of 4096 x 4096 as base64, with room
MOST_IMAGES = 16  # as many as can be asked for
IMAGE_FETCH_S = 60.0
_WANTS_JSON = {"Accept": "application/json"}
Explain = Callable[["ProviderContext", BackendError], None]
IDLE_S = 90.0  # three pings of the servers that ping; a running stream that is silent for longer


def stream_chat(
    provider: "ProviderContext",
    request: ChatRequest,
    model: ModelInfo,
    *,
    dialect: Dialect,
    path: str = "v1/chat/completions",
    classify: Classify | None = None,
    pings: bool = False,
    extra: JsonObject | None = None,
    explain: Explain | None = None,
) -> AsyncIterator[StreamEvent]:
    """Answer one chat turn over ``POST {path}``.

    Args:
        classify: Reads this server's own error answers.
        pings: The server sends comments during silence, so that a silent stream is a dead one.
        extra: More fields of the body that this server wants; the request's own win.
        explain: Puts the next step into an error of this server's.

    Raises:
        StreamInterruptedError: The stream ended without a finish reason; holds the partial text.
        BackendError: The server refused or failed.
    """
    encoded = encode_chat(
        request, model.ref.wire_id, dialect, max_tokens=model.capabilities.max_output_tokens
    )
    body = {**(extra or {}), **encoded.body}
    decoder = ChatDecoder(dialect, classify)
    return _events(provider, path, body, model, decoder, classify, pings, encoded.notices, explain)


def complete(
    provider: "ProviderContext",
    request: CompleteRequest,
    model: ModelInfo,
    *,
    path: str = "v1/completions",
    classify: Classify | None = None,
    pings: bool = False,
    explain: Explain | None = None,
) -> AsyncIterator[StreamEvent]:
    """Continue a raw prompt over ``POST {path}``; errors as in `stream_chat`."""
    body = encode_complete(request, model.ref.wire_id)
    decoder = ChatDecoder(Dialect(), classify)
    return _events(provider, path, body, model, decoder, classify, pings, (), explain)


async def embed(
    provider: "ProviderContext",
    request: EmbedRequest,
    model: ModelInfo,
    *,
    path: str = "v1/embeddings",
    classify: Classify | None = None,
) -> EmbedResult:
    """Vectors over ``POST {path}``, in the order of the texts."""
    body = await fetch_json(
        provider,
        "POST",
        path,
        into=EmbeddingsBody,
        json=encode_embed(request, model.ref.wire_id),
        headers=_WANTS_JSON,
        model=str(model.ref),
        deadline_s=None,
        limit=256 * 1024 * 1024,
        classify=classify,
    )
    return decode_embed(body, len(request.input))


async def rerank(
    provider: "ProviderContext",
    request: RerankRequest,
    model: ModelInfo,
    *,
    path: str = "v1/rerank",
    classify: Classify | None = None,
) -> RerankResult:
    """Documents by score over ``POST {path}``.

    Raises:
        UnsupportedFeatureError: The server has no such path.
        BackendError: The server refused or failed.
    """
    is_missing = False

    def read(status: int, body: ErrorBody) -> type[BackendError] | None:
        nonlocal is_missing
        about = f"{body.message} {body.code}".lower()
        is_missing = status in (404, 405) and "model" not in about
        return classify(status, body) if classify is not None else None

    try:
        body = await fetch_json(
            provider,
            "POST",
            path,
            into=RerankBody,
            json=encode_rerank(request, model.ref.wire_id),
            headers=_WANTS_JSON,
            model=str(model.ref),
            deadline_s=None,
            classify=read,
        )
    except BackendError as exc:
        if not is_missing or model.ref.wire_id in exc.message:
            raise
        raise UnsupportedFeatureError(
            f"this server does not rerank (HTTP {exc.status})",
            provider_id=provider.id,
            model=str(model.ref),
            hint="choose a model of a server that does: modelbay models",
            stage="send",
        ) from exc
    return decode_rerank(body)


async def generate_image(
    provider: "ProviderContext",
    request: ImageRequest,
    model: ModelInfo,
    *,
    path: str = "v1/images/generations",
    edit_path: str = "v1/images/edits",
    classify: Classify | None = None,
    response_format: bool = True,
    fetch: bool = True,
) -> ImageResult:
    """Images over ``POST {path}``, or over ``{edit_path}`` for a request that holds an image.

    Args:
        response_format: Ask for base64; see `encode_image`.
        fetch: Fetch an image that was left at an address of the server's own, without the key.
            False where that address is a proxy's: a model's server would choose what we ask it.

    Raises:
        ProtocolError: What came is no image, is more than `MOST_IMAGES` or larger than
            `IMAGES_LIMIT` bytes together, or lies at an address that is not fetched: a server
            cannot make us fetch from elsewhere.
    """
    fields = encode_image(request, model.ref.wire_id, response_format=response_format)
    if request.image is None:
        sending = open_stream(provider, "POST", path, json=fields, headers=_WANTS_JSON)
    else:
        boundary = uuid.uuid4().hex
        sending = open_stream(
            provider,
            "POST",
            edit_path,
            content=encode_edit(fields, request.image, boundary),
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}", **_WANTS_JSON},
        )
    try:
        async with sending as response:
            await raise_for_status(provider, response, model=str(model.ref), classify=classify)
            raw = await read_body(response, limit=IMAGES_LIMIT)
            body = decode_body(provider, response, raw, "image generation", ImagesBody)
        if len(body.data) > MOST_IMAGES:
            raise ProtocolError(f"the server sent {len(body.data)} images", stage="decode")
        images = []
        left = IMAGES_LIMIT - len(raw)
        for item in body.data:
            found = decode_item(item)
            if isinstance(found, str):
                found = await _fetch_image(provider, found, classify, fetch=fetch, limit=left)
                left -= len(found)
            images.append(to_part(found))
    except BackendError as exc:
        provider.sign(exc, str(model.ref))
        raise
    if not images:
        raise ProtocolError("the server made no image", provider_id=provider.id, stage="decode")
    return ImageResult(images=images, model=body.model)


async def _fetch_image(
    provider: "ProviderContext", url: str, classify: Classify | None, *, fetch: bool, limit: int
) -> bytes:
    """An image that the server left at an address of its own; asked for without the key.

    Args:
        limit: Bytes.

    Raises:
        ProtocolError: The address is another host's or not to be asked, or the image is too large.
    """
    try:
        address = urlsplit(urljoin(f"{provider.base_url}/", url))
        host = address.netloc.rpartition("@")[2]
    except ValueError:
        raise ProtocolError("the server left the image at no address", stage="decode") from None
    own = urlsplit(provider.base_url)
    is_own = (address.scheme, host) == (own.scheme, own.netloc.rpartition("@")[2])
    if not (fetch and is_own):
        place = "an address" if is_own else f"another host ({address.hostname})"
        raise ProtocolError(
            f"the server left the image at {place}, which is not asked",
            hint="have the server answer with response_format b64_json",
            stage="decode",
        )
    async with open_stream(
        provider,
        "GET",
        address._replace(netloc=host).geturl(),
        deadline_s=IMAGE_FETCH_S,
        anonymous=True,
    ) as response:
        await raise_for_status(provider, response, classify=classify)
        return await read_body(response, limit=limit)


async def _events(
    provider: "ProviderContext",
    path: str,
    body: JsonObject,
    model: ModelInfo,
    decoder: ChatDecoder,
    classify: Classify | None,
    pings: bool,
    notices: Sequence[Notice],
    explain: Explain | None,
) -> AsyncIterator[StreamEvent]:
    for notice in notices:
        yield notice
    try:
        async with open_stream(
            provider, "POST", path, json=body, idle_s=IDLE_S if pings else None
        ) as response:
            del body  # it may be large, and the answer take long
            await raise_for_status(provider, response, model=str(model.ref), classify=classify)
            kind = response.headers.get("content-type", "").lower()
            if kind.startswith("text/event-stream"):
                sse = SSEDecoder()
                try:
                    async with closing(response.blocks()) as blocks:
                        async for block in blocks:
                            for event in decoder.events(sse.feed(block)):
                                yield event
                            if decoder.done:
                                await drain(blocks)
                                break
                except StreamInterruptedError:
                    if decoder.failed or not decoder.finished:
                        raise  # else the answer was whole before its connection broke
                for data in sse.close():
                    for event in _last(decoder, data):
                        yield event
                if sse.stray and not decoder.finished:
                    raise StreamInterruptedError(
                        parse_error_body(sse.stray).message, partial=decoder.partial
                    )
            else:
                whole = await read_body(response)
                if not whole.strip():
                    raise ProtocolError(f"POST {NOTHING}", status=response.status, stage="decode")
                for event in decoder.decode(whole):
                    yield event
            for event in decoder.close():
                yield event
    except BackendError as exc:
        if isinstance(exc, StreamInterruptedError) and not exc.partial:
            exc.partial = decoder.partial
        provider.sign(exc, str(model.ref))
        if explain is not None:
            explain(provider, exc)
        raise


def _last(decoder: ChatDecoder, data: bytes) -> list[StreamEvent]:
    """The events of a line that no blank line closed; half a line is no event.

    Whether the answer is whole says `ChatDecoder.close`, not this line.
    """
    try:
        return decoder.decode(data)
    except (ProtocolError, StreamInterruptedError):
        return []
