"""Mirrors modelbay/config.py: providers.json, and where things lie. No file is read."""

import errno
import traceback
from pathlib import Path

import pytest

from modelbay.config import (
    Locations,
    ProvidersFile,
    locations,
    parse_providers_file,
    unreadable,
)
from modelbay.errors import ConfigError
from modelbay.models.capabilities import Facts
from modelbay.models.provider import ProviderConfig

WHERE = "/etc/providers.json"


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_providers_file(text, WHERE)
    return caught.value


def test_a_whole_file() -> None:
    text = """{
      "$schema": "https://example.org/providers.schema.json",
      "defaultProvider": "sam-desktop",
      "defaultModel": "sam-desktop/qwen3.6-35b-a3b",
      "wrappers": ["trace"],
      "providers": [
        {"id": "sam-desktop", "label": "Sam", "kind": "one", "baseUrl": "http://127.0.0.1:8080/",
         "sidecarUrl": "http://127.0.0.1:9000",
         "models": {"qwen*": {"contextWindow": 32768, "prices": {"inputPerMtok": 1.5}}}},
        {"id": "embedding", "kind": "two", "apiKeyEnv": "KEY", "probeTimeoutS": 3,
         "firstByteTimeoutS": 1, "idleTimeoutS": 2, "requestTimeoutS": 4, "enabled": false}
      ]
    }"""

    file = parse_providers_file(text, WHERE)

    assert file == ProvidersFile(
        where=WHERE,
        providers=(
            ProviderConfig.model_validate(
                {
                    "id": "sam-desktop",
                    "label": "Sam",
                    "kind": "one",
                    "base_url": "http://127.0.0.1:8080",
                    "sidecarUrl": "http://127.0.0.1:9000",
                    "models": {
                        "qwen*": Facts.model_validate(
                            {"context_window": 32768, "prices": {"input_per_mtok": 1.5}}
                        )
                    },
                }
            ),
            ProviderConfig(
                id="embedding",
                kind="two",
                api_key_env="KEY",
                probe_timeout_s=3,
                first_byte_timeout_s=1,
                idle_timeout_s=2,
                request_timeout_s=4,
                enabled=False,
            ),
        ),
        default_provider="sam-desktop",
        default_model="sam-desktop/qwen3.6-35b-a3b",
        wrappers=("trace",),
    )


def test_keys_the_core_does_not_know_are_kept_for_the_plugin() -> None:
    text = '{"providers": [{"id": "a", "kind": "k", "sidecarUrl": "http://s", "deep": {"x_y": 1}}]}'

    [provider] = parse_providers_file(text, WHERE).providers

    assert provider.extra == {"sidecarUrl": "http://s", "deep": {"x_y": 1}}


@pytest.mark.parametrize("text", ["{}", '{"providers": []}', '{"defaultProvider": null}'])
def test_an_empty_file_is_a_file_without_providers(text: str) -> None:
    assert parse_providers_file(text, WHERE) == ProvidersFile(where=WHERE)


