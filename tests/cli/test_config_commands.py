"""Mirrors commands/config.py: check, edit, schema, set and unset."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from cli.conftest import Installation, Invoke
from cli.terminal import on_a_terminal
from modelbay.config_edit import TEMPLATE
from modelbay.config_schema import schema


def editor(installation: Installation, program: str, name: str = "EDITOR") -> None:
    """Make an editor of a program that finds the file's path in ``path``."""
    script = installation.home.parent / f"{name}.py"
    script.write_text(
        f"import sys\nfrom pathlib import Path\npath = Path(sys.argv[-1])\n{program}\n"
    )
    installation.setenv(name, shlex.join([sys.executable, str(script), "--wait"]))


@pytest.fixture(autouse=True)
def no_editor(installation: Installation) -> None:
    for name in ("VISUAL", "EDITOR"):
        installation.patch.delenv(name, raising=False)


# --- check ----------------------------------------------------------------------------------------


def test_a_good_file_is_exit_code_0_and_nothing_on_stdout(
    installation: Installation, invoke: Invoke
) -> None:
    result = invoke("config", "check")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{installation.file} is good\n"


def test_a_missing_file_is_normal(installation: Installation, invoke: Invoke) -> None:
    """S0-70."""
    installation.file.unlink()

    assert invoke("config", "check").exit_code == 0


