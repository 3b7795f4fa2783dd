"""Mirrors the pure parts: encoding, options, thinking, decoding, failures, answers.

Messages there and NDJSON back, without a network (S4-104).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec
import pytest

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    BackendUnreachableError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
    QuotaExceededError,
    UnsupportedFeatureError,
)
from modelbay.models.capabilities import Capabilities
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import (
    AudioPart,
    ChatRequest,
    ContentPart,
    FilePart,
    ImagePart,
    JsonMode,
    JsonSchema,
    Message,
    NamedTool,
    TextPart,
    user,
)
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    Usage,
)
from modelbay.models.frozen import JsonObject
from modelbay.refs import ModelRef
from modelbay.testing.streams import check_events
from modelbay.wire.errors import error_class, parse_error_body
from modelbay.wire.lines import LineDecoder
from modelbay_ollama.answers import Loaded, Shown, Tags, parse_parameters
from modelbay_ollama.decoding import AnswerDecoder
from modelbay_ollama.encoding import EncodedChat, Setup, encode_chat
from modelbay_ollama.failures import (
    ReportedFailureError,
    SilentEndError,
    classify,
    explain,
    unwrap,
)
from modelbay_ollama.options import OPTIONS, REMOVED, keep_alive, keep_alive_s, option
from modelbay_ollama.schemas import encode_tool
from modelbay_ollama.versions import Version, parse_version, reaches
from plugins.ollama.bay import WEATHER, WITH_TOOLS, ask


def model(
    wire_id: str = "m:8b", *, family: str = "", size: str = "8B", **facts: object
) -> ModelInfo:
    return ModelInfo(
        ref=ModelRef("desk", wire_id),
        name=wire_id,
        kind="ollama",
        family=family or None,
        capabilities=Capabilities.model_validate(facts),
        details={"parameter_size": size},
    )


def encoded(
    request: ChatRequest,
    info: ModelInfo | None = None,
    *,
    version: Version | None = None,
    num_ctx: int | None = None,
) -> EncodedChat:
    return encode_chat(request, info or model(), Setup(version, num_ctx, "5m"))


# --- the body ------------------------------------------------------------------------------------


def test_the_smallest_request_says_what_the_server_would_else_decide() -> None:
    """S4-69, S4-73: the lifetime always; window and limit only when somebody chose one."""
    assert encoded(ask("hi")) == EncodedChat(
        {
            "model": "m:8b",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "keep_alive": "5m",
            "options": {},
            "truncate": False,
        },
        asked=True,
    )


def test_every_field_of_a_request_has_its_place() -> None:
    """S4-74 to S4-76."""
    request = ask(
        "hi",
        temperature=0.0,
        top_p=0.5,
        top_k=7,
        seed=3,
        stop=["END"],
        max_tokens=50,
        stream=False,
        extra={
            "min_p": 0.1,
            "options": {"repeat_penalty": 1.2},
            "keep_alive": "-1",
            "top_logprobs": 2,
        },
    )

    body = encoded(request, num_ctx=8192).body

    assert (body["options"], body["keep_alive"], body["stream"], body["top_logprobs"]) == (
        {
            "num_ctx": 8192,
            "num_predict": 50,
            "temperature": 0.0,
            "top_p": 0.5,
            "top_k": 7,
            "seed": 3,
            "stop": ["END"],
            "min_p": 0.1,
            "repeat_penalty": 1.2,
        },
        -1,
        False,
        2,
    )


def test_servers_before_0_12_6_are_not_asked_to_refuse() -> None:
    old = encoded(ask(), version=(0, 12, 5))

    assert (old.asked, "truncate" in old.body) == (False, False)


def test_a_caller_s_own_word_on_truncation_counts() -> None:
    given = encoded(ask(extra={"truncate": True}))

    assert (given.asked, given.body["truncate"]) == (False, True)


def test_a_window_for_one_request_is_sent_with_a_warning() -> None:
    """Trap 2: each change of it loads the model anew."""
    changed = encoded(ask(extra={"num_ctx": 32768}), num_ctx=8192)
    same = encoded(ask(extra={"num_ctx": 8192}), num_ctx=8192)

    assert changed.body["options"] == {"num_ctx": 32768}
    assert [notice.code for notice in changed.notices] == ["reload"]
    assert same.notices == ()


@pytest.mark.parametrize("name", ["logit_bias", "user", "parallel_tool_calls", "mirostat"])
def test_what_only_tunes_and_the_server_passes_over_is_left_out_and_told(name: str) -> None:
    result = encoded(ask(extra={name: 1}))

    assert name not in result.body
    assert [(n.code, name in n.message) for n in result.notices] == [("dropped_field", True)]


def test_more_than_one_answer_is_refused() -> None:
    with pytest.raises(UnsupportedFeatureError):
        encoded(ask(extra={"n": 2}))


# --- messages ------------------------------------------------------------------------------------


def messages(*given: Message) -> object:
    return encoded(ChatRequest(messages=list(given))).body["messages"]


def test_a_tool_conversation_ties_results_to_calls_in_both_ways() -> None:
    """S4-70; traps 15 and 16: objects as arguments, `tool_name` and `tool_call_id`."""
    call = ToolCall("call_1", "get_weather", '{"city": "Oslo"}')

    assert messages(
        Message(role="developer", content="Be brief."),
        user("weather?"),
        Message(role="assistant", reasoning="Look.", tool_calls=[call]),
        Message(role="tool", content="cold", tool_call_id="call_1"),
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_1",
                    "function": {
                        "index": 0,
                        "name": "get_weather",
                        "arguments": {"city": "Oslo"},
                    },
                }
            ],
            "thinking": "Look.",
        },
        {
            "role": "tool",
            "content": "cold",
            "tool_name": "get_weather",
            "tool_call_id": "call_1",
        },
    ]


@pytest.mark.parametrize(
    ("version", "content"),
    [
        ((0, 3, 0), "get_weather: cold"),
        ((0, 9, 5), "get_weather: cold"),
        ((0, 9, 6), "cold"),
        ((0, 12, 9), "cold"),
    ],
)
def test_older_servers_get_both_ties_too_and_pass_over_what_they_do_not_know(
    version: Version, content: str
) -> None:
    """`tool_name` is known since 0.9.6, `tool_call_id` since 0.12.10; unknown fields are no error.

    Before 0.9.6 the name stands in the text too, or nothing would tell whose result it is. A result
    that names its tool itself needs no call to look it up in.
    """
    request = ChatRequest(
        messages=[Message(role="tool", content="cold", name="get_weather", tool_call_id="call_1")]
    )
    found = encoded(request, version=version)

    assert found.body["messages"] == [
        {"role": "tool", "content": content, "tool_name": "get_weather", "tool_call_id": "call_1"}
    ]
    assert found.notices == ()


def test_the_name_of_an_author_is_left_out_and_told_once() -> None:
    found = encoded(
        ChatRequest(
            messages=[
                Message(role="user", content="one", name="sam"),
                Message(role="assistant", content="two", name="max"),
                Message(role="user", content="three"),
            ]
        )
    )

    assert found.body["messages"] == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    assert found.notices == (
        Notice(
            "dropped_field",
            "name was left out: Ollama's messages have no place for their author's name",
        ),
    )


def test_what_an_image_and_a_format_say_of_themselves_is_left_out_and_told() -> None:
    images = [ImagePart(data="AAAA", detail=each) for each in ("low", "auto", None, "high")]
    form = JsonSchema(schema={"type": "object"}, description="a city")
    found = encoded(ChatRequest(messages=[user("hi", *images)], response_format=form))

    assert [notice.message.partition(":")[0] for notice in found.notices] == [
        "detail was left out",
        "response_format.description was left out",
    ]
    plain = encoded(ChatRequest(messages=[user("hi", *images[1:3])], response_format=JsonMode()))
    assert plain.notices == ()


def test_an_image_that_a_tool_gave_goes_with_its_result() -> None:
    content: list[ContentPart] = [TextPart(text="a cat"), ImagePart(data="AAAA")]

    assert messages(Message(role="tool", tool_call_id="c1", name="look", content=content)) == [
        {
            "role": "tool",
            "content": "a cat",
            "images": ["AAAA"],
            "tool_name": "look",
            "tool_call_id": "c1",
        }
    ]


def test_a_refusal_goes_back_as_what_was_said() -> None:
    refused = Message(role="assistant", content=[TextPart(text="no", refusal=True)])

    assert messages(user("a"), refused, user("b")) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": "b"},
    ]


def test_thoughts_go_back_only_with_calls() -> None:
    assert messages(user("a"), Message(role="assistant", content="b", reasoning="c")) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]


def test_neighbours_of_one_role_are_made_one_but_for_results_of_tools() -> None:
    """Trap 41: some templates keep the first one's calls alone."""
    calls = [ToolCall(f"call_{n}", "f", "{}") for n in range(2)]

    found = messages(
        user("one"),
        user("two"),
        Message(role="assistant", content="a", tool_calls=[calls[0]]),
        Message(role="assistant", content="b", tool_calls=[calls[1]]),
        Message(role="tool", content="x", tool_call_id="call_0"),
        Message(role="tool", content="y", tool_call_id="call_1"),
    )

    assert isinstance(found, list)
    assert [(m["role"], m["content"]) for m in found] == [
        ("user", "one\n\ntwo"),
        ("assistant", "a\n\nb"),
        ("tool", "x"),
        ("tool", "y"),
    ]
    assert [call["id"] for call in found[1]["tool_calls"]] == ["call_0", "call_1"]


