"""Mirrors modelbay_gateway/client_keys.py."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelbay.errors import ConfigError
from modelbay_gateway.client_keys import LOOK_AGAIN_S, ClientKeys, match
from pretend import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path, clock: Clock) -> ClientKeys:
    return ClientKeys(tmp_path / "data" / "gateway-keys.json", clock=clock)


def test_a_key_is_not_in_its_file_and_the_file_is_its_owners_alone(keys: ClientKeys) -> None:
    secret = keys.add("laptop", ["chat", "manage"], now=1_700_000_000)

    [stored] = json.loads(keys.path.read_text())["keys"]
    assert {name: stored[name] for name in ("name", "scopes", "created")} == {
        "name": "laptop",
        "scopes": ["chat", "manage"],
        "created": 1_700_000_000,
    }
    assert secret not in keys.path.read_text()
    assert len(secret) > 40
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


def test_a_key_is_known_by_its_hash(keys: ClientKeys) -> None:
    secret = keys.add("laptop", ["chat"], now=0)
    other = keys.add("phone", ["manage"], now=0)

    assert [key.name for key in keys.list()] == ["laptop", "phone"]
    found = [match(each, keys.list()) for each in (secret, other, secret[:-1], "", "ключ")]
    assert [key and (key.name, *key.scopes) for key in found] == [
        ("laptop", "chat"),
        ("phone", "manage"),
        None,
        None,
        None,
    ]


def test_a_running_server_sees_a_change_within_a_second(keys: ClientKeys, clock: Clock) -> None:
    assert keys.current() == ()
    keys.add("laptop", ["chat"], now=0)

    assert keys.current() == ()
    clock.now += LOOK_AGAIN_S
    assert [key.name for key in keys.current()] == ["laptop"]
    assert keys.remove("laptop")
    clock.now += LOOK_AGAIN_S
    assert keys.current() == ()


def test_a_name_is_taken_once_and_is_plain(keys: ClientKeys) -> None:
    keys.add("laptop", ["chat"], now=0)

    with pytest.raises(ConfigError, match="there is a key 'laptop' already"):
        keys.add("laptop", ["chat"], now=0)
    with pytest.raises(ConfigError, match="cannot be a key's name"):
        keys.add("my laptop", ["chat"], now=0)
    assert not keys.remove("phone")


def test_keys_that_are_made_and_removed_at_the_same_time_are_all_kept_right(
    keys: ClientKeys, clock: Clock
) -> None:
    for number in range(8):
        keys.add(f"old{number}", ["chat"], now=0)

    def change(number: int) -> bool:
        own = ClientKeys(keys.path, clock=clock)  # as another process has it
        own.add(f"new{number}", ["chat"], now=0)
        return own.remove(f"old{number}")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(change, range(8))) == [True] * 8
    assert sorted(key.name for key in keys.list()) == [f"new{number}" for number in range(8)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys": [1]}',
        '{"keys": [{"name": "a"}]}',
        '{"keys": [{"name": "a", "scopes": ["root"], "sha256": "' + "0" * 64 + '", "created": 0}]}',
        '{"keys": [{"name": "a", "scopes": ["chat"], "sha256": "no hash", "created": 0}]}',
    ],
)
def test_a_damaged_file_lets_nobody_in(keys: ClientKeys, text: str) -> None:
    keys.path.parent.mkdir()
    keys.path.write_text(text)
    keys.path.chmod(0o600)

    with pytest.raises(ConfigError, match="is damaged"):
        keys.current()


def test_a_file_that_others_may_read_is_refused(keys: ClientKeys) -> None:
    keys.add("laptop", ["chat"], now=0)
    keys.path.chmod(0o640)

    with pytest.raises(ConfigError, match="others on this machine may read"):
        keys.list()
