"""Mirrors modelbay/models/chat.py, media.py and manage.py: requests, and their way through JSON."""

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from modelbay.models.chat import (
    AudioPart,
    ChatRequest,
    ChatResult,
    ContentPart,
    FilePart,
    ImagePart,
    JsonMode,
    JsonSchema,
    Message,
    NamedTool,
    TextPart,
    Tool,
    user,
)
from modelbay.models.events import Notice, Timings, ToolCall, ToolCallDelta, Usage
from modelbay.models.manage import (
    OUTCOMES,
    AccountBalance,
    Action,
    ActionName,
    Balance,
    Copy,
    Create,
    Delete,
    Done,
    Health,
    HealthReport,
    ListedModel,
    ListModels,
    Load,
    LogLine,
    Logs,
    ManageEvent,
    ModelDetails,
    ModelList,
    Progress,
    Pull,
    Running,
    RunningModel,
    RunningModels,
    Show,
    Unload,
)
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    ImageRequest,
    ImageResult,
    RankedDocument,
    RerankRequest,
    RerankResult,
)
from modelbay.refs import ModelRef

PNG = ImagePart(data="iVBORw0KGgo=")

MODELS: list[BaseModel] = [
    user("hi"),
    user("hi", PNG, AudioPart(data="AAAA"), FilePart(data="AAAA", name="a.txt")),
    user("hi", ImagePart(url="https://example.org/a.png", detail="low")),
    Message(role="assistant", content=[TextPart(text="no", refusal=True)]),
    Message(
        role="assistant",
        content="x",
        tool_calls=[ToolCall("c", "add", "{}", 1)],
        reasoning="r",
        opaque={"acme": {"signature": [1, None]}},
    ),
    ChatRequest(messages=[user("hi")]),
    ChatRequest(model="desk/m", messages=[user("hi")]),
    ChatRequest(model="hf.co/u/m:q4", messages=[]),
    ChatRequest(
        model="m",
        messages=[user("hi")],
        tools=[Tool(name="add", parameters={"type": "object"}, strict=True)],
        tool_choice=NamedTool(name="add"),
        stop=["a"],
        response_format=JsonMode(),
        routing=frozenset({"private"}),
        stream=False,
        extra={"a": [1, {"b": None}]},
    ),
    ChatRequest(
        messages=[],
        tool_choice="required",
        response_format=JsonSchema(schema={"type": "object"}, description="d", strict=True),
    ),
    ChatResult(
        ref=ModelRef("desk", "a/b"),
        text="x",
        reasoning="r",
        tool_calls=[ToolCall("c", "add", "{}")],
        finish_reason="tool_calls",
        usage=Usage(1, 2),
        timings=Timings(1.0),
        notices=[Notice("truncated", "cut")],
        endpoint="http://a",
    ),
    ChatResult(
        ref=ModelRef("desk", "a/b"),
        refusal="no",
        cut_off_calls=[ToolCallDelta(1, '{"a', "c", "add")],
        finish_reason="length",
    ),
    EmbedRequest(model="m", input=["a"], dimensions=3),
    EmbedResult(vectors=[[1.0, 2.5]], model="m", usage=Usage(1, 0)),
    RerankRequest(query="q", documents=["a"], top_n=1),
    RerankResult(results=[RankedDocument(index=0, score=1.5)], usage=Usage(1, 0)),
    CompleteRequest(prompt="a", suffix="b", max_tokens=1, stop=["c"]),
    ImageRequest(prompt="a cat", n=2, size="512x512", seed=1, image=PNG),
    ImageResult(images=[PNG], model="m"),
]


@pytest.mark.parametrize("value", MODELS, ids=lambda value: type(value).__name__)
def test_a_value_survives_json(value: BaseModel) -> None:
    assert type(value).model_validate_json(value.model_dump_json()) == value


