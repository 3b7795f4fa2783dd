"""Mirrors commands/providers.py, commands/default.py and offers.py."""

import json
import stat
from pathlib import Path
from typing import Any

import click.testing
import pytest

from cli.conftest import Installation, Invoke, install
from cli.lab_server import Lab
from cli.terminal import on_a_terminal

SOURCE = Path(__file__).with_name("fake_lab.py")
KEYED = """\
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.events import Finish
from modelbay.models.manage import Done
from modelbay.models.provider import ProviderConfig

@hookimpl
def capabilities():
    return CapabilityTable(local=False, start_hint="export CLOUD_API_KEY=sk-...")

@hookimpl
def default_providers(env):
    if not env.get("CLOUD_API_KEY"):
        return []
    return [ProviderConfig(id="cloud", kind="cloud", label="The Cloud", source="hosted",
                           base_url="https://cloud.invalid", api_key_env="CLOUD_API_KEY")]

@hookimpl
async def discover_models(provider):
    return []

@hookimpl
async def stream_chat(provider, request, model):
    yield Finish("stop")

@hookimpl
async def manage(provider, action):
    yield Done()
"""


@pytest.fixture
def home(installation: Installation) -> Installation:
    """Two more kinds: ``lab`` is found by its port, ``cloud`` wants a key."""
    packages = installation.packages
    install(packages, "modelbay-lab", "[modelbay]\nlab = modelbay_lab\n", SOURCE.read_text())
    install(packages, "modelbay-cloud", "[modelbay]\ncloud = modelbay_cloud\n", KEYED)
    installation.file.write_text('{\n    "providers": [\n        "fake://desk:1#desk"\n    ]\n}\n')
    return installation


def providers(home: Installation) -> list[Any]:
    found: list[Any] = json.loads(home.file.read_text())["providers"]
    return found


