"""Mirrors modelbay_ollama/extras.py: what is sent, and what is left out and told."""

import pytest

from modelbay.models.events import Notice
from modelbay.models.frozen import JsonObject
from modelbay_ollama.extras import take_extra


def taken(extra: JsonObject) -> tuple[JsonObject, JsonObject, list[Notice]]:
    """Options, the rest of the body, and what is told."""
    chosen: JsonObject = {}
    body: JsonObject = {}
    notices: list[Notice] = []
    take_extra(extra, chosen, body, notices, thinks=True, fixed={})
    return chosen, body, notices


@pytest.mark.parametrize(
    "name",
    [
        *("weird", "grammar", "json_schema", "cache_prompt", "verbosity", "safety_identifier"),
        *("prompt_cache_key", "logit_bias", "metadata", "parallel_tool_calls", "user"),
        *("Model", "MESSAGES", "Keep_Alive"),  # the server reads names without regard to case
    ],
)
def test_a_field_the_server_does_not_know_is_left_out_and_told(name: str) -> None:
    told = Notice("dropped_field", f"{name} was left out: Ollama does not know it")

    assert taken({name: "x"}) == ({}, {}, [told])


def test_its_own_fields_are_sent_and_nothing_is_told() -> None:
    fields: JsonObject = {
        "truncate": True,
        "logprobs": True,
        "top_logprobs": 2,
        "raw": True,
        "system": "s",
        "suffix": "e",
        "context": [1],
        "think": "low",
        "format": "json",
        "keep_alive": 0,
    }

    assert taken(fields) == ({}, fields, [])


def test_an_option_nobody_knows_is_sent_and_told() -> None:
    """A newer server may have it; one that has not passes over it without a word."""
    told = Notice("unknown_field", "weird is not known to be an option of Ollama's")

    assert taken({"options": {"weird": 1, "min_p": 0.5}}) == (
        {"weird": 1, "min_p": 0.5},
        {},
        [told],
    )


def test_how_long_a_model_stays_is_no_option() -> None:
    told = Notice(
        "dropped_field", "keep_alive was left out: it is no option; Ollama reads it beside them"
    )

    assert taken({"options": {"keep_alive": 0}}) == ({}, {}, [told])
    assert taken({"options": {"keep_alive": 0}, "keep_alive": "5m"}) == (
        {},
        {"keep_alive": "5m"},
        [],
    )
