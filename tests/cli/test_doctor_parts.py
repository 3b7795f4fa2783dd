"""Mirrors the modules of diagnosis/: what the seeded misconfigurations do not reach."""

import asyncio
import errno
import re
import socket
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cli import test_doctor_addresses, test_doctor_files, test_doctor_servers
from cli.bench import free_port
from modelbay import ModelbayError, ProviderConfig
from modelbay.config import Locations
from modelbay.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    ConfigError,
    PluginContractError,
    PluginLoadError,
    ProtocolError,
    QuotaExceededError,
    RateLimitedError,
    StreamInterruptedError,
)
from modelbay_cli.diagnosis.cause import Patient, cause
from modelbay_cli.diagnosis.codes import CODES, GROUPS, as_markdown
from modelbay_cli.diagnosis.finding import Finding
from modelbay_cli.diagnosis.folders import look_at_folders
from modelbay_cli.diagnosis.network import Look, Outcome, _read, look, proxy_for
from modelbay_cli.diagnosis.variants import address_variant, variants

ROOT = Path(__file__).parents[2]
DESK = ProviderConfig(id="desk", kind="lab", base_url="http://127.0.0.1:1")


# --- codes ----------------------------------------------------------------------------------------


def test_the_page_has_the_tables_that_the_code_has() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()

    assert page.partition("## Every code\n\n")[2] == as_markdown().rstrip() + "\n"


def test_every_code_stands_in_one_group_and_is_used() -> None:
    grouped = [code for group in GROUPS.values() for code in group]
    sources = "".join(
        path.read_text()
        for folder in ("diagnosis", "installing")
        for path in (ROOT / "cli/src/modelbay_cli" / folder).glob("*.py")
        if path.name != "codes.py"
    )

    assert len(grouped) == len(set(grouped)) == len(CODES) >= 30
    assert [code for code in CODES if f'"{code}"' not in sources] == []
    assert [code for code in CODES if not re.fullmatch(r"[a-z][a-z0-9_]+", code)] == []


def test_a_finding_of_no_known_code_cannot_be_made() -> None:
    with pytest.raises(AssertionError):
        Finding("error", "nonsense", "s", "m", "f")


def test_at_least_thirty_codes_have_been_tried_with_their_fixes() -> None:
    cases = [*test_doctor_addresses.CASES, *test_doctor_files.CASES, *test_doctor_servers.CASES]
    codes = {name.partition(":")[0] for name in cases}

    assert len(codes) >= 30
    assert codes <= set(CODES)


# --- cause ----------------------------------------------------------------------------------------

CAUSES: list[tuple[ModelbayError, Look | None, str, str]] = [
    (ConfigError("X is wrong"), None, "wrong_value", CODES["wrong_value"].fix),
    (ConfigError("the system's keyring does not answer (X)", hint="do"), None,
     "keyring_silent", "do"),
    (PluginContractError("broke", hint="report it"), None, "plugin_contract", "report it"),
    (PluginLoadError("plugin 'x' lacks manage", hint="add"), None, "plugin_mismatch", "add"),
    (PluginLoadError("plugin 'x' cannot be imported: E"), None, "plugin_broken",
     CODES["plugin_broken"].fix),
    (RateLimitedError("slow down"), None, "rate_limited", "modelbay doctor   # again in a minute"),
    (QuotaExceededError("empty", hint="pay"), None, "quota_exceeded", "pay"),
    (AuthenticationError("no"), Look("answered"), "key_missing", "modelbay keys set desk"),
    (BackendUnreachableError("no"), Look("unreachable"), "host_unreachable", "ping 127.0.0.1"),
    (BackendUnreachableError("no"), None, "host_unreachable", "ping 127.0.0.1"),
    (BackendUnreachableError("no"), Look("no_tls"), "tls_failed", "look at the server's own log"),
    (BackendTimeoutError("no"), None, "server_hung",
     "modelbay doctor   # after you have stopped the server and started it again"),
    (StreamInterruptedError("no"), None, "connection_closed", "look at the server's own log"),
    (BackendUnreachableError("no"), Look("untrusted", "soon", "not_yet_valid"),
     "certificate_not_yet_valid", "timedatectl set-ntp true"),
    (BackendError("no", status=404), Look("answered"), "endpoint_missing",
     "modelbay providers set desk baseUrl http://HOST:PORT"),
    (BackendError("no", status=502), Look("answered"), "server_failed",
     "look at the server's own log"),
    (ProtocolError("the answer is larger than 5 bytes"), None, "answer_unusable",
     CODES["answer_unusable"].fix),
    (ProtocolError("redirects to https://h:2/x; never", status=302), None, "redirect",
     "modelbay providers set desk baseUrl https://h:2"),
    (BackendError("what", hint="that"), Look("answered"), "other", "that"),
]  # fmt: skip


