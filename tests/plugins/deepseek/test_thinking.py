"""Mirrors modelbay_deepseek/thinking.py."""

from typing import Any

import pytest

from modelbay.errors import UnsupportedFeatureError
from modelbay.models.chat import NamedTool
from modelbay.models.events import Notice
from modelbay_deepseek.thinking import Thinking, decide
from plugins.deepseek.bay import WEATHER, ask

OFF: dict[str, Any] = {"thinking": {"type": "disabled"}}
ON: dict[str, Any] = {"thinking": {"type": "enabled"}}


def test_a_request_that_says_nothing_leaves_it_to_the_server_which_thinks() -> None:
    assert decide(ask()) == Thinking(True, {})


@pytest.mark.parametrize("switch", [False, "disabled", {"type": "disabled"}])
def test_the_switch_off(switch: object) -> None:
    assert decide(ask(extra={"thinking": switch})) == Thinking(False, OFF)


@pytest.mark.parametrize("switch", [True, "enabled", {"type": "enabled"}])
def test_the_switch_on(switch: object) -> None:
    assert decide(ask(extra={"thinking": switch})) == Thinking(True, ON)


@pytest.mark.parametrize("switch", ["adaptive", {"type": "auto"}, {}, 7, {"type": ["enabled"]}])
def test_a_switch_the_server_does_not_know_is_refused(switch: object) -> None:
    if switch == {}:  # an object without a type says nothing
        assert decide(ask(extra={"thinking": switch})) == Thinking(True, {})
        return
    with pytest.raises(UnsupportedFeatureError):
        decide(ask(extra={"thinking": switch}))


@pytest.mark.parametrize(
    ("effort", "level"),
    [
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "high"),
        ("high", "high"),
        ("xhigh", "high"),
        ("max", "max"),
        ("ultra", "max"),
    ],
)
def test_every_name_of_an_effort_becomes_a_level_all_deployments_know(
    effort: str, level: str
) -> None:
    wanted = Thinking(True, {**ON, "reasoning_effort": level})

    assert decide(ask(reasoning_effort=effort)) == wanted
    assert decide(ask(extra={"reasoning_effort": effort})) == wanted


def test_the_effort_none_switches_off_and_is_not_sent() -> None:
    assert decide(ask(reasoning_effort="none")) == Thinking(False, OFF)


def test_an_unheard_of_effort_is_left_out_with_a_notice() -> None:
    text = "reasoning_effort was left out: 'heroic' is none of none, low, high, max"

    assert decide(ask(reasoning_effort="heroic")) == Thinking(
        True, {}, (Notice("dropped_field", text),)
    )


def test_the_switch_wins_over_the_effort_with_a_notice() -> None:
    notice, other = (
        Notice("dropped_field", f"reasoning_effort was left out: thinking is switched {way}")
        for way in ("off", "on")
    )
    off = decide(ask(reasoning_effort="max", extra={"thinking": False}))
    on = decide(ask(reasoning_effort="none", extra={"thinking": True}))

    assert off == Thinking(False, OFF, (notice,))
    assert on == Thinking(True, ON, (other,))


def test_the_provider_s_defaults_are_for_requests_that_do_not_say() -> None:
    assert decide(ask(), default=False, default_effort="max") == Thinking(False, OFF)
    assert decide(ask(), default_effort="max") == Thinking(True, {**ON, "reasoning_effort": "max"})
    assert decide(ask(reasoning_effort="low"), default=False) == Thinking(
        True, {**ON, "reasoning_effort": "low"}
    )


@pytest.mark.parametrize("choice", ["required", NamedTool(name="get_weather")])
@pytest.mark.parametrize("fields", [{}, {"reasoning_effort": "high"}])
def test_a_forced_call_switches_thinking_off_with_a_notice(
    choice: Any, fields: dict[str, Any]
) -> None:
    notice = Notice("thinking_off", "the model does not think here: a tool call is forced")
    request = ask(tools=[WEATHER], tool_choice=choice, **fields)

    assert decide(request, default=True) == Thinking(False, OFF, (notice,))


def test_a_forced_call_of_a_request_without_thinking_needs_no_notice() -> None:
    request = ask(tools=[WEATHER], tool_choice="required", extra={"thinking": False})

    assert decide(request) == Thinking(False, OFF)


def test_a_forced_call_together_with_thinking_is_refused() -> None:
    request = ask(tools=[WEATHER], tool_choice="required", extra={"thinking": True})

    with pytest.raises(UnsupportedFeatureError) as caught:
        decide(request)

    assert caught.value.hint == 'send tool_choice "auto", or extra={"thinking": False}'


@pytest.mark.parametrize("choice", ["auto", "none", None])
def test_a_free_choice_leaves_thinking_alone(choice: Any) -> None:
    assert decide(ask(tools=[WEATHER], tool_choice=choice)) == Thinking(True, {})
