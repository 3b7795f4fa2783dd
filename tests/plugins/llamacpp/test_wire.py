"""Mirrors modelbay_llamacpp/wire.py: recorded answers in, facts out; no network, no mocks."""

import json

import msgspec
import pytest

from modelbay.errors import ProtocolError
from modelbay_llamacpp.wire import (
    Entry,
    InfillChunk,
    ModelsAnswer,
    Props,
    StartOptions,
    Status,
    decode_event,
    decode_infill,
    estimated_context,
    find,
    known_names,
    model_state,
    readable_name,
    sampling_defaults,
    start_options,
    was_pulled,
    with_query,
)
from recorded_exchanges import RECORDED, Recorded, recorded


def answer(exchange: Recorded) -> str:
    assert exchange.answer is not None
    return exchange.answer.body


def models(name: str, at: int = 0) -> list[Entry]:
    """The model list of a transcript, the at-th one in it."""
    bodies = [
        answer(exchange)
        for exchange in recorded("llamacpp", name)
        if exchange.method == "GET" and exchange.target.split("?")[0] in ("/models", "/v1/models")
    ]
    return msgspec.json.decode(bodies[at], type=ModelsAnswer).data or []


# --- GET /models ---------------------------------------------------------------------------------


def test_a_single_model_server_lists_one_loaded_model_without_a_status() -> None:
    """S3-36, S3-65, S3-70."""
    (entry,) = models("02-models")

    assert entry.status is None
    assert (entry.names, model_state(entry)) == (("other-name", "tiny-say"), "loaded")


def test_a_router_lists_loaded_and_unloaded_models() -> None:
    """S3-36, S3-65, S3-70, U1."""
    states = {entry.id: model_state(entry) for entry in models("63-models-loaded")}

    assert states == {"tiny-a": "unloaded", "tiny-say": "loaded"}


def test_a_model_is_loading_while_its_process_starts() -> None:
    """S3-65."""
    assert [model_state(entry) for entry in models("68-loading")] == ["loading"]


def test_a_model_whose_process_ended_badly_has_failed() -> None:
    (entry,) = models("67-failed")

    assert (model_state(entry), entry.exit_code) == ("failed", 1)


def test_a_sleeping_model_counts_as_loaded() -> None:
    sleeping = [entry for entry in models("76-sleeping") if entry.state == "sleeping"]

    assert [model_state(entry) for entry in sleeping] == ["loaded"]


def test_a_download_is_a_state_of_its_own() -> None:
    assert [model_state(entry) for entry in models("74-download")] == ["downloading"]


@pytest.mark.parametrize("word", ["", "hibernating", "LOADED"])
def test_a_state_nobody_knows_is_unknown_and_no_error(word: str) -> None:
    """U1."""
    assert model_state(Entry("m", status=Status(word))) == "unknown"


def test_an_early_router_without_newer_fields_can_be_read() -> None:
    body = b'{"data":[{"id":"m","in_cache":true,"path":"/x","status":{"value":"loaded"}}]}'

    assert msgspec.json.decode(body, type=ModelsAnswer).data == [
        Entry("m", status=Status("loaded"))
    ]


def test_an_id_goes_before_an_alias_and_spelling_counts() -> None:
    entries = [Entry("a", aliases=["b"]), Entry("b")]

    assert (find(entries, "b"), find(entries, "B")) == (entries[1], None)


def test_a_download_without_a_tag_is_found_under_the_tag_the_server_gave_it() -> None:
    assert was_pulled(Entry("acme/tiny:Q8_0"), "acme/tiny")
    assert not was_pulled(Entry("acme/tiny:Q8_0"), "acme/tiny:F16")
    assert not was_pulled(Entry("acme/tiny-2:Q8_0"), "acme/tiny")


def test_a_hint_names_only_the_first_of_many_models() -> None:
    entries = [Entry(f"m{number}") for number in range(10)]

    assert known_names(entries, limit=2) == "m0, m1, ... (10 in all)"
    assert known_names([]) == "none"


# --- GET /props ----------------------------------------------------------------------------------


def props(name: str, target: str) -> Props:
    body = next(
        answer(exchange) for exchange in recorded("llamacpp", name) if exchange.target == target
    )
    return msgspec.json.decode(body, type=Props)


def test_a_router_says_so_in_props_and_its_context_is_a_dummy() -> None:
    """U3."""
    found = props("60-props-health", "/props")

    assert (found.role, found.max_instances, found.models_autoload) == ("router", 1, True)
    assert (found.is_llama_cpp, found.n_ctx) == (True, None)


def test_a_single_model_server_has_no_role_and_a_real_context() -> None:
    path = next((RECORDED / "llamacpp").rglob("03-props*.txt"))
    text = next(line for line in path.read_text().split("\n") if line.startswith('{"default_'))
    # The recording leaves out the rest of the chat template.
    found = msgspec.json.decode(text, type=Props)

    assert (found.role, found.is_llama_cpp, found.n_ctx, found.total_slots) == (None, True, 256, 2)
    caps = found.chat_template_caps
    assert caps is not None
    assert caps.tools is True
    shown = sampling_defaults(found)
    assert shown["temperature"] == 0.8  # float32 noise is rounded away
    assert "chat_format" not in shown


@pytest.mark.parametrize("body", [b"{}", b'{"error":"Unexpected endpoint"}', b'{"status":"ok"}'])
def test_props_of_another_product_are_not_ours(body: bytes) -> None:
    assert not msgspec.json.decode(body, type=Props).is_llama_cpp


