"""Mirrors modelbay/redaction/spellings.py and spans.py: a known secret goes however it is spelt."""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelbay.redaction import BLOT, KnownSecrets, Span, blot, united

KEYS = st.text(
    st.sampled_from("abcXYZ0189-_.~+/=%&?#\"'\\ <>€ü\u2028😀") | st.characters(codec="utf-8"),
    min_size=12,
    max_size=40,
).filter(lambda key: key.strip("* ") == key)

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda key: key,
    "in JSON": lambda key: json.dumps(key, ensure_ascii=False)[1:-1],
    "in JSON, in ASCII": lambda key: json.dumps(key)[1:-1],
    "in JSON within JSON": lambda key: json.dumps(json.dumps(key)[1:-1])[1:-1],
    "with its slashes escaped": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "in an address": lambda key: quote(key, safe=""),
    "in a form": quote_plus,
    "in an address in an address": lambda key: quote(quote(key, safe=""), safe=""),
    "in hexadecimal": lambda key: key.encode().hex(),
    "in capitals of hexadecimal": lambda key: key.encode().hex().upper(),
}


@pytest.mark.parametrize("how", SPELLINGS)
@settings(max_examples=30, deadline=None)
@given(key=KEYS)
@example(key="00000000000%")  # escaped, it begins as it is
def test_a_secret_goes_however_it_is_spelt(how: str, key: str) -> None:
    told = f"<{SPELLINGS[how](key)}>"

    assert KnownSecrets([key]).out_of(told) == f"<{BLOT}>"


@settings(max_examples=60, deadline=None)
@given(key=KEYS, before=st.binary(max_size=5), after=st.binary(max_size=5), url=st.booleans())
def test_in_base64_it_goes_at_each_alignment_in_both_alphabets(
    key: str, before: bytes, after: bytes, url: bool
) -> None:
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    cleaned = KnownSecrets([key]).out_of(encode(before + key.encode() + after).decode())

    left, found, right = cleaned.partition(BLOT)
    assert found
    # At each end at most the four characters that the secret shares with its neighbours.
    assert len(left) <= len(encode(before)) + 4
    assert len(right) <= len(encode(after)) + 8


def test_the_longer_of_two_goes_first() -> None:
    assert KnownSecrets(["abcdef", "abcdefgh"]).out_of("abcdefgh abcdef") == "*** ***"


@pytest.mark.parametrize("how", ["as it is", "in hexadecimal"])
def test_a_beginning_before_a_cut_goes_too(how: str) -> None:
    spelt = SPELLINGS[how]("planted-key-0123")

    assert KnownSecrets(["planted-key-0123"]).out_of(f"a {spelt[:9]}… b", cut="…") == "a ***… b"


@given(text=st.text(st.characters(exclude_categories=()), max_size=80))
def test_a_text_without_any_stays_as_it_is(text: str) -> None:
    assert KnownSecrets(["planted-key-0123"]).out_of(text, cut="…") == text


def test_parts_that_overlap_are_one() -> None:
    spans = [Span(4, 6), Span(1, 3, '"***"'), Span(2, 5)]

    assert united(spans) == [Span(1, 6, '"***"')]
    assert blot(b"0123456789", spans) == b'0"***"6789'