@pytest.mark.parametrize(("problem", "seen", "code", "fix"), CAUSES)
def test_a_problem_and_a_look_are_one_diagnosis(
    problem: ModelbayError, seen: Look | None, code: str, fix: str
) -> None:
    found = cause(Patient(DESK, problem, "error", look=seen))

    assert (found.code, found.fix, found.subject) == (code, fix, "provider desk")
    assert found.error == problem.code


def test_a_variable_that_its_plugin_cannot_read_is_told_as_the_plugin_tells_it() -> None:
    proposed = ProviderConfig(id="lab", kind="lab", source="environment")
    problem = ConfigError("no address", where="LAB_HOST", hint="export LAB_HOST=http://h")

    found = cause(Patient(proposed, problem, "error"))

    assert (found.code, found.fix) == ("variable_malformed", "export LAB_HOST=http://h")


def test_a_key_in_the_file_is_mended_in_the_file() -> None:
    config = ProviderConfig.model_validate({"id": "desk", "kind": "lab", "apiKey": "s3cret"})

    found = cause(Patient(config, AuthenticationError("no"), "error", key_in_file=True))

    assert (found.code, found.fix) == ("key_refused", "modelbay providers set desk apiKey KEY")


# --- variants -------------------------------------------------------------------------------------


def test_a_key_goes_to_no_other_address() -> None:
    config = ProviderConfig.model_validate(
        {
            "id": "desk",
            "kind": "lab",
            "baseUrl": "https://127.0.0.1:1/v1",
            "apiKey": "s3cret",
            "apiKeyEnv": "DESK_KEY",
            "headers": {"X": "s3cret"},
        }
    )
    usual = [ProviderConfig(id="lab", kind="lab", base_url="http://127.0.0.1:2")]

    tried = variants(
        config, BackendTimeoutError("no"), usual, [], {}, outcome="answered", filed=True
    )

    assert {v.code for v in tried if v.config.base_url == config.base_url} == {"server_slow"}
    others = [v.config for v in tried if v.config.base_url != config.base_url]
    assert len(others) >= 4
    assert {(c.api_key, c.api_key_env, tuple(c.headers)) for c in others} == {(None, None, ())}


@pytest.mark.parametrize(
    ("outcome", "tried"),
    [
        ("answered", {"address_with_path", "plain_on_tls_port", "ipv6_only"}),
        ("closed", {"address_with_path", "plain_on_tls_port", "ipv6_only"}),
        ("silent", {"address_with_path", "ipv6_only"}),
        ("refused", {"ipv6_only"}),
    ],
)
def test_only_what_may_help_is_tried(outcome: Outcome, tried: set[str]) -> None:
    config = DESK.model_copy(update={"base_url": "http://127.0.0.1:1/v1"})
    found = variants(config, BackendUnreachableError("no"), [], [], {}, outcome=outcome, filed=True)

    assert {variant.code for variant in found} == tried


def test_an_address_that_is_refused_its_key_needs_no_other_address() -> None:
    assert (
        variants(DESK, AuthenticationError("no"), [], [], {}, outcome="answered", filed=True) == []
    )


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://0.0.0.0:1", "http://127.0.0.1:1"),
        ("http://[::]:1/x", "http://[::1]:1/x"),
        ("https://0.0.0.0", "https://127.0.0.1"),
        ("http://10.0.0.1:1", None),
        ("http://desk:1", None),
    ],
)
def test_an_address_only_servers_have_means_loopback(url: str, meant: str | None) -> None:
    found = address_variant(ProviderConfig(id="a", kind="k", base_url=url))

    assert (None if found is None else found.config.base_url) == meant


