"""Mirrors modelbay/testing/recording/redaction.py: no secret is left, in whatever spelling."""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbay.testing.recording.redaction import (
    BLOT,
    Redaction,
    address_secrets,
    credentials,
    is_secret_name,
)

SECRET = "s3cr+t/K€y \"of\\ours'"

# What a key may be made of, and what servers escape.
KEYS = st.text(
    st.sampled_from("abcXYZ0189-_.~+/=%&?#\"'\\ <>€ü\u2028😀") | st.characters(codec="utf-8"),
    min_size=8,
    max_size=40,
).filter(lambda key: key.strip("* ") == key and not key.isdigit() and not key.isspace())

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda key: key,
    "in JSON": lambda key: json.dumps(key, ensure_ascii=False)[1:-1],
    "in JSON, in ASCII": lambda key: json.dumps(key)[1:-1],
    "in JSON within JSON": lambda key: json.dumps(json.dumps(key))[1:-1],
    "with its slashes escaped": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "in an address": lambda key: quote(key, safe=""),
    "in an address, in small letters": lambda key: (
        quote(key, safe="").lower() if key == key.lower() else quote(key, safe="")
    ),
    "in a form": quote_plus,
    "in an address in an address": lambda key: quote(quote(key, safe=""), safe=""),
    "in base64": lambda key: base64.b64encode(key.encode()).decode(),
    "in base64 for addresses": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "in hexadecimal": lambda key: key.encode().hex(),
}


@pytest.mark.parametrize("how", SPELLINGS)
@settings(max_examples=40)
@given(key=KEYS, before=st.text("ab \n", max_size=4), after=st.text("yz \n", max_size=4))
def test_a_secret_is_found_however_it_is_spelt(how: str, key: str, before: str, after: str) -> None:
    spelt = SPELLINGS[how](key)

    cleaned = Redaction([key]).text(f"{before} {spelt} {after}")

    assert key not in cleaned
    assert spelt.rstrip("=")[:-1] not in cleaned
    assert BLOT in cleaned


