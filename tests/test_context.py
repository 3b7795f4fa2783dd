"""Mirrors modelbay/context.py."""

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from modelbay.errors import ConfigError
from pretend import context


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    sidecar: str = Field(default="", alias="sidecarUrl")
    retries: int = 0


def test_a_plugin_reads_the_keys_the_core_does_not_know() -> None:
    held = context(sidecarUrl="http://s", retries=3)

    assert held.options(Options) == Options(sidecarUrl="http://s", retries=3)
    assert held.options(Options) is held.options(Options)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"retries": "many"}, "provider 'desk'#/retries: "),
        ({"sidecarUri": "x"}, "provider 'desk'#/sidecarUri: this key is not known here"),
    ],
)
def test_a_wrong_key_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        context(**fields).options(Options)

    assert str(caught.value).startswith(message)


def test_each_provider_has_memory_of_its_own() -> None:
    one, two = context(), context()
    one.memo["a"] = 1

    assert two.memo == {}


def test_a_provider_without_an_address_says_what_to_set() -> None:  # S1-29
    with pytest.raises(ConfigError) as caught:
        context(id="far").base_url  # noqa: B018

    assert (str(caught.value), caught.value.hint) == (
        "provider 'far' has no address",
        'set "baseUrl" of provider "far" in providers.json',
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key sk-secret of blue-team: 1 of 2", "key *** of ***: 1 of 2"),
        ("sk-secretsk-secret", "******"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_keys_and_header_values_are_taken_out_of_a_text(text: str, shown: str) -> None:
    held = context(apiKey="sk-secret", headers={"X-Team": "blue-team", "X-N": "1"})

    assert held.redact(text) == shown


def test_what_an_address_hides_is_taken_out_of_a_text_too() -> None:
    """Servers echo the header that is made of it, and messages name addresses."""
    held = context("http://me:pass%40word@desk:1?token=query-secret")
    told = "Basic bWU6cGFzc0B3b3Jk, pass@word, pass%40word, http://desk:1?token=query-secret"

    assert held.redact(told) == "Basic ***, ***, ***, http://desk:1?***"
