"""Vectors, rankings and images."""

import base64

import pytest

from modelbay.errors import InvalidRequestError
from modelbay.models.chat import ImagePart
from modelbay.models.media import EmbedRequest, ImageRequest, RerankRequest
from modelbay_openai.simulator import PERSONALITIES, OpenAISimulator, SimulatedModel
from modelbay_openai.simulator.media import PNG, vector
from plugins.openai.bay import OpenBay

pytestmark = pytest.mark.anyio

EVERY = list(PERSONALITIES)
MODELS = [
    SimulatedModel("vectors", embeddings=True),
    SimulatedModel("ranker", rerank=True),
    SimulatedModel("painter", images=True),
    SimulatedModel("gpt-image-1", images=True),
    SimulatedModel("text-embedding-3-small", embeddings=True),
]
PICTURE = ImagePart(data=base64.b64encode(PNG).decode(), media_type="image/png")


@pytest.mark.parametrize("name", EVERY)
async def test_vectors_come_in_the_order_of_the_texts(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        desk = bay(sim.address, server=name)
        result = await desk.backend.embed(
            EmbedRequest(input=["one", "two"]), await desk.model("vectors")
        )

    assert result.vectors == [vector("one", 16), vector("two", 16)]
    assert result.usage is not None


async def test_dimensions_are_sent(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS) as sim:
        desk = bay(sim.address)
        request = EmbedRequest(input=["one"], dimensions=4)
        result = await desk.backend.embed(request, await desk.model("vectors"))

    assert [len(one) for one in result.vectors] == [4]


@pytest.mark.parametrize("name", EVERY)
async def test_documents_come_ranked_in_either_shape(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        desk = bay(sim.address, server=name)
        request = RerankRequest(query="a cat", documents=["a dog", "a cat", "x"], top_n=2)
        result = await desk.backend.rerank(request, await desk.model("ranker"))

    assert [one.index for one in result.results] == [1, 0]
    assert result.results[0].score > result.results[1].score


@pytest.mark.parametrize("wire_id", ["painter", "gpt-image-1"])
async def test_images_are_made(bay: OpenBay, wire_id: str) -> None:
    with OpenAISimulator(MODELS) as sim:
        desk = bay(sim.address)
        request = ImageRequest(prompt="a cat", n=2)
        result = await desk.backend.generate_image(request, await desk.model(wire_id))

    assert result.images == [PICTURE, PICTURE]


async def test_an_image_is_changed(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS) as sim:
        desk = bay(sim.address)
        request = ImageRequest(prompt="a hat on it", image=PICTURE)
        result = await desk.backend.generate_image(request, await desk.model("painter"))

        assert sim.requests[-1].path == "/v1/images/edits"
    assert result.images == [PICTURE]


async def test_a_model_that_cannot_is_refused_by_the_server(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS) as sim:
        desk = bay(sim.address)
        with pytest.raises(InvalidRequestError, match="does not support Embeddings"):
            await desk.backend.embed(EmbedRequest(input=["x"]), await desk.model("painter"))


async def test_openai_s_names_tell_what_a_model_is_for(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS) as sim:
        desk = bay(sim.address)
        small = (await desk.model("text-embedding-3-small")).capabilities
        image = (await desk.model("gpt-image-1")).capabilities
        other = (await desk.model("painter")).capabilities

    assert (small.embeddings, small.tools) == (True, False)
    assert (image.image_generation, image.embeddings) == (True, None)
    assert other.image_generation is None
    assert small.provenance["embeddings"].layer == "table"
