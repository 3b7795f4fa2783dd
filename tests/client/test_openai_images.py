"""Image generation of modelbay/client/openai_compat.py, over real sockets."""

import base64
import struct
import zlib
from email.message import Message
from email.parser import BytesParser

import pytest

from modelbay.client import openai_compat
from modelbay.client.openai_compat import generate_image
from modelbay.errors import InvalidRequestError, ProtocolError, UnsupportedFeatureError
from modelbay.models.chat import ChatRequest, ImagePart, user
from modelbay.models.media import ImageRequest, ImageResult, image_format
from modelbay.testing.simulator import Exchange, Simulator
from modelbay.wire.openai_chat import Dialect, encode_chat
from modelbay.wire.openai_images import to_part
from pretend import lent, model

pytestmark = pytest.mark.anyio


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00"))
    + _chunk(b"IEND", b"")
)
INLINE = base64.b64encode(PNG).decode()
PART = ImagePart(data=INLINE, media_type="image/png")


def answers(sim: Simulator, *items: object, path: str = "/v1/images/generations") -> None:
    @sim.route("POST", path)
    async def route(exchange: Exchange) -> None:
        await exchange.json({"created": 1, "data": list(items), "model": "m"})


async def test_an_image_comes_as_base64_and_fits_into_a_chat_message(sim: Simulator) -> None:
    """S1-10, S1-11, S1-12."""
    answers(sim, {"b64_json": INLINE})

    async with lent(sim.base_url) as provider:
        asked = ImageRequest(prompt="a bay", size="64x64", seed=7, extra={"steps": 4})
        result = await generate_image(provider, asked, model("m"))

    assert result == ImageResult(images=[PART], model="m")
    assert sim.requests[0].json() == {
        "model": "m",
        "prompt": "a bay",
        "n": 1,
        "size": "64x64",
        "seed": 7,
        "response_format": "b64_json",
        "steps": 4,
    }
    body = encode_chat(
        ChatRequest(messages=[user("what is this?", *result.images)]), "m", Dialect()
    ).body
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this?"},
                {
                    "type": "image_url",
                    "image_url": {"url": f"data:image/png;base64,{INLINE}"},
                },
            ],
        }
    ]


async def test_a_server_without_the_field_is_not_sent_it(sim: Simulator) -> None:
    answers(sim, {"b64_json": INLINE})

    async with lent(sim.base_url) as provider:
        asked = ImageRequest(prompt="a")
        await generate_image(provider, asked, model("m"), response_format=False)

    assert sim.requests[0].json() == {"model": "m", "prompt": "a", "n": 1}


async def test_an_image_at_the_servers_own_address_is_fetched(sim: Simulator) -> None:
    answers(sim, {"url": "/made/1.png"}, {"url": f"data:image/png;base64,{INLINE}"})

    @sim.route("GET", "/made/1.png")
    async def route(exchange: Exchange) -> None:
        await exchange.send(PNG, content_type="image/png")

    async with lent(sim.base_url) as provider:
        result = await generate_image(provider, ImageRequest(prompt="a", n=2), model("m"))

    assert result.images == [PART, PART]


@pytest.mark.parametrize("user", ["", "me:secret@"])
async def test_a_key_is_never_sent_for_an_image_that_is_fetched(sim: Simulator, user: str) -> None:
    """The model's server chose the address."""
    answers(sim, {"url": "/made/1.png"}, {"url": f"{sim.base_url}/made/1.png"})

    @sim.route("GET", "/made/1.png")
    async def route(exchange: Exchange) -> None:
        await exchange.send(PNG, content_type="image/png")

    address = sim.base_url.replace("://", f"://{user}")
    async with lent(address, apiKey="sk-1", headers={"X-Key": "k"}) as provider:
        await generate_image(provider, ImageRequest(prompt="a"), model("m"))

    first, *fetched = [
        (r.headers.get("authorization"), r.headers.get("x-key")) for r in sim.requests
    ]
    assert first == ("Bearer sk-1", "k")
    assert fetched == [(None, None)] * 2


async def test_where_nothing_is_to_be_fetched_an_address_is_an_error(sim: Simulator) -> None:
    answers(sim, {"url": "/made/1.png"})

    async with lent(sim.base_url) as provider:
        with pytest.raises(ProtocolError, match="at an address, which is not asked"):
            await generate_image(provider, ImageRequest(prompt="a"), model("m"), fetch=False)

    assert len(sim.requests) == 1