# --- network --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "seen"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x16", Look("answered")),
        (b"HTTP/1.1 200 OK\r\n\r\n", Look("answered", is_http=True, status=200)),
        (b"HTTP/1.1\r\nDate: never\r\n\r\n", Look("answered", is_http=True)),
        (
            b"HTTP/1.0 302 Found\r\nLOCATION: /x\r\n"
            b"Date: Thu, 01 Jan 1970 01:00:00 GMT\r\n\r\nbody",
            Look("answered", is_http=True, status=302, location="/x", ahead_s=3000.0),
        ),
    ],
)
def test_the_head_of_an_answer_is_read(head: bytes, seen: Look) -> None:
    assert _read(head, now=600.0) == seen


@pytest.mark.anyio
async def test_a_host_that_cannot_be_a_host_is_not_resolved() -> None:
    found = await look(f"http://{'a' * 70}.invalid:1")

    assert found.outcome == "unresolved"


@pytest.mark.anyio
async def test_nobody_at_any_address_of_a_name_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """asyncio tells of several refusals in one error that is no ConnectionRefusedError."""
    loop = asyncio.get_running_loop()
    port = free_port()

    async def both(*_: Any, **__: Any) -> Any:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
            for host in ("127.0.0.1", "127.0.0.2")
        ]

    monkeypatch.setattr(loop, "getaddrinfo", both)

    assert (await look(f"http://two.test:{port}")).outcome == "refused"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("url", "env", "proxy"),
    [
        ("http://h:1", {}, ""),
        ("http://h:1", {"HTTP_PROXY": "http://p:2"}, "http://p:2"),
        ("http://h:1", {"HTTPS_PROXY": "http://p:2"}, ""),
        ("https://h:1", {"all_proxy": "http://p:2"}, "http://p:2"),
        ("http://127.0.0.1:1", {"HTTP_PROXY": "http://p:2"}, ""),
        ("http://localhost:1", {"ALL_PROXY": "http://p:2"}, ""),
        ("http://h.lan:1", {"http_proxy": "http://p:2", "NO_PROXY": "x,.lan"}, ""),
        ("http://h:1", {"http_proxy": "http://p:2", "no_proxy": "*"}, ""),
    ],
)
def test_the_proxy_is_the_one_the_host_would_use(url: str, env: dict[str, str], proxy: str) -> None:
    assert proxy_for(url, env) == proxy


# --- folders --------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path) -> Locations:
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    cache.mkdir()
    return Locations(tmp_path / "p.json", "", data, "", cache, "")


def codes(found: list[Finding]) -> list[tuple[str, str, str]]:
    return [(one.level, one.code, one.subject) for one in found]


def test_good_folders_and_missing_ones_are_no_finding(places: Locations, tmp_path: Path) -> None:
    missing = Locations(tmp_path, "", tmp_path / "no" / "data", "", tmp_path / "no" / "c", "")

    assert look_at_folders(places) == look_at_folders(missing) == []
    assert not (tmp_path / "no").exists()
    assert list(places.data.iterdir()) == []


def test_hardly_any_room_is_a_warning(places: Locations) -> None:
    def room(folder: Path) -> int:
        return 7_000_000 if folder == places.data else 10**12

    [found] = look_at_folders(places, room=room)

    assert (found.level, found.code, found.message) == (
        "warning",
        "disk_full",
        f"6835 kB are left where {places.data} is",
    )
    assert found.fix.startswith(f"df -h {places.data}")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
        (errno.EROFS, "folder_read_only"),
        (errno.EACCES, "folder_unwritable"),
    ],
)
def test_a_folder_that_cannot_be_written_says_why(
    places: Locations, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    """A disk cannot be filled in a test, nor root be refused: the system's answer is given."""

    def refuse(**_: Any) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)

    assert codes(look_at_folders(places)) == [
        ("error", code, "data folder"),
        ("warning", code, "cache folder"),
    ]


def test_a_good_database_is_no_finding_and_is_not_changed(places: Locations) -> None:
    path = places.data / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE one (two)")
    connection.commit()
    connection.close()
    before = path.read_bytes()

    assert look_at_folders(places) == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all, but long enough" * 100, b"SQLite fo"])
def test_what_is_no_database_is_a_finding(places: Locations, content: bytes) -> None:
    (places.data / "state.db").write_bytes(content)

    assert codes(look_at_folders(places)) == [("error", "state_damaged", "state")]
