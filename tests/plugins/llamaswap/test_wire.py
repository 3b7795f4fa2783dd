"""Mirrors modelbay_llamaswap/wire.py: what the server's answers mean, version by version."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.errors import (
    BackendBusyError,
    BackendError,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
)
from modelbay.wire.errors import parse_error_body
from modelbay.wire.sse import SSEDecoder
from modelbay_llamaswap.wire import (
    Entry,
    ModelsAnswer,
    classify,
    in_flight,
    in_path,
    known_names,
    model_state,
    model_statuses,
    running_entry,
    upstream,
    version_number,
    without_command,
)
from recorded_exchanges import transcripts


def entry(**fields: object) -> Entry:
    return msgspec.convert({"id": "m", **fields}, Entry)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("v250", 250),
        ("217", 217),
        ("v250-5-g0bdb372", 250),
        ("0", None),
        ("devel", None),
        ("local_ab12cd3", None),
        ("", None),
    ],
)
def test_a_version_is_read_from_every_form_it_has_had(text: str, number: int | None) -> None:
    assert version_number(text) == number


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("ready", "loaded"),
        (None, "loaded"),  # the oldest say no state, and list what is ready
        ("starting", "loading"),
        ("stopping", "unloading"),
        ("stopped", "unloaded"),
        ("shutdown", "unloaded"),
        ("failed", "failed"),
        ("meditating", "unknown"),
    ],
)
def test_a_state_has_our_word(word: str | None, state: str) -> None:
    assert model_state(word) == state


def test_before_v241_a_peer_is_known_by_its_peer_id_alone() -> None:
    assert entry(meta={"llamaswap": {"peerID": "lab"}}).type == "peer"
    assert entry().type == "model"
    assert entry(meta={"llamaswap": {"family": "qwen"}}).type == "model"


def test_the_user_s_metadata_is_told_from_the_server_s_own_keys() -> None:
    own = {"type": "model", "aliases": ["a"], "family": "qwen", "tags": ["x"]}

    assert entry(meta={"llamaswap": own}).metadata == {"family": "qwen", "tags": ["x"]}


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({"context_length": 4096}, (4096, "data[].context_length")),
        ({"meta": {"n_ctx": 512}}, (512, "data[].meta.n_ctx")),
        ({"context_window": 99}, (99, "data[].context_window")),
        ({"context_length": 0, "meta": {"n_ctx": 8}}, (8, "data[].meta.n_ctx")),
        ({}, None),
    ],
)
def test_a_declared_context_is_found_under_each_of_its_names(
    fields: dict[str, object], context: object
) -> None:
    assert entry(**fields).context == context


def test_every_recorded_list_can_be_read() -> None:
    lists = [
        exchange.answer.body
        for transcript in transcripts("llamaswap")
        for exchange in transcript.exchanges
        if exchange.target == "/v1/models" and exchange.answer and exchange.answer.status == 200
    ]
    read = [msgspec.json.decode(body, type=ModelsAnswer).data or [] for body in lists]

    assert len(read) >= 4
    assert {entry.owned_by for entries in read for entry in entries} == {"llama-swap"}
    assert {entry.type for entries in read for entry in entries} >= {
        *("model", "alias", "peer", "selector"),
    }


def test_a_process_that_is_none_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        running_entry({"state": "ready"})


@pytest.mark.parametrize(
    ("wire_id", "path"),
    [
        ("tiny", "upstream/tiny/props"),
        ("org/model:7b", "upstream/org/model:7b/props"),
        ("a b?c#d%", "upstream/a%20b%3Fc%23d%25/props"),
    ],
)
def test_slashes_and_colons_of_an_id_stay_in_a_path(wire_id: str, path: str) -> None:
    assert upstream(wire_id, "props") == path
    assert in_path(wire_id) == path.removeprefix("upstream/").removesuffix("/props")


# --- events ---------------------------------------------------------------------------------------


def enveloped(kind: str, inner: object) -> bytes:
    return json.dumps({"type": kind, "data": json.dumps(inner)}).encode()


def test_recorded_events_tell_states_and_requests() -> None:
    streams = [
        exchange.answer.body
        for transcript in transcripts("llamaswap")
        for exchange in transcript.exchanges
        if exchange.target == "/api/events" and exchange.answer
    ]
    events = [data for body in streams for data in SSEDecoder().feed(body.encode() + b"\n\n")]

    states = [found for data in events if (found := model_statuses(data)) is not None]
    assert {state for found in states for state in found.values()} >= {"stopped", "starting", ""}
    counts = [in_flight(data) for data in events]
    assert next(found for found in counts if found is not None) == (0, {})


@pytest.mark.parametrize(
    ("inner", "found"),
    [
        ({"total": 3}, (3, {})),  # v192
        ({"requests": [{"id": "1", "model": "a"}, {"id": "2", "model": "a"}]}, (2, {"a": 2})),
        ({"operation": "snapshot", "requests": [{"model": "b"}]}, (1, {"b": 1})),  # v240
        ({"operation": "snapshot"}, (0, {})),
        ({"operation": "remove", "id": "12"}, None),
        ([], None),
    ],
)
def test_requests_in_flight_are_counted_in_each_form(inner: object, found: object) -> None:
    assert in_flight(enveloped("inflight", inner)) == found


@given(st.binary())
def test_no_event_can_break_the_reader(data: bytes) -> None:
    assert model_statuses(data) is None
    assert in_flight(data) is None


# --- errors ---------------------------------------------------------------------------------------


def test_recorded_errors_have_their_class() -> None:
    wanted: dict[tuple[int, str], type[BackendError] | None] = {
        (404, "no router for requested model"): ModelNotFoundError,
        (404, "no model id could be identified"): InvalidRequestError,
        (404, "404 page not found"): ProtocolError,
        (404, "model not found"): None,
        (429, "Too many requests"): BackendBusyError,
        (500, "unspecific error: group: model unloaded"): BackendBusyError,
        (500, "unspecific error: upstream command exited prematurely"): None,
    }
    seen: dict[tuple[int, str], type[BackendError] | None] = {}
    for transcript in transcripts("llamaswap"):
        for exchange in transcript.exchanges:
            if exchange.answer is not None and exchange.answer.status >= 400:
                body = parse_error_body(exchange.answer.body.encode())
                seen[exchange.answer.status, body.message] = classify(exchange.answer.status, body)

    assert {key: seen.get(key, "not recorded") for key in wanted} == wanted


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("failed to start command 'x --key s': no file", "failed to start its command: no file"),
        (
            "start() failed for command 'a 'b' c', exit: 1",
            "start() failed for its command, exit: 1",
        ),
        ("failed to start command 'sh -c 'x' --key sec…", "failed to start its command"),
        ("failed to start command 'x'", "failed to start its command"),
        ("upstream command exited prematurely", "upstream command exited prematurely"),
    ],
)
def test_a_command_line_is_taken_out_of_a_message(message: str, shown: str) -> None:
    assert without_command(message) == shown


def test_many_names_are_cut_short() -> None:
    assert known_names([]) == "none"
    assert known_names("abc") == "a, b, c"
    assert known_names("abcdefghij", 2) == "a, b, ... (10 in all)"
