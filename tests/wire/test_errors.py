"""Mirrors modelbay/wire/errors.py."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelbay import errors
from modelbay.errors import BackendError
from modelbay.wire.errors import (
    BODY_LIMIT,
    MESSAGE_LIMIT,
    ErrorBody,
    error_class,
    parse_error_body,
    retry_after_s,
)


@pytest.mark.parametrize(
    ("body", "parsed"),
    [
        (  # S1-41: the three shapes
            b'{"error":{"message":"no such model","type":"not_found_error","code":404}}',
            ErrorBody(
                "no such model",
                "not_found_error",
                "404",
                {"message": "no such model", "type": "not_found_error", "code": 404},
            ),
        ),
        (b'{"error":"no such model"}', ErrorBody("no such model", raw={"error": "no such model"})),
        (b"Bad Gateway", ErrorBody("Bad Gateway")),
        (  # S1-42: the code falls back to the type
            b'{"error":{"message":"m","type":"t","code":""}}',
            ErrorBody("m", "t", "t", {"message": "m", "type": "t", "code": ""}),
        ),
        (
            b'{"error":{"message":"m","type":"t","code":null}}',
            ErrorBody("m", "t", "t", {"message": "m", "type": "t", "code": None}),
        ),
        (b'{"error":{"message":"m"}}', ErrorBody("m", raw={"message": "m"})),
        (b'{"message":"m","type":"t"}', ErrorBody("m", "t", "t", {"message": "m", "type": "t"})),
        (b'{"detail":"Not Found"}', ErrorBody("Not Found", raw={"detail": "Not Found"})),
        (b'{"error":{"code":"c"}}', ErrorBody('{"error":{"code":"c"}}', "", "c", {"code": "c"})),
        (b'{"error":7}', ErrorBody('{"error":7}')),
        (b'{"error":null}', ErrorBody('{"error":null}')),
        (b"[1]", ErrorBody("[1]")),
        (b"", ErrorBody("")),
        # S1-43: trimmed
        (b" \r\n\t oops \n", ErrorBody("oops")),
        (b'{"error":"  oops \\n"}', ErrorBody("oops", raw={"error": "  oops \n"})),
        (b"caf\xe9", ErrorBody("caf\ufffd")),
    ],
)
def test_an_error_answer_is_read_whatever_its_shape(body: bytes, parsed: ErrorBody) -> None:
    assert parse_error_body(body) == parsed


def test_no_more_than_a_megabyte_of_an_error_is_read() -> None:
    inside = b'{"error":"' + b"a" * (BODY_LIMIT - 12) + b'"}'
    over = inside + b" " * 10 + b"x"

    assert parse_error_body(inside).raw is not None
    assert parse_error_body(over[:BODY_LIMIT] + b"!!") == parse_error_body(over[:BODY_LIMIT])
    assert BODY_LIMIT == 1024 * 1024


@pytest.mark.parametrize("shape", ["%s", '{"error":"%s"}', '{"error":{"message":"%s"}}'])
def test_a_long_message_is_cut_for_people(shape: str) -> None:
    exact, longer = "x" * MESSAGE_LIMIT, "x" * (MESSAGE_LIMIT + 1)

    assert parse_error_body((shape % exact).encode()).message == exact
    assert parse_error_body((shape % longer).encode()).message == "x" * (MESSAGE_LIMIT - 1) + "…"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "code", "a"]), inner),
)


@given(
    st.binary()
    | st.builds(lambda value: json.dumps({"error": value}).encode(), json_values)
    | st.builds(lambda value: json.dumps(value).encode(), json_values)
)
@example(b"[" * 100_000)
@example(b'{"error":' * 50_000)
@example(b'{"error":{"code":' + b"9" * 10_000 + b"}}")
@example(b'{"error":"\\ud800"}')
@example(b"\xff\xfe\x00")
def test_reading_an_error_never_fails(body: bytes) -> None:
    parsed = parse_error_body(body)

    assert len(parsed.message) <= MESSAGE_LIMIT


# --- the class of an error ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, errors.ProtocolError),
        (400, errors.InvalidRequestError),
        (401, errors.AuthenticationError),
        (402, errors.QuotaExceededError),
        (403, errors.AuthenticationError),
        (404, errors.ModelNotFoundError),
        (405, errors.ProtocolError),
        (408, errors.BackendTimeoutError),
        (409, errors.InvalidRequestError),
        (413, errors.InvalidRequestError),
        (418, errors.BackendError),
        (422, errors.InvalidRequestError),
        (429, errors.RateLimitedError),
        (500, errors.BackendError),
        (502, errors.BackendError),
        (503, errors.BackendBusyError),
        (504, errors.BackendTimeoutError),
    ],
)
def test_a_status_stands_for_a_class_of_error(status: int, kind: type[BackendError]) -> None:
    assert error_class(status, ErrorBody("")) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("context_length_exceeded", errors.ContextLengthError),
        ("exceed_context_size_error", errors.ContextLengthError),
        ("insufficient_quota", errors.QuotaExceededError),
        ("invalid_api_key", errors.AuthenticationError),
        ("model_not_found", errors.ModelNotFoundError),
        ("rate_limit_exceeded", errors.RateLimitedError),
    ],
)
def test_a_code_or_type_says_more_than_the_status(code: str, kind: type[BackendError]) -> None:
    assert error_class(500, ErrorBody("", code=code)) is kind
    assert error_class(500, ErrorBody("", type=code, code="x")) is kind


def test_what_the_plugin_knows_comes_first() -> None:
    body = ErrorBody("loading", code="model_not_found")

    def classify(status: int, seen: ErrorBody) -> type[BackendError] | None:
        return errors.BackendBusyError if (status, seen) == (404, body) else None

    assert error_class(404, body, classify) is errors.BackendBusyError
    assert error_class(400, body, classify) is errors.ModelNotFoundError


# --- how long to wait -----------------------------------------------------------------------------

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "-5"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 13:00:30 +0100"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after-ms": "soon"}, None),
    ],
)
def test_how_long_the_server_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOW) == seconds


@given(st.text(), st.sampled_from(["retry-after", "retry-after-ms"]))
@example("Mon, 01 Jan 2024 00:00:00 +99999999999999", "retry-after")
@example("Mon, 01 Jan 99999 00:00:00 GMT", "retry-after")
@example("inf", "retry-after-ms")
@example("nan", "retry-after-ms")
@example("9" * 5000, "retry-after")
def test_a_strange_answer_asks_to_wait_for_a_finite_time_or_for_none(text: str, name: str) -> None:
    seconds = retry_after_s({name: text}, NOW)

    assert seconds is None or 0 <= seconds < float("inf")


def test_refused_fields_are_named_without_the_request_that_stands_beside_them() -> None:
    body = (
        b'{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required",'
        b'"input":{"prompt":"my secret plan"}},{"msg":"Too short"},7]}'
    )

    assert parse_error_body(body).message == "body.messages: Field required; Too short"
    assert parse_error_body(b'{"detail":[{"input":"my secret plan"}]}').message == "not accepted"
    assert parse_error_body(b'{"detail":{"msg":"busy","type":"service"}}').message == "busy"


# --- pages, lists, lines of a stream, keys --------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center>"
            b"<h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.24.0</center>\r\n",
            "502 Bad Gateway nginx/1.24.0",
        ),
        (
            b"<!DOCTYPE html><html><head><style>p { color: red }</style><script>go(1 < 2)"
            b"</script></head><body><!-- <p>hidden</p> --><p>Host  not\nfound &amp; gone</p>",
            "Host not found & gone",
        ),
        (b"<h1>Not Found</h1><script>cut in the mid", "Not Found"),
        (b"<html></html>", ""),
        (b'{"error":"<html><body>in JSON</body></html>"}', "in JSON"),
        (b"expected <int> at 1 < 2", "expected <int> at 1 < 2"),
        (b"<unk> is no token", "<unk> is no token"),
    ],
)
def test_of_a_page_the_words_are_kept(body: bytes, message: str) -> None:
    assert parse_error_body(body).message == message


def test_an_error_in_a_list_is_read() -> None:
    error = {"message": "m", "code": 400, "status": "INVALID"}

    assert parse_error_body(json.dumps([{"error": error}]).encode()) == ErrorBody(
        "m", "", "400", error
    )


def test_an_error_on_a_line_of_its_own_is_read() -> None:
    error = {"message": "e", "code": 500}

    assert parse_error_body(b'error: {"message":"e","code":500}\n') == ErrorBody(
        "e", "", "500", error
    )
    assert parse_error_body(b"error: it broke").message == "error: it broke"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bad key sk-abcdefghijklmnopqrstuvwxyz123456", "bad key ***"),
        ("sk-proj-abcdefghijklmnop.def/ghi+jk= was refused", "*** was refused"),
        ('"gsk_abcdefghijklmnop1234", try again', '"***", try again'),
        ("key 'AIzaSyA-abcdefghijklmnop_1234'", "key '***'"),
        ("hf_abcdefghij1234567890 is no key", "*** is no key"),
        ("Authorization: Bearer abcdefgh.ijkl1234-xyz", "Authorization: Bearer ***"),
        ("cannot reach http://ann:s3cret@10.0.0.1/v1", "cannot reach http://ann:***@10.0.0.1/v1"),
        # none of them a key
        ("Bearer authentication is required", "Bearer authentication is required"),
        ("the task-management-of-the-desk-cannot-be", "the task-management-of-the-desk-cannot-be"),
        ("hf_hub_enable_hf_transfer is off", "hf_hub_enable_hf_transfer is off"),
        ("sk-1234: too short", "sk-1234: too short"),
        ("no route to http://10.0.0.1:8080/v1", "no route to http://10.0.0.1:8080/v1"),
    ],
)
@pytest.mark.parametrize("shape", ["%s", '{"error":%j}', '{"error":{"message":%j}}'])
def test_keys_that_are_not_ours_are_taken_out(text: str, shown: str, shape: str) -> None:
    body = shape.replace("%j", json.dumps(text)).replace("%s", text)

    assert parse_error_body(body.encode()).message == shown


def test_a_key_that_the_cut_would_halve_is_taken_out_whole() -> None:
    text = (
        "x" * (MESSAGE_LIMIT - 10) + " sk-abcdefghijklmnopqrstuvwxyz123456 " + "y" * MESSAGE_LIMIT
    )

    message = parse_error_body(text.encode()).message

    assert "sk-" not in message
    assert len(message) == MESSAGE_LIMIT


@pytest.mark.parametrize(
    "piece", [b"<", b"<script ", b"<!--", b"sk-", b"://a:", b"bearer ", b"&", b"<p>"]
)
def test_a_long_page_of_nothing_is_read_at_once(piece: bytes) -> None:
    body = b"<html>" + piece * (BODY_LIMIT // len(piece))

    assert len(parse_error_body(body).message) <= MESSAGE_LIMIT


# --- what a gateway makes of it -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, 400),
        (401, 502),  # our key, not our caller's
        (403, 502),
        (404, 404),
        (405, 405),
        (407, 502),
        (408, 408),
        (409, 409),
        (413, 413),
        (415, 415),
        (422, 422),
        (425, 425),
        (429, 429),
        (431, 431),
        (451, 451),
        (500, 502),
        (503, 503),
        (504, 504),
        (301, 502),
    ],
)
def test_a_server_s_own_4xx_is_kept_by_a_gateway(status: int, told: int) -> None:
    error = error_class(status, ErrorBody(""))("refused", status=status)

    assert errors.http_status(error) == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.ContextLengthError("too long", status=413), 400),  # clients know it by its code
        (errors.QuotaExceededError("pay", status=429), 402),
        (errors.ModelNotFoundError("none", status=400), 404),
        (errors.InvalidRequestError("flagged", status=403), 400),
        (errors.StreamInterruptedError("broke", status=422), 502),
        (errors.WrongServerError("other", status=404), 502),
        (BackendError("no status"), 502),
    ],
)
def test_an_error_that_says_more_than_the_status_has_its_own(
    error: BackendError, told: int
) -> None:
    assert errors.http_status(error) == told
