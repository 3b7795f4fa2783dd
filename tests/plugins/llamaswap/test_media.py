"""Mirrors modelbay_llamaswap/media.py: vectors, ranked documents and images."""

import asyncio
import base64
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from modelbay.errors import (
    BackendBusyError,
    BackendError,
    ModelNotFoundError,
    ProtocolError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from modelbay.models.chat import ChatRequest, user
from modelbay.models.media import CompleteRequest, EmbedRequest, ImageRequest, RerankRequest
from modelbay_llamaswap.simulator import Capabilities, Group, LlamaSwapSimulator, SimulatedModel
from plugins.llamaswap.bay import OpenBay, text_of
from plugins.llamaswap.serving import Scripted, refused

pytestmark = pytest.mark.anyio

PAINTER = Capabilities(("text",), ("image",))


@pytest.fixture
def sim() -> Iterator[LlamaSwapSimulator]:
    models = [
        SimulatedModel("painter", role="image", capabilities=PAINTER),
        SimulatedModel("embedder", role="embedding", n_embd=8),
        SimulatedModel("ranker", role="rerank"),
        SimulatedModel("eyes", vision=True, answer="a picture"),
    ]
    everybody = {"all": Group([model.id for model in models], swap=False)}
    with LlamaSwapSimulator(models, groups=everybody) as simulator:
        yield simulator


async def test_an_image_lands_in_a_valid_file_and_can_be_sent_back(
    bay: OpenBay, sim: LlamaSwapSimulator, tmp_path: Path
) -> None:
    """S1-10, S1-11, S1-12."""
    desk = bay(sim.base_url)
    made = await desk.backend.generate_image(
        ImageRequest(prompt="a red dot", size="64x32"), await desk.model("painter")
    )

    (image,) = made.images
    file = tmp_path / "out.png"
    file.write_bytes(base64.b64decode(image.data or "", validate=True))
    raw = file.read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    assert raw[12:16] == b"IHDR"
    assert min(struct.unpack(">II", raw[16:24])) > 0
    assert image.media_type == "image/png"

    eyes = ChatRequest(messages=[user("what is this?", image)])
    assert text_of(await desk.chat(eyes, "eyes")) == "a picture"
    sent = sim.requests[-1].body
    assert f"data:image/png;base64,{image.data}".encode() in sent


async def test_an_image_is_edited_by_a_form(bay: OpenBay, sim: LlamaSwapSimulator) -> None:
    desk = bay(sim.base_url)
    model = await desk.model("painter")
    first = await desk.backend.generate_image(ImageRequest(prompt="a dot"), model)
    again = await desk.backend.generate_image(
        ImageRequest(prompt="make it blue", image=first.images[0]), model
    )

    sent = sim.requests[-1]
    assert sent.path == "/v1/images/edits"
    assert sent.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert len(again.images) == 1


async def test_a_server_before_images_says_so(bay: OpenBay) -> None:
    """v180, v181."""
    with LlamaSwapSimulator([SimulatedModel("painter", role="image")], "v160") as old:
        desk = bay(old.base_url)
        with pytest.raises(UnsupportedFeatureError) as caught:
            await desk.backend.generate_image(
                ImageRequest(prompt="a dot"), await desk.model("painter")
            )

    assert caught.value.hint == "update llama-swap; modelbay doctor shows which version answers"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:9/a.png", r"another host \(127\.0\.0\.1\)"),
        ("/unload", "an address"),
        ("api/models/unload", "an address"),
    ],
)
async def test_an_image_left_at_an_address_is_never_fetched(
    bay: OpenBay, url: str, place: str
) -> None:
    """Some servers answer with an address on their own port; at llama-swap's own a model's server
    would have us call llama-swap's management, where unloading all is a GET."""
    with Scripted() as server:
        server.answer("/unload", "OK", method="GET")
        server.answer("/v1/images/generations", {"data": [{"url": url}]})
        desk = bay(server.base_url, apiKey="sk-secret-1")
        with pytest.raises(ProtocolError, match=f"{place}, which is not asked"):
            await desk.backend.generate_image(ImageRequest(prompt="x"), await desk.model())

        assert server.requests[-1].path == "/v1/images/generations"
        assert server.requests[-1].headers["accept"] == "application/json"