def test_images_and_sound_are_bare_base64_in_their_order() -> None:
    """S4-79; trap 21."""
    found = messages(
        user(
            "what?",
            ImagePart(data="aGk="),
            ImagePart(url="data:image/png;base64,aG8="),
            AudioPart(data="aGE="),
        )
    )

    assert found == [{"role": "user", "content": "what?", "images": ["aGk=", "aG8=", "aGE="]}]


@pytest.mark.parametrize(
    ("part", "error"),
    [
        (ImagePart(url="https://example.com/cat.png"), UnsupportedFeatureError),
        (FilePart(data="aGk="), UnsupportedFeatureError),
        (ImagePart(data="no base64!"), InvalidRequestError),
    ],
)
def test_what_the_server_cannot_take_inside_a_message_is_refused(
    part: ImagePart | FilePart, error: type[Exception]
) -> None:
    with pytest.raises(error):
        messages(user("what?", part))


@pytest.mark.parametrize("arguments", ["not json", "[1]", '"text"'])
def test_arguments_that_are_no_object_are_refused_loudly(arguments: str) -> None:
    with pytest.raises(InvalidRequestError):
        messages(Message(role="assistant", tool_calls=[ToolCall("a", "f", arguments)]))


@pytest.mark.parametrize("depth", [101, 990, 100_000])
@pytest.mark.parametrize(("opened", "closed"), [('{"a":', "}"), ("[", "]")])
def test_arguments_that_are_nested_too_deep_are_refused(
    opened: str, closed: str, depth: int
) -> None:
    arguments = '{"x":' + opened * (depth - 1) + "1" + closed * (depth - 1) + "}"

    with pytest.raises(InvalidRequestError, match="nested too deep"):
        messages(Message(role="assistant", tool_calls=[ToolCall("a", "f", arguments)]))