@given(key=KEYS, before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_a_secret_is_found_within_what_was_encoded(key: str, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + key.encode() + after)

    cleaned = Redaction([key]).data(encoded)

    left = cleaned.partition(BLOT.encode())
    assert left[1], "nothing was found"
    # At each end at most the four characters that the secret shares with its neighbours.
    assert len(left[0]) <= len(base64.b64encode(before)) + 4
    assert len(left[2]) <= len(base64.b64encode(after)) + 8


@given(key=KEYS, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_a_secret_is_found_where_pieces_divide_it(key: str, cuts: list[int]) -> None:
    data = f"<{key}>{key}|".encode()
    ends = sorted({min(cut, len(data)) for cut in cuts})
    pieces = [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]

    cleaned = Redaction([key]).pieces(pieces)

    assert (len(cleaned), b"".join(cleaned)) == (len(pieces), b"<***>***|")


@given(data=st.binary(max_size=200))
def test_what_holds_no_secret_stays_as_it_is(data: bytes) -> None:
    if not any(mark in data.lower() for mark in (b"key", b"=", b":", b"basic", b"bearer", b"-")):
        assert Redaction(["not-in-there-1"]).pieces([data[:7], data[7:]]) == [data[:7], data[7:]]


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Redaction(["abcdef", "abcdefgh"]).text("abcdefgh abcdef") == "*** ***"


@pytest.mark.parametrize("word", ["", "abc", "null", "true", "None", "12345", "***", "    "])
def test_what_is_too_common_to_be_a_secret_is_not_looked_for(word: str) -> None:
    text = json.dumps({"a": None, "b": True, "c": [12345], "d": "abc *** None"})

    assert Redaction([word]).text(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ('{"api_key": "abc", "n": 1}', '{"api_key": "***", "n": 1}'),
        ('{"apiKey":"a\\"b"}', '{"apiKey":"***"}'),
        ('{"arguments":"{\\"password\\": \\"hunter\\"}"}', None),
        ('{"token":"Hi","logprob":-0.1}', '{"token":"Hi","logprob":-0.1}'),
        ('{"required":["password"]}', '{"required":["password"]}'),
        ("see http://h/x?api_key=abc&y=1", "see http://h/x?api_key=***&y=1"),
        ("client_secret=abc&grant=1", "client_secret=***&grant=1"),
        ("Authorization: Bearer abcdefghijkl.mno", "Authorization: Bearer ***"),
        ("Basic usage of tokens", "Basic usage of tokens"),
        ("http://me:pass@host/v1", "http://***@host/v1"),
        ('{"access_token": 12345678901}', '{"access_token": "***"}'),
        ('{"apikey": ["abc"]}', '{"apikey": ["***"]}'),
        ('{"pwd":"abc"}', '{"pwd":"***"}'),
        ("glpat-abcdefghij1234567890", "***"),
        ("github_pat_11ABCDEFG0123456789", "***"),
        ("xapp-1-A012-345-abcdef", "***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "***"),
        ("-----BEGIN PRIVATE KEY-----\\nMII\\n-----END PRIVATE KEY-----\\n", "***\\n"),
        ("my sk-proj-0123456789abcdef key", "my *** key"),
        ("a task-oriented sk-learn-pipeline", "a task-oriented sk-learn-pipeline"),
    ],
)
def test_what_looks_like_a_secret_goes_too(text: str, cleaned: str | None) -> None:
    expected = text.replace("hunter", BLOT) if cleaned is None else cleaned

    assert Redaction().text(text) == expected


def test_of_an_address_the_telling_fields_go() -> None:
    found = Redaction([SECRET]).target(f"/v1/{quote(SECRET)}?key=abc&a=1&%61pi_key=x&b={'y' * 3}")

    assert found == "/v1/***?key=***&a=1&%61pi_key=***&b=yyy"


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("Authorization", True),
        ("x-api-key", True),
        ("Set-Cookie", True),
        ("X-Amz-Signature", True),
        ("apiKeyEnv", False),
        ("x-ratelimit-remaining-tokens", False),
        ("content-type", False),
        ("x-author", False),
    ],
)
def test_names_tell(name: str, is_secret: bool) -> None:
    assert is_secret_name(name) is is_secret
    assert (Redaction().header(name, "value") == BLOT) is is_secret


def test_a_request_tells_its_own_secrets() -> None:
    basic = base64.b64encode(b"me:pass-word").decode()
    headers = {"authorization": f"Basic {basic}", "cookie": "a=crumbs; b=more", "accept": "*/*"}

    found = set(credentials(headers, "/v1?key=a%2Fb&x=1"))

    assert {"pass-word", basic, "crumbs", "more", "a/b"} <= found
    assert not {"*/*", "1", "me"} & found


def test_an_address_tells_its_own() -> None:
    assert set(address_secrets("http://me:p%40ss@host:1/v1")) == {"p%40ss", "p@ss"}
    assert set(address_secrets("http://tok@host")) == {"tok"}
    assert set(address_secrets("http://host/v1")) == set()


def test_knowing_more_keeps_what_was_known() -> None:
    first = Redaction(["first-one"])

    assert first.knowing(["second-one"]).text("first-one second-one") == "*** ***"
    assert first.knowing(["first-one", "abc"]) is first


def test_values_are_cleaned_by_name_and_by_what_they_are() -> None:
    value = {
        "sidecarKey": "abc",
        "pwd": 12345,
        "secret": ["a"],
        "apiKeyEnv": "NAME",
        "note": f"is {SECRET}",
        "n": [1, None, True],
    }

    assert Redaction([SECRET]).object(value) == {  # type: ignore[arg-type]
        "sidecarKey": BLOT,
        "pwd": BLOT,
        "secret": BLOT,
        "apiKeyEnv": "NAME",
        "note": "is ***",
        "n": [1, None, True],
    }