async def test_an_empty_answer_is_a_request_that_was_called_off(bay: OpenBay) -> None:
    """Trap 6, for every sort of request."""
    with Scripted() as server:
        paths = ("embeddings", "rerank", "images/generations", "completions")
        for path in paths:
            server.answer(f"/v1/{path}", b"")
        desk = bay(server.base_url)
        model = await desk.model()

        async def completed() -> None:
            async for _ in desk.backend.complete(CompleteRequest(prompt="a"), model):
                pass

        asked: list[Callable[[], Awaitable[object]]] = [
            lambda: desk.backend.embed(EmbedRequest(input=["a"]), model),
            lambda: desk.backend.rerank(RerankRequest(query="a", documents=["b"]), model),
            lambda: desk.backend.generate_image(ImageRequest(prompt="a"), model),
            completed,
        ]
        for ask in asked:
            with pytest.raises(StreamInterruptedError, match="called off at the server") as caught:
                await ask()
            assert caught.value.status == 200


async def test_vectors_come_in_the_order_of_the_texts(
    bay: OpenBay, sim: LlamaSwapSimulator
) -> None:
    desk = bay(sim.base_url)
    model = await desk.model("embedder")
    both = await desk.backend.embed(EmbedRequest(input=["a", "b"]), model)
    last = await desk.backend.embed(EmbedRequest(input=["b"]), model)

    assert [len(vector) for vector in both.vectors] == [8, 8]
    assert both.vectors[1] == last.vectors[0]
    assert sim.starts == {"embedder": 1}


async def test_documents_come_the_best_first(bay: OpenBay, sim: LlamaSwapSimulator) -> None:
    desk = bay(sim.base_url)
    ranked = await desk.backend.rerank(
        RerankRequest(query="cats", documents=["dogs", "cats and cats"]), await desk.model("ranker")
    )

    scores = [document.score for document in ranked.results]
    assert sorted(document.index for document in ranked.results) == [0, 1]
    assert scores == sorted(scores, reverse=True)


async def test_an_unknown_model_and_a_dead_one_are_told_as_in_a_chat(bay: OpenBay) -> None:
    with Scripted() as server:
        desk = bay(server.base_url)
        model = await desk.model("tin")
        request = EmbedRequest(input=["a"])
        server.answer("/v1/embeddings", refused("no router for requested model"), 404)
        with pytest.raises(ModelNotFoundError) as caught:
            await desk.backend.embed(request, model)
        assert caught.value.hint == "did you mean desk/tiny?"
        server.answer("/v1/embeddings", b"", 502)
        with pytest.raises(BackendError, match="the model's own server died"):
            await desk.backend.embed(request, model)


async def test_only_a_full_model_is_asked_again(bay: OpenBay) -> None:
    """What else is busy is the caller's to repeat."""
    with Scripted() as server:
        server.answer("/v1/embeddings", refused("[tiny] process is not ready"), 503)
        desk = bay(server.base_url)
        model = await desk.model()
        with pytest.raises(BackendBusyError):
            await desk.backend.embed(EmbedRequest(input=["a"]), model)

        assert sum(r.path == "/v1/embeddings" for r in server.requests) == 1


async def test_more_requests_than_a_cold_model_takes_wait_for_their_turn(bay: OpenBay) -> None:
    """Trap 13: waiting requests count, and the eleventh of a parallel job is refused."""
    models = [SimulatedModel("embedder", role="embedding", limit=2, load_s=1)]
    with LlamaSwapSimulator(models) as server:
        desk = bay(server.base_url)
        model = await desk.model("embedder")
        made = await asyncio.gather(
            *(desk.backend.embed(EmbedRequest(input=[str(n)]), model) for n in range(4))
        )

        refusals = sum(r.path == "/v1/embeddings" for r in server.requests) - 4
    assert len(made) == 4
    assert refusals > 0