async def test_more_images_than_can_be_asked_for_are_refused(sim: Simulator) -> None:
    answers(sim, *({"url": f"/made/{number}.png"} for number in range(17)))

    async with lent(sim.base_url) as provider:
        with pytest.raises(ProtocolError, match="the server sent 17 images"):
            await generate_image(provider, ImageRequest(prompt="a"), model("m"))

    assert len(sim.requests) == 1


async def test_the_limit_is_for_all_images_together(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"url": "/made/1.png"}] * 3
    answers(sim, *items)

    @sim.route("GET", "/made/1.png")
    async def route(exchange: Exchange) -> None:
        await exchange.send(PNG + bytes(1000), content_type="image/png")

    monkeypatch.setattr(openai_compat, "IMAGES_LIMIT", 3000)
    async with lent(sim.base_url) as provider:
        with pytest.raises(ProtocolError, match=r"the answer is larger than \d+ bytes"):
            await generate_image(provider, ImageRequest(prompt="a", n=3), model("m"))

    assert len(sim.requests) == 4


@pytest.mark.parametrize("url", ["http://[", "//[x/a.png"])
async def test_what_is_no_address_is_an_error(sim: Simulator, url: str) -> None:
    answers(sim, {"url": url})

    async with lent(sim.base_url) as provider:
        with pytest.raises(ProtocolError, match="at no address"):
            await generate_image(provider, ImageRequest(prompt="a"), model("m"))


async def test_an_image_at_another_host_is_not_fetched(sim: Simulator) -> None:
    answers(sim, {"url": "http://169.254.0.1/secret"})

    async with lent(sim.base_url) as provider:
        with pytest.raises(ProtocolError, match=r"another host \(169\.254\.0\.1\)"):
            await generate_image(provider, ImageRequest(prompt="a"), model("m"))

    assert [request.path for request in sim.requests] == ["/v1/images/generations"]


async def test_an_edit_sends_the_image_as_a_file_of_a_form(sim: Simulator) -> None:
    answers(sim, {"b64_json": INLINE}, path="/v1/images/edits")

    async with lent(sim.base_url) as provider:
        asked = ImageRequest(prompt='with "quotes"\r\nand lines', image=PART)
        result = await generate_image(provider, asked, model("m"))

    assert result.images == [PART]
    sent = sim.requests[0]
    head = f"Content-Type: {sent.headers['content-type']}\r\n\r\n".encode()
    form = BytesParser().parsebytes(head + sent.body).get_payload()
    assert isinstance(form, list)
    fields = {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in form
        if isinstance(part, Message)
    }
    assert fields == {
        "model": b"m",
        "prompt": b'with "quotes"\r\nand lines',
        "n": b"1",
        "response_format": b"b64_json",
        "image": PNG,
    }


@pytest.mark.parametrize("image", [ImagePart(url="http://h/a.png"), ImagePart(data="%%")])
async def test_an_image_to_edit_must_be_inline_base64(sim: Simulator, image: ImagePart) -> None:
    async with lent(sim.base_url) as provider:
        with pytest.raises(UnsupportedFeatureError):
            await generate_image(provider, ImageRequest(prompt="a", image=image), model("m"))

    assert sim.requests == []


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"b64_json": "%%"}, "no base64"),
        ({"b64_json": base64.b64encode(b"<html>").decode()}, "none of PNG, JPEG and WebP"),
        ({}, "without data"),
    ],
)
async def test_what_is_no_image_is_refused(sim: Simulator, item: object, message: str) -> None:
    answers(sim, item)

    async with lent(sim.base_url) as provider:
        with pytest.raises(ProtocolError, match=message):
            await generate_image(provider, ImageRequest(prompt="a"), model("m"))


async def test_no_image_at_all_is_an_error(sim: Simulator) -> None:
    answers(sim)

    async with lent(sim.base_url) as provider:
        with pytest.raises(ProtocolError, match="made no image"):
            await generate_image(provider, ImageRequest(prompt="a"), model("m"))


async def test_a_refusal_is_typed(sim: Simulator) -> None:
    @sim.route("POST", "/v1/images/generations")
    async def route(exchange: Exchange) -> None:
        await exchange.json({"error": {"message": "no such size"}}, status=400)

    async with lent(sim.base_url) as provider:
        with pytest.raises(InvalidRequestError, match="no such size") as raised:
            await generate_image(provider, ImageRequest(prompt="a"), model("m"))

    assert raised.value.model == "desk/m"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\nrest", "png"),
        (b"\xff\xd8\xff\xe0rest", "jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "webp"),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"GIF89a", None),
        (b"", None),
    ],
)
def test_formats_are_known_by_their_first_bytes(head: bytes, kind: str | None) -> None:
    assert image_format(head) == kind
    if kind is not None:
        assert to_part(head).media_type == f"image/{kind}"
