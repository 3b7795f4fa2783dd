"""Mirrors modelbay_cli/warm.py and renewal.py: a listing that is ready, and when it is not."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.conftest import Installation, Invoke
from modelbay.config import locations
from modelbay_cli import renewal, warm
from modelbay_cli.renewal import LOCK, LOCK_S, renew_later


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The renewals that would have been started."""
    found: list[list[str]] = []
    pretended = SimpleNamespace(
        Popen=lambda command, **options: found.append(command), DEVNULL=subprocess.DEVNULL
    )
    monkeypatch.setattr(renewal, "subprocess", pretended)
    return found


def ready(installation: Installation) -> dict[str, Path]:
    folder = installation.home / "cache" / "ready"
    return {path.name: path for path in folder.iterdir()} if folder.exists() else {}


def test_a_listing_is_left_ready_and_the_next_one_is_the_same(
    installation: Installation, invoke: Invoke
) -> None:
    first = invoke("models").stdout
    assert list(ready(installation)) == ["table-0000"]

    assert warm.text(["models"]) == first
    assert warm.text(["ls"]) == first


def test_ages_in_json_go_on(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads(invoke("models", "--json").stdout)
    later = time.time() + 100
    monkeypatch.setattr(time, "time", lambda: later)
    second = json.loads(warm.text(["models", "--json"]) or "")

    [one], [other] = first["providers"], second["providers"]
    assert 99 <= other.pop("age_s") - one.pop("age_s") <= 102
    assert 99 <= one.pop("next_look_s") - other.pop("next_look_s") <= 102
    assert one == other


@pytest.mark.parametrize(
    "arguments",
    [["models", "echo"], ["models", "--all"], ["models", "--refresh"], ["ps"], ["models", "-h"]],
)
def test_only_the_plain_forms_are_ready(invoke: Invoke, arguments: list[str]) -> None:
    invoke("models")
    assert warm.text(arguments) is None


def test_a_listing_is_not_the_answer_once_something_is_different(
    installation: Installation, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_ready() -> bool:
        found = warm.text(["models"]) is not None
        invoke("models")
        assert warm.text(["models"]) is not None  # and with the new state it is again
        return found

    invoke("models")
    os.utime(installation.file, (1, 1))
    assert not is_ready()
    monkeypatch.setenv("SOME_VARIABLE", "1")
    assert not is_ready()
    (installation.packages / "new_package").mkdir()
    assert not is_ready()
    data = installation.home / "data"
    data.mkdir(exist_ok=True)
    (data / "keys.json").write_text("{}")
    (data / "keys.json").chmod(0o600)
    assert warm.text(["models"]) is None


@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"]])
def test_a_change_of_our_own_is_in_the_next_listing(
    installation: Installation, invoke: Invoke, arguments: list[str]
) -> None:
    installation.put("echo", "new")
    invoke(*arguments)
    assert warm.text(arguments) is not None
    installation.put("echo", "new", "pulled")
    assert invoke("show", "desk/echo").exit_code == 0  # a question changes nothing
    assert warm.text(arguments) is not None
    assert invoke("unload", "desk/echo").exit_code == 0

    assert warm.text(arguments) is None
    assert "desk/pulled" in invoke(*arguments).stdout


def test_a_provider_of_the_command_line_is_asked_each_time(
    installation: Installation, invoke: Invoke
) -> None:
    installation.put("one")
    assert "there/one" in invoke("-p", "fake://127.0.0.1:1#there", "models").stdout
    installation.put("two")
    listed = invoke("-p", "fake://127.0.0.1:1#there", "models").stdout

    assert ("there/two" in listed, "there/one" in listed) == (True, False)


def test_in_a_pipe_stderr_says_how_old_a_list_is(
    installation: Installation, invoke: Invoke
) -> None:
    fresh = invoke("models")
    path = installation.home / "cache" / "models" / "desk.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "read_at": kept["read_at"] - 7200}))
    old = invoke("models")

    assert (fresh.stderr, old.stderr) == ("", "desk: as of 2 h ago\n")
    assert (old.stdout, invoke("models", "--json").stderr) == (fresh.stdout, "")


def test_another_terminal_window_is_no_difference(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("models")
    monkeypatch.setenv("SHLVL", "7")
    monkeypatch.setenv("PWD", "/elsewhere")

    assert warm.text(["models"]) is not None


def test_a_listing_lasts_as_long_as_its_lists(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("models")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 269)
    assert warm.text(["models"]) is not None
    monkeypatch.setattr(time, "time", lambda: now + 301)
    assert warm.text(["models"]) is None
    monkeypatch.setattr(time, "time", lambda: now - 60)  # the clock was put back
    assert warm.text(["models"]) is None


def test_a_server_that_is_started_meanwhile_is_noticed() -> None:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        warm.keep(["models"], "listing\n", valid_s=60, absent=[address], watched=warm.watched())
        assert warm.text(["models"]) == "listing\n"
        server.listen()
        assert warm.text(["models"]) is None


@pytest.mark.parametrize(
    "text", ["", "modelbay-ready 1\n", "x\n" * 9, "modelbay-ready 1\na\nb\n\n\n"]
)
def test_a_damaged_file_is_not_the_answer(
    installation: Installation, invoke: Invoke, text: str
) -> None:
    invoke("models")
    ready(installation)["table-0000"].write_text(text)

    assert warm.text(["models"]) is None


def test_nothing_is_kept_of_a_listing_with_nothing_in_it(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure()
    invoke("models")
    invoke("models", "--json")

    assert ready(installation) == {}


def test_no_file_holds_what_the_environment_does(
    installation: Installation, invoke: Invoke
) -> None:
    installation.setenv("DESK_KEY", "sk-planted")
    invoke("models")

    kept = [path for path in (installation.home / "cache").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if "sk-planted" in path.read_text()]


@pytest.mark.parametrize(
    "env",
    [
        {"MODELBAY_HOME": "/h"},
        {"MODELBAY_HOME": "~/h"},
        {"XDG_CACHE_HOME": "/c"},
        {},
    ],
)
def test_the_cache_folder_is_the_one_the_core_uses(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MODELBAY_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    assert warm.cache_folder() == str(locations(os.environ).cache)


def test_a_ready_listing_imports_nothing_large(installation: Installation) -> None:
    """What makes a warm listing cheap; the benchmark says how cheap."""
    first = installation.run("models").stdout
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "modelbay_cli", "models"],
        env={**os.environ, **installation.env},
        capture_output=True,
        check=True,
    )
    imported = re.findall(r"\|\s+(\S+)$", told.stderr.decode(), re.MULTILINE)

    assert told.stdout == first
    ours = {name for name in imported if name.startswith("modelbay")}
    assert ours == {"modelbay_cli", "modelbay_cli.ready", "modelbay_cli.warm"}
    assert not {"click", "pydantic", "httpx2", "rich", "asyncio", "json"} & set(imported)


# --- favourites -----------------------------------------------------------------------------------


def aged(installation: Installation) -> None:
    """As if the state file had been written a while ago, and not in this very moment."""
    for path in (installation.home / "data").glob("state.db*"):
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 1_000_000_000))


def test_a_favourite_is_in_the_next_listing_at_once(
    installation: Installation, invoke: Invoke
) -> None:
    """S0-58: however it was printed a moment ago."""
    invoke("models")
    assert warm.text(["models"]) is not None

    invoke("fav", "add", "desk/slow")

    assert warm.text(["models"]) is None
    aged(installation)
    second = invoke("models").stdout
    assert second.splitlines()[1].split()[0] == "desk/slow"
    assert warm.text(["models"]) == second
    invoke("fav", "rm", "desk/slow")
    assert warm.text(["models"]) is None


def test_a_favourite_that_is_still_in_the_log_is_in_the_next_listing_too(
    installation: Installation, invoke: Invoke
) -> None:
    """S0-58: another program has the file open, so that nothing reaches it for hours."""
    invoke("fav", "add", "desk/slow")
    state = installation.home / "data" / "state.db"
    other = sqlite3.connect(state)
    other.execute("SELECT count(*) FROM settings").fetchall()
    try:
        invoke("fav", "add", "desk/busy")
        before = state.stat().st_mtime_ns, state.stat().st_size
        aged(installation)
        first = invoke("models").stdout
        assert warm.text(["models"]) == first
        before = state.stat().st_mtime_ns, state.stat().st_size

        invoke("fav", "add", "desk/echo")

        assert (state.stat().st_mtime_ns, state.stat().st_size) == before
        assert warm.text(["models"]) is None
        lines = invoke("models").stdout.splitlines()[1:4]
        assert [line.split()[0] for line in lines] == ["desk/slow", "desk/busy", "desk/echo"]
    finally:
        other.close()


def test_what_is_written_while_a_listing_is_made_is_not_missed(
    installation: Installation, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S0-58: the favourites were read, one more came, and then the listing was kept."""
    invoke("fav", "add", "desk/slow")
    aged(installation)
    really = warm.keep

    def late(*arguments: object, **more: object) -> None:
        file = sqlite3.connect(installation.home / "data" / "state.db")
        with file:
            file.execute("UPDATE settings SET value = '[\"desk/echo\"]'")
        file.close()
        aged(installation)
        really(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(warm, "keep", late)
    assert invoke("models").stdout.splitlines()[1].split()[0] == "desk/slow"

    assert list(ready(installation)) == ["table-0000"]
    assert warm.text(["models"]) is None


def test_a_state_file_written_in_this_very_moment_is_not_relied_on(
    installation: Installation, invoke: Invoke
) -> None:
    """A second write could leave the same time behind."""
    invoke("fav", "add", "desk/slow")
    now = time.time() + 1
    os.utime(installation.home / "data" / "state.db", (now, now))
    invoke("models")

    assert ready(installation) == {}


@pytest.mark.parametrize("form", [["--no-favorites"], ["--loaded"], ["--capability", "tools"]])
def test_other_forms_are_neither_kept_nor_taken(
    installation: Installation, invoke: Invoke, form: list[str]
) -> None:
    invoke("models", *form)
    assert ready(installation) == {}
    assert warm.text(["models", *form]) is None


def test_the_log_lies_beside_the_file_a_link_leads_to(
    installation: Installation, invoke: Invoke, tmp_path: Path
) -> None:
    invoke("fav", "add", "desk/slow")
    state = installation.home / "data" / "state.db"
    moved = tmp_path / "elsewhere.db"
    state.rename(moved)
    state.symlink_to(moved)
    os.utime(moved, (1, 1))
    before = warm.watched()
    Path(f"{moved}-wal").write_bytes(b"")
    os.utime(f"{moved}-wal", (1, 1))

    assert warm.watched() not in ("", before)


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ({}, False),
        ({"XDG_CACHE_HOME": "/c"}, False),
        ({"XDG_CACHE_HOME": "/c", "XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/e"}, True),
        ({"MODELBAY_HOME": "/h"}, True),
    ],
)
def test_elsewhere_than_on_linux_a_folder_that_is_not_known_keeps_nothing(
    given: dict[str, str], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The favourites of another folder would not be watched."""
    for name in ("MODELBAY_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", "darwin")

    assert (warm.cache_folder() is not None) is known
    assert bool(warm.watched()) is known


# --- renewal --------------------------------------------------------------------------------------


def test_lists_that_are_too_old_are_shown_with_their_age_and_renewed_behind(
    installation: Installation,
    invoke: Invoke,
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    invoke("models")
    asked = len(installation.notes)
    [kept] = (installation.home / "cache" / "models").iterdir()
    page = json.loads(kept.read_text())
    page["read_at"] -= 400
    kept.write_text(json.dumps(page))
    (ready(installation)["table-0000"]).unlink()

    result = invoke("models")
    assert "desk/echo" in result.stdout
    assert len(installation.notes) == asked
    assert started == [[sys.executable, "-m", "modelbay_cli.renewal", str(kept.parent.parent)]]
    assert ready(installation) == {}

    assert invoke("models", "--refresh").exit_code == 0
    assert list(ready(installation)) == ["table-0000"]


def test_one_renewal_at_a_time(tmp_path: Path, started: list[list[str]]) -> None:
    assert renew_later(tmp_path) is True
    assert renew_later(tmp_path) is False
    assert len(started) == 1

    past = time.time() - LOCK_S - 1
    os.utime(tmp_path / LOCK, (past, past))  # of one that died
    assert renew_later(tmp_path) is True
    assert len(started) == 2


def test_a_renewal_reads_the_lists_and_gives_the_lock_back(installation: Installation) -> None:
    cache = installation.home / "cache"
    cache.mkdir()
    (cache / LOCK).touch()
    renewal.main(str(cache))

    assert [path.name for path in (cache / "models").iterdir()] == ["desk.json"]
    assert not (cache / LOCK).exists()


def test_where_nothing_can_be_written_nothing_is_renewed(
    tmp_path: Path, started: list[list[str]]
) -> None:
    (tmp_path / "taken").write_text("")

    assert renew_later(tmp_path / "taken") is False
    assert started == []