def done(result: click.testing.Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


# --- list -----------------------------------------------------------------------------------------


def test_list_says_who_named_a_provider_and_asks_nobody(home: Installation, invoke: Invoke) -> None:
    home.setenv("LAB_USUAL_PORT", "1")
    home.setenv("LLM_TOWER", "fake://s3cret@tower:2")
    home.file.write_text(
        json.dumps(
            {
                "providers": [
                    {"id": "desk", "kind": "fake", "baseUrl": "http://u:s3cret@h:1"},
                    {"id": "off", "kind": "fake", "enabled": False},
                    {"id": "gone", "kind": "novel"},
                ]
            }
        )
    )

    rows = json.loads(done(invoke("providers", "list", "--json")))

    shown = [
        (r["id"], r["kind"], r["base_url"], r["key"], r["from"], bool(r["problem"])) for r in rows
    ]
    assert shown == [
        ("desk", "fake", "http://h:1", None, "file", False),
        ("gone", "novel", "", None, "file", True),
        ("tower", "fake", "http://tower:2", "set", "LLM_TOWER", False),
        ("lab", "lab", "http://127.0.0.1:1", None, "loopback", False),
        ("off", "fake", "", None, "file", True),
    ]
    assert "s3cret" not in invoke("providers", "list").output
    assert home.notes == []


# --- add ------------------------------------------------------------------------------------------


def test_add_a_kind_writes_what_its_plugin_proposes(home: Installation, invoke: Invoke) -> None:
    home.setenv("LAB_USUAL_PORT", "4711")

    assert done(invoke("providers", "add", "lab")) == f"lab is added to {home.file}\n"

    assert providers(home) == [
        "fake://desk:1#desk",
        {"id": "lab", "kind": "lab", "baseUrl": "http://127.0.0.1:4711"},
    ]


def test_add_takes_every_option(home: Installation, invoke: Invoke) -> None:
    arguments = ("--id", "tower", "--url", "http://t:2", "--label", "T", "--api-key-env", "T_KEY")
    result = invoke("providers", "add", "lab", *arguments)

    done(result)
    assert "modelbay keys set tower" in result.stderr
    assert providers(home)[1] == {
        "id": "tower",
        "kind": "lab",
        "label": "T",
        "baseUrl": "http://t:2",
        "apiKeyEnv": "T_KEY",
    }


def test_add_a_hosted_kind_knows_its_address_and_its_variable(
    home: Installation, invoke: Invoke
) -> None:
    """S4-49: nothing has to be set for it to be offered."""
    result = invoke("providers", "add", "cloud")

    done(result)
    assert "export CLOUD_API_KEY=" in result.stderr
    assert providers(home)[1] == {
        "id": "cloud",
        "kind": "cloud",
        "label": "The Cloud",
        "baseUrl": "https://cloud.invalid",
        "apiKeyEnv": "CLOUD_API_KEY",
    }


def test_add_a_dsn_writes_it_as_one_line_or_with_options(
    home: Installation, invoke: Invoke
) -> None:
    done(invoke("providers", "add", "lab://tok@h:3#one"))
    done(invoke("providers", "add", "lab://h:4", "--id", "two", "--label", "Two"))

    assert providers(home)[1:] == [
        "lab://tok@h:3#one",
        {"id": "two", "kind": "lab", "label": "Two", "baseUrl": "lab://h:4"},
    ]


def test_add_makes_a_missing_file_that_only_its_owner_may_read(
    home: Installation, invoke: Invoke
) -> None:
    home.setenv("LLAMA_PROVIDERS_PATH", str(home.home / "deep" / "er" / "llama-providers.json"))
    path = home.home / "deep" / "er" / "llama-providers.json"

    done(invoke("providers", "add", "lab", "--url", "http://h:1"))

    assert json.loads(path.read_text()) == {
        "providers": [{"id": "lab", "kind": "lab", "baseUrl": "http://h:1"}]
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "modelbay providers add KIND"),
        (("lab",), 2, "no usual address; give it with --url"),
        (("novel",), 1, "modelbay plugin list"),
        (("novel://h:1",), 1, "modelbay plugin list"),
        (("faek://h:1",), 1, "modelbay plugin list   # did you mean 'fake'?"),
        (("lab", "--url", "h:1"), 2, "expected an address such as"),
        (("lab", "--url", "http://h:1", "--id", "a/b"), 2, "no slash"),
        (("lab", "--url", "http://h:1", "--id", "desk"), 2, "--id desk-2"),
        (("lab://h:1", "--url", "http://h:1"), 2, "leave --url out"),
    ],
)
def test_what_cannot_be_added_is_refused_and_the_file_left_alone(
    home: Installation, invoke: Invoke, arguments: tuple[str, ...], code: int, said: str
) -> None:
    before = home.file.read_text()

    result = invoke("providers", "add", *arguments)

    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr
    assert home.file.read_text() == before


def test_a_switched_off_kind_is_said_to_be_so(home: Installation, invoke: Invoke) -> None:
    home.setenv("MODELBAY_DISABLE", f"{home.env['MODELBAY_DISABLE']},lab")

    assert "take 'lab' out of MODELBAY_DISABLE" in invoke("providers", "add", "lab").stderr


def test_on_a_terminal_add_shows_what_there_is_and_asks(home: Installation) -> None:
    """S4-49, S4-50: what answers comes first, and what needs no key says so."""
    lab = Lab().start()
    try:
        home.setenv("LAB_USUAL_PORT", str(lab.port))
        shown = on_a_terminal(home, "providers", "add", answers=["", "", "tower"])
    finally:
        lab.stop()

    lines = [line.split() for line in shown.splitlines()]
    assert lines[:3] == [
        f"1 lab lab http://127.0.0.1:{lab.port} no key needed found, 1 models".split(),
        ["2", "fake", "fake", "-", "no", "key", "needed"],
        [
            "3",
            "The",
            "Cloud",
            "cloud",
            "https://cloud.invalid",
            "needs",
            "a",
            "key",
            "(CLOUD_API_KEY)",
        ],
    ]
    assert providers(home)[1] == {
        "id": "tower",
        "kind": "lab",
        "baseUrl": f"http://127.0.0.1:{lab.port}",
    }