def test_arguments_of_some_depth_are_sent_as_they_are() -> None:
    arguments = '{"a":' * 100 + "1" + "}" * 100

    sent = messages(Message(role="assistant", tool_calls=[ToolCall("a", "f", arguments)]))

    function = {"index": 0, "name": "f", "arguments": json.loads(arguments)}
    calls = [{"id": "a", "function": function}]
    assert sent == [{"role": "assistant", "content": "", "tool_calls": calls}]


# --- tools ---------------------------------------------------------------------------------------


def test_a_tool_is_sent_as_the_server_reads_it() -> None:
    assert encoded(WITH_TOOLS).body["tools"] == [encode_tool(WEATHER)]
    assert encode_tool(WEATHER) == {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }


def test_no_tools_are_sent_when_none_is_to_be_called() -> None:
    """Trap 19: the server ignores ``tool_choice``."""
    assert "tools" not in encoded(WITH_TOOLS.model_copy(update={"tool_choice": "none"})).body


@pytest.mark.parametrize("choice", ["required", NamedTool(name="get_weather")])
def test_a_call_that_cannot_be_forced_is_not_promised(choice: object) -> None:
    with pytest.raises(UnsupportedFeatureError):
        encoded(WITH_TOOLS.model_copy(update={"tool_choice": choice}))


@pytest.mark.parametrize(
    ("wire_id", "size", "warns"),
    [
        ("llama3.2:3b", "3.2B", True),
        ("llama3.1:8b", "8.0B", False),
        ("tiny:135m", "134.52M", True),
        ("qwen3:4b-instruct", "", True),  # by its tag
        ("mystery:latest", "", False),  # nobody knows
    ],
)
def test_small_models_with_tools_are_warned_of(wire_id: str, size: str, warns: bool) -> None:
    """S4-98."""
    result = encoded(WITH_TOOLS, model(wire_id, size=size))

    assert [notice.code for notice in result.notices] == ["weak_tools"] * warns


def test_tools_for_a_server_that_knows_none_are_refused() -> None:
    """It would pass over them without a word."""
    with pytest.raises(UnsupportedFeatureError, match="tools") as raised:
        encoded(WITH_TOOLS, version=(0, 2, 5))

    assert raised.value.hint == "upgrade the Ollama server"


def test_servers_that_lose_calls_in_a_stream_are_not_asked_for_one() -> None:
    """0.4.6; ollama-python#279."""
    assert encoded(WITH_TOOLS, version=(0, 4, 5)).body["stream"] is False
    with pytest.raises(UnsupportedFeatureError):
        encoded(WITH_TOOLS, version=(0, 2, 5))


# --- options, row by row -------------------------------------------------------------------------

