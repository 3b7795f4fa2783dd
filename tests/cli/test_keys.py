"""Mirrors commands/keys.py, and the option --provider."""

import json

import pytest

from cli.conftest import Installation, Invoke

KEY = "sk-planted-secret"


@pytest.fixture(autouse=True)
def far(installation: Installation) -> None:
    installation.configure(
        {"id": "desk", "baseUrl": "https://api.acme.test/v1"}, {"id": "lab", "apiKeyEnv": "LAB_KEY"}
    )


def test_a_key_is_kept_for_its_provider_and_its_host_and_never_shown(
    installation: Installation, invoke: Invoke
) -> None:
    stored = invoke("keys", "set", "desk", "--file", stdin=f"{KEY}\n")
    assert (
        stored.output == "the key of desk is in the file of stored keys, for api.acme.test alone\n"
    )

    seen = [
        invoke(*command).output
        for command in (
            ("keys", "list"),
            ("keys", "list", "--json"),
            ("config", "show"),
            ("config", "show", "--json"),
            ("config", "explain", "--json"),
            ("doctor", "--json"),
            ("models", "--json"),
        )
    ]
    assert not [text for text in seen if KEY in text]
    assert json.loads(seen[1]) == [{"name": "desk", "place": "file", "host": "api.acme.test"}]
    voices = json.loads(seen[4])
    [told] = [voice for voice in voices if voice["key"] == "providers.desk.apiKey"]
    assert (told["value"], told["source"], told["where"]) == (
        "(set)",
        "stored",
        "modelbay keys (file)",
    )


def test_a_key_may_stand_in_for_a_variable(invoke: Invoke) -> None:
    assert invoke("keys", "set", "LAB_KEY", "--file", stdin=KEY).exit_code == 0

    voices = json.loads(invoke("config", "explain", "providers.lab", "--json").stdout)
    assert "modelbay keys (file)" in [voice["where"] for voice in voices]


def test_a_key_can_be_forgotten(invoke: Invoke) -> None:
    invoke("keys", "set", "desk", "--file", stdin=KEY)

    assert invoke("keys", "rm", "desk").output == "the key of desk is forgotten\n"
    assert invoke("keys", "rm", "desk").exit_code == 1
    assert json.loads(invoke("keys", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "stdin", "told"),
    [
        (("nobody", "--file"), KEY, "'nobody' is no provider (desk, lab)"),
        (("desk", "--file"), "\n", "the key is empty"),
    ],
)
def test_wrong_keys_are_refused(
    invoke: Invoke, arguments: tuple[str, ...], stdin: str, told: str
) -> None:
    result = invoke("keys", "set", *arguments, stdin=stdin)

    assert result.exit_code != 0
    assert told in result.stderr
    assert KEY not in result.output


# --- --provider -----------------------------------------------------------------------------------


def test_a_provider_on_the_command_line_stands_beside_the_others(invoke: Invoke) -> None:
    shown = invoke("-p", f"fake://{KEY}@127.0.0.1:1#bench", "config", "explain", "--json")

    assert KEY not in shown.output
    voices = {voice["key"]: voice for voice in json.loads(shown.stdout)}
    assert "providers.desk.kind" in voices
    address = voices["providers.bench.baseUrl"]
    assert (address["value"], address["source"], address["where"]) == (
        "http://127.0.0.1:1",
        "flag",
        "--provider",
    )


def test_a_provider_on_the_command_line_answers(invoke: Invoke) -> None:
    result = invoke("-p", "fake://127.0.0.1:1#bench", "chat", "-m", "bench/echo", "hello")

    assert (result.exit_code, "hello" in result.stdout) == (0, True)


def test_a_provider_that_cannot_be_read_is_told_without_its_token(invoke: Invoke) -> None:
    result = invoke("-p", f"fake://me:{KEY}@host", "models")

    assert result.exit_code != 0
    assert "--provider: this is no KIND://TOKEN@HOST:PORT" in result.stderr
    assert KEY not in result.output
