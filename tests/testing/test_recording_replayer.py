"""Mirrors modelbay/testing/recording/replayer.py and comparison.py, over real sockets."""

import http.client
import json
import socket
import time
from collections.abc import Sequence
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.errors import ConfigError
from modelbay.models.frozen import JsonObject
from modelbay.testing import Replay, Replayer, Request
from modelbay.testing.recording import (
    RecordedAnswer,
    RecordedBody,
    RecordedExchange,
    RecordedPiece,
    RecordedRequest,
)
from modelbay.testing.recording.comparison import differences
from modelbay.testing.recording.form import End


def exchange(
    number: int,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    pieces: Sequence[str] = ("yes",),
    status: int = 200,
    provider: str = "desk",
    end: End = "complete",
    times: Sequence[float] = (),
) -> RecordedExchange:
    entry: JsonObject = {"id": provider, "kind": "any", "baseUrl": "http://host:1234/v1"}
    at = [*times, *[None] * (len(pieces) - len(times))]
    return RecordedExchange(
        number=number,
        provider=entry,
        request=RecordedRequest(
            method=method,
            target=target,
            body=RecordedBody.of(body) if body else RecordedBody(),
        ),
        answer=RecordedAnswer(
            status=status,
            headers=["content-type: text/plain", "x-note: kept"],
            pieces=[RecordedPiece(text=t, at_s=s) for t, s in zip(pieces, at, strict=True)],
        ),
        end=end,
    )


def ask(server: Replayer, method: str, target: str, body: bytes | None = None) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
        connection.request(method, target, body)
        response = connection.getresponse()
        return response.status, response.read().decode()


def refusal(answer: tuple[int, str]) -> str:
    status, body = answer
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (501, "not_recorded")
    return str(error["message"])


# which answer


def test_json_counts_by_its_value_and_a_query_by_its_fields() -> None:
    recorded = exchange(1, "POST", "/v1/a%2Fb?x=1&y=%20", b'{"a":1,"b":[{"c":"d"}]}')
    with Replayer([recorded]) as server:
        answer = ask(server, "POST", "/v1/a%2fb?y=+&x=1", b'{ "b": [{"c": "d"}], "a": 1.0 }')

    assert answer == (200, "yes")
    assert (server.misses, server.served) == ([], [1])


def test_what_was_asked_again_is_answered_in_order_and_then_with_the_last() -> None:
    recorded = [
        exchange(1, "GET", "/a", pieces=["one"]),
        exchange(2, "GET", "/b", pieces=["other"]),
        exchange(3, "GET", "/a", pieces=["two"]),
    ]
    with Replayer(recorded) as server:
        answers = [ask(server, "GET", "/a")[1] for _ in range(4)]

    assert answers == ["one", "two", "two", "two"]
    assert server.served == [1, 3]


def test_a_blot_stands_for_whatever_was_there() -> None:
    recorded = exchange(1, "POST", "/u/***/x?key=***", b'{"said":"my key is ***!"}')
    with Replayer([recorded]) as server:
        found = ask(server, "POST", "/u/me/x?key=secret", b'{"said":"my key is abc!"}')
        other = ask(server, "POST", "/u/me/x?key=secret", b'{"said":"my cat is abc!"}')

    assert found == (200, "yes")
    assert refusal(other).endswith("these differ: body /said")


@pytest.mark.parametrize(
    ("method", "target", "body", "says"),
    [
        ("GET", "/v1/chat?a=1", b"", "nearest is exchange 1, and these differ: method (recorded: "),
        ("POST", "/v1/chat?a=2&b=", b'{"m":[1,{"x~/y":true}]}', "differ: query a, query b"),
        ("POST", "/v1/chat?a=1", b'{"m":[1,{"x~/y":1}],"s":1}', "body /m/1/x~0~1y, body /s"),
        ("POST", "/v1/chat?a=1", b'{"m":[1]}', "body /m"),
        ("POST", "/v1/chat?a=1", b"[", "differ: body /"),
        ("GET", "/v1/model", b"", "exchange 2, and these differ: path (recorded: /v1/models)"),
        ("PUT", "/text", b"other", "exchange 3, and these differ: body /"),
    ],
)
def test_a_miss_names_what_differs_from_the_nearest(
    method: str, target: str, body: bytes, says: str
) -> None:
    recorded = [
        exchange(1, "POST", "/v1/chat?a=1", b'{"m":[1,{"x~/y":true}]}'),
        exchange(2, "GET", "/v1/models"),
        exchange(3, "PUT", "/text", b"text"),
    ]
    with Replayer(recorded) as server:
        message = refusal(ask(server, method, target, body))

    assert says in message
    assert [str(miss) for miss in server.misses] == [message]


def test_a_blot_stands_for_a_number_and_a_list_too() -> None:
    recorded = exchange(1, "POST", "/a", b'{"pwd":"***","keys":["***"]}')
    with Replayer([recorded]) as server:
        assert ask(server, "POST", "/a", b'{"pwd":1234,"keys":["a","b"]}') == (200, "yes")
        assert refusal(ask(server, "POST", "/a", b'{"pwd":1,"keys":5}')).endswith("body /keys")


