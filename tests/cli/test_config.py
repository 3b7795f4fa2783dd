"""Mirrors modelbay_cli/layers.py and commands/config.py."""

import json
from typing import Any

import pytest

from cli.conftest import Installation, Invoke

SECRET = "s3cret"


def explained(invoke: Invoke, *key: str) -> list[tuple[str, Any, str, bool]]:
    voices = json.loads(invoke("config", "explain", *key, "--json").stdout)
    return [(v["key"], v["value"], v["source"], v["wins"]) for v in voices]


@pytest.fixture
def secretive(installation: Installation) -> Installation:
    installation.configure(
        {
            "id": "desk",
            "baseUrl": f"http://sam:{SECRET}@desk:8080/v1",
            "apiKey": SECRET,
            "headers": {"X-Key": SECRET},
            "sidecarUrl": f"http://sam:{SECRET}@desk:1",
            "sidecarToken": SECRET,
            "nested": {"password": SECRET, "list": [{"secret": SECRET}]},
        },
        {"id": "lab", "apiKeyEnv": "LAB_KEY"},
        {"id": "off", "enabled": False},
    )
    installation.setenv("LAB_KEY", SECRET)
    return installation


def test_path_is_printed_alone_and_whatever_the_file_holds(
    installation: Installation, invoke: Invoke
) -> None:
    installation.file.write_text("{")
    assert invoke("config", "path").output == f"{installation.file}\n"
    told = invoke("config", "path", "-v")
    assert told.stdout == f"{installation.file}\n"
    assert told.stderr == "decided by: MODELBAY_HOME; it is there\n"


@pytest.mark.parametrize(
    "arguments", [("show",), ("show", "--json"), ("explain",), ("explain", "--json")]
)
@pytest.mark.usefixtures("secretive")
def test_no_secret_is_ever_printed(invoke: Invoke, arguments: tuple[str, ...]) -> None:
    result = invoke("config", *arguments)
    assert result.exit_code == 0
    assert SECRET not in result.output
    assert "(set)" in result.stdout


@pytest.mark.usefixtures("secretive")
def test_show_is_the_file_as_it_is_used(secretive: Installation, invoke: Invoke) -> None:
    shown = json.loads(invoke("config", "show", "--json").stdout)
    desk, lab, off = shown["providers"]
    assert shown["file"] == str(secretive.file)
    assert shown["defaultProvider"] == "desk"
    assert desk == {
        "id": "desk",
        "kind": "fake",
        "baseUrl": "http://desk:8080/v1",
        "apiKey": "(set)",
        "headers": {"X-Key": "(set)"},
        "probeTimeoutS": 1.5,
        "enabled": True,
        "source": "configured",
        "sidecarUrl": "http://desk:1",
        "sidecarToken": "(set)",
        "nested": {"password": "(set)", "list": [{"secret": "(set)"}]},
    }
    assert (lab["apiKey"], lab["apiKeyEnv"]) == ("(set)", "LAB_KEY")
    assert (off["id"], off["enabled"]) == ("off", False)


@pytest.mark.usefixtures("secretive")
def test_explain_names_the_source_of_each_value(invoke: Invoke) -> None:
    values = {key: source for key, _, source, _ in explained(invoke)}
    assert values["providersFile"] == "environment"
    assert values["defaultProvider"] == "default"
    assert values["providers.desk.apiKey"] == "file"
    assert values["providers.desk.probeTimeoutS"] == "default"
    assert values["providers.desk.sidecarUrl"] == "file"
    assert values["providers.lab.apiKey"] == "environment"


def test_explain_says_which_layer_hides_another(installation: Installation, invoke: Invoke) -> None:
    installation.configure({"id": "desk"}, defaultModel="desk/slow", defaultProvider="desk")
    assert explained(invoke, "defaultModel") == [("defaultModel", "desk/slow", "file", True)]
    installation.setenv("DEFAULT_MODEL", "desk/echo")
    assert explained(invoke, "defaultModel") == [
        ("defaultModel", "desk/echo", "environment", True),
        ("defaultModel", "desk/slow", "file", False),
    ]
    assert explained(invoke, "defaultProvider") == [("defaultProvider", "desk", "file", True)]


@pytest.mark.parametrize(
    ("source", "layer"), [("loopback", "discovered"), ("environment", "environment")]
)
def test_a_proposal_is_discovered_or_from_the_environment(
    installation: Installation, invoke: Invoke, source: str, layer: str
) -> None:
    installation.configure()
    installation.propose("up", source)
    assert explained(invoke, "providers.nearby.mode") == [
        ("providers.nearby.mode", "up", layer, True)
    ]


def test_a_key_is_a_whole_name_or_the_start_of_one(invoke: Invoke) -> None:
    keys = [key for key, *_ in explained(invoke, "providers.desk")]
    assert "providers.desk.label" in keys
    assert all(key.startswith("providers.desk.") for key in keys)


def test_explain_of_a_value_there_is_not_is_refused(invoke: Invoke) -> None:
    result = invoke("config", "explain", "nosuch")
    assert (result.exit_code, "there is no value 'nosuch'" in result.stderr) == (2, True)
