"""Mirrors modelbay_deepseek/kept_reasoning.py."""

from hypothesis import given
from hypothesis import strategies as st

from modelbay.models.chat import Message, user
from modelbay.models.events import ToolCall
from modelbay_deepseek.kept_reasoning import (
    LONGEST_S,
    MOST_BYTES,
    MOST_CALLS,
    Asked,
    KeptReasoning,
)


def test_the_bounds_are_a_thousand_calls_sixteen_megabytes_and_six_hours() -> None:
    assert (MOST_CALLS, MOST_BYTES, LONGEST_S) == (1024, 16 * 1024 * 1024, 21600.0)


def test_what_led_to_a_call_is_found_by_any_of_the_calls() -> None:
    kept = KeptReasoning()
    kept.keep(["a", "b"], "why \ud800", 0)

    assert (kept.find(["a"], 1), kept.find(["x", "b"], 1)) == ("why \ud800", "why \ud800")
    assert kept.find(["x"], 1) is None
    assert kept.find([], 1) is None


def test_nothing_thought_is_nothing_to_keep() -> None:
    kept = KeptReasoning()
    kept.keep(["a"], "", 0)

    assert len(kept) == 0


def test_a_call_that_nothing_led_to_forgets_what_led_to_its_namesake() -> None:
    kept = KeptReasoning(most_bytes=4)
    for reasoning in ("", "too long"):
        kept.keep(["a"], "old", 0)
        kept.keep(["a"], reasoning, 1)

        assert (kept.find(["a"], 2), kept.size_bytes) == (None, 0)


CALL = ToolCall("call_1", "get_weather", '{"city":"Oslo","day":1}')


def test_a_call_has_one_name_however_its_arguments_are_spelt_and_whatever_tools_said() -> None:
    sparse = Message(role="assistant", tool_calls=[CALL])
    result = Message(role="tool", content="sunny", tool_call_id="call_1")
    clock = Message(role="system", content="It is ten.")
    spelt = ToolCall("call_1", "get_weather", '{ "day": 1, "city": "Oslo" }')
    [name] = Asked([user("Weather?")]).names([CALL])

    assert Asked([clock, user("Weather?"), sparse, result]).names([spelt]) == [name]


def test_calls_of_two_conversations_have_two_names_even_with_one_id() -> None:
    conversations: tuple[list[Message], ...] = (
        [],
        [user("a")],
        [user("b")],
        [user("a"), user("b")],
        [user("ab")],
    )
    calls = [
        CALL,
        ToolCall("call_2", CALL.name, CALL.arguments),
        ToolCall("call_1", "get_time", CALL.arguments),
        ToolCall("call_1", CALL.name, "{}"),
        ToolCall("call_1", CALL.name, "{"),
        ToolCall("call_1", CALL.name, "\ud800"),
    ]
    names = [name for messages in conversations for name in Asked(messages).names(calls)]

    assert len(set(names)) == len(conversations) * len(calls)


def test_the_number_is_bounded_and_the_least_recently_used_goes_first() -> None:
    kept = KeptReasoning(most_calls=2)
    kept.keep(["a"], "1", 0)
    kept.keep(["b"], "2", 0)
    kept.find(["a"], 1)
    kept.keep(["c"], "3", 2)

    assert [kept.find([call], 3) for call in "abc"] == ["1", None, "3"]


def test_the_bytes_are_bounded() -> None:
    kept = KeptReasoning(most_bytes=10)
    kept.keep(["a"], "ääää", 0)
    kept.keep(["b"], "ää", 0)

    assert (kept.find(["a"], 0), kept.find(["b"], 0), kept.size_bytes) == (None, "ää", 4)


def test_one_that_is_larger_than_all_the_room_pushes_nothing_out() -> None:
    kept = KeptReasoning(most_bytes=4)
    kept.keep(["a"], "1", 0)
    kept.keep(["b"], "12345", 0)

    assert (kept.find(["a"], 0), kept.find(["b"], 0)) == ("1", None)


def test_the_age_is_bounded_and_counts_from_the_last_use() -> None:
    kept = KeptReasoning()
    kept.keep(["a", "b"], "why", 0)
    kept.find(["a"], LONGEST_S)

    assert kept.find(["b"], LONGEST_S + 1) is None
    assert kept.find(["a"], LONGEST_S + 1) == "why"
    assert kept.find(["a"], 3 * LONGEST_S) is None
    assert (len(kept), kept.size_bytes) == (0, 0)


def test_its_repr_shows_no_thought() -> None:
    kept = KeptReasoning()
    kept.keep(["a"], "secret", 0)

    assert repr(kept) == "<reasoning of 1 tool calls, 6 bytes>"


OPERATIONS = st.lists(
    st.tuples(st.booleans(), st.sampled_from("abcdefgh"), st.text(max_size=8), st.floats(0, 9000))
)


@given(OPERATIONS)
def test_no_order_of_use_breaks_a_bound_or_the_count_of_bytes(
    operations: list[tuple[bool, str, str, float]],
) -> None:
    kept, now = KeptReasoning(most_calls=4, most_bytes=20), 0.0
    last: dict[str, str] = {}
    for keeps, call, text, later in operations:
        now += later
        if keeps:
            kept.keep([call], text, now)
            if text and len(text.encode()) <= 20:
                last[call] = text
        else:
            found = kept.find([call], now)
            assert found in (None, last.get(call))
        assert len(kept) <= 4
        assert kept.size_bytes <= 20
    held = {call: kept.find([call], now) for call in "abcdefgh"}
    assert kept.size_bytes == sum(len(text.encode()) for text in held.values() if text)
