"""Mirrors modelbay/dsn.py."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.dsn import SHAPE, kind_of, parse_dsn
from modelbay.errors import ConfigError
from modelbay.models.provider import ProviderConfig


def read(text: str, **options: str) -> tuple[str, str, str, str | None]:
    config = parse_dsn(text, where="LLM_DESK", **options)
    key = None if config.api_key is None else config.api_key.get_secret_value()
    return config.id, config.kind, config.base_url, key


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("acme://token@host:8080", ("acme", "acme", "http://host:8080", "token")),  # S1-07
        ("acme://host:8080", ("acme", "acme", "http://host:8080", None)),
        ("acme://host", ("acme", "acme", "http://host", None)),
        ("acme://host/under/", ("acme", "acme", "http://host/under", None)),
        ("acme://[::1]:8080", ("acme", "acme", "http://[::1]:8080", None)),
        ("acme.cpp://host#desk", ("desk", "acme.cpp", "http://host", None)),
        ("Acme-Swap://Host", ("acme-swap", "acme-swap", "http://host", None)),
        ("acme://a%40b%2Fc%3Ad@host", ("acme", "acme", "http://host", "a@b/c:d")),
        ("acme://token@", ("acme", "acme", "", "token")),  # the kind has an address of its own
        ("acme://", ("acme", "acme", "", None)),
    ],
)
def test_a_provider_in_one_line(text: str, result: tuple[str, str, str, str | None]) -> None:
    assert read(text) == result


def test_an_id_in_the_text_comes_before_the_one_given() -> None:
    assert read("acme://h", provider_id="lab")[0] == "lab"
    assert read("acme://h#desk", provider_id="lab")[0] == "desk"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://secret@host", "expected the name of a kind before ://"),
        ("https://secret@host", "expected the name of a kind before ://"),
        ("secret", "expected the name of a kind before ://"),
        ("acme://secret@host:port", "the host or the port cannot be read"),
        ("acme://secret@host:99999", "the host or the port cannot be read"),
        ("acme://secret@[::1", "the host or the port cannot be read"),
        ("acme://secret@host?x=1", "it holds a '?'; options belong into providers.json"),
        ("acme://me:secret@host", "it holds a user and a password, and a token stands alone"),
        ("acme://sk-secret/def@127.0.0.1:1", "a '/' or '#' in its token is not encoded"),
        ("acme://sk-secret#def@127.0.0.1:1", "a '/' or '#' in its token is not encoded"),
        ("acme://secret/@host", "a '/' or '#' in its token is not encoded"),
        ("acme://sk:secret/def@host", "the host or the port cannot be read"),
        ("acme://secret@:80", "it holds a port and no host"),
        (
            "acme://secret@host#a/b",
            "a provider id is letters, digits, '.', '_' and '-', and holds no slash",
        ),
    ],
)
def test_what_is_no_dsn_is_told_without_what_it_holds(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_dsn(text, where="LLM_DESK")

    error = raised.value
    assert str(error) == f"LLM_DESK: this is no {SHAPE}: {why}"
    assert "secret" not in f"{error!r} {error.hint} {error.__cause__}"


def test_http_or_https_says_the_kind() -> None:
    """S1-08: the table of a kind says that its one-line form means https."""
    given_so = parse_dsn("acme://token@host:8443", where="")
    written_out = ProviderConfig(id="a", kind="acme", base_url="http://host")

    assert given_so.over_tls().base_url == "https://host:8443"
    assert given_so.over_tls().api_key == given_so.api_key
    assert written_out.over_tls() is written_out


@pytest.mark.parametrize("text", ["http://h", "HTTPS://h", "h:1", "", "://h", "1a://h", "a b://h"])
def test_other_texts_name_no_kind(text: str) -> None:
    assert kind_of(text) is None


@given(st.text(max_size=40))
def test_any_text_is_a_provider_or_a_typed_error(text: str) -> None:
    with suppress(ConfigError):
        assert parse_dsn(f"acme://{text}", where="w").kind == "acme"


@given(st.text(min_size=1, max_size=30))
def test_any_token_survives_when_it_is_percent_encoded(token: str) -> None:
    from urllib.parse import quote

    assert read(f"acme://{quote(token, safe='')}@host")[3] == token