# What is wrong, the JSON pointer to it, and what the message must say.
MALFORMED = [
    ("[]", "", "expected an object, got a list"),
    ("null", "", "expected an object, got null"),
    ("7", "", "expected an object, got a number"),
    ("true", "", "expected an object, got a boolean"),
    ('"text"', "", "expected an object, got a string"),
    ('{"providers": {}}', "/providers", "expected a list of objects, got an object"),
    ('{"providers": null}', "/providers", "expected a list of objects, got null"),
    (
        '{"providers": ["desk"]}',
        "/providers/0",
        "expected an object with id, kind and baseUrl, got a string",
    ),
    ('{"providers": [{"kind": "k"}]}', "/providers/0/id", "Field required"),
    ('{"providers": [{"id": "a"}]}', "/providers/0/kind", "Field required"),
    (
        '{"providers": [{"id": "a", "kind": ""}]}',
        "/providers/0/kind",
        "String should have at least 1 character",
    ),
    (
        '{"providers": [{"id": "a/b", "kind": "k"}]}',
        "/providers/0/id",
        "a provider id is letters, digits, '.', '_' and '-', and holds no slash",
    ),
    (
        '{"providers": [{"id": "", "kind": "k"}]}',
        "/providers/0/id",
        "a provider id is letters, digits, '.', '_' and '-', and holds no slash",
    ),
    (
        '{"providers": [{"id": "a\\n", "kind": "k"}]}',
        "/providers/0/id",
        "a provider id is letters, digits, '.', '_' and '-', and holds no slash",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k"}, {"id": "b", "kind": "k", "baseUrl": "b:80"}]}',
        "/providers/1/baseUrl",
        "expected an address that starts with http:// or https://",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k", "baseUrl": 8080}]}',
        "/providers/0/baseUrl",
        "Input should be a valid string",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k", "probeTimeoutS": 0}]}',
        "/providers/0/probeTimeoutS",
        "Input should be greater than 0",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k", "probeTimeoutS": NaN}]}',
        "/providers/0/probeTimeoutS",
        "Input should be less than or equal to 60",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k", "enabled": "perhaps"}]}',
        "/providers/0/enabled",
        "Input should be a valid boolean, unable to interpret input",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k", "headers": {"X": 1}}]}',
        "/providers/0/headers/X",
        "Input should be a valid string",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k", "models": {"a/b~c": {"contextWindow": 0}}}]}',
        "/providers/0/models/a~1b~0c/contextWindow",
        "Input should be greater than 0",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k", "models": {"*": {"contxtWindow": 1}}}]}',
        "/providers/0/models/*/contxtWindow",
        "this key is not known here",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k", "source": "hosted"}]}',
        "/providers/0/source",
        "'source' cannot be set",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k", "implicit": true}]}',
        "/providers/0/implicit",
        "'implicit' cannot be set",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k", "base_url": "http://x"}]}',
        "/providers/0/base_url",
        "unknown key 'base_url'",
    ),
    (
        '{"providers": [{"id": "a", "kind": "k"}, {"id": "a", "kind": "l"}]}',
        "/providers/1/id",
        "the id 'a' is taken by /providers/0",
    ),
    ('{"default_provider": "a"}', "/default_provider", "unknown key 'default_provider'"),
    ('{"defaultProvider": 1}', "/defaultProvider", "expected a string, got a number"),
    ('{"defaultModel": []}', "/defaultModel", "expected a string, got a list"),
    ('{"wrappers": "trace"}', "/wrappers", "expected a list of names, got a string"),
    ('{"wrappers": [1]}', "/wrappers", "expected a list of names, got a list"),
]


@pytest.mark.parametrize(("text", "pointer", "message"), MALFORMED)
def test_a_malformed_file_is_refused_by_file_pointer_and_expectation(
    text: str, pointer: str, message: str
) -> None:
    error = refused(text)

    assert (error.where, error.pointer, str(error)) == (
        WHERE,
        pointer,
        f"{WHERE}#{pointer}: {message}",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: Expecting value at line 1, column 1"),
        ('{"providers": [\n{"id": "a",}]}', "not JSON: "),
        ("\ufeff{}", "not JSON: "),
    ],
)
def test_what_is_no_json_is_refused_with_line_and_column(text: str, message: str) -> None:
    error = refused(text)

    assert str(error).startswith(f"{WHERE}: {message}")
    assert error.hint is not None


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"providers": ' * 50_000, '{"providers": ' + "1" * 5000 + "}"],
    ids=["deep list", "deep object", "endless number"],
)
def test_json_no_reader_takes_is_refused_too(text: str) -> None:
    assert refused(text).where == WHERE


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"providers": [], "providers": []}', "providers"),
        ('{"providers": [{"id": "a", "kind": "k", "id": "b"}]}', "id"),
        ('{"providers": [{"id": "a", "kind": "k", "models": {"*": {}, "*": {}}}]}', "*"),
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str, key: str) -> None:
    assert str(refused(text)) == f"{WHERE}: the key '{key}' stands twice in one object"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('{"provider": []}', "did you mean 'providers'?"),
        ('{"defaultprovider": "a"}', "did you mean 'defaultProvider'?"),
        (
            '{"zzz": 1}',
            "known: $schema, defaultProvider, defaultModel, providers, wrappers",
        ),
        (
            '{"providers": [{"id": "a", "kind": "k", "probe_timeout_s": 1}]}',
            "names are camelCase here: 'probeTimeoutS'",
        ),
    ],
)
def test_an_unknown_key_is_told_the_near_one(text: str, hint: str) -> None:
    assert refused(text).hint == hint


@pytest.mark.parametrize(
    "text",
    [
        '{"providers": [{"id": "a", "kind": "k", "apiKey": ["sk-secret"]}]}',
        '{"providers": [{"id": "a", "kind": "k", "headers": {"X": ["sk-secret"]}}]}',
        '{"providers": [{"id": "sk-secret/", "kind": "k"}]}',
    ],
)
def test_a_value_is_never_repeated_since_it_may_be_a_key(text: str) -> None:
    error = refused(text)

    assert "sk-secret" not in f"{error} {error.hint}"


