"""Model lists as servers send them: what is read, and where it is said to have stood."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.errors import ProtocolError
from modelbay.models.capabilities import Facts, Prices
from modelbay.models.catalog import DiscoveredModel
from modelbay_openai.dialects import UNKNOWN
from modelbay_openai.discovery import models_of
from modelbay_openai.listing import Description, Listed, decode_list, read_list
from modelbay_openai.looks import Look

OPENROUTER = {
    "id": "acme/big",
    "name": "Acme: Big",
    "context_length": 200000,
    "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
    "pricing": {"prompt": "0.0000025", "completion": "0.00001", "input_cache_read": "0.00000025"},
    "top_provider": {"context_length": 131072, "max_completion_tokens": 16000},
    "supported_parameters": ["tools", "structured_outputs"],
}


def described(entry: dict[str, Any], where: str = "/models data[]") -> DiscoveredModel:
    found = Description(str(entry["id"]))
    found.read(entry, where)
    return found.model("local")


@pytest.mark.parametrize(
    ("entry", "facts", "evidence"),
    [
        (
            {"max_model_len": 32768, "root": "/models/x"},
            {"context_window": 32768},
            {"context_window": "/models data[].max_model_len"},
        ),
        (
            {"meta": {"n_ctx": 4096, "n_ctx_train": 131072}},
            {"context_window": 4096, "trained_context": 131072},
            {
                "context_window": "/models data[].meta.n_ctx",
                "trained_context": "/models data[].meta.n_ctx_train",
            },
        ),
        (
            {"parameters": {"max_seq_len": 16384}},
            {"context_window": 16384},
            {"context_window": "/models data[].parameters.max_seq_len"},
        ),
        (
            {"context_window": 8192, "max_completion_tokens": 1024},
            {"context_window": 8192, "max_output_tokens": 1024},
            {
                "context_window": "/models data[].context_window",
                "max_output_tokens": "/models data[].max_completion_tokens",
            },
        ),
        (
            {"type": "vlm", "state": "not-loaded", "max_context_length": 32768},
            {"vision": True, "trained_context": 32768},
            {
                "vision": "/models data[].type",
                "trained_context": "/models data[].max_context_length",
            },
        ),
        (
            {"type": "embeddings", "compatibility_type": "gguf"},
            {"embeddings": True},
            {"embeddings": "/models data[].type"},
        ),
        (
            {"type": "llm", "compatibility_type": "gguf", "capabilities": ["tool_use"]},
            {"vision": False, "tools": True},
            {"vision": "/models data[].type", "tools": "/models data[].capabilities"},
        ),
        (
            {
                "capabilities": {
                    "vision": True,
                    "trained_for_tool_use": False,
                    "reasoning": {"x": 1},
                }
            },
            {"vision": True, "tools": False, "reasoning": True},
            {
                "vision": "/models data[].capabilities.vision",
                "tools": "/models data[].capabilities.trained_for_tool_use",
                "reasoning": "/models data[].capabilities.reasoning",
            },
        ),
        (
            {"architecture": {"input_modalities": ["text"], "output_modalities": ["rerank"]}},
            {"vision": False, "audio": False, "rerank": True},
            {
                "vision": "/models data[].architecture.input_modalities",
                "audio": "/models data[].architecture.input_modalities",
                "rerank": "/models data[].architecture.output_modalities",
            },
        ),
        (
            {"supported_features": ["json_mode", "tools", "flying"]},
            {"json_mode": True, "tools": True},
            {
                "json_mode": "/models data[].supported_features",
                "tools": "/models data[].supported_features",
            },
        ),
        ({"owned_by": "somebody"}, {}, {}),
    ],
)
def test_a_field_becomes_a_fact_and_says_where_it_stood(
    entry: dict[str, Any], facts: dict[str, Any], evidence: dict[str, str]
) -> None:
    found = described({"id": "m", **entry})

    assert found.facts == Facts(**facts)
    assert found.evidence == evidence


def test_an_openrouter_entry_is_read_whole() -> None:
    found = described(OPENROUTER)

    assert found.name == "Acme: Big"
    assert found.facts == Facts(
        context_window=131072,  # of who would answer, not of who might
        max_output_tokens=16000,
        prices=Prices(input_per_mtok=2.5, output_per_mtok=10, cached_input_per_mtok=0.25),
        tools=True,
        reasoning=False,
        vision=True,
        audio=False,
        json_schema=True,
    )
    assert found.evidence["prices"] == "/models data[].pricing"


@pytest.mark.parametrize(
    "pricing",
    [
        {"prompt": 0.08, "completion": 0.24},  # dollars per million tokens, in other places
        {"prompt": "-1", "completion": "-1"},  # a router: it depends
        {"prompt": "free", "completion": "NaN"},
        "0.1",
        None,
    ],
)
def test_a_price_that_is_no_price_per_token_is_not_known(pricing: object) -> None:
    assert described({"id": "m", "pricing": pricing}).facts == Facts()


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        ({"state": "loaded"}, "loaded"),
        ({"state": "not-loaded"}, "unloaded"),
        ({"state": "dreaming"}, "unknown"),
        ({"status": {"value": "loading"}}, "loading"),
        ({"loaded_instances": []}, "unloaded"),
        ({"loaded": True}, "loaded"),
        ({"loaded": False}, "unloaded"),
        ({"loaded_instances": [{"config": {"context_length": 4096}}]}, "loaded"),
        ({}, "unknown"),
    ],
)
def test_states_of_all_servers(entry: dict[str, Any], state: str) -> None:
    assert described({"id": "m", **entry}).state == state


def test_a_loaded_model_tells_the_context_it_is_loaded_with() -> None:
    instance = {"id": "m", "config": {"context_length": 4096}}
    found = described({"id": "m", "loaded_instances": [instance], "max_context_length": 131072})

    assert (found.loaded_context, found.facts.context_window) == (4096, 4096)
    assert found.facts.trained_context == 131072


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}, ["a", "b"]),
        ([{"id": "a"}], ["a"]),
        ({"data": None}, []),
        ({"data": [{"name": "x"}, 7, {"id": 3}, {"id": ""}]}, []),
    ],
)
def test_lists_of_all_shapes(body: object, ids: list[str]) -> None:
    assert [entry["id"] for entry in read_list(body)] == ids


@pytest.mark.parametrize(
    "body",
    [
        {"error": "Unexpected endpoint or method. (GET /models)"},
        {"models": []},
        {"data": {"a": 1}},
        "models",
        7,
        None,
    ],
)
def test_what_is_no_list_is_an_error(body: object) -> None:
    with pytest.raises(ProtocolError):
        read_list(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("id", "data", "type", "state", "status", "value", "capabilities", "pricing"),
                    *("architecture", "input_modalities", "output_modalities", "max_model_len"),
                    *("meta", "n_ctx", "prompt", "loaded_instances", "quantization", "size_bytes"),
                    *(
                        "supported_parameters",
                        "config",
                        "context_length",
                        "name",
                        "vision",
                        "tools",
                    ),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_nothing_a_server_sends_breaks_the_reader(body: object) -> None:
    try:
        entries = read_list({"data": [{"id": "m", **body}] if isinstance(body, dict) else body})
    except ProtocolError:
        return
    for entry in entries:
        described({**entry, "id": str(entry["id"])})


_ENTRIES = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", "c"])},
    optional={
        "created": st.integers(0, 9),
        "owned_by": st.sampled_from(["x", "y"]),
        "name": st.sampled_from(["a", "B"]),
        "max_model_len": st.integers(1, 3),
        "status": st.sampled_from(["loaded", "unloaded"]),
        "meta": st.just({"n_ctx": 7}),
    },
)


@given(st.lists(_ENTRIES, max_size=8), st.sampled_from([None, "a"]), st.booleans())
def test_a_model_is_described_in_a_list_as_it_is_alone(
    entries: list[dict[str, object]], loaded: str | None, has_more: bool
) -> None:
    """Although those of whom the same is said share the work."""
    seen = Look(entries={"b": {"max_model_len": 5}} if has_more else {}, only_loaded=loaded)

    def read(part: list[dict[str, object]]) -> list[DiscoveredModel]:
        return list(models_of(part, UNKNOWN, seen, "local", {"host": "h"}))

    assert read(entries) == [model for entry in entries for model in read([entry])]


# --- off the wire ---------------------------------------------------------------------------------


def listed(body: object) -> Listed:
    return decode_list(msgspec.json.encode(body))


def test_a_list_that_says_no_more_than_names_is_read_as_names() -> None:
    data = [
        {"id": "a", "object": "model", "created": 1, "owned_by": "Me"},
        {"id": "b", "object": "model", "created": 2, "owned_by": "me"},
    ]

    assert listed({"object": "list", "data": data}) == Listed(["a", "b"], frozenset({"me"}))


_NAMES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["a", "b", "c", "", 7]),
        "object": st.sampled_from(["model", "engine", None]),
        "created": st.sampled_from([1, 1.5, None, "x", [1]]),
        "owned_by": st.sampled_from(["x", "X", "", None, 7]),
        "max_model_len": st.integers(1, 3),
    },
)


@given(
    st.lists(_NAMES, max_size=6),
    st.sampled_from([{}, {"object": "list"}, {"object": 1}, {"error": "e"}, {"models": []}]),
)
def test_however_a_list_is_read_it_says_the_same(
    data: list[dict[str, object]], beside: dict[str, object]
) -> None:
    body = {"data": data, **beside}

    found, entries = listed(body), read_list(body)

    assert found.names == [entry["id"] for entry in entries]
    assert found.owners == {str(entry.get("owned_by", "")).lower() for entry in entries}
    assert models_of(found.of_all(), UNKNOWN, Look(), "local", {}) == models_of(
        entries, UNKNOWN, Look(), "local", {}
    )


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"data": [', b'{"data": [{"id": "\xff"}]}', b"[" * 5000]
)
def test_what_is_no_json_is_told_from_what_is_no_list(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)):
        decode_list(body)