GOOD: Mapping[str, Sequence[tuple[object, object]]] = {
    "integer": [(7, 7), (7.0, 7), ("7", 7), (" 12 ", 12)],
    "number": [(0.5, 0.5), (1, 1), ("0.5", 0.5)],
    "boolean": [(True, True), (False, False), ("true", True), ("False", False)],
    "list of strings": [(["a", "b"], ["a", "b"]), ("a", ["a"]), ([], [])],
}
BAD: Mapping[str, Sequence[object]] = {
    "integer": [7.5, "seven", True, [7], {}],
    "number": ["hot", True, [0.5], float("nan"), float("inf")],
    "boolean": [1, "yes", [True]],
    "list of strings": [1, [1], {"a": "b"}],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_read_in_its_type(name: str) -> None:
    """Wire notes, section 5.3; trap 18."""
    kind, _ = OPTIONS[name]

    found = [(option(name, given), type(option(name, given))) for given, _ in GOOD[kind]]

    assert found == [(wanted, type(wanted)) for _, wanted in GOOD[kind]]


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_another_type_is_refused_before_the_wire(name: str) -> None:
    for wrong in BAD[OPTIONS[name][0]]:
        with pytest.raises(InvalidRequestError, match=f"the option {name} must be a"):
            option(name, wrong)


def test_a_number_may_be_negative_where_that_means_something() -> None:
    assert [option(name, " -1 ") for name in ("seed", "num_predict", "num_gpu")] == [-1, -1, -1]


@pytest.mark.parametrize("wrong", [-5, 0, 3, "-1"])
def test_a_window_of_less_than_the_server_gives_is_refused(wrong: object) -> None:
    """Section 6: the least is 4."""
    with pytest.raises(InvalidRequestError, match="num_ctx must be at least 4"):
        option("num_ctx", wrong)


@pytest.mark.parametrize("wrong", [10**400, -(10**400), 2**63])
def test_a_number_no_server_can_hold_is_refused(wrong: int) -> None:
    for name in ("seed", "temperature"):
        with pytest.raises(InvalidRequestError, match="not a number of that size") as raised:
            option(name, wrong)
        assert len(raised.value.message) < 100


def test_the_options_that_load_a_model_anew_are_known() -> None:
    assert {name for name, (_, loads) in OPTIONS.items() if loads} == {
        *("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"),
        "draft_num_predict",
    }
    assert not REMOVED & OPTIONS.keys()


KEEP_ALIVE = [
    (0, 0, 0.0),
    ("0", 0, 0.0),
    ("0s", "0s", 0.0),
    (300, 300, 300.0),
    (2.5, 2.5, 2.5),
    (-1, -1, float("inf")),
    (-0.5, -0.5, float("inf")),
    ("-1m", "-1m", float("inf")),
    ("10m", "10m", 600.0),
    ("1h30m", "1h30m", 5400.0),
    ("1.5h", "1.5h", 5400.0),
    ("500ms", "500ms", 0.5),
    ("-1", -1, float("inf")),
    ("300", 300, 300.0),
    ("1d", "24h", 86400.0),
    ("2 days", "48h", 172800.0),
    ("1w", "168h", 604800.0),
    ("5 m", "5m", 300.0),
    ("forever", -1, float("inf")),
    ("1d12h", "36h", 129600.0),
    ("1d 12h", "36h", 129600.0),
    ("1w1d", "192h", 691200.0),
    ("1d30m", "88200s", 88200.0),
    ("0.5d", "12h", 43200.0),
    ("-1d", "-24h", float("inf")),
    ("50000d", "1200000h", 4_320_000_000.0),
    (-(10**400), -1, float("inf")),
]


@pytest.mark.parametrize(("given", "sent", "seconds"), KEEP_ALIVE)
def test_a_lifetime_is_sent_in_a_form_every_server_takes(
    given: object, sent: object, seconds: float
) -> None:
    """Wire notes, section 5.5; trap 10."""
    found = keep_alive(given)

    assert (found, type(found), keep_alive_s(found)) == (sent, type(sent), seconds)


@pytest.mark.parametrize(
    "wrong", ["99999999h", "200000d", 10**10, 9.3e9, "9999999999", "9" * 40 + "h"]
)
def test_a_lifetime_longer_than_the_server_counts_is_refused(wrong: object) -> None:
    """Go's durations end after 292 years."""
    with pytest.raises(ValueError, match="-1 is for ever"):
        keep_alive(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "soon", "5x", True, [], {}, "1h30", float("nan"), float("inf"), 10**400, 1e300),
        *("--5m", "+-5m", "-", "+", "--1d", "-+1d", "1d-2h", "9" * 400 + "h", "1dd", "d"),
    ],
    ids=lambda wrong: f"{wrong!r}"[:20],
)
def test_what_is_no_lifetime_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected a length of time"):
        keep_alive(wrong)


# --- think ---------------------------------------------------------------------------------------