def test_a_wrong_key_is_not_in_the_traceback_either() -> None:
    error = refused('{"providers": [{"id": "a", "kind": "k", "apiKey": ["sk-secret"]}]}')

    assert "sk-secret" not in "".join(traceback.format_exception(error))


# --- where things lie -----------------------------------------------------------------------------

XDG = {"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d", "XDG_CACHE_HOME": "/e"}
HOME = ("MODELBAY_HOME", Path("/bay/data"), "MODELBAY_HOME", Path("/bay/cache"), "MODELBAY_HOME")


@pytest.mark.parametrize(
    ("env", "places"),
    [
        (
            {"MODELBAY_HOME": "/bay"},
            Locations(Path("/bay/providers.json"), *HOME),
        ),
        (
            {"MODELBAY_HOME": "/bay", "LLAMA_PROVIDERS_PATH": "/data/llama-providers.json"},
            Locations(Path("/data/llama-providers.json"), "LLAMA_PROVIDERS_PATH", *HOME[1:]),
        ),
        (
            XDG,
            Locations(
                Path("/c/modelbay/providers.json"),
                "XDG_CONFIG_HOME",
                Path("/d/modelbay"),
                "XDG_DATA_HOME",
                Path("/e/modelbay"),
                "XDG_CACHE_HOME",
            ),
        ),
        ({"MODELBAY_HOME": "/bay", **XDG}, Locations(Path("/bay/providers.json"), *HOME)),
    ],
)
def test_variables_decide_where_things_lie(env: dict[str, str], places: Locations) -> None:
    """S0-18, S0-19: one variable names the file, wherever it is."""
    assert locations(env) == places


def test_without_variables_the_platform_decides() -> None:
    places = locations({"LLAMA_PROVIDERS_PATH": "", "MODELBAY_HOME": "", "XDG_DATA_HOME": ""})

    decided_by = (places.providers_file_from, places.data_from, places.cache_from)
    assert (places.providers_file.name, decided_by) == ("providers.json", ("default",) * 3)
    assert {"modelbay"} <= {*places.data.parts} & {*places.cache.parts}


def test_a_tilde_is_the_home_folder() -> None:
    env = {"LLAMA_PROVIDERS_PATH": "~/p.json", "MODELBAY_HOME": "~/bay"}

    places = locations(env)

    assert (places.providers_file, places.data) == (
        Path.home() / "p.json",
        Path.home() / "bay" / "data",
    )


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        unreadable(Path("/secret.json"), PermissionError(errno.EACCES, "no"))

    assert (str(caught.value), caught.value.hint) == (
        "/secret.json: cannot be read: Permission denied",
        "check the permissions of /secret.json",
    )


def test_a_provider_may_stand_in_one_line() -> None:
    """S1-07: as an entry by itself, or as the address of one."""
    text = """{"providers": [
        "acme://token@host:8080#desk",
        {"id": "lab", "baseUrl": "acme://other@host:9090", "label": "Lab", "sidecarUrl": "http://s"},
        {"id": "own", "baseUrl": "acme://other@host", "apiKey": "mine"}
    ]}"""
    desk, lab, own = parse_providers_file(text, WHERE).providers

    assert [(c.id, c.kind, c.base_url, c.label, c.extra) for c in (desk, lab, own)] == [
        ("desk", "acme", "http://host:8080", "", {}),
        ("lab", "acme", "http://host:9090", "Lab", {"sidecarUrl": "http://s"}),
        ("own", "acme", "http://host", "", {}),
    ]
    keys = [c.api_key.get_secret_value() for c in (desk, lab, own) if c.api_key]
    assert keys == ["token", "other", "mine"]
    assert lab.over_tls().base_url == "https://host:9090"


@pytest.mark.parametrize(
    ("entry", "pointer", "message"),
    [
        ('"acme://a:secret@h"', "/providers/0", "this is no KIND://TOKEN@HOST:PORT: it holds a"),
        (
            '{"id": "a", "baseUrl": "acme://secret@h?x"}',
            "/providers/0/baseUrl",
            "this is no KIND://TOKEN@HOST:PORT: it holds a",
        ),
        (
            '{"id": "a", "kind": "labs", "baseUrl": "acme://secret@h"}',
            "/providers/0/baseUrl",
            "expected an address that starts with http:// or https://",
        ),
    ],
)
def test_a_line_that_is_wrong_is_told_without_what_it_holds(
    entry: str, pointer: str, message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_providers_file(f'{{"providers": [{entry}]}}', WHERE)

    assert raised.value.pointer == pointer
    assert message in str(raised.value)
    assert "secret" not in f"{raised.value!r} {raised.value.hint}"