# --- what a child was told at its start ----------------------------------------------------------


def test_a_childs_command_line_tells_its_context_and_its_slots() -> None:
    (entry, _) = models("63-models-loaded")

    assert start_options(entry.status) == StartOptions(ctx_size=512, parallel=2)


def test_the_preset_speaks_where_there_is_no_command_line() -> None:
    preset = "[m]\nctx-size = 384\nkv-unified = 1\nembeddings = true\nreranking = off\n"

    assert start_options(Status("unloaded", preset=preset)) == StartOptions(
        ctx_size=384, kv_unified=True, embeddings=True
    )


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["-c", "512", "-np", "2", "-kvu"], StartOptions(512, 2, kv_unified=True)),
        (["--ctx-size=512", "--embedding", "--rerank"], StartOptions(512, None, False, True, True)),
        (["--ctx-size", "many"], StartOptions()),
        (["--ctx-size"], StartOptions()),
        (["--alias", "ctx-size", "512"], StartOptions()),
    ],
)
def test_short_and_odd_spellings_of_options(args: list[str], expected: StartOptions) -> None:
    assert start_options(Status("unloaded", args)) == expected


@pytest.mark.parametrize(
    ("options", "trained", "expected"),
    [
        (StartOptions(384), None, 512),  # recorded: asked 384, got 512
        (StartOptions(128), None, 256),  # recorded: asked 128, got 256
        (StartOptions(512, 2), None, 256),
        (StartOptions(512, 2, kv_unified=True), None, 512),
        (StartOptions(512, -1), None, 512),  # automatic: four slots that share it
        (StartOptions(65536), 2048, 2048),
        (StartOptions(0), 2048, None),  # from the model file, fitted to memory: nobody knows
        (StartOptions(None), 2048, None),
    ],
)
def test_an_estimated_context_is_divided_rounded_up_and_capped(
    options: StartOptions, trained: int | None, expected: int | None
) -> None:
    assert estimated_context(options, trained) == expected


# --- GET /models/sse -----------------------------------------------------------------------------


def test_recorded_load_events_give_a_rising_fraction() -> None:
    text = answer(recorded("llamacpp", "69-models-sse")[0])
    events = [
        decode_event(line.removeprefix("data: ").encode())
        for line in text.split("\n")
        if line.startswith("data: ")
    ]
    told = [event.load_fraction for event in events[1:9] if event is not None]

    assert told == sorted(told, key=lambda value: value or 0)
    assert (told[0], told[-1]) == (0.0, 1.0)
    assert [event.is_progress for event in (events[0], events[9]) if event] == [False, False]


@pytest.mark.parametrize(
    "event",
    [
        {"event": "status_change", "data": {"status": "loading", "progress": {"value": 0.5}}},
        {"event": "model_status", "data": {"status": "loading", "value": 0.5}},
        {"event": "model_status", "data": {"status": "loading"}, "progress": {"value": 0.5}},
    ],
)
def test_progress_is_read_wherever_a_version_puts_it(event: dict[str, object]) -> None:
    """Trap 34: the server and its README name and nest the same event differently."""
    found = decode_event(json.dumps({"model": "m", **event}).encode())

    assert found is not None
    assert found.load_fraction == 0.5


def test_progress_counts_all_stages_of_a_load() -> None:
    progress = {"stages": ["text_model", "mmproj"], "current": "mmproj", "value": 0.5}
    found = decode_event(json.dumps({"data": {"progress": progress}}).encode())

    assert found is not None
    assert found.load_fraction == 0.75


def test_a_download_tells_bytes_by_file() -> None:
    data = {"progress": {"http://x/a": {"done": 1, "total": 4}, "http://x/b": {"done": 2}}}
    found = decode_event(json.dumps({"event": "download_progress", "data": data}).encode())

    assert found is not None
    assert (found.downloaded, found.is_progress) == ({"http://x/a": (1, 4)}, True)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'{"data":3}', b"\xff", b"{"])
def test_an_event_that_cannot_be_read_is_left_out(data: bytes) -> None:
    assert decode_event(data) is None


# --- POST /infill --------------------------------------------------------------------------------


def test_a_native_chunk_tells_why_it_ended() -> None:
    data = b'{"content":"","stop":true,"stop_type":"limit","tokens_predicted":2,"index":0}'

    assert decode_infill(data) == InfillChunk(stop=True, stop_type="limit", tokens_predicted=2)


def test_what_is_no_native_chunk_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="expected a completion, got 'proxy error"):
        decode_infill(b"proxy error: Failed to read connection")


# --- names, addresses, errors --------------------------------------------------------------------


def test_a_name_in_a_query_is_percent_encoded() -> None:
    assert (
        with_query("props", model="acme/tiny-GGUF:Q8_0", autoload="false")
        == "props?model=acme%2Ftiny-GGUF%3AQ8_0&autoload=false"
    )
    assert with_query("props", model="ä b&c=d#e+f") == "props?model=%C3%A4%20b%26c%3Dd%23e%2Bf"


@pytest.mark.parametrize(
    ("wire_id", "name"),
    [
        ("models/tiny-say.gguf", "tiny-say"),
        ("C:\\models\\tiny.gguf", "tiny"),
        ("tiny", ""),
        ("acme/tiny-GGUF:Q8_0", ""),
    ],
)
def test_an_id_that_is_a_file_is_shown_as_its_name(wire_id: str, name: str) -> None:
    assert readable_name(wire_id) == name