THINKER = model("qwen3:8b", family="qwen3", reasoning=True)
GPT_OSS = model("gpt-oss:20b", family="gptoss", reasoning=True)
PLAIN = model("llama3.1:8b", family="llama", reasoning=False)
NEW, ABSENT = (0, 33, 0), "absent"
THINK = [
    (None, THINKER, NEW, True),
    ("none", THINKER, NEW, False),
    ("low", THINKER, NEW, "low"),
    ("max", THINKER, NEW, "max"),
    ("max", THINKER, (0, 21, 0), "high"),
    ("xhigh", THINKER, NEW, "max"),
    ("minimal", THINKER, NEW, "low"),
    ("high", THINKER, (0, 17, 6), True),
    ("high", THINKER, (0, 10, 0), True),
    (None, THINKER, (0, 8, 0), ABSENT),
    ("none", THINKER, (0, 8, 0), ABSENT),
    ("high", GPT_OSS, (0, 11, 0), "high"),
    ("none", GPT_OSS, NEW, "low"),
    (None, GPT_OSS, NEW, True),
    (None, PLAIN, NEW, ABSENT),
    ("high", PLAIN, NEW, ABSENT),
    (None, model(), NEW, ABSENT),
    ("strange", THINKER, NEW, True),
    ("HIGH", THINKER, NEW, "high"),
    (" None ", THINKER, NEW, False),
]


@pytest.mark.parametrize(("effort", "info", "version", "sent"), THINK)
def test_thinking_is_said_explicitly_and_only_to_who_can(
    effort: str | None, info: ModelInfo, version: Version, sent: object
) -> None:
    """S4-72; traps 11 and 12."""
    body = encoded(ask(reasoning_effort=effort), info, version=version).body

    assert body.get("think", ABSENT) == sent


@pytest.mark.parametrize(
    ("effort", "info", "told"),
    [
        ("high", PLAIN, "reasoning_effort was left out: this model is not known to think"),
        (
            "none",
            GPT_OSS,
            "reasoning_effort 'none' became 'low': this model cannot be kept from thinking",
        ),
        (
            "strange",
            THINKER,
            "reasoning_effort was left out: 'strange' is none of none, minimal, low, medium, high,"
            " max, xhigh, ultra",
        ),
    ],
)
def test_an_effort_that_has_no_effect_is_told(effort: str, info: ModelInfo, told: str) -> None:
    (notice,) = encoded(ask(reasoning_effort=effort), info, version=NEW).notices

    assert (notice.code, notice.message) == ("dropped_field", told)


# --- decoding ------------------------------------------------------------------------------------


def line(content: str = "", *, done: bool = False, **more: object) -> bytes:
    message = {"role": "assistant", "content": content}
    for name in ("thinking", "tool_calls"):
        if name in more:
            message[name] = more.pop(name)  # type: ignore[assignment] # a test's own JSON
    return json.dumps({"model": "m", "message": message, "done": done, **more}).encode()


def calls(*named: str) -> dict[str, Any]:
    return {
        "tool_calls": [
            {"id": f"call_{city}", "function": {"name": "f", "arguments": {"city": city}}}
            for city in named
        ]
    }


def end(reason: str = "stop", content: str = "", **more: object) -> bytes:
    return line(
        content,
        done=True,
        done_reason=reason,
        total_duration=1_200_000_000,
        load_duration=200_000_000,
        prompt_eval_count=8,
        prompt_eval_duration=100_000_000,
        eval_count=9,
        eval_duration=900_000_000,
        **more,
    )


MEASURED: list[StreamEvent] = [
    Usage(8, 9),
    Timings(1.2, 0.2, 0.1, 80.0, 0.9, 10.0),
]


def decoded(lines: Sequence[bytes], decoder: AnswerDecoder | None = None) -> list[StreamEvent]:
    ids = count()
    decoder = decoder or AnswerDecoder(new_id=lambda: f"made_{next(ids)}")
    events = [event for each in lines for event in decoder.decode(each)]
    return events + decoder.close()


def called(*cities: str) -> list[StreamEvent]:
    return [
        ToolCall(f"call_{city}", "f", json.dumps({"city": city}), index)
        for index, city in enumerate(cities)
    ]


