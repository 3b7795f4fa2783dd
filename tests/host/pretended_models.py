"""Models that do what a test says, whatever their lists say, and a host to ask them."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from host.sight import sees
from modelbay.errors import ContextLengthError, InvalidRequestError, UnsupportedFeatureError
from modelbay.host.host import Host
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest, ImagePart, JsonSchema
from modelbay.models.events import (
    Finish,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
    Usage,
)
from modelbay.models.media import EmbedRequest, EmbedResult
from pretend import config, host, plugin


@dataclass
class Real:
    """What a model really does, whatever its list says.

    Attributes:
        cuts: A prompt that is too long is cut without a word instead of being refused.
        tells: The server reports how many tokens it read.
        template: Tokens around every message.
    """

    tools: bool = True
    json_mode: bool = True
    json_schema: bool = True
    vision: bool = True
    reasoning: bool = True
    embeddings: bool = True
    context: int = 8192
    refuses: bool = True
    cuts: bool = False
    tells: bool = True
    bytes_per_token: float = 2.0
    template: int = 9
    spent: list[int] = field(default_factory=list)

    async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        tokens = int(sum(len(m.text) for m in request.messages) / self.bytes_per_token)
        tokens += self.template
        self.spent.append(tokens)
        if tokens > self.context and not self.cuts:
            raise ContextLengthError("the prompt is too long", status=400)
        images = any(
            isinstance(part, ImagePart)
            for m in request.messages
            if not isinstance(m.content, str)
            for part in m.content
        )
        if self.refuses and (
            (request.tools and not self.tools)
            or (images and not self.vision)
            or (request.reasoning_effort and not self.reasoning)
        ):
            raise InvalidRequestError("not supported by this model", status=400)
        if self.reasoning:
            yield ReasoningDelta("hm")
        if request.tools and self.tools:
            yield ToolCall("1", request.tools[0].name, '{"number": 4619}')
        else:
            yield TextDelta(self._text(request, images))
        if self.tells:
            yield Usage(min(tokens, self.context // 2) if tokens > self.context else tokens, 1)
        yield Finish("stop")

    def _text(self, request: ChatRequest, images: bool) -> str:
        if isinstance(request.response_format, JsonSchema):
            schema = request.response_format.schema_
            if self.json_schema:
                properties: Mapping[str, dict[str, list[int]]] = schema["properties"]  # type: ignore[assignment]
                return json.dumps({name: p["enum"][0] for name, p in properties.items()})
            return '{"answer": 1}' if self.json_mode else "Sure!"
        if request.response_format is not None:
            return '{"ok": true}' if self.json_mode else "Here you are: {}"
        if images and self.vision:
            return sees([m.model_dump(mode="json") for m in request.messages])
        return "Hello."


def open_host(home: Path, models: Mapping[str, tuple[Facts, Real]], digest: str = "d") -> Host:
    async def discover_models() -> list[DiscoveredModel]:
        return [
            DiscoveredModel(wire_id=name, facts=facts, digest=f"{digest}-{name}")
            for name, (facts, _) in models.items()
        ]

    def stream_chat(request: ChatRequest, model: ModelInfo) -> AsyncIterator[StreamEvent]:
        return models[model.wire_id][1].answer(request)

    async def embed(request: EmbedRequest, model: ModelInfo) -> EmbedResult:
        if not models[model.wire_id][1].embeddings:
            raise UnsupportedFeatureError("no embeddings here")
        return EmbedResult(vectors=[[0.5] * 8 for _ in request.input])

    module = plugin(discover_models=discover_models, stream_chat=stream_chat, embed=embed)
    return host([config()], env={"MODELBAY_HOME": str(home)}, acme=module)


async def verified(held: Host, model: str, **options: object) -> dict[str, bool | int | None]:
    async with held.verify(f"desk/{model}", **options) as found:  # type: ignore[arg-type]
        return {measurement.field: measurement.value async for measurement in found}
