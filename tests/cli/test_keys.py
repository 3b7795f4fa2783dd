"""Mirrors commands/keys.py, and the option --provider."""

import json

import pytest

from cli.conftest import Installation, Invoke, install

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
        stored.output
        == "the key of desk is in the file of stored keys, for https://api.acme.test alone\n"
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
    assert json.loads(seen[1]) == [
        {"name": "desk", "place": "file", "host": "https://api.acme.test"}
    ]
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


CLOUD = """
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.provider import ProviderConfig

@hookimpl
def capabilities():
    return CapabilityTable()

@hookimpl
def default_providers(env):
    key = env.get("CLOUD_API_KEY")
    if not key:
        return []
    return [ProviderConfig(id="cloud", kind="cloud", base_url="https://api.cloud.test/v1",
                           api_key=key, api_key_env="CLOUD_API_KEY", source="hosted")]

@hookimpl
async def discover_models():
    return []

@hookimpl
async def stream_chat():
    yield

@hookimpl
async def manage():
    yield
"""


@pytest.mark.parametrize("name", ["cloud", "CLOUD_API_KEY"])
def test_a_key_makes_a_provider_that_is_proposed_with_one(
    installation: Installation, invoke: Invoke, name: str
) -> None:
    """On a fresh system: nothing is configured, and no variable is set."""
    install(installation.packages, "modelbay-cloud", "[modelbay]\ncloud = modelbay_cloud\n", CLOUD)
    installation.configure()
    stored = invoke("keys", "set", name, "--file", stdin=KEY)

    told = [
        "the key of CLOUD_API_KEY is in the file of stored keys, for https://api.cloud.test alone",
        "cloud is proposed with it, as if the variable CLOUD_API_KEY were set",
    ]
    assert stored.stdout.splitlines() == told[: 1 if name == "CLOUD_API_KEY" else 2]
    assert json.loads(invoke("keys", "list", "--json").stdout) == [
        {"name": "CLOUD_API_KEY", "place": "file", "host": "https://api.cloud.test"}
    ]
    shown = json.loads(invoke("config", "explain", "providers.cloud", "--json").stdout)
    assert "modelbay keys (file)" in [voice["where"] for voice in shown]


def test_a_kind_that_is_configured_under_another_name_is_no_provider(
    installation: Installation, invoke: Invoke
) -> None:
    install(installation.packages, "modelbay-cloud", "[modelbay]\ncloud = modelbay_cloud\n", CLOUD)
    installation.configure({"id": "mine", "kind": "cloud", "baseUrl": "https://cloud.test"})
    refused = invoke("keys", "set", "cloud", "--file", stdin=KEY)

    assert refused.exit_code != 0
    assert "'cloud' is no provider (mine)" in refused.stderr


def test_a_variable_that_nobody_knows_is_bound_to_the_first_server_it_is_sent_to(
    invoke: Invoke,
) -> None:
    stored = invoke("keys", "set", "SOME_API_KEY", "--file", stdin=KEY)

    assert stored.output == (
        "the key of SOME_API_KEY is in the file of stored keys, for the first it is sent to alone\n"
    )


def test_a_key_given_as_an_argument_is_refused_and_not_shown(invoke: Invoke) -> None:
    result = invoke("keys", "set", "desk", KEY, "--file")

    assert result.exit_code == 2
    assert "a key is not an argument" in result.stderr
    assert KEY not in result.output
    assert json.loads(invoke("keys", "list", "--json").stdout) == []


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
