"""Mirrors modelbay/state/places.py: which store a URL names."""

import subprocess
import sys
from pathlib import Path

import pytest

from modelbay.errors import ConfigError
from modelbay.state import StateStore, open_store


@pytest.mark.parametrize(
    ("place", "where"),
    [
        ("sqlite:///var/lib/state.db", "/var/lib/state.db"),
        ("sqlite:////var/lib/state.db", "/var/lib/state.db"),
        ("SQLite:///a%20b/c%3Fd.db", "/a b/c?d.db"),
        ("sqlite:///C:/data/state.db", "C:/data/state.db"),
        ("sqlite:///:memory:", ":memory:"),
        ("sqlite://", ":memory:"),
        (":memory:", ":memory:"),
        ("/var/lib/state.db", "/var/lib/state.db"),
        (Path("/var/lib/a:/b.db"), "/var/lib/a:/b.db"),
    ],
)
def test_a_url_or_a_path_names_the_store(place: Path | str, where: str) -> None:
    store: StateStore = open_store(place)

    assert store.where == where


def test_a_relative_path_is_of_the_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("state.db")

    assert store.where == str(tmp_path / "state.db")
    assert list(tmp_path.iterdir()) == []  # opening a store opens no file


@pytest.mark.parametrize(
    "url", ["sqlite://home/state.db", "sqlite:///a.db?mode=ro", "sqlite:///a#b", "sqlite://[x"]
)
def test_a_sqlite_url_with_more_than_a_path_is_refused_with_a_hint(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        open_store(url)

    assert "sqlite:///" in (raised.value.hint or "")


def test_the_folder_of_a_user_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="a user there is not"):
        open_store("~no-such-user-here/state.db")


def test_an_empty_place_is_refused() -> None:
    with pytest.raises(ConfigError, match="empty"):
        open_store("")


def test_an_unknown_scheme_is_refused_without_telling_the_url() -> None:
    with pytest.raises(ConfigError) as raised:
        open_store("postgres://user:planted-secret@db/x")

    assert str(raised.value) == "no state store for URLs of 'postgres' (known: sqlite)"
    assert "planted-secret" not in repr(raised.value) + (raised.value.hint or "")


@pytest.mark.anyio
async def test_times_are_of_the_clock_that_is_passed_in() -> None:
    async with open_store(":memory:", clock=lambda: 7.0) as store:
        assert (await store.create_conversation("c")).created_at == 7.0


def test_the_host_does_without_it_until_it_is_asked_for() -> None:
    """Nothing of a host's import brings the store, or SQLite, with it."""
    code = "import sys, modelbay.host.host; print([m for m in sys.modules if 'sqlite' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )

    assert done.stdout == "[]\n"
