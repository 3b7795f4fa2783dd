"""A stranger's provider that paints and keeps a log, for the tests of the command line."""

import base64
from collections.abc import AsyncIterator, Awaitable, Sequence

from modelbay.context import ProviderContext
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable, Facts
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest, ImagePart
from modelbay.models.events import Finish, StreamEvent
from modelbay.models.manage import Action, Done, LogLine, Logs, ManageEvent
from modelbay.models.media import ImageRequest, ImageResult

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"


@hookimpl
def capabilities() -> CapabilityTable:
    return CapabilityTable(every_model=Facts(image_generation=True), actions=frozenset({"logs"}))


@hookimpl
def discover_models(provider: ProviderContext) -> Awaitable[Sequence[DiscoveredModel]]:
    async def found() -> Sequence[DiscoveredModel]:
        return [DiscoveredModel(wire_id="brush"), DiscoveredModel(wire_id="camera")]

    return found()


@hookimpl
async def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    yield Finish("stop")


@hookimpl
async def manage(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    assert isinstance(action, Logs)
    yield LogLine(text=f"log of {action.model or 'all'}")
    yield LogLine(text="following" if action.follow else "until now")
    yield Done(message="the server ended its log" if action.follow else "")


@hookimpl
async def generate_image(
    provider: ProviderContext, request: ImageRequest, model: ModelInfo
) -> ImageResult:
    """The prompt, the size, the seed and the image to edit, behind a file's first bytes."""
    head = JPEG if model.wire_id == "camera" else PNG
    source = base64.b64decode(request.image.data or "") if request.image else b""
    told = f"{request.prompt} {request.size} {request.seed} ".encode() + source
    images = [
        ImagePart(data=base64.b64encode(head + told + str(number).encode()).decode())
        for number in range(3 if request.prompt == "three" else request.n)
    ]
    return ImageResult(images=images, model=model.wire_id)
