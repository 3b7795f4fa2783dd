"""A chat request, its messages, and the result a whole stream folds into."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, model_validator

from modelbay.models.events import FinishReason, Notice, Timings, ToolCall, ToolCallDelta, Usage
from modelbay.models.frozen import Frozen, JsonObject
from modelbay.refs import ModelRef

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]


class TextPart(Frozen):
    """A text.

    Attributes:
        refusal: With it a model refused to answer in an earlier turn.
    """

    type: Literal["text"] = "text"
    text: str
    refusal: bool = False


class ImagePart(Frozen):
    """An image: base64 ``data`` with its ``media_type``, or a ``url``. Generated images too.

    Attributes:
        detail: How closely the model should look, where the server lets one choose: ``low``,
            ``high``, ``auto``.
    """

    type: Literal["image"] = "image"
    data: str | None = Field(default=None, repr=False)
    media_type: str = "image/png"
    url: str | None = None
    detail: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.data is None) == (self.url is None):
            raise ValueError("an image has either data or a url")
        return self


class AudioPart(Frozen):
    type: Literal["audio"] = "audio"
    data: str = Field(repr=False)
    format: str = "wav"


class FilePart(Frozen):
    type: Literal["file"] = "file"
    data: str = Field(repr=False)
    media_type: str = "application/octet-stream"
    name: str | None = None


ContentPart: TypeAlias = Annotated[
    TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")
]


class Message(Frozen):
    """One message of a conversation.

    Attributes:
        reasoning: What the model thought before an earlier answer; sent back where the server
            makes use of it.
        opaque: What a server wants back byte for byte, by the kind that gave it.
    """

    role: Role
    content: str | list[ContentPart] = ""
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None
    opaque: dict[str, JsonObject] = {}

    @property
    def text(self) -> str:
        """The text parts, joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class Tool(Frozen):
    """A function the model may call; ``parameters`` is a JSON Schema of an object."""

    name: str
    description: str = ""
    parameters: JsonObject = {}
    strict: bool | None = None


class NamedTool(Frozen):
    """A ``tool_choice`` that forces one function."""

    name: str


class JsonSchema(Frozen):
    """A ``response_format`` that holds the answer to a schema.

    Attributes:
        description: What the answer is for, told to the model by servers that take it.
    """

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    type: Literal["json_schema"] = "json_schema"
    schema_: JsonObject = Field(alias="schema")
    name: str = "answer"
    description: str | None = None
    strict: bool | None = None


class JsonMode(Frozen):
    """A ``response_format`` that holds the answer to some JSON object."""

    type: Literal["json_object"] = "json_object"


class ChatRequest(Frozen):
    """One chat turn.

    Attributes:
        model: A ref, a composite id, or a bare id of the default provider; ``None`` lets the host
            choose.
        stream: ``False`` asks the server for one JSON answer; the events are the same, at once.
        routing: Names of flags that a provider may route by.
        extra: Goes to the wire as it is; the plugin reports what it cannot pass on.
    """

    model: ModelRef | str | None = None
    messages: list[Message]
    tools: list[Tool] = []
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = Field(default=None, gt=0)
    stop: list[str] = []
    seed: int | None = None
    response_format: Annotated[JsonMode | JsonSchema, Field(discriminator="type")] | None = None
    reasoning_effort: str | None = None
    routing: frozenset[str] = frozenset()
    stream: bool = True
    extra: JsonObject = {}


class ChatResult(Frozen):
    """A whole stream, folded.

    Attributes:
        ref: Who answered.
        refusal: Why the model would not answer, in its own words.
        cut_off_calls: Tool calls that the output limit cut off, each as far as it came.
    """

    ref: ModelRef
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: list[ToolCall] = []
    cut_off_calls: list[ToolCallDelta] = []
    finish_reason: FinishReason = "stop"
    usage: Usage | None = None
    timings: Timings | None = None
    notices: list[Notice] = []
    endpoint: str | None = None

    def message(self) -> Message:
        """The answer as the next message of the conversation."""
        return Message(
            role="assistant",
            content=self._content(),
            reasoning=self.reasoning or None,
            tool_calls=self.tool_calls,
        )

    def _content(self) -> str | list[ContentPart]:
        if not self.refusal:
            return self.text
        said: list[ContentPart] = [TextPart(text=self.text)] if self.text else []
        return [*said, TextPart(text=self.refusal, refusal=True)]


def user(text: str, *parts: ContentPart) -> Message:
    """A user's message of text, and of other parts after it."""
    if not parts:
        return Message(role="user", content=text)
    content: Sequence[ContentPart] = (TextPart(text=text), *parts)
    return Message(role="user", content=list(content))