def test_on_a_terminal_add_asks_for_the_variable_of_a_key(home: Installation) -> None:
    shown = on_a_terminal(home, "providers", "add", answers=["3", "", "", "MY_KEY"])

    assert "variable that holds its key [CLOUD_API_KEY]" in shown
    assert providers(home)[1]["apiKeyEnv"] == "MY_KEY"


# --- remove, set, unset ---------------------------------------------------------------------------


def test_remove_takes_it_out_of_the_file_and_a_default_that_names_it(
    home: Installation, invoke: Invoke
) -> None:
    home.file.write_text('{"defaultModel": "desk/x", "providers": ["fake://desk:1#desk"]}')

    result = invoke("providers", "remove", "desk")

    assert done(result) == f"desk is removed from {home.file}\n"
    assert result.stderr == '"defaultModel" named it, and is removed too\n'
    assert home.file.read_text() == '{"providers": []}'


def test_remove_of_a_proposal_says_how_to_switch_it_off(home: Installation, invoke: Invoke) -> None:
    home.setenv("LAB_USUAL_PORT", "1")

    result = invoke("providers", "remove", "lab")

    assert result.exit_code == 4
    assert "hint: a plugin proposes it: export MODELBAY_DISABLE=lab" in result.stderr


@pytest.mark.parametrize(
    ("value", "written"),
    [("5", 5), ("2.5", 2.5), ("true", True), ('{"a": 1}', {"a": 1}), ("text", "text"),
     ('"5"', '"5"'), ("null", "null")],
)  # fmt: skip
def test_set_takes_json_where_it_is_no_text(
    home: Installation, invoke: Invoke, value: str, written: object
) -> None:
    done(invoke("providers", "set", "desk", "acme", value))

    assert providers(home)[0]["acme"] == written
    done(invoke("providers", "unset", "desk", "acme"))
    assert "acme" not in providers(home)[0]


def test_a_value_that_is_a_key_is_not_repeated(home: Installation, invoke: Invoke) -> None:
    assert "s3cret" not in invoke("providers", "set", "desk", "apiKey", "s3cret").output
    assert "s3cret" in home.file.read_text()


def test_a_file_with_comments_is_refused_and_left_alone(home: Installation, invoke: Invoke) -> None:
    text = '{"providers": [] /* none yet */}'
    home.file.write_text(text)

    for arguments in (("add", "lab", "--url", "http://h:1"), ("remove", "x")):
        result = invoke("providers", *arguments)
        assert (result.exit_code, "not JSON" in result.stderr) == (2, True)
    assert invoke("config", "set", "defaultProvider", "x").exit_code == 2
    assert home.file.read_text() == text


# --- the default model ----------------------------------------------------------------------------


def test_default_is_written_composite(home: Installation, invoke: Invoke) -> None:
    """S0-72: a bare name is looked up, and its whole id is what is kept."""
    assert done(invoke("default", "slow")) == "the default model is desk/slow\n"

    assert json.loads(home.file.read_text())["defaultModel"] == "desk/slow"
    assert done(invoke("default")) == "desk/slow\n"
    assert done(invoke("default", "--unset")) == "the default model is chosen anew for each turn\n"
    assert "defaultModel" not in home.file.read_text()
    assert done(invoke("default")) == ""


def test_default_of_a_server_that_is_down_is_written_unchecked(
    home: Installation, invoke: Invoke
) -> None:
    home.configure({"id": "desk"}, {"id": "gone", "mode": "down"})

    result = invoke("default", "gone/x")

    assert (done(result), "not checked: " in result.stderr) == (
        "the default model is gone/x\n",
        True,
    )


def test_default_of_nothing_is_refused(home: Installation, invoke: Invoke) -> None:
    before = home.file.read_text()

    assert invoke("default", "desk/nosuch").exit_code == 4
    assert invoke("default", "desk/echo", "--unset").exit_code == 2
    assert home.file.read_text() == before


def test_default_says_when_the_variable_hides_it(home: Installation, invoke: Invoke) -> None:
    home.setenv("DEFAULT_MODEL", "echo")

    assert "unset DEFAULT_MODEL" in invoke("default", "desk/slow").stderr
    assert done(invoke("default")) == "echo\n"
