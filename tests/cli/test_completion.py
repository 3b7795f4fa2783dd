"""Mirrors modelbay_cli/completion.py and grammar.py: what Tab offers, and what it must not cost."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.conftest import Installation, Invoke
from modelbay_cli import completion
from modelbay_cli.app import app
from modelbay_cli.completion import FILES, bash, described, escaped, split
from modelbay_cli.grammar import work_out

BREAKS = " \t\n\"'@><=;|&(:"  # bash's own COMP_WORDBREAKS
PATIENCE_S = 30.0


def lists(installation: Installation, **providers: list[str]) -> None:
    """The lists that an earlier command kept."""
    folder = installation.home / "cache" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    for provider_id, names in providers.items():
        models = [{"wire_id": name} for name in names]
        page = {"key": "k", "read_at": time.time(), "models": models}
        (folder / f"{provider_id}.json").write_text(json.dumps(page))


@pytest.fixture
def kept(installation: Installation) -> Installation:
    lists(installation, desk=["qwen3:4b", "qwen3:8b", "gemma3"], lab=["user/one:q4"])
    return installation


REFS = ["desk/qwen3:4b", "desk/qwen3:8b", "desk/gemma3", "lab/user/one:q4"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("mod", ["models"]),
        ("fav ", ["add", "rm", "move", "list"]),
        ("models --cap", ["--capability"]),
        ("models --capability t", ["tools"]),
        ("models --capability=t", ["--capability=tools"]),
        ("models --capability tools --lo", ["--loaded"]),
        ("models la", ["lab", "lab/user/one:q4"]),
        ("chat -m ", REFS),
        ("chat --model=lab/", ["--model=lab/user/one:q4"]),
        ("chat -m desk/q", ["desk/qwen3:4b", "desk/qwen3:8b"]),
        ("chat -m lab/user/o", ["lab/user/one:q4"]),
        ("chat words -m desk/g", ["desk/gemma3"]),
        ("chat --image ", [FILES]),
        ("chat ", []),
        ("chat -- -", []),
        ("run desk/g", ["desk/gemma3"]),
        ("run desk/gemma3 desk", []),
        ("show desk/g", ["desk/gemma3"]),
        ("fav add desk/gemma3 desk/g", ["desk/gemma3"]),
        ("fav move desk/gemma3 --before desk/g", []),
        ("cp desk/gemma3 desk/g", []),
        ("ps ", ["desk", "lab"]),
        ("ps desk l", []),
        ("unload --provider l", ["lab"]),
        ("help his", ["history"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("no such ", []),
        ("models --nosuch ", ["desk", "lab", *REFS]),
    ],
)
def test_what_may_come_next(kept: Installation, words: str, offered: list[str]) -> None:
    found = [line.split("\t")[0] for line in described(["modelbay", *words.split(" ")])]
    assert found == offered


def test_a_description_goes_with_what_has_one(kept: Installation) -> None:
    assert list(described(["modelbay", "fak"])) == ["fake\tStart a pretended server."]
    assert list(described(["modelbay", "chat", "--no-s"])) == [
        "--no-stream\tPrint the answer when it is complete."
    ]


def test_favourites_come_first_and_each_once(kept: Installation, invoke: Invoke) -> None:
    """S0-48, S0-58: and one whose provider has never been listed is offered too."""
    kept.configure({"id": "desk"}, {"id": "lab"}, {"id": "far"})
    for ref in ("lab/user/one:q4", "far/away"):
        assert invoke("fav", "add", ref).exit_code == 0

    offered = [line.split("\t") for line in described(["modelbay", "show", ""])]

    assert offered[:2] == [["lab/user/one:q4", "favourite"], ["far/away", "favourite"]]
    assert [ref for ref, _ in offered].count("lab/user/one:q4") == 1
    assert list(described(["modelbay", "fav", "rm", "far"])) == ["far/away\tfavourite"]
    assert list(described(["modelbay", "fav", "move", "far/away", "--before", "lab"])) == [
        "lab/user/one:q4\tfavourite"
    ]


def test_a_favourite_that_is_still_in_the_log_is_offered(
    kept: Installation, invoke: Invoke
) -> None:
    import sqlite3

    kept.configure({"id": "desk"}, {"id": "far"})
    invoke("fav", "add", "desk/gemma3")
    state = kept.home / "data" / "state.db"
    other = sqlite3.connect(state)  # keeps the log from being carried over
    other.execute("SELECT count(*) FROM settings").fetchall()
    invoke("fav", "add", "far/away")
    try:
        assert Path(f"{state}-wal").stat().st_size > 0
        assert list(described(["modelbay", "fav", "rm", "far"])) == ["far/away\tfavourite"]
    finally:
        other.close()


def test_conversations_are_offered_with_their_titles(kept: Installation, invoke: Invoke) -> None:
    invoke("chat", "--conversation", "trip", "-m", "desk/echo", "where", "to?")

    assert list(described(["modelbay", "chat", "--conversation", ""])) == ["trip\twhere to?"]
    assert list(described(["modelbay", "history", "show", "t"])) == ["trip\twhere to?"]


def test_looking_leaves_nothing_behind(kept: Installation, invoke: Invoke) -> None:
    invoke("fav", "add", "desk/gemma3")
    list(described(["modelbay", "fav", "rm", ""]))  # which works out the grammar
    before = sorted((path.name, path.stat().st_mtime_ns) for path in kept.home.rglob("*"))
    list(described(["modelbay", "fav", "rm", ""]))
    list(described(["modelbay", "chat", "--conversation", ""]))

    assert sorted((path.name, path.stat().st_mtime_ns) for path in kept.home.rglob("*")) == before


@pytest.mark.parametrize("text", ["", "[]", "{", '{"read_at": 1, "models": [{"wire_id": "x"}]}'])
def test_a_list_that_says_nothing_offers_nothing(kept: Installation, text: str) -> None:
    """Damaged, or of last year."""
    (kept.home / "cache" / "models" / "desk.json").write_text(text)

    assert list(described(["modelbay", "show", ""])) == ["lab/user/one:q4\t"]


def test_a_damaged_state_file_offers_nothing(kept: Installation) -> None:
    (kept.home / "data").mkdir()
    (kept.home / "data" / "state.db").write_bytes(b"no database" * 1000)

    assert list(described(["modelbay", "fav", "rm", ""])) == []


# --- cost -----------------------------------------------------------------------------------------


def test_no_host_no_plugin_and_no_library_is_imported(kept: Installation, invoke: Invoke) -> None:
    """What makes it quick: only the interpreter's own parts are."""
    invoke("completion", "bash")  # works out the grammar
    invoke("fav", "add", "desk/gemma3")
    command = [sys.executable, "-X", "importtime", "-P", "-m", "modelbay_cli.completion"]
    told = subprocess.run(
        [*command, "bash", BREAKS, "modelbay chat -m desk/g"],
        env={**os.environ, **kept.env},
        capture_output=True,
        check=True,
    )
    imported = set(re.findall(r"\|\s+(\S+)$", told.stderr.decode(), re.MULTILINE))

    assert told.stdout == b"desk/gemma3\n"
    ours = {name for name in imported if name.startswith("modelbay")}
    assert ours == {"modelbay_cli", "modelbay_cli.ready", "modelbay_cli.warm"}
    assert not {"click", "pydantic", "httpx2", "rich", "asyncio", "typing", "socket"} & imported
    assert kept.notes == []