def test_a_miss_shows_nothing_of_what_was_sent_or_recorded() -> None:
    recorded = exchange(1, "POST", "/a?q=recorded-query", b'{"x":"recorded-text"}')
    with Replayer([recorded]) as server:
        message = refusal(ask(server, "POST", "/a?q=sent-query", b'{"x":"sent-text"}'))

    assert message == (
        "POST /a was not recorded; the nearest is exchange 1, and these differ: query q, body /x"
    )


def test_many_differences_are_counted() -> None:
    recorded = exchange(1, "POST", "/a", json.dumps(dict.fromkeys("abcdefgh", 1)).encode())
    with Replayer([recorded]) as server:
        assert refusal(ask(server, "POST", "/a", b"{}")).endswith("body /e, and 3 more")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab/~", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner),
    max_leaves=12,
)


@given(recorded=JSON, sent=JSON)
def test_two_bodies_differ_exactly_where_their_values_do(recorded: object, sent: object) -> None:
    request = Request("POST", "/", "/", "/", {}, {}, json.dumps(sent, indent=1).encode())
    body = RecordedBody.of(json.dumps(recorded).encode())

    found = differences(RecordedRequest(method="POST", target="/", body=body), request)

    same = json.dumps(recorded, sort_keys=True) == json.dumps(sent, sort_keys=True)
    assert (found == []) is same


# how it is served


def test_status_headers_and_body_are_those_of_the_recording() -> None:
    server = Replayer([exchange(1, "GET", "/a", status=404, pieces=["no"])]).start()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as client:
        client.request("GET", "/a")
        response = client.getresponse()
        body = response.read()
    server.stop()

    assert (response.status, body) == (404, b"no")
    assert dict(response.getheaders()) == {
        "x-note": "kept",
        "Content-Length": "2",
        "Content-Type": "text/plain",
    }


def test_a_stream_comes_in_the_pieces_it_came_in() -> None:
    pieces = ['data: {"n":1}\n\n', "da", "ta: [DONE]\n\n"]
    server = Replayer([exchange(1, "GET", "/s", pieces=pieces)]).start()
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=5)) as raw:
        raw.sendall(b"GET /s HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = b""
        while block := raw.recv(65_536):
            received += block
    server.stop()

    chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p.encode()) for p in pieces)
    assert received.partition(b"\r\n\r\n")[2] == chunks + b"0\r\n\r\n"


@pytest.mark.parametrize("end", ["cut", "left"])
@pytest.mark.parametrize("pieces", [["half"], ["half", " more"]])
def test_what_did_not_end_well_breaks_off_at_the_same_byte(end: End, pieces: list[str]) -> None:
    cut = pytest.raises(http.client.IncompleteRead)
    with Replayer([exchange(1, "GET", "/s", pieces=pieces, end=end)]) as server, cut as caught:
        ask(server, "GET", "/s")

    assert caught.value.partial == "".join(pieces).encode()


def test_what_was_never_answered_is_not_answered() -> None:
    recorded = exchange(1, "GET", "/s", end="refused").model_copy(update={"answer": None})
    closed = pytest.raises((http.client.RemoteDisconnected, ConnectionResetError))
    with Replayer([recorded]) as server, closed:
        ask(server, "GET", "/s")


def test_a_body_that_was_left_out_is_said_to_be() -> None:
    recorded = exchange(1, "GET", "/s")
    answer = RecordedAnswer(status=200, omitted="it is encoded as gzip")
    with Replayer([recorded.model_copy(update={"answer": answer})]) as server:
        message = refusal(ask(server, "GET", "/s"))

    assert message == "the answer was not recorded: it is encoded as gzip"


def test_it_is_as_slow_as_the_server_was_if_asked_to() -> None:
    recorded = exchange(1, "GET", "/s", pieces=["a", "b"], times=[0.01, 0.03])
    with Replayer([recorded], paced=True) as server:
        begun = time.monotonic()
        ask(server, "GET", "/s")

    assert time.monotonic() - begun >= 0.03


def test_there_is_something_to_replay() -> None:
    with pytest.raises(ValueError, match="no exchange"):
        Replayer([])


# several providers


def test_each_provider_has_a_server_of_its_own() -> None:
    recorded = [
        exchange(1, "GET", "/v1/models", pieces=["of desk"]),
        exchange(2, "GET", "/v1/models", pieces=["of lap"], provider="lap"),
    ]
    with Replay(recorded) as replay:
        addresses = [str(entry["baseUrl"]) for entry in replay.entries]
        answers = []
        for address in addresses:
            port = int(address.rpartition(":")[2].partition("/")[0])
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as client:
                client.request("GET", "/v1/models")
                answers.append(client.getresponse().read())
        served = (replay.served("desk"), replay.served("lap"))

    assert (answers, served) == ([b"of desk", b"of lap"], ([1], [2]))
    assert [entry["id"] for entry in replay.entries] == ["desk", "lap"]
    assert all(address.endswith("/v1") for address in addresses)


def test_a_provider_that_was_not_recorded_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing of provider 'other'"):
        Replay([exchange(1, "GET", "/a")], provider_ids=["other"])


def test_a_taken_port_closes_the_others() -> None:
    recorded = [exchange(1, "GET", "/a"), exchange(2, "GET", "/a", provider="lap")]
    with Replayer(recorded[:1]) as taken, pytest.raises(OSError, match="in use"):
        Replay(recorded, port=taken.port).start()
