"""Mirrors modelbay/testing/recording/recorder.py: relays over real sockets, and their files."""

import asyncio
import base64
import gzip
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from pydantic import SecretStr

from cli.lab_server import CERTIFICATES, Lab
from modelbay.errors import ConfigError
from modelbay.models.provider import ProviderConfig
from modelbay.testing import Exchange, Fault, Recorder, Simulator
from modelbay.testing.recording import (
    RecordedAnswer,
    RecordedBody,
    RecordedExchange,
    RecordedPiece,
    RecordedRequest,
    read_folder,
)

Answer = tuple[int, dict[str, str], bytes]


class Server(Simulator):
    """Answers in a few ways."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

        @self.route("POST", "/echo/{rest...}")
        async def echo(exchange: Exchange) -> None:
            seen = json.dumps({"at": exchange.request.target, **exchange.request.headers})
            exchange.headers.append(("Set-Cookie", "crumb=cookie-from-server"))
            exchange.headers.append(("X-Note", "kept"))
            await exchange.send(exchange.request.body + seen.encode(), content_type="text/plain")

        @self.route("GET", "/two")
        async def two(exchange: Exchange) -> None:
            await exchange.start_stream("text/event-stream")
            await exchange.sse({"n": 1})
            await exchange.wait_for(self.gate)
            await exchange.sse({"n": 2})

        @self.route("GET", "/packed")
        async def packed(exchange: Exchange) -> None:
            data = gzip.compress(b"anything")
            await exchange.send(data, 200, "text/plain", [("Content-Encoding", "gzip")])

        @self.route("GET", "/bytes")
        async def some(exchange: Exchange) -> None:
            await exchange.send(b"\xff\x00", content_type="application/octet-stream")

        @self.route("DELETE", "/it")
        async def delete(exchange: Exchange) -> None:
            await exchange.send(b"", 204)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def desk(url: str, **more: object) -> ProviderConfig:
    return ProviderConfig.model_validate({"id": "desk", "kind": "any", "base_url": url, **more})


def open_request(
    url: str, method: str, path: str, body: bytes | None = None, **headers: str
) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=5)
    connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    return connection


def ask(url: str, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    with closing(open_request(url, method, path, body, **headers)) as connection:
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, response.read()


# what is written


def test_an_exchange_is_written_whole(server: Server, tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        url = recorder.relay(desk(f"{server.base_url}/echo", label="Sam's", apiKeyEnv="A_KEY"))
        status, _, body = ask(url, "POST", "/echo/a%2Fb?x=1", b'{"n":1}', Accept="*/*")

    [found] = read_folder(tmp_path)
    assert found.answer is not None
    assert (status, body) == (200, found.answer.body)
    assert json.loads(body[7:])["host"] == f"127.0.0.1:{server.port}"
    assert found == RecordedExchange(
        number=1,
        provider={
            "id": "desk",
            "kind": "any",
            "label": "Sam's",
            "baseUrl": f"{server.base_url}/echo",
        },
        request=RecordedRequest(
            method="POST",
            target="/echo/a%2Fb?x=1",
            headers={"accept-encoding": "identity", "accept": "*/*"},
            body=RecordedBody(is_json=True, value={"n": 1}),
        ),
        answer=RecordedAnswer(
            status=200,
            headers=["set-cookie: ***", "x-note: kept", "content-type: text/plain"],
            pieces=[RecordedPiece(text=body.decode())],
        ),
    )


def test_files_are_numbered_for_the_user_alone_and_whole(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "recording"
    for _ in range(2):
        with Recorder(folder) as recorder:
            url = recorder.relay(desk(server.base_url))
            ask(url, "GET", "/bytes")
            ask(url, "DELETE", "/it?why=not")

    assert {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {
        "0001-desk-get-bytes.json": "0o600",
        "0002-desk-delete-it.json": "0o600",
        "0003-desk-get-bytes.json": "0o600",
        "0004-desk-delete-it.json": "0o600",
    }
    assert oct(folder.stat().st_mode & 0o777) == "0o700"


def test_a_file_that_cannot_be_written_is_a_problem_and_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with Recorder(tmp_path) as recorder:
        url = recorder.relay(desk(server.base_url))
        monkeypatch.setattr(Path, "replace", full)
        ask(url, "GET", "/bytes")

    assert [str(problem) for problem in recorder.problems] == ["[Errno 28] No space left on device"]
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_text_are_kept(server: Server, tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        ask(recorder.relay(desk(server.base_url)), "GET", "/bytes")

    [found] = read_folder(tmp_path)
    assert found.answer is not None
    assert (found.answer.pieces, found.answer.body) == (
        [RecordedPiece(base64="/wA=")],
        b"\xff\x00",
    )


def test_what_comes_compressed_is_passed_on_and_not_recorded(
    server: Server, tmp_path: Path
) -> None:
    with Recorder(tmp_path) as recorder:
        url = recorder.relay(desk(server.base_url))
        _, headers, body = ask(url, "GET", "/packed", Accept_Encoding="gzip")
        ask(url, "POST", "/echo/x", gzip.compress(b"a"), Content_Encoding="gzip")

    packed, echoed = read_folder(tmp_path)
    assert packed.answer is not None
    assert (headers["content-encoding"], gzip.decompress(body)) == ("gzip", b"anything")
    assert (packed.answer.pieces, packed.answer.omitted) == ([], "it is encoded as gzip")
    assert echoed.request.body == RecordedBody(omitted="it is encoded as gzip")


# how it is passed on


def test_each_piece_is_passed_on_when_it_comes(server: Server, tmp_path: Path) -> None:
    ticks = iter(range(100))
    with Recorder(tmp_path, times=True, clock=lambda: next(ticks) / 2) as recorder:
        url = recorder.relay(desk(server.base_url))
        with closing(open_request(url, "GET", "/two")) as connection:
            response = connection.getresponse()
            first = response.readline()  # the second cannot have been sent
            server.call(server.gate.set)
            rest = response.read()

    [found] = read_folder(tmp_path)
    assert found.answer is not None
    assert (first, rest) == (b'data: {"n":1}\n', b'\ndata: {"n":2}\n\n')
    assert found.answer.pieces == [
        RecordedPiece(text='data: {"n":1}\n\n', at_s=0.5),
        RecordedPiece(text='data: {"n":2}\n\n', at_s=1.0),
    ]


def test_an_answer_without_a_body_stays_one(server: Server, tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        url = recorder.relay(desk(server.base_url))
        with closing(http.client.HTTPConnection("127.0.0.1", urlsplit(url).port)) as connection:
            seen: list[object] = []
            for method, path in (("DELETE", "/it"), ("HEAD", "/bytes"), ("GET", "/bytes")):
                connection.request(method, path)
                response = connection.getresponse()
                seen.append((response.status, response.getheader("Content-Length")))
                seen.append(response.read())

    assert seen == [(204, "0"), b"", (200, "2"), b"", (200, "2"), b"\xff\x00"]


@contextmanager
def tls_lab() -> Iterator[Lab]:
    lab = Lab(certificate="good").start()
    try:
        yield lab
    finally:
        lab.stop()


def test_a_server_behind_tls_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "ca.pem"))
    with tls_lab() as lab, Recorder(tmp_path) as recorder:
        status, _, body = ask(recorder.relay(desk(lab.url)), "GET", "/api/models")

    [found] = read_folder(tmp_path)
    assert found.answer is not None
    assert lab.url.startswith("https://")
    assert (found.end, found.answer.status, found.answer.body) == ("complete", status, body)


# how it ends


def test_a_cut_is_passed_on_and_marked(server: Server, tmp_path: Path) -> None:
    server.inject(Fault(cut_after_bytes=1))
    with Recorder(tmp_path) as recorder, pytest.raises(http.client.IncompleteRead) as caught:
        ask(recorder.relay(desk(server.base_url)), "GET", "/bytes")

    [found] = read_folder(tmp_path)
    assert found.answer is not None
    assert (caught.value.partial, found.answer.body, found.end) == (b"\xff", b"\xff", "cut")
    assert recorder.problems == []


def test_a_server_that_is_not_there_is_recorded_too(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    left = pytest.raises((http.client.RemoteDisconnected, ConnectionResetError))
    with Recorder(tmp_path) as recorder, left:
        ask(recorder.relay(desk(f"http://127.0.0.1:{port}")), "GET", "/x")

    [found] = read_folder(tmp_path)
    assert (found.answer, found.end) == (None, "refused")


def test_a_client_that_leaves_leaves_the_server_too(server: Server, tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        url = recorder.relay(desk(server.base_url))
        with closing(open_request(url, "GET", "/two")) as connection:
            connection.getresponse().readline()
        server.wait_until(lambda: server.streams_closed_by_client == 1)

    [found] = read_folder(tmp_path)
    assert found.answer is not None
    assert (found.answer.body, found.end) == (b'data: {"n":1}\n\n', "left")


def test_what_still_runs_at_the_end_is_written_as_cut(server: Server, tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        url = recorder.relay(desk(server.base_url))
        streaming = open_request(url, "GET", "/two")
        streaming.getresponse().readline()
        server.inject(Fault(hang=True))
        silent = open_request(url, "GET", "/bytes")
        server.wait_until(lambda: len(server.requests) == 2)
    streaming.close()
    silent.close()

    found = read_folder(tmp_path)
    bodies = [None if each.answer is None else each.answer.body for each in found]
    assert [each.end for each in found] == ["cut", "cut"]
    assert bodies == [b'data: {"n":1}\n\n', None]


def test_many_at_once_are_kept_apart(server: Server, tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        url = recorder.relay(desk(server.base_url))
        threads = [
            threading.Thread(target=ask, args=(url, "POST", f"/echo/{n}", b"%d:" % n))
            for n in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    found = read_folder(tmp_path)
    assert [each.number for each in found] == list(range(1, 21))
    for each in found:
        assert each.answer is not None
        n = each.request.target.rpartition("/")[2]
        assert each.answer.body.startswith(f'{n}:{{"at": "/echo/{n}"'.encode())


# secrets


def test_no_secret_of_a_session_is_written(server: Server, tmp_path: Path) -> None:
    planted = {
        "key": "sk-configured-key-0001",
        "header": "header/key+with=signs",
        "password": "p@ss word",
        "environment": "from-the-environment",
        "authorization": "of-the-program-itself",
        "cookie": "cookie-of-the-program",
        "query": "key-in-the-query",
        "member": "key-in-a-member",
        "looks": "sk-live-0123456789abcdef",
        "answer": "cookie-from-server",
    }
    config = desk(
        server.base_url.replace("://", f"://me:{quote(planted['password'])}@"),
        apiKey=planted["key"],
        headers={"X-Api-Key": planted["header"], "X-Title": "kept"},
    )
    with Recorder(tmp_path, secrets=[planted["environment"]]) as recorder:
        url = recorder.relay(config)
        known = [name for name in planted if name not in ("member", "looks", "answer")]
        spelt = " ".join(
            form
            for name in known
            for form in (
                quote(planted[name], safe=""),
                base64.b64encode(planted[name].encode()).decode(),
                base64.b64encode(b"me:" + planted[name].encode()).decode(),
                json.dumps(planted[name]),
            )
        )
        for body in (
            json.dumps({"said": f"{planted['looks']} {spelt}", "api_key": planted["member"]}),
            spelt,
        ):
            ask(
                url,
                "POST",
                f"/echo/{planted['key']}?key={planted['query']}&x={quote(planted['header'])}",
                body.encode(),
                Authorization=f"Bearer {planted['authorization']}",
                Cookie=f"session={planted['cookie']}",
                X_Other=planted["key"],
            )

    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert written.count('"end": "complete"') == 2
    assert "kept" in written
    assert len(planted) == 10
    forms = {
        form
        for value in planted.values()
        for form in (
            value,
            quote(value, safe=""),
            base64.b64encode(value.encode()).decode().rstrip("=")[:-1],
            base64.b64encode(b"me:" + value.encode()).decode().rstrip("=")[4:-1],
        )
    }
    assert {form for form in forms if form in written} == set()


def test_user_and_password_of_an_address_go_on_to_the_relay(server: Server, tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        own = server.base_url.replace("://", "://me:pass-word@") + "/v1"
        url = recorder.relay(desk(own, apiKey=SecretStr("sk-secret-0001")))
        ask(url, "DELETE", "/it")

    [found] = read_folder(tmp_path)
    assert url == f"http://me:pass-word@127.0.0.1:{urlsplit(url).port}/v1"
    assert found.provider == {
        "id": "desk",
        "kind": "any",
        "baseUrl": f"{server.base_url}/v1",
        "apiKey": "***",
    }


def test_a_provider_without_an_address_has_no_relay(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder, pytest.raises(ValueError, match="'desk' has no address"):
        recorder.relay(desk(""))


def test_what_the_user_may_not_read_is_told_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "0001-x.json").write_text('{"number": 0}')
    (tmp_path / "notes.json").write_text("not one of ours")

    with pytest.raises(ConfigError, match=r"0001-x\.json"):
        read_folder(tmp_path)
    with pytest.raises(ConfigError, match="no recorded exchanges"):
        read_folder(tmp_path / "nosuch")
