"""Mirrors modelbay_embedded/gguf_file.py: what a header tells; no bytes at all can do harm."""

from __future__ import annotations

import io
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbay_embedded import gguf_types
from modelbay_embedded.gguf_file import (
    GgufError,
    GgufInfo,
    GgufMalformedError,
    GgufTruncatedError,
    GgufUnreadableError,
    NotGgufError,
    Pooling,
    parse_gguf,
    read_gguf,
)
from modelbay_embedded.welcome import build_welcome
from tiny_gguf import TEMPLATES, write_tiny_gguf, write_tiny_projector

WELCOME = build_welcome()


def parse(data: bytes) -> GgufInfo:
    return parse_gguf(io.BytesIO(data), len(data))


def header(*, version: int = 3, tensors: int = 0, keys: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


def test_a_chat_model_tells_its_facts(tmp_path: Path) -> None:
    path = write_tiny_gguf(
        tmp_path / "tiny.gguf",
        template="tools",
        n_ctx_train=4096,
        name="Tiny",
        metadata={"general.size_label": "0.1M"},
    )

    assert read_gguf(path) == GgufInfo(
        size_bytes=path.stat().st_size,
        version=3,
        architecture="llama",
        name="Tiny",
        context_length=4096,
        embedding_length=64,
        parameter_count=sum(int(t.n_elements) for t in gguf.GGUFReader(path).tensors),
        size_label="0.1M",
        quantization="F16",
        chat_template=TEMPLATES["tools"],
        template_has_tools=True,
        template_has_reasoning=True,
        pooling=None,
        split_count=1,
        is_projector=False,
        tensor_count=21,
    )


def test_a_plain_template_has_neither_tools_nor_reasoning(tmp_path: Path) -> None:
    info = read_gguf(write_tiny_gguf(tmp_path / "a.gguf"))

    assert info.chat_template == TEMPLATES["chatml"]
    assert (info.template_has_tools, info.template_has_reasoning) == (False, False)


def test_a_second_template_for_tools_counts() -> None:
    data = header(
        keys=2,
        rest=pair("tokenizer.chat_template", 8, text("{{ messages }}"))
        + pair("tokenizer.chat_template.tool_use", 8, text("{{ tools }}")),
    )

    info = parse(data)

    assert (info.chat_template, info.template_has_tools) == ("{{ messages }}", True)


@pytest.mark.parametrize(
    ("pooling", "embedding", "rerank"),
    [("none", False, False), ("mean", True, False), ("last", True, False), ("rank", False, True)],
)
def test_the_pooling_tells_embedding_and_rerank_models(
    tmp_path: Path, pooling: Pooling, embedding: bool, rerank: bool
) -> None:
    info = read_gguf(write_tiny_gguf(tmp_path / "a.gguf", template=None, pooling=pooling))

    assert (info.pooling, info.is_embedding, info.is_rerank) == (pooling, embedding, rerank)


def test_an_encoder_is_an_embedding_model_without_saying_so() -> None:
    data = header(keys=1, rest=pair("general.architecture", 8, text("nomic-bert")))

    assert parse(data).is_embedding


def test_a_projector_is_told_from_a_model(tmp_path: Path) -> None:
    info = read_gguf(write_tiny_projector(tmp_path / "mmproj-a.gguf"))

    assert (info.is_projector, info.architecture) == (True, "clip")


def test_a_shard_does_not_pretend_to_know_the_whole(tmp_path: Path) -> None:
    by_name = read_gguf(write_tiny_gguf(tmp_path / "a-00001-of-00003.gguf"))
    by_key = parse(header(keys=1, rest=pair("split.count", 2, struct.pack("<H", 2))))

    assert (by_name.split_count, by_name.parameter_count) == (3, None)
    assert by_key.split_count == 2


@pytest.mark.parametrize("keep", [0, 3, 4, 11, 24, 25, 1_000, 10_000, 40_000, -33, -32, -1])
def test_a_cut_file_is_named_as_such(tmp_path: Path, keep: int) -> None:
    whole = write_tiny_gguf(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[:keep])

    with pytest.raises(NotGgufError if 0 <= keep < 4 else GgufTruncatedError) as caught:
        read_gguf(path)

    assert caught.value.path == path
    assert str(path) in str(caught.value)


def test_a_cut_file_says_how_much_is_there(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "a.gguf")
    size = path.stat().st_size
    write_tiny_gguf(path, keep_bytes=size - 10)

    with pytest.raises(GgufTruncatedError, match=f"{size - 10:,} of {size:,} bytes are there"):
        read_gguf(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04 and so on", "starts with b'PK"),
        (header(version=1), "version 1"),
        (header(version=4), "version 4"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    ],
)
def test_other_bytes_are_not_gguf(data: bytes, words: str) -> None:
    with pytest.raises(NotGgufError, match=words):
        parse(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header(keys=1 << 60), "metadata keys"),
        (header(tensors=1 << 60), "tensors"),
        (header(keys=1, rest=struct.pack("<Q", 1 << 40)), "a metadata key claims"),
        (header(keys=1, rest=pair("k", 99, b"")), "unknown type 99"),
        (header(keys=1, rest=pair("k", 9, struct.pack("<IQ", 8, 1 << 40))), "claims .* strings"),
        (header(keys=1, rest=pair("k", 9, struct.pack("<IQ", 9, 1))), "list of the unknown type"),
        (header(keys=1, rest=pair("general.name", 8, struct.pack("<Q", 1 << 50))), "claims"),
        (header(keys=1, rest=pair("general.alignment", 4, struct.pack("<I", 0))), "alignment is 0"),
        (header(tensors=1, rest=tensor("t", (1, 1, 1, 1, 1), 0, 0)), "5 dimensions"),
        (header(tensors=1, rest=tensor("t", (1 << 40, 1 << 40), 0, 0)), "elements"),
        (header(tensors=1, rest=tensor("t", (1,), 0, 64)), "is at 64, not at 0"),
        (header(keys=1, rest=pair("k", 8, struct.pack("<Q", 1 << 50))), "leads to byte"),
    ],
)
def test_absurd_lengths_are_malformed(data: bytes, words: str) -> None:
    with pytest.raises(GgufMalformedError, match=words):
        parse(data)