# Wire notes, section 13.3: name, lines, events before usage, times and end.
SCRIPTS: list[tuple[str, list[bytes], list[StreamEvent]]] = [
    (
        "plain",
        [line("Hel"), line("lo"), end()],
        [TextDelta("Hel"), TextDelta("lo"), *MEASURED, Finish("stop", model="m")],
    ),
    (
        "thinking",
        [line(thinking="hm"), line(thinking=" ok"), line("42"), end()],
        [
            ReasoningDelta("hm"),
            ReasoningDelta(" ok"),
            TextDelta("42"),
            *MEASURED,
            Finish("stop", model="m"),
        ],
    ),
    (
        "boundary",
        [line(thinking="hm"), line("4", thinking=" ok"), line("2"), end()],
        [
            ReasoningDelta("hm"),
            ReasoningDelta(" ok"),
            TextDelta("4"),
            TextDelta("2"),
            *MEASURED,
            Finish("stop", model="m"),
        ],
    ),
    (
        "tools_mid",
        [line(thinking="need"), line(**calls("a")), line(**calls("b")), end()],
        [ReasoningDelta("need"), *called("a", "b"), *MEASURED, Finish("tool_calls", model="m")],
    ),
    (
        "tools_last",
        [line(thinking="need"), end(**calls("a", "b"))],
        [ReasoningDelta("need"), *called("a", "b"), *MEASURED, Finish("tool_calls", model="m")],
    ),
    (
        "tools_text",
        [line("I will look."), line(**calls("a")), end()],
        [TextDelta("I will look."), *called("a"), *MEASURED, Finish("tool_calls", model="m")],
    ),
    (
        "length",
        [line("abc"), end("length")],
        [TextDelta("abc"), *MEASURED, Finish("length", model="m")],
    ),
    (
        "empty_first",
        [line(""), line("hi"), end()],
        [TextDelta("hi"), *MEASURED, Finish("stop", model="m")],
    ),
    (
        "final_text",
        [line("a"), end(content="b")],
        [TextDelta("a"), TextDelta("b"), *MEASURED, Finish("stop", model="m")],
    ),
    (
        "logprob_only",
        [line("", logprobs=[{"token": "x", "logprob": -0.1}]), line("x"), end()],
        [TextDelta("x"), *MEASURED, Finish("stop", model="m")],
    ),
    (
        "no_metrics",
        [line("x"), line(done=True, done_reason="stop")],
        [TextDelta("x"), Finish("stop", model="m")],
    ),
    (
        "unknown_keys",
        [line("x", future=1), end("something_new")],
        [TextDelta("x"), *MEASURED, Finish("other", raw_reason="something_new", model="m")],
    ),
]


@pytest.mark.parametrize(
    ("lines", "events"), [row[1:] for row in SCRIPTS], ids=[row[0] for row in SCRIPTS]
)
def test_a_script_of_the_notes_becomes_these_events(
    lines: list[bytes], events: list[StreamEvent]
) -> None:
    """S4-71, S4-77, S4-78; traps 4, 5, 13 and 31."""
    assert decoded(lines) == events
    assert check_events(events) == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_events_do_not_depend_on_where_chunks_split(size: int) -> None:
    """Trap 8: U+2028 and U+0085 are no line ends."""
    lines = [line("one\u2028two"), line("zwölf\u0085\U0001f98a"), end()]
    data = b"\n".join(json.dumps(json.loads(each), ensure_ascii=False).encode() for each in lines)
    reader, decoder = LineDecoder(), AnswerDecoder()

    events = [
        event
        for at in range(0, len(data), size)
        for each in reader.feed(data[at : at + size])
        for event in decoder.decode(each)
    ] + decoder.close(reader.close())  # and the last line has no line end

    assert events == decoded(lines)


def test_thinking_that_used_up_the_limit_is_told() -> None:
    """Trap 14; script think_only."""
    notice, *rest = decoded([line(thinking="…"), end("length")])[1:]

    assert isinstance(notice, Notice)
    assert (notice.code, rest) == ("output_limit", [*MEASURED, Finish("length", model="m")])


def test_the_three_ways_to_fail_are_three_errors() -> None:
    """Scripts late_error and silent_end; traps 6 and 7."""
    late, silent, early = AnswerDecoder(), AnswerDecoder(), AnswerDecoder()

    late.decode(line("par"))
    with pytest.raises(ReportedFailureError, match="boom") as reported:
        late.decode(b'{"error":"boom"}')
    silent.decode(line("par"))
    with pytest.raises(SilentEndError) as ended:
        silent.close()
    with pytest.raises(BackendError, match="load failed") as refused:
        early.decode(b'{"error":"load failed"}')

    assert (reported.value.partial, ended.value.partial) == ("par", "par")
    assert len({type(each.value) for each in (reported, ended, refused)}) == 3


@pytest.mark.parametrize(
    ("content", "partial"),
    [
        ("", ""),
        ("\n", "\n"),
        ("<thi", "<thi"),
        ("<think>", ""),
        ("<think>hm", ""),
        ("<think>hm</think>\n", ""),
        ("<think>hm</think>yes", "yes"),
    ],
)
def test_an_error_after_any_line_is_one_in_the_middle_and_keeps_what_was_held(
    content: str, partial: str
) -> None:
    """An empty first piece or one that may become a tag is a part of the answer too: nothing may be
    sent again after it.
    """
    for ending in (b'{"error":"boom"}', b""):
        decoder = AnswerDecoder()
        assert not decoder.begun
        decoder.decode(line(content))
        assert (decoder.begun, decoder.partial) == (True, partial)
        with pytest.raises((ReportedFailureError, SilentEndError)) as raised:
            decoder.close(ending)
        assert raised.value.partial == partial


def test_an_error_without_a_line_end_is_heard() -> None:
    """Wire notes, section 5.8: the path through the cloud writes none."""
    decoder = AnswerDecoder()
    decoder.decode(line("par"))

    with pytest.raises(ReportedFailureError, match="boom"):
        decoder.close(b'{"error":"boom"}')