@pytest.mark.parametrize("value", MODELS, ids=lambda value: type(value).__name__)
def test_a_value_does_not_change(value: BaseModel) -> None:
    name = next(iter(type(value).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, name, getattr(value, name))


@pytest.mark.parametrize("value", MODELS, ids=lambda value: type(value).__name__)
def test_a_field_nobody_declared_is_refused(value: BaseModel) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(value).model_validate({**dict(value), "anothr": 1})


def test_a_users_message_of_text_alone_is_plain_text() -> None:
    assert user("hi") == Message(role="user", content="hi")
    assert user("see", PNG) == Message(role="user", content=[TextPart(text="see"), PNG])


def test_the_text_of_a_message_is_its_text_parts() -> None:
    assert (user("a").text, user("a", PNG, TextPart(text="b")).text) == ("a", "ab")


@pytest.mark.parametrize("fields", [{}, {"data": "AAAA", "url": "https://a"}])
def test_an_image_has_one_source(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="an image has either data or a url"):
        ImagePart.model_validate(fields)


@pytest.mark.parametrize("part", [PNG, AudioPart(data="iVBO"), FilePart(data="iVBO")])
def test_what_is_large_is_not_shown(part: BaseModel) -> None:
    assert "iVBO" not in repr(part)


def test_an_answer_becomes_the_next_message() -> None:
    calls = [ToolCall("c", "add", "{}")]
    result = ChatResult(ref=ModelRef("desk", "m"), text="x", reasoning="r", tool_calls=calls)

    assert result.message() == Message(
        role="assistant", content="x", reasoning="r", tool_calls=calls
    )
    assert ChatResult(ref=ModelRef("desk", "m")).message() == Message(role="assistant")


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("", [TextPart(text="no", refusal=True)]),
        ("well", [TextPart(text="well"), TextPart(text="no", refusal=True)]),
    ],
)
def test_a_refusal_becomes_the_next_message_as_one(text: str, content: list[ContentPart]) -> None:
    result = ChatResult(ref=ModelRef("desk", "m"), text=text, refusal="no")

    assert result.message() == Message(role="assistant", content=content)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ChatRequest, {"messages": [], "max_tokens": 0}),
        (ChatRequest, {"messages": [{"role": "robot"}]}),
        (ChatRequest, {"messages": [], "tool_choice": "perhaps"}),
        (EmbedRequest, {"input": []}),
        (EmbedRequest, {"input": ["a"], "dimensions": 0}),
        (RerankRequest, {"query": "q", "documents": []}),
        (ImageRequest, {"prompt": "a", "n": 17}),
        (ImageRequest, {"prompt": "a", "n": 0}),
        (ImageRequest, {"prompt": "a", "size": "big"}),
    ],
)
def test_what_makes_no_sense_is_refused(kind: type[BaseModel], fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(fields)


# --- management -----------------------------------------------------------------------------------

ACTIONS: list[Action] = [
    ListModels(),
    Running(),
    Load(model="m", options={"ctx": 1}),
    Unload(model="m", force=True),
    Unload(),
    Pull(model="m"),
    Delete(model="m"),
    Copy(model="m", to="n"),
    Create(model="m"),
    Show(model="m"),
    Health(),
    Logs(follow=True),
    Balance(),
]
EVENTS: list[ManageEvent] = [
    Progress(status="pulling", fraction=0.5, done_bytes=1, total_bytes=2),
    LogLine(text="x"),
    ModelList(models=(ListedModel(wire_id="m"),)),
    RunningModels(models=(RunningModel(wire_id="m", raw={"a": 1}),)),
    ModelDetails(wire_id="m"),
    HealthReport(healthy=True),
    AccountBalance(available=True, balances={"USD": "1.50"}),
    Done(changed=False),
]


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_survives_json_and_is_told_by_its_name(action: Action) -> None:
    adapter: TypeAdapter[Action] = TypeAdapter(Action)

    assert adapter.validate_json(action.model_dump_json()) == action


def test_every_action_has_one_name() -> None:
    names = TypeAdapter(ActionName).json_schema()["enum"]

    assert sorted({action.action for action in ACTIONS}) == sorted(names)


@pytest.mark.parametrize("event", EVENTS)
def test_a_management_event_survives_json_and_is_told_by_its_type(event: ManageEvent) -> None:
    adapter: TypeAdapter[ManageEvent] = TypeAdapter(ManageEvent)

    assert adapter.validate_json(event.model_dump_json()) == event


def test_all_but_progress_and_log_lines_are_outcomes() -> None:
    assert {type(event) for event in EVENTS} - set(OUTCOMES) == {Progress, LogLine}