def test_the_folder_one_is_in_is_no_place_for_modules(kept: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "json.py").write_text("raise SystemExit('a stranger was run')")
    script = kept.run("completion", "bash").stdout.decode()
    [call] = re.findall(r"< <\((.+?) bash ", script)
    done = subprocess.run(
        [*call.split(), "bash", BREAKS, "modelbay chat -m desk/g"],
        cwd=folder,
        env={**os.environ, **kept.env},
        capture_output=True,
        check=True,
    )

    assert done.stdout == b"desk/gemma3\n"


# --- the grammar ----------------------------------------------------------------------------------


def test_the_grammar_is_kept_until_a_source_changes(
    kept: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = completion.grammar()
    monkeypatch.setattr("modelbay_cli.grammar.work_out", lambda: {"other": {}})
    assert completion.grammar() == json.loads(json.dumps(first))
    monkeypatch.setattr(completion, "_sources_stamp", lambda: "another version")
    assert list(completion.grammar()) == ["other"]


def test_the_grammar_has_every_option_that_click_has() -> None:
    found = work_out()

    def check(path: str, command: click.Command) -> None:
        assert path in found
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert set(parameter.opts) <= set(found[path]["options"])
        if isinstance(command, click.Group) and command is not app:
            for name, inner in command.commands.items():
                check(f"{path} {name}", inner)

    check("", app)
    root = click.Context(app, **app.context_settings)
    for name in ("models", "chat", "fav", "history", "conversations", "completion"):
        inner = app.get_command(root, name)
        assert inner is not None
        check(name, inner)
    assert {"-h", "--help"} & set(found["models"]["options"])


def test_a_command_that_cannot_be_imported_costs_only_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    really = type(app).get_command

    def broken(self: click.Group, ctx: click.Context, name: str) -> click.Command | None:
        if name == "ps":
            raise ImportError("half an upgrade")
        return really(self, ctx, name)  # type: ignore[arg-type]

    monkeypatch.setattr(type(app), "get_command", broken)
    found = work_out()

    assert "ps" not in found
    assert "models" in found


# --- the shells -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("modelbay chat -m desk/q", ["desk/qwen3:4b", "desk/qwen3:8b"]),
        ("modelbay chat -m desk/qwen3:", ["4b", "8b"]),
        ("modelbay chat -m desk/qwen3:8", ["8b"]),
        ("modelbay chat -m desk/qwen3\\:8", ["desk/qwen3:8b"]),
        ("modelbay chat -m 'desk/qwen3:8", ["desk/qwen3:8b"]),
        ('modelbay chat -m "desk/qwen3:8', ["desk/qwen3:8b"]),
        ("modelbay chat --model=desk/qwen3:8", ["8b"]),
        ("modelbay chat --model=desk/g", ["desk/gemma3"]),
        ("modelbay models --capability=to", ["tools"]),
    ],
)
def test_bash_gets_what_comes_after_its_own_last_break(
    kept: Installation, line: str, offered: list[str]
) -> None:
    assert list(bash(BREAKS, line)) == offered