@pytest.mark.parametrize("half", [b'{"model":"m","mess', b'{"message":{"content":"x"}', b"{"])
@pytest.mark.parametrize("before", ["", "par"])
def test_half_a_line_at_the_end_is_a_silent_end(half: bytes, before: str) -> None:
    """Also half of the first one: no proxy writes that."""
    decoder = AnswerDecoder()
    if before:
        decoder.decode(line(before))

    with pytest.raises(SilentEndError) as raised:
        decoder.close(half)

    assert raised.value.partial == before


@pytest.mark.parametrize("data", [b"<html>", b"[]", b"7", b"\xff\xfe", b'{"message": 7}'])
def test_what_is_no_record_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        AnswerDecoder().decode(data)


def test_an_unstreamed_answer_without_its_end_is_not_whole() -> None:
    """Wire notes, section 5.8: 200 and ``"done": false``."""
    with pytest.raises(SilentEndError):
        AnswerDecoder().close(line("par"))


def test_calls_without_an_id_get_one() -> None:
    """Trap 16: servers before 0.12.10."""
    call: JsonObject = {"function": {"name": "f", "arguments": {}}}

    found = decoded([line(tool_calls=[call, call]), end()])

    assert found[:2] == [ToolCall("made_0", "f", "{}", 0), ToolCall("made_1", "f", "{}", 1)]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_thoughts_between_tags_are_no_text(size: int) -> None:
    """S4-72: the way of servers before 0.9 and of models nobody taught."""
    text = "<think>\nhm\n</think>\n\n42 <think> is text here"
    pieces = [line(text[at : at + size]) for at in range(0, len(text), size)]

    events = decoded([*pieces, end()])

    thought = "".join(e.text for e in events if isinstance(e, ReasoningDelta))
    said = "".join(e.text for e in events if isinstance(e, TextDelta))
    assert (thought, said) == ("hm", "42 <think> is text here")


def test_an_answer_that_does_not_hold_to_its_format_is_told() -> None:
    """Trap 20: safetensors models and the cloud never see the format."""
    city: JsonObject = {"type": "object", "required": ["city"]}
    whole = decoded([line('{"city": "Oslo"}'), end()], AnswerDecoder(city))
    broken = decoded([line("Oslo"), end()], AnswerDecoder(city))
    cut = decoded([line('{"ci'), end("length")], AnswerDecoder({}))

    assert [e for e in whole if isinstance(e, Notice)] == []
    assert [e.code for e in broken if isinstance(e, Notice)] == ["format_ignored"]
    assert ["limit" in e.message for e in cut if isinstance(e, Notice)] == [True]


def test_cached_tokens_are_read_where_they_are_told() -> None:
    """Servers of September 2026 and later."""
    found = decoded([end(prompt_eval_cached_count=6)])

    assert found[0] == Usage(8, 9, cached_tokens=6)


def test_a_missing_count_is_not_nought() -> None:
    """Trap 31."""
    found = decoded([line(done=True, done_reason="stop", eval_count=3)])

    assert found == [Finish("stop", model="m")]


# --- failures ------------------------------------------------------------------------------------

ERRORS: list[tuple[int, str, type[BackendError]]] = [
    (400, "missing request body", InvalidRequestError),
    (400, "model is required", InvalidRequestError),
    (400, "invalid model name", InvalidRequestError),
    (400, '"m" does not support chat', InvalidRequestError),
    (400, 'time: missing unit in duration "-1"', InvalidRequestError),
    (
        400,
        "the prompt is longer than the context length currently available",
        ContextLengthError,
    ),
    (400, "the input length exceeds the context length", ContextLengthError),
    (400, "input length (9 tokens) exceeds the model's maximum context length", ContextLengthError),
    (401, "unauthorized", AuthenticationError),
    (403, "ollama cloud is disabled: web search is unavailable", AuthenticationError),
    (404, "model 'm' not found", ModelNotFoundError),
    (404, 'model "m" not found, try pulling it first', ModelNotFoundError),
    (429, "you (x) have reached your session usage limit, upgrade", QuotaExceededError),
    (500, 'option "num_ctx" must be of type integer', InvalidRequestError),
    (500, 'invalid format: 7; expected "json" or a valid JSON Schema object', InvalidRequestError),
    (500, "llama-server process has terminated: exit status 1", BackendError),
    (500, "model runner has unexpectedly stopped", BackendError),
    (500, "pull model manifest: file does not exist", ModelNotFoundError),
    (502, "dial tcp: lookup ollama.com: no such host", BackendUnreachableError),
    (503, "server busy, please try again.  maximum pending requests exceeded", BackendBusyError),
]


@pytest.mark.parametrize(("status", "text", "kind"), ERRORS)
def test_a_refusal_has_its_class(status: int, text: str, kind: type[BackendError]) -> None:
    """Wire notes, section 7, row by row."""
    body = parse_error_body(json.dumps({"error": text}).encode())

    assert error_class(status, body, classify) is kind