def test_every_problem_is_told_with_its_place_and_its_fix(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure(
        {"id": "desk", "baseUrl": "desk:1", "probe_timeout_s": 1},
        {"id": "desk"},
        {"id": "novel", "kind": "novel"},
        defaultProvider="tower",
        theme="dark",
    )

    result = invoke("config", "check", "--json")

    found = [(f["level"], f["code"], f["subject"], f["fix"]) for f in json.loads(result.stdout)]
    assert result.exit_code == 2
    assert found == [
        ("error", "unknown_key", "configuration", "modelbay config unset theme"),
        (
            "error",
            "unknown_key",
            "configuration",
            "modelbay providers unset desk probe_timeout_s"
            "   # names are camelCase here: 'probeTimeoutS'",
        ),
        (
            "error",
            "scheme_missing",
            "configuration",
            "modelbay providers set desk baseUrl http://desk:1",
        ),
        (
            "error",
            "default_provider_unknown",
            "configuration",
            "modelbay config unset defaultProvider",
        ),
        ("error", "kind_not_installed", "provider novel", "modelbay plugin list"),
    ]


def test_a_misspelt_key_is_not_taken_out_but_renamed(
    installation: Installation, invoke: Invoke
) -> None:
    """Taking out a misspelt "providers" would lose them all."""
    installation.file.write_text('{"provider": [{"id": "a", "kind": "fake"}]}')

    [found] = json.loads(invoke("config", "check", "--json").stdout)

    assert found["fix"] == "modelbay config edit   # /provider: did you mean 'providers'?"


def test_check_asks_no_server(installation: Installation, invoke: Invoke) -> None:
    installation.configure({"id": "desk", "mode": "down"})

    assert invoke("config", "check").exit_code == 0


@pytest.mark.parametrize(
    ("kind", "key", "misspelt"),
    [
        ("deepseek", "maxConcurrent", "maxConcurent"),
        ("embedded", "contextLength", "contextLenght"),
        ("llama-swap", "sidecarUrl", "sidecarURL"),
        ("llamacpp", "busyWaitS", "busyWait"),
        ("ollama", "numCtx", "numCtxt"),
        ("openai", "server", "servre"),
    ],
)
def test_a_misspelt_option_of_a_kind_is_named_without_asking_its_server(
    installation: Installation, invoke: Invoke, kind: str, key: str, misspelt: str
) -> None:
    """S0-22, S0-25: a provider's entry holds what its kind knows, and nothing else."""
    installation.setenv("MODELBAY_DISABLE", "")
    value = {"sidecarUrl": "http://127.0.0.1:1", "server": "vllm"}.get(key, 5)
    entry = {"id": "lab", "kind": kind, "baseUrl": "http://127.0.0.1:1"}
    installation.configure({**entry, key: value})
    assert invoke("config", "check").exit_code == 0

    installation.configure({**entry, misspelt: value})
    result = invoke("config", "check", "--json")

    assert result.exit_code == 2
    found = [(f["code"], f["subject"], f["fix"]) for f in json.loads(result.stdout)]
    assert found == [("unknown_key", "provider lab", f"modelbay providers unset lab {misspelt}")]


def test_a_registry_of_agents_beside_the_file_is_another_program_s(
    installation: Installation, invoke: Invoke
) -> None:
    """S0-06, S0-25: the coder's ``coder-providers.json`` is neither read nor written."""
    data = installation.home.parent / "data"
    data.mkdir()
    agents = data / "coder-providers.json"
    agents.write_text('{"providers": [{"id": "agent", "kind": "fake"}]}')
    before = agents.read_bytes()
    installation.setenv("LLAMA_PROVIDERS_PATH", str(data / "llama-providers.json"))

    invoke("providers", "add", "fake://lab:1#lab")
    invoke("default", "lab/echo")
    listed = json.loads(invoke("models", "--json").stdout)

    assert [each["id"] for each in listed["providers"]] == ["lab"]
    assert "lab" in (data / "llama-providers.json").read_text()
    assert agents.read_bytes() == before
    assert sorted(path.name for path in data.iterdir()) == [
        "coder-providers.json",
        "llama-providers.json",
    ]


# --- edit -----------------------------------------------------------------------------------------


def test_edit_makes_a_missing_file_and_opens_it(installation: Installation, invoke: Invoke) -> None:
    installation.file.unlink()
    seen = installation.home.parent / "seen"
    editor(installation, f"Path({str(seen)!r}).write_text(path.read_text())")

    result = invoke("config", "edit")

    assert (result.exit_code, result.stdout) == (0, f"{installation.file} is good\n")
    assert seen.read_text() == installation.file.read_text() == TEMPLATE


def test_what_is_wrong_is_said_and_the_text_stays(
    installation: Installation, invoke: Invoke
) -> None:
    text = '{"providers": [{"id": "a", "kind": "fake",}], "mine": 1}'
    editor(installation, f"path.write_text({text!r})")

    result = invoke("config", "edit")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "not JSON" in result.stderr
    assert "[file_malformed]" in result.stderr
    assert installation.file.read_text() == text


def test_every_wrong_place_is_said_with_its_pointer(
    installation: Installation, invoke: Invoke
) -> None:
    text = '{"providers": [{"id": "a", "kind": "fake", "baseUrl": 1, "probeTimeoutS": 0}]}'
    editor(installation, f"path.write_text({text!r})")

    stderr = invoke("config", "edit").stderr

    assert f"{installation.file}#/providers/0/baseUrl: " in stderr
    assert f"{installation.file}#/providers/0/probeTimeoutS: " in stderr


def test_on_a_terminal_it_can_be_edited_again_until_it_is_good(installation: Installation) -> None:
    editor(installation, "path.write_text('{}' if path.read_text() == '{' else '{')")

    shown = on_a_terminal(installation, "config", "edit", answers=["y"])

    assert "[file_malformed]" in shown
    assert shown.splitlines()[-1] == f"{installation.file} is good"
    assert installation.file.read_text() == "{}"


def test_on_a_terminal_it_can_be_left_wrong(installation: Installation) -> None:
    editor(installation, "path.write_text('{')")

    on_a_terminal(installation, "config", "edit", answers=["n"], code=2)

    assert installation.file.read_text() == "{"


def test_a_malformed_file_can_be_mended_with_edit(
    installation: Installation, invoke: Invoke
) -> None:
    installation.file.write_text("{")
    editor(installation, "path.write_text('{}')")

    assert invoke("config", "edit").exit_code == 0


def test_a_blank_editor_counts_as_none(installation: Installation, invoke: Invoke) -> None:
    installation.setenv("VISUAL", "  ")
    installation.setenv("EDITOR", "")
    installation.setenv("PATH", str(installation.home))
    assert "hint: EDITOR=nano modelbay config edit" in invoke("config", "edit").stderr

    editor(installation, "pass")
    assert invoke("config", "edit").exit_code == 0


def test_visual_comes_before_editor(installation: Installation, invoke: Invoke) -> None:
    editor(installation, "sys.exit(3)")
    editor(installation, "pass", "VISUAL")

    assert invoke("config", "edit").exit_code == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/no/such/editor", "cannot be started: No such file"),
        ("'unclosed", "cannot be read: No closing quotation"),
        (shlex.join([sys.executable, "-c", "raise SystemExit(3)"]), "ended with code 3"),
    ],
)
def test_an_editor_that_fails_is_an_error_with_a_hint(
    installation: Installation, invoke: Invoke, command: str, said: str
) -> None:
    before = installation.file.read_text()
    installation.setenv("EDITOR", command)

    result = invoke("config", "edit")

    assert (result.exit_code, said in result.stderr, "hint:" in result.stderr) == (2, True, True)
    assert installation.file.read_text() == before