def test_a_type_from_the_future_gets_the_benefit_of_the_doubt() -> None:
    table = tensor("new", (64, 64), 999, 0) + tensor("next", (4,), 0, 96)

    info = parse(header(tensors=2, rest=table) + bytes(200))

    assert info.parameter_count == 4096 + 4


def test_a_long_vocabulary_is_stepped_over_in_little_memory() -> None:
    count = 200_000
    tokens = b"".join(text(f"token number {n}") for n in range(count))
    listed = pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, count) + tokens)
    data = header(keys=2, rest=listed + pair("general.name", 8, text("after it")))
    stream = io.BytesIO(data)

    tracemalloc.start()
    info = parse_gguf(stream, len(data))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert info.name == "after it"
    assert peak < 2_000_000 < len(data)


def test_a_path_that_is_no_file_is_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.gguf", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(GgufUnreadableError) as caught:
            read_gguf(path)
        assert caught.value.path == path


def test_the_tables_agree_with_the_gguf_package() -> None:
    blocks = {int(kind): size for kind, size in gguf.GGML_QUANT_SIZES.items()}
    names = {
        int(kind): kind.name.replace("MOSTLY_", "").replace("ALL_", "")
        for kind in gguf.LlamaFileType
        if kind.name != "GUESSED"
    }

    assert {kind: gguf_types.size_bytes(kind, n * 7) for kind, (n, _) in blocks.items()} == {
        kind: size * 7 for kind, (_, size) in blocks.items()
    }
    assert names.items() <= dict(gguf_types.QUANTIZATIONS).items()
    assert set(gguf_types.ENCODERS) <= set(gguf.MODEL_ARCH_NAMES.values())


def outcome(data: bytes) -> GgufInfo | None:
    """A result or the typed error; whatever else is raised fails the test."""
    try:
        return parse(data)
    except GgufError:
        return None


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_result_or_the_typed_error(data: bytes) -> None:
    outcome(data)
    outcome(b"GGUF" + struct.pack("<I", 3) + data)
    outcome(header(tensors=1, keys=1, rest=data))


@settings(deadline=None)
@given(st.integers(0, 12_000), st.binary(min_size=1, max_size=12), st.integers(0, len(WELCOME)))
def test_a_damaged_real_file_gives_a_result_or_the_typed_error(
    at: int, damage: bytes, keep: int
) -> None:
    damaged = WELCOME[:at] + damage + WELCOME[at + len(damage) :]

    outcome(damaged)
    info = outcome(damaged[:keep])

    assert info is None or info.size_bytes == keep


@settings(deadline=None)
@given(st.integers(0, len(WELCOME) - 1))
def test_no_cut_of_a_whole_file_passes(keep: int) -> None:
    assert outcome(WELCOME[:keep]) is None


def test_a_whole_file_passes_with_more_behind_it() -> None:
    whole = parse(WELCOME)

    assert parse(WELCOME + b"\0" * 100) == replace(whole, size_bytes=len(WELCOME) + 100)
