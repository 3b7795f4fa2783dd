"""Mirrors modelbay/context.py."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel, ConfigDict, Field

from modelbay.errors import AuthenticationError, ConfigError
from modelbay.wire.errors import parse_error_body
from pretend import context

KEY = 'planted/"own"+key-4711'


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


@pytest.mark.parametrize("key", ["sk-secret\n", "sk-secret\r\n", " sk-secret"])
def test_a_key_is_taken_out_as_it_is_echoed_without_blanks_around_it(key: str) -> None:
    assert context(apiKey=key).redact("bad key sk-secret!") == "bad key ***!"


def test_the_key_in_a_header_is_taken_out_without_the_word_before_it() -> None:
    held = context(headers={"Authorization": "Bearer sk-secret", "X-Title": "my bay"})

    assert held.redact("bad key sk-secret at bay") == "bad key *** at bay"


@pytest.mark.parametrize(
    "spelt",
    [
        base64.b64encode(KEY.encode()).decode(),
        base64.urlsafe_b64encode(KEY.encode()).decode(),
        KEY.encode().hex(),
        json.dumps(KEY)[1:-1],
        quote(KEY, safe=""),
    ],
)
def test_a_key_goes_however_a_server_spells_it(spelt: str) -> None:
    error = AuthenticationError(f"bad key {spelt}", hint=f"use no {spelt}")

    context(apiKey=KEY).sign(error)

    assert error.message.startswith("bad key ***")
    assert spelt[:12] not in f"{error.message} {error.hint}"


def test_the_key_of_somebody_else_goes_too() -> None:
    assert context().redact("of ghp_abcdefghijklmnopqrst: no") == "of ***: no"


def test_the_digest_and_the_name_of_a_model_stay() -> None:
    text = f"no acme/qwen2.5-coder:7b-instruct-q4_K_M@sha256:{'ab12' * 16}"

    assert context(apiKey=KEY).redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bad key sk-secr…", "bad key ***…"),
        ("'sk-s…' and blue-te…, ok", "'***…' and ***…, ok"),
        ("sk-secret…", "***…"),
        ("too short to tell: sk-…", "too short to tell: sk-…"),
        ("nothing here…", "nothing here…"),
        ("…", "…"),
        ("sk-secr without a cut", "sk-secr without a cut"),
    ],
)
def test_a_key_that_a_cut_has_halved_is_taken_out_too(text: str, shown: str) -> None:
    held = context(apiKey="sk-secret", headers={"X-Team": "blue-team"})

    assert held.redact(text) == shown


@pytest.mark.parametrize("before", range(470, 500))
def test_a_key_in_a_long_error_is_never_half_shown(before: int) -> None:
    key = "plantedkey-ABCDEFGHIJKLMNOP"
    message = parse_error_body(f"{'x' * before}{key}{'y' * 40}".encode()).message

    assert key[:4] not in context(apiKey=key).redact(message)


def test_of_data_only_what_can_be_a_key_is_taken_out() -> None:
    """A short one is often a word, and a header is often a name."""
    headers = {"X-Api-Key": "header-key-123", "X-Title": "a title of mine", "X-Token": "short"}

    assert context(apiKey="lm-studio", headers=headers).keys() == ["header-key-123"]
    assert context(apiKey="sk-secret-12\n").keys() == ["sk-secret-12"]
    assert context().keys() == []