def test_without_any_editor_the_hint_names_one(
    installation: Installation, invoke: Invoke, tmp_path: Path
) -> None:
    installation.patch.setenv("PATH", str(tmp_path / "empty"))

    assert "hint: EDITOR=nano modelbay config edit" in invoke("config", "edit").stderr


# --- schema, set, unset ---------------------------------------------------------------------------


def test_the_schema_is_printed_whatever_the_file_holds(
    installation: Installation, invoke: Invoke
) -> None:
    installation.file.write_text("{")

    assert json.loads(invoke("config", "schema").stdout) == schema()


def test_set_and_unset_change_one_place(installation: Installation, invoke: Invoke) -> None:
    before = installation.file.read_text()

    assert invoke("config", "set", "defaultProvider", "desk").stdout == "defaultProvider is set\n"
    changed = installation.file.read_text()
    assert json.loads(changed)["defaultProvider"] == "desk"
    assert invoke("config", "unset", "defaultProvider").exit_code == 0
    assert installation.file.read_text() == before


def test_a_list_is_json(installation: Installation, invoke: Invoke) -> None:
    assert invoke("config", "set", "wrappers", '["a", "b"]').exit_code == 0
    assert json.loads(installation.file.read_text())["wrappers"] == ["a", "b"]


@pytest.mark.parametrize(("key", "value"), [("theme", "dark"), ("providers", "[]")])
def test_what_is_no_key_of_the_top_is_refused(
    installation: Installation, invoke: Invoke, key: str, value: str
) -> None:
    before = installation.file.read_text()

    assert invoke("config", "set", key, value).exit_code == 2
    assert installation.file.read_text() == before


def test_a_default_provider_that_is_none_is_refused_and_the_file_left_alone(
    installation: Installation, invoke: Invoke
) -> None:
    before = installation.file.read_text()
    far = invoke("config", "set", "defaultProvider", "nope")
    near = invoke("config", "set", "defaultProvider", "dsek")

    assert (far.exit_code, near.exit_code) == (2, 2)
    assert far.stderr == (
        f"error: {installation.file}#/defaultProvider: 'nope' is none of the providers (desk)\n"
        "hint: modelbay providers list\n"
    )
    assert "hint: modelbay config set defaultProvider desk\n" in near.stderr
    assert installation.file.read_text() == before


def test_a_proposed_provider_may_be_the_default_and_one_of_a_flag_may_not(
    installation: Installation, invoke: Invoke
) -> None:
    installation.file.unlink()
    installation.propose("up")
    assert invoke("config", "set", "defaultProvider", "nearby").exit_code == 0
    assert invoke("models").exit_code == 0

    flag = invoke("-p", "fake://h:1#there", "config", "set", "defaultProvider", "there")
    assert flag.exit_code == 2


def checked(invoke: Invoke) -> list[tuple[str, str, str]]:
    found = json.loads(invoke("config", "check", "--json").stdout)
    return [(one["level"], one["code"], one["fix"]) for one in found]


def test_a_default_model_of_a_provider_that_is_none_is_told(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "desk"}, defaultModel="dsek/echo")
    assert checked(invoke) == [("warning", "default_model_unknown", "modelbay default desk/echo")]
    installation.configure({"id": "desk"}, defaultModel="nope/echo")
    assert checked(invoke) == [("warning", "default_model_unknown", "modelbay default --unset")]
    installation.configure(defaultModel="echo")
    assert checked(invoke) == [("error", "default_model_unknown", "modelbay default --unset")]


@pytest.mark.parametrize("named", ["desk/nope", "nope"])
def test_whether_a_provider_has_the_default_model_is_not_asked(
    installation: Installation, invoke: Invoke, named: str
) -> None:
    installation.configure({"id": "desk"}, defaultModel=named)

    assert checked(invoke) == []


