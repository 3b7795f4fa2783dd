"""Mirrors modelbay/redaction/looks.py and names.py: what is secret goes, all other text stays."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.redaction import blot, find_looks, is_secret_name, looks, without_keys, without_looks

PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nMIIEow+/=\n"
    "-----END RSA PRIVATE KEY-----"
)
KEYS = [
    "glpat-abcdefghij1234567890",
    "github_pat_11ABCDEFG0123456789_abc",
    "xapp-1-A012-345-abcdef",
    "xoxb-1234567890-abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "ghp_abcdefghijklmnopqrst",
    "sk-proj-abcdefghijklmnop",
    "sk-0123456789abcdef",
    "AKIAABCDEFGHIJKLMNOP",
    "AIzaSyA-abcdefghijklmnop_1234",
    "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH",
    PEM,
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("place", ["{}", "it is {}", "'{}', or", "\n{}\n", "={} "])
def test_a_well_known_key_goes_wherever_it_stands(key: str, place: str) -> None:
    assert without_keys(place.format(key)) == place.format("***")
    assert without_looks(place.format(key)) == place.format("***")


SHORTEST = [
    "sk-or-abcdefgh",
    "sk-abcdefghijk1",
    "csk-abcdefghijk1",
    "pk_1abcdefghijk",
    "rk_1abcdefghijk",
    "xai-abcdefghijklmno1",
    "nvapi-abcdefghijklmno1",
    "pplx-abcdefghijklmno1",
    "tvly-abcdefghijklmno1",
    "tgp_v1_abcdefghijklmno1",
    "gsk_abcdefghijklmnop",
    "hf_abcdefghijklmno1",
    "AIzaabcdefghijklmnopqrst",
    "r8_abcdefghijklmnopqrs1",
    "gho_abcdefghijklmnop",
    "github_pat_abcdefghijklmnop",
    "glrt-abcdefgh",
    "xoxa-abcdefg1",
    "xapp-1-abcdefgh",
    "AKIA0123456789AB",
    "ya29.abcdefghijklmnop",
    "GOCSPX-abcdefghijklmnop",
    "npm_abcdefghijklmnopqrstuvwxyzabcd",
    "pypi-AgEabcdefghijklmnopqrst",
    "dop_v1_0123456789abcdef0123456789abcdef",
    "SG.abcdefghijklmnop.abcdefghijklmnop",
    "eyJabcdefgh.abcd.",
    "-----BEGIN PRIVATE KEY-----",
]


def test_the_shortest_of_each_sort_goes_as_any_other() -> None:
    tried = {sort for sort in looks._KEYS if any(re.fullmatch(sort, key) for key in SHORTEST)}

    assert tried == set(looks._KEYS)
    assert [without_keys(f"is {key}") for key in SHORTEST] == ["is ***"] * len(SHORTEST)
    assert without_keys("Bearer abcdefghijk1") == "Bearer ***"
    assert without_keys("Basic abcdefghijk=") == "Basic ***"
    assert without_keys("a://:b@c") == "a://:***@c"


@given(
    st.lists(st.sampled_from([*SHORTEST, "Bearer ", "://a:b@c", "://", "@", ":", " ", "abc", "1"]))
)
def test_what_is_not_looked_through_holds_nothing(parts: list[str]) -> None:
    data = "".join(parts).encode()

    found = [m.span() for pattern in looks._keys() for m in pattern.finditer(data)]

    assert not found or looks._ALL_HOLD_ONE.search(data)


def test_for_words_no_pattern_is_compiled() -> None:
    looks._keys.cache_clear()

    assert without_keys("busy: http://box:8080 refused") == "busy: http://box:8080 refused"

    assert looks._keys.cache_info().misses == 0


@pytest.mark.parametrize("key", KEYS)
def test_in_json_an_escape_before_a_key_does_not_hide_it(key: str) -> None:
    told = json.dumps({"text": f"so\n{key}\nand", "n": 1})

    assert without_looks(told) == json.dumps({"text": "so\n***\nand", "n": 1})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"access_token": 12345678901, "n": 5}', '{"access_token": "***", "n": 5}'),
        ('{"apikey": ["abc", "d]e"], "x": 1}', '{"apikey": ["***"], "x": 1}'),
        ('{"secret":[1,2]}', '{"secret":["***"]}'),
        ('{"pwd":"a\\"b"}', '{"pwd":"***"}'),
        ('{"a":"{\\"pwd\\": 12, \\"api_key\\": [\\"b\\"]}"}', None),
        ('{"a":"{\\"password\\":\\"a\\\\\\"b\\"}"}', '{"a":"{\\"password\\":\\"***\\"}"}'),
        ("http://h/?a=b&X-Amz-Credential=AK%2F2&z=1", "http://h/?a=b&X-Amz-Credential=***&z=1"),
        ("http://h/?sig=abc", "http://h/?sig=***"),
        ("password: hunter2, ok", "password: ***, ok"),
        ("OPENAI_API_KEY=abc", "OPENAI_API_KEY=***"),
        ("password='a b' and", "password='***' and"),
        ("authorization: Basic abc", "authorization: Basic ***"),
        ("token: 1234567890abcdef1234", "token: ***"),
        ("http://me:word@host/v1", "http://***@host/v1"),
    ],
)
def test_what_stands_under_a_telling_name_goes(text: str, shown: str | None) -> None:
    wanted = shown or '{"a":"{\\"pwd\\": \\"***\\", \\"api_key\\": [\\"***\\"]}"}'

    assert without_looks(text) == wanted
    assert blot(text.encode(), find_looks(text.encode())) == wanted.encode()
    assert without_looks(wanted) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox: it jumps, and so on.",
        "the secret: be kind; password: required",
        "Bearer authentication is required, Basic usage of tokens",
        "cookie: chocolate chip",
        "the digest sha256:" + "ab12" * 16,
        "commit 0123456789abcdef0123456789abcdef01234567",
        "qwen2.5-coder:7b-instruct-q4_K_M, hf.co/unsloth/Qwen3-0.6B-GGUF:Q4_K_M",
        "hf-internal-testing/tiny-random-gpt2 and sk-learn-pipeline-builder",
        "task-oriented-2024-dialogue-models, desk-0123456789abcdef",
        '{"token":"Hi","logprob":-0.1,"tokens":[1,2,3],"max_tokens":5}',
        '{"required":["password"],"api_key":null,"secret":true,"password_env":"MY_VAR"}',
        '{"properties":{"password":{"type":"string"}}}',
        '{"content":"Enter password:","role":"user"}',
        '{"q":"password=","r":"x"}',
        '{"access_token_expires_in":3600,"api_key_id":7}',
        'api_key = os.environ["X"]',
        "def f(api_key: str = None)",
        "http://TOKEN@host and http://host:8080/v1?max_tokens=5&keyword=x",
        "the token count was 12345678, max_tokens=5",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert without_looks(text) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["password", "api_key", "a", "secret", "token"]), inner, max_size=3
            )
        ),
        max_leaves=8,
    )
)
def test_json_is_json_afterwards_once_and_within_json(value: object) -> None:
    json.loads(without_looks(json.dumps(value)))
    inner = json.loads(without_looks(json.dumps({"arguments": json.dumps(value)})))
    json.loads(inner["arguments"])


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    if not any(mark in text for mark in ":=@-_."):
        assert without_looks(text) == text


@pytest.mark.parametrize(
    "piece",
    ["sk-", "eyJ-", "password=", 'password:"', '"password":[', "bearer ", "://a:", "\\", "&key"],
)
def test_a_long_text_is_no_longer_than_its_length(piece: str) -> None:
    began = time.process_time()
    without_looks(piece * (200_000 // len(piece)))

    assert time.process_time() - began < 5  # one that looks back takes minutes


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("Authorization", True),
        ("x-api-key", True),
        ("OTHER_API_KEY", True),
        ("refreshToken", True),
        ("DB_PASSWORD", True),
        ("pwd", True),
        ("Set-Cookie", True),
        ("sig", True),
        ("oauth", True),
        ("apiKeyEnv", False),
        ("MAX_TOKENS", False),
        ("maxTokens", False),
        ("token_count", False),
        ("x-ratelimit-remaining-tokens", False),
        ("x-author", False),
        ("keyboard", False),
        ("tokenizer", False),
        ("monkey", False),
        ("content-type", False),
    ],
)
def test_names_tell(name: str, is_secret: bool) -> None:
    assert is_secret_name(name) is is_secret
