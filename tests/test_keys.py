"""Mirrors modelbay/keys.py."""

import json
from pathlib import Path

import pytest

from modelbay.errors import ConfigError
from modelbay.keys import KeyStore, Place, StoredKey, origin


class Ring:
    """A keyring in memory."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service_name: str, username: str) -> str | None:
        return self.held.get((service_name, username))

    def set_password(self, service_name: str, username: str, password: str) -> None:
        self.held[service_name, username] = password

    def delete_password(self, service_name: str, username: str) -> None:
        del self.held[service_name, username]


def never() -> Ring:
    raise AssertionError("the keyring was asked")


def locked() -> Ring:
    raise RuntimeError("sk-secret is locked")


def test_a_key_in_the_file_is_kept_with_its_host_and_readable_by_its_owner_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data" / "keys.json"
    keys = KeyStore(path, never)
    keys.set("desk", "sk-1", place="file", host="https://api.acme.test")

    assert KeyStore(path, never).get("desk") == "sk-1"
    assert keys.list() == (StoredKey("desk", "file", "https://api.acme.test"),)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [file.name for file in path.parent.iterdir()] == ["keys.json"]


def test_a_key_in_the_keyring_is_nowhere_else(tmp_path: Path) -> None:
    ring = Ring()
    keys = KeyStore(tmp_path / "keys.json", lambda: ring)
    keys.set("ACME_KEY", "sk-1", place="keyring")

    assert keys.get("ACME_KEY") == "sk-1"
    assert keys.list() == (StoredKey("ACME_KEY", "keyring"),)
    assert "sk-1" not in keys.path.read_text()
    assert ring.held == {("modelbay", "ACME_KEY"): "sk-1"}


def test_listing_reads_no_keyring(tmp_path: Path) -> None:
    KeyStore(tmp_path / "keys.json", Ring).set("desk", "sk-1", place="keyring")

    assert KeyStore(tmp_path / "keys.json", never).list() == (StoredKey("desk", "keyring"),)


def test_a_key_that_moves_leaves_its_old_place(tmp_path: Path) -> None:
    ring = Ring()
    keys = KeyStore(tmp_path / "keys.json", lambda: ring)
    keys.set("desk", "one", place="keyring")
    keys.set("desk", "two", place="file")
    assert (keys.get("desk"), ring.held) == ("two", {})

    keys.set("desk", "three", place="keyring")
    assert (keys.get("desk"), "two" in keys.path.read_text()) == ("three", False)


@pytest.mark.parametrize("place", ["file", "keyring"])
def test_a_key_can_be_forgotten(tmp_path: Path, place: str) -> None:
    ring = Ring()
    keys = KeyStore(tmp_path / "keys.json", lambda: ring)
    keys.set("desk", "sk-1", place="file" if place == "file" else "keyring")

    assert (keys.remove("desk"), keys.get("desk"), ring.held) == (True, None, {})
    assert keys.remove("desk") is False


def test_nothing_stored_is_normal(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "none" / "keys.json", never)

    assert (keys.list(), keys.get("desk"), keys.remove("desk")) == ((), None, False)
    assert not keys.path.parent.exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"keys": []}', '{"keys": {"a": "sk-secret"}}', '{"keys": {"a": {"key":'],
)
def test_a_damaged_file_is_told_without_its_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(ConfigError, match="is damaged") as raised:
        KeyStore(path, never).list()

    assert "sk-secret" not in f"{raised.value!r}{raised.value.hint}"


def test_a_file_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": {}}))
    path.chmod(0o644)

    with pytest.raises(ConfigError, match="others on this machine") as raised:
        KeyStore(path, never).get("desk")

    assert raised.value.hint == f"chmod 600 {path}"


def test_a_keyring_that_does_not_answer_is_a_typed_error_and_leaves_the_file_alone(
    tmp_path: Path,
) -> None:
    keys = KeyStore(tmp_path / "keys.json", locked)
    with pytest.raises(ConfigError, match=r"does not answer \(RuntimeError\)") as raised:
        keys.set("desk", "sk-1", place="keyring")

    assert "sk-secret" not in str(raised.value)
    assert raised.value.hint is not None
    assert "--file" in raised.value.hint
    assert keys.list() == ()


def test_a_folder_that_cannot_be_written_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    keys = KeyStore(tmp_path / "taken" / "keys.json", never)

    with pytest.raises(ConfigError, match="cannot be"):
        keys.set("desk", "sk-1", place="file")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://api.acme.test/v1", "https://api.acme.test"),
        ("https://api.acme.test:443", "https://api.acme.test"),
        ("http://API.acme.test:80/", "http://api.acme.test"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        ("https://me:pass@desk:8443?q=1", "https://desk:8443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://desk:99999", "http://desk:99999"),
        ("", ""),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, told: str) -> None:
    assert origin(url) == told


@pytest.mark.parametrize("place", ["file", "keyring"])
def test_a_key_can_be_bound_later(tmp_path: Path, place: Place) -> None:
    ring = Ring()
    keys = KeyStore(tmp_path / "keys.json", lambda: ring)
    keys.set("ACME_KEY", "sk-1", place=place)
    keys.bind("ACME_KEY", "https://api.acme.test")
    keys.bind("nobody", "https://api.acme.test")

    assert keys.list() == (StoredKey("ACME_KEY", place, "https://api.acme.test"),)
    assert keys.get("ACME_KEY") == "sk-1"


def test_a_key_that_was_deleted_in_the_keyring_itself_can_be_forgotten_and_moved(
    tmp_path: Path,
) -> None:
    ring = Ring()
    keys = KeyStore(tmp_path / "keys.json", lambda: ring)
    for name in ("desk", "lab"):
        keys.set(name, "sk-1", place="keyring")
    ring.held.clear()

    assert keys.remove("desk") is True
    keys.set("lab", "sk-2", place="file")
    assert (keys.list(), keys.get("lab")) == ((StoredKey("lab", "file"),), "sk-2")


def test_a_key_is_forgotten_here_though_the_keyring_does_not_answer(tmp_path: Path) -> None:
    KeyStore(tmp_path / "keys.json", Ring).set("desk", "sk-1", place="keyring")
    keys = KeyStore(tmp_path / "keys.json", locked)

    with pytest.raises(ConfigError, match="may still be in the system's keyring") as raised:
        keys.remove("desk")

    assert (keys.list(), "sk-secret" in str(raised.value)) == ((), False)
    assert raised.value.hint == "delete 'desk' of 'modelbay' in the keyring"