def test_a_wrapper_that_is_not_installed_is_told(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "desk"}, wrappers=["trace"])
    fix = "modelbay config unset wrappers   # or install it"

    assert checked(invoke) == [("warning", "wrapper_missing", fix)]


def test_a_wrapper_with_wrong_settings_is_told_and_the_others_are_kept(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "desk"}, wrappers=["concurrency:many", "request-log:text=9"])
    fix = """modelbay config set wrappers '["request-log:text=9"]'   # or mend its settings"""

    assert checked(invoke) == [("warning", "wrapper_broken", fix)]


def test_wrappers_that_the_file_names_stand_around_the_turns(
    installation: Installation, invoke: Invoke
) -> None:
    log = installation.home / "requests.jsonl"
    installation.configure({"id": "desk"}, wrappers=[f"request-log:file={log}", "concurrency:1"])

    assert checked(invoke) == []
    assert invoke("chat", "-m", "desk/echo", "hello").exit_code == 0
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(one["hook"], one["model"], one["outcome"]) for one in told] == [
        ("stream_chat", "desk/echo", "stop")
    ]
    assert "hello" not in log.read_text()


def test_the_providers_are_named_once(installation: Installation, invoke: Invoke) -> None:
    installation.configure({"id": "desk"}, defaultProvider="nope")
    [found] = json.loads(invoke("config", "check", "--json").stdout)

    assert found["message"] == "defaultProvider is 'nope', and that is none of the providers (desk)"


def test_a_file_with_the_mark_of_utf_8_is_good_everywhere(
    installation: Installation, invoke: Invoke
) -> None:
    installation.file.write_text(installation.file.read_text(), encoding="utf-8-sig")

    assert [invoke(*a).exit_code for a in (("config", "check"), ("models",))] == [0, 0]


def test_what_is_not_there_is_not_said_to_be_removed(
    installation: Installation, invoke: Invoke
) -> None:
    before = installation.file.read_text()
    misspelt = invoke("config", "unset", "defaultModle")
    unset = invoke("config", "unset", "defaultModel")

    assert misspelt.exit_code == 2
    assert "has no key 'defaultModle'; did you mean 'defaultModel'?" in misspelt.stderr
    assert (unset.exit_code, unset.stdout) == (0, "defaultModel was not set\n")
    assert installation.file.read_text() == before


def test_an_unknown_key_that_is_there_can_be_removed(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "desk"}, theme="dark")

    assert invoke("config", "unset", "theme").stdout == "theme is removed\n"
    assert "theme" not in json.loads(installation.file.read_text())


def test_null_is_no_value_and_the_way_to_remove_is_said(
    installation: Installation, invoke: Invoke
) -> None:
    before = installation.file.read_text()
    result = invoke("config", "set", "defaultModel", "null")

    assert (result.exit_code, "modelbay config unset defaultModel" in result.stderr) == (2, True)
    assert installation.file.read_text() == before


def test_a_key_that_a_provider_does_not_have_is_not_said_to_be_removed(invoke: Invoke) -> None:
    assert invoke("providers", "unset", "desk", "foo").stdout == "foo of desk was not set\n"


# --- defaultModel ---------------------------------------------------------------------------------


def test_a_default_model_is_written_with_its_provider(
    installation: Installation, invoke: Invoke
) -> None:
    """S0-72: as `modelbay default` does."""
    result = invoke("config", "set", "defaultModel", "slow")

    assert (result.exit_code, result.stdout) == (0, "defaultModel is set\n")
    assert json.loads(installation.file.read_text())["defaultModel"] == "desk/slow"


def test_a_default_model_that_nobody_has_is_refused(
    installation: Installation, invoke: Invoke
) -> None:
    before = installation.file.read_text()

    refused = invoke("config", "set", "defaultModel", "no-such")
    same = invoke("default", "no-such")

    assert refused.exit_code == same.exit_code != 0
    assert (refused.stdout, refused.stderr) == ("", same.stderr)
    assert installation.file.read_text() == before


def test_a_default_model_of_a_provider_that_is_down_is_believed(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "desk"}, {"id": "lab", "mode": "down"})

    assert invoke("config", "set", "defaultModel", "lab/x").exit_code == 0
    assert json.loads(installation.file.read_text())["defaultModel"] == "lab/x"
