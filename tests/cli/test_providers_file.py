"""Mirrors modelbay_cli/providers_file.py: the file is replaced whole, and no edit is lost."""

import json
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from modelbay.config_edit import add_provider, set_value
from modelbay.errors import BackendBusyError, ConfigError
from modelbay_cli import providers_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "real" / "providers.json"
    file.parent.mkdir()
    file.write_text('{"providers": []}')
    return file


def with_model(name: str) -> Any:
    return lambda text: set_value(text, "defaultModel", name, "W")


def left(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_the_mode_stays_and_nothing_is_left_over(path: Path) -> None:
    path.chmod(0o640)

    providers_file.rewrite(path, with_model("a/b"))

    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert left(path.parent) == ["providers.json"]
    assert path.read_text() == '{"providers": [], "defaultModel": "a/b"}'


def test_a_read_only_file_is_refused_and_left_alone(path: Path) -> None:
    path.chmod(0o444)
    with pytest.raises(ConfigError, match="it is read-only") as caught:
        providers_file.rewrite(path, with_model("a/b"))

    assert caught.value.hint == f"chmod u+w {path}"
    assert (path.read_text(), left(path.parent)) == ('{"providers": []}', ["providers.json"])


def test_the_mark_of_utf_8_is_read_over_and_stays(path: Path) -> None:
    path.write_text('{"providers": []}', encoding="utf-8-sig")
    assert providers_file.read(path) == '{"providers": []}'

    providers_file.rewrite(path, with_model("a/b"))

    assert path.read_bytes() == b'\xef\xbb\xbf{"providers": [], "defaultModel": "a/b"}'


@pytest.mark.parametrize("relative", [False, True])
def test_a_symbolic_link_stays_one(path: Path, tmp_path: Path, relative: bool) -> None:
    link, again = tmp_path / "link.json", tmp_path / "again.json"
    link.symlink_to("real/providers.json" if relative else path)
    again.symlink_to(link)

    providers_file.rewrite(again, with_model("a/b"))

    assert (again.is_symlink(), link.is_symlink(), path.is_symlink()) == (True, True, False)
    assert "a/b" in path.read_text()


def test_a_link_to_a_file_that_is_not_there_yet_makes_it(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to("later.json")

    providers_file.rewrite(link, with_model("a/b"))

    assert link.is_symlink()
    assert "a/b" in (tmp_path / "later.json").read_text()


def test_an_edit_that_changes_nothing_writes_nothing(path: Path) -> None:
    before = path.stat().st_ino

    providers_file.rewrite(path, lambda text: text)

    assert path.stat().st_ino == before


def test_a_refused_edit_leaves_file_and_folder_alone(path: Path) -> None:
    with pytest.raises(ConfigError):
        providers_file.rewrite(path, lambda text: set_value(text, "theme", 1, "W"))

    assert (path.read_text(), left(path.parent)) == ('{"providers": []}', ["providers.json"])


def test_who_saves_without_asking_is_noticed_and_not_overwritten(path: Path) -> None:
    """An editor takes no turn; its text is what the edit is then made on."""
    calls = []

    def edit(text: str) -> str:
        calls.append(text)
        if len(calls) == 1:
            path.write_text('{"providers": ["k://h#late"]}')
        return str(set_value(text, "defaultModel", "a/b", "W"))

    providers_file.rewrite(path, edit)

    assert len(calls) == 2
    assert path.read_text() == '{"providers": ["k://h#late"], "defaultModel": "a/b"}'


def test_who_saves_without_end_wins(path: Path) -> None:
    def edit(text: str) -> str:
        path.write_text(f"{path.read_text()} ")
        return str(set_value(text, "defaultModel", "a/b", "W"))

    with pytest.raises(BackendBusyError):
        providers_file.rewrite(path, edit)
    assert left(path.parent) == ["providers.json"]


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_what_cannot_be_read_is_not_written(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "p.json"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"p\.json"):
        providers_file.rewrite(path, with_model("a/b"))


def test_links_that_go_round_are_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises(ConfigError, match=r"cannot be (read|written)"):
        providers_file.rewrite(tmp_path / "a", with_model("a/b"))


def test_threads_and_processes_that_add_at_once_lose_nothing(path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from modelbay.config_edit import add_provider\n"
        "from modelbay_cli import providers_file\n"
        "for n in range(15):\n"
        "    entry = {'id': f'{sys.argv[2]}-{n}', 'kind': 'k'}\n"
        "    providers_file.rewrite(\n"
        "        Path(sys.argv[1]), lambda text: add_provider(text, entry, 'W'))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(path), f"p{n}"]) for n in range(3)
    ]

    def add() -> None:
        for n in range(15):
            entry: Any = {"id": f"thread-{n}", "kind": "k"}
            providers_file.rewrite(path, lambda text, e=entry: add_provider(text, e, "W"))  # type: ignore[misc]

    thread = threading.Thread(target=add)
    thread.start()
    thread.join()
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]

    ids = [one["id"] for one in json.loads(path.read_text())["providers"]]
    wanted = {f"{who}-{n}" for who in ("p0", "p1", "p2", "thread") for n in range(15)}
    assert (len(ids), set(ids)) == (60, wanted)
    assert left(path.parent) == ["providers.json"]