def test_the_router_s_404_is_no_missing_model() -> None:
    assert error_class(404, parse_error_body(b"404 page not found"), classify) is ProtocolError


INNER = (
    '{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size'
    ' (4096 tokens), try increasing it","type":"exceed_context_size_error"}}'
)


def test_an_engine_s_error_inside_the_error_is_unwrapped() -> None:
    """Trap 42; section 5.8."""
    plain = (
        "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it"
    )
    body = parse_error_body(json.dumps({"error": INNER}).encode())

    explained = explain(ContextLengthError(f"{INNER} (HTTP 400)", status=400), body, "desk/m")

    assert (unwrap(INNER), unwrap("plain words"), unwrap("{}")) == (plain, "plain words", "{}")
    assert error_class(400, body, classify) is ContextLengthError
    assert explained.message == f"{plain} (HTTP 400)"
    assert "numCtx" in (explained.hint or "")


def test_where_to_sign_in_is_in_the_hint() -> None:
    """Trap 37."""
    url = "https://ollama.com/connect?name=x&key=y"
    body = parse_error_body(json.dumps({"error": "unauthorized", "signin_url": url}).encode())

    assert explain(AuthenticationError("unauthorized"), body, "m").hint == f"sign in: {url}"


def test_a_model_that_cannot_is_an_unsupported_feature() -> None:
    explained = explain(
        InvalidRequestError("registry.ollama.ai/library/m:latest does not support tools"), None, "m"
    )

    assert isinstance(explained, UnsupportedFeatureError)
    assert explained.hint


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("no reason given (HTTP 403)", 403, "Host: localhost:11434"),
        ("cudaMalloc failed: out of memory", 500, "numCtx"),
        ("llama-server process has terminated: exit status 1", 500, "log"),
        ("'llama3.2-vision' is no longer compatible", 500, "pull it again"),
    ],
)
def test_a_failure_people_meet_has_a_next_step(text: str, status: int, words: str) -> None:
    explained = explain(BackendError(text, status=status), None, "m")

    assert words in (explained.hint or "")


# --- versions and listings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.33.0", (0, 33, 0)),
        ("0.33.0-rc2", (0, 33, 0)),
        ("v0.12.11", (0, 12, 11)),
        ("0.0.0", None),
        ("devel", None),
        (None, None),
    ],
)
def test_versions_are_numbers_and_a_local_build_is_new(
    text: str | None, version: Version | None
) -> None:
    assert parse_version(text) == version
    assert reaches(parse_version("0.0.0"), 99, 0, 0)
    assert not reaches((0, 9, 6), 0, 12, 0)


def test_the_text_of_parameters_is_read() -> None:
    """Wire notes, section 4.2; trap 40."""
    text = (
        "num_ctx                        1.048576e+06\n"
        "temperature                    0.7\n"
        'stop                           "<|im_end|>"\n'
        'stop                           "a\\"b\\n"\n'
        "use_mmap                       true\n"
        "strange                        nan\n"
        "\n"
        "alone\n"
    )

    assert parse_parameters(text) == {
        "num_ctx": 1048576,
        "temperature": 0.7,
        "stop": ["<|im_end|>", 'a"b\n'],
        "use_mmap": True,
        "strange": "nan",
    }


def test_what_a_model_was_trained_for_is_found_by_its_architecture() -> None:
    shown = Shown(
        parameters="num_ctx 32768",
        model_info={
            "general.architecture": "qwen3",
            "qwen3.context_length": 40960,
            "tokenizer.ggml.tokens": None,
        },
    )

    assert (shown.length("context_length"), shown.configured_window) == (40960, 32768)


def test_fields_nobody_knows_yet_are_passed_over() -> None:
    """Wire notes 13.4, assertion 12."""
    body = b'{"models":[{"name":"m:8b","capabilities":["new"],"later":{"x":1}}],"more":2}'

    found = msgspec.json.decode(body, type=Tags).models

    assert found is not None
    assert [(entry.name, entry.capabilities) for entry in found] == [("m:8b", ["new"])]


@pytest.mark.parametrize(
    ("expires", "left"),
    [
        ("2026-11-20T10:20:02.118734001Z", 2.118734),
        ("2026-11-20T11:20:05+01:00", 5.0),
        ("2026-11-20T10:00:00Z", 0.0),
        ("2318-11-20T10:20:02Z", None),
        ("0001-01-01T00:00:00Z", 0.0),
        ("soon", None),
        (None, None),
    ],
)
def test_the_time_left_is_seconds_never_less_than_none(
    expires: str | None, left: float | None
) -> None:
    now = datetime(2026, 11, 20, 10, 20, tzinfo=UTC)

    assert Loaded(name="m", expires_at=expires).expires_in_s(now) == left
