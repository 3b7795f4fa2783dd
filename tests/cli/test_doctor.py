"""Mirrors modelbay_cli/diagnosis/ and commands/doctor.py: what is shown, and how it is judged."""

import json
from typing import Any

import pytest

from cli.conftest import Installation, Invoke, install


def diagnose(invoke: Invoke) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(invoke("doctor", "--json").stdout)
    return document


def codes(invoke: Invoke) -> list[tuple[str, str]]:
    return [(found["level"], found["code"]) for found in diagnose(invoke)["findings"]]


def test_all_well_is_exit_code_0(invoke: Invoke) -> None:
    result = invoke("doctor")
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith("no problems found")
    assert "default model: desk/echo" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[-8:-2] == [
        ["PROVIDER", "DETAIL", "VALUE"],
        ["desk", "slots", "2"],
        ["desk", "searched.0", "path:", "/models,", "found:", "3"],
        ["desk", "searched.1", "path:", "/gone,", "found:", "0"],
        [],
        ["default", "model:", "desk/echo"],
    ]
    assert "fake server 7" in result.stdout


def test_a_provider_is_shown_with_what_its_server_says(invoke: Invoke) -> None:
    (desk,) = diagnose(invoke)["providers"]
    assert desk.pop("took_s") >= 0
    assert desk == {
        "id": "desk",
        "label": "Sam's desk",
        "kind": "fake",
        "address": "",
        "source": "configured",
        "status": "ok",
        "hidden": False,
        "models": 9,
        "problem": None,
        "server": "fake server",
        "version": "7",
        "details": {
            "slots": 2,
            "searched": [{"path": "/models", "found": 3}, {"path": "/gone", "found": 0}],
        },
    }


def test_a_configured_provider_that_is_down_is_an_error_with_a_fix(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "desk"}, {"id": "gone", "mode": "down"})
    result = invoke("doctor")
    assert result.exit_code == 1
    assert (
        "error: provider gone: nothing answers at http://127.0.0.1:1 [host_unreachable]\n"
        "  fix: start the server\n"
    ) in result.stdout
    assert diagnose(invoke)["findings"] == [
        {
            "level": "error",
            "code": "host_unreachable",
            "subject": "provider gone",
            "message": "nothing answers at http://127.0.0.1:1",
            "fix": "start the server",
            "error": "backend_unreachable",
        }
    ]


@pytest.mark.parametrize(
    ("mode", "source", "level"),
    [
        ("down", "loopback", None),
        ("down", "environment", "error"),
        ("locked", "loopback", "warning"),
    ],
)
def test_a_proposal_is_shown_and_blamed_only_if_somebody_meant_it(
    installation: Installation, invoke: Invoke, mode: str, source: str, level: str | None
) -> None:
    installation.configure()
    installation.propose(mode, source)
    found = diagnose(invoke)
    assert [(p["id"], p["hidden"], p["source"]) for p in found["providers"]] == [
        ("nearby", True, source)
    ]
    blamed = [f["level"] for f in found["findings"] if f["subject"] == "provider nearby"]
    assert blamed == ([] if level is None else [level])


def test_a_malformed_file_is_a_finding_and_the_rest_is_looked_at(
    installation: Installation, invoke: Invoke
) -> None:
    installation.file.write_text('{"providers": [{"id": "desk"}]}')
    installation.propose("up", "environment")
    result = invoke("doctor", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [(f["level"], f["code"], f["subject"]) for f in found["findings"]] == [
        ("error", "missing_key", "configuration")
    ]
    assert f"{installation.file}#/providers/0/kind" in found["findings"][0]["message"]
    assert [(p["id"], p["status"]) for p in found["providers"]] == [("nearby", "ok")]


def test_every_plugin_is_a_row_whatever_its_state(
    installation: Installation, invoke: Invoke
) -> None:
    broken = "raise RuntimeError('needs a newer library')"
    install(installation.packages, "modelbay-bad", "[modelbay]\nbad = modelbay_bad\n", broken)
    install(installation.packages, "modelbay-twin", "[modelbay]\nfake = modelbay_twin\n", broken)
    install(installation.packages, "modelbay-off", "[modelbay]\noff = modelbay_off\n", broken)
    installation.setenv("MODELBAY_DISABLE", "off," + installation.env["MODELBAY_DISABLE"])

    result = invoke("doctor", "--json")

    found = json.loads(result.stdout)
    states = {plugin["dist"]: plugin["state"] for plugin in found["plugins"]}
    assert result.exit_code == 1
    assert states["modelbay-fake"] == "ok"
    assert states["modelbay-bad"] == "broken"
    assert states["modelbay-twin"] == "duplicate"
    assert states["modelbay-off"] == "disabled"
    findings = {f["subject"]: (f["level"], f["message"]) for f in found["findings"]}
    assert findings["plugin bad"] == (
        "error",
        "plugin 'bad' cannot be imported: RuntimeError: needs a newer library",
    )
    assert findings["plugin fake"][0] == "warning"


def test_a_damaged_package_is_a_warning(installation: Installation, invoke: Invoke) -> None:
    info = installation.packages / "aaa-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aaa\nVersion: 1.0\n")
    (info / "entry_points.txt").write_bytes(b"\xff\xfe[")
    found = diagnose(invoke)
    damaged = [f for f in found["findings"] if f["subject"].startswith("package aaa")]
    assert [f["level"] for f in damaged] == ["warning"]


def test_every_file_is_shown_with_what_decided_it(
    installation: Installation, invoke: Invoke
) -> None:
    installation.setenv("LLAMA_PROVIDERS_PATH", str(installation.home / "other.json"))
    files = diagnose(invoke)["files"]
    home = installation.home
    assert [(f["what"], f["path"], f["exists"], f["decided_by"]) for f in files] == [
        ("providers.json", str(home / "other.json"), False, "LLAMA_PROVIDERS_PATH"),
        ("data folder", str(home / "data"), False, "MODELBAY_HOME"),
        ("cache folder", str(home / "cache"), False, "MODELBAY_HOME"),
    ]


def test_no_model_to_answer_with_is_a_warning_and_a_named_one_that_is_missing_an_error(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "desk", "mode": "empty"})
    assert codes(invoke) == [("warning", "no_models")]
    installation.setenv("DEFAULT_MODEL", "desk/nosuch")
    assert codes(invoke) == [("warning", "no_models"), ("error", "default_model_unknown")]


def test_a_stand_in_is_said_to_be_one(installation: Installation, invoke: Invoke) -> None:
    installation.configure({"id": "here", "mode": "stand-in"})
    assert (
        "default model: here/welcome (built-in welcome text, not a language model)"
        in invoke("doctor").stdout
    )


def test_no_secret_is_shown(installation: Installation, invoke: Invoke) -> None:
    installation.configure(
        {"id": "desk", "baseUrl": "http://sam:s3cret@desk:1/?k=s3cret", "apiKey": "s3cret"}
    )
    assert "s3cret" not in invoke("doctor").output
    assert "s3cret" not in invoke("doctor", "--json").output