def test_bash_without_the_colon_among_its_breaks_gets_whole_words(kept: Installation) -> None:
    assert list(bash(" \t\n", "modelbay chat -m desk/qwen3:8")) == ["desk/qwen3:8b"]


NASTY = "$(touch owned) `x` 'a' \"b\" ;&|<>*?[~#\\ ü"


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_models_name_is_never_a_command(installation: Installation, quote: str) -> None:
    lists(installation, desk=[NASTY, "with\nline", "plain"] + ["past!$"] * (quote != ""))
    offered = list(bash(BREAKS, f"modelbay show {quote}desk/"))

    if quote == "'":
        assert offered == ["desk/plain", "desk/past!$"]  # the other cannot be said there
        return
    said = subprocess.run(
        ["bash", "-c", f"printf %s {quote}{offered[0]}{quote}"], capture_output=True, check=True
    )
    assert said.stdout.decode() == f"desk/{NASTY}"
    assert offered[1:] == ["desk/plain"]


printable = st.text(st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" '\"\\$`!~"))


@given(printable.filter(bool))
def test_what_is_escaped_is_read_back_as_the_same_word(text: str) -> None:
    words, current, _, quote = split(f"modelbay {escaped(text)}")
    assert (words, current, quote) == (["modelbay"], text, "")


@given(st.text())
def test_any_line_can_be_split(line: str) -> None:
    split(line)


def test_a_real_bash_completes(kept: Installation, tmp_path: Path) -> None:
    """Typed at a prompt: what stands there after the Tab key is what the program gets."""
    script = tmp_path / "script"
    script.write_bytes(kept.run("completion", "bash").stdout)
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, **kept.env, "PS1": "ready> ", "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(theirs)
    seen = ""

    def sees(text: str) -> None:
        nonlocal seen
        limit = time.monotonic() + PATIENCE_S
        while text not in seen:
            assert select.select([ours], [], [], limit - time.monotonic())[0], (text, seen)
            seen += os.read(ours, 4096).decode(errors="replace")
        seen = seen.partition(text)[2]

    try:
        sees("ready> ")
        os.write(ours, f"source {script}; modelbay() {{ printf '<%s>' \"$@\"; }}\n".encode())
        sees("ready> ")
        for typed, got in (
            ("modelbay sho\tdesk/g\t\n", "<show><desk/gemma3>"),
            ("modelbay chat -m desk/q\t8\t\n", "<chat><-m><desk/qwen3:8b>"),
            ("modelbay chat -m lab/u\t\n", "<chat><-m><lab/user/one:q4>"),
            ('modelbay chat -m "desk/qwen3:8\t\n', "<chat><-m><desk/qwen3:8b>"),
            ("modelbay models --cap\tvis\t\n", "<models><--capability><vision>"),
        ):
            os.write(ours, typed.encode())
            sees(got)
            sees("ready> ")
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_this_interpreter_and_the_mark_for_files(
    invoke: Invoke, shell: str
) -> None:
    script = invoke("completion", shell).stdout

    assert f"{sys.executable} -P -m modelbay_cli.completion {shell} " in script
    assert "\\001files" in script
    assert "PYTHON" not in script


def test_bash_accepts_the_script(invoke: Invoke) -> None:
    script = invoke("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)
