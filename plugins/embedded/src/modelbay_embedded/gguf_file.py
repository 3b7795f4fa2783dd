"""What a GGUF file says about itself, read from its header without touching a tensor's data.

Loading a damaged file costs a process and answers with a line of log; reading its header costs
milliseconds and can say "truncated: 3.1 of 4.6 GB". Every length in the file is treated as hostile:
nothing is allocated that the file does not hold, and long lists (a vocabulary) are stepped over.

    GgufError                   path, reason
    ├── GgufUnreadableError     the file could not be opened or read
    ├── NotGgufError            other bytes, an empty file, a version llama.cpp does not load
    ├── GgufTruncatedError      it ends before what its header promises
    └── GgufMalformedError      lengths or types that make no sense

Source: ggml docs/gguf.md and gguf.cpp (versions 2 and 3, little endian).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct, unpack_from
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from modelbay_embedded import gguf_types

if TYPE_CHECKING:
    import os

Pooling = Literal["none", "mean", "cls", "last", "rank"]
Scalar = str | int | float | bool

MAGIC = b"GGUF"
_POOLINGS: tuple[Pooling, ...] = ("none", "mean", "cls", "last", "rank")

# Far above what real files hold (the largest vocabularies have 300,000 tokens and 550,000 merges in
# 20 MB; templates 30 KB; 2,500 tensors), low enough that a forged header is refused within seconds.
_MAX_KEYS = 10_000
_MAX_KEY_BYTES = 65_535  # the format's own limit
_MAX_NAME_BYTES = 255  # of a tensor; llama.cpp takes 63
_MAX_KEPT_BYTES = 1 << 20  # per text, and four times that for all
_MAX_TENSORS = 100_000
_MAX_DIMENSIONS = 4
_MAX_ELEMENTS = 1 << 63
_MAX_STRINGS = 4_000_000
_MAX_HEADER_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 18

_DEFAULT_ALIGNMENT = 32
_U32, _U64 = Struct("<I"), Struct("<Q")
_STRING, _ARRAY = 8, 9
_SCALARS = {
    kind: Struct("<" + code)
    for kind, code in {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"}.items()
} | {10: Struct("<Q"), 11: Struct("<q"), 12: Struct("<d")}

_NAMED_LIKE_A_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
_TOOLS = re.compile(r"\btools\b")
_REASONING = re.compile(r"<think>|\benable_thinking\b|\breasoning_content\b|<\|channel\|>")


class GgufError(Exception):
    """The header cannot be used.

    Args:
        reason: What is wrong, without the path.
        path: The file, where one was named.
    """

    def __init__(self, reason: str, path: Path | None = None) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.reason = reason
        self.path = path


class GgufUnreadableError(GgufError):
    """The file could not be opened or read."""


class NotGgufError(GgufError):
    """Other bytes, an empty file, or a version llama.cpp does not load."""


class GgufTruncatedError(GgufError):
    """The file ends before what its header promises: a download that broke off."""


class GgufMalformedError(GgufError):
    """Lengths or types that make no sense."""


@dataclass(frozen=True, slots=True)
class GgufInfo:
    """What one file says about itself.

    None means that the file does not say.
    """

    size_bytes: int
    version: int
    architecture: str | None
    name: str | None
    context_length: int | None
    """Tokens the model was trained for."""
    embedding_length: int | None
    parameter_count: int | None
    """Elements of all tensors of this file; None for one shard of several."""
    size_label: str | None
    """The author's word for the size, such as ``8B``."""
    quantization: str | None
    """Such as ``Q4_K_M`` or ``F16``."""
    chat_template: str | None = field(repr=False)
    template_has_tools: bool
    template_has_reasoning: bool
    pooling: Pooling | None
    split_count: int
    """Files that make up the model; 1 for an ordinary one."""
    is_projector: bool
    """An image or audio projector (``mmproj``), which runs only beside a model."""
    tensor_count: int

    @property
    def is_rerank(self) -> bool:
        """It scores pairs of texts."""
        return self.pooling == "rank"

    @property
    def is_embedding(self) -> bool:
        """It answers with vectors: it pools, or its architecture does nothing else."""
        if self.pooling in ("mean", "cls", "last"):
            return True
        return self.pooling is None and self.architecture in gguf_types.ENCODERS


def read_gguf(path: str | os.PathLike[str]) -> GgufInfo:
    """Read one file's header.

    For a model in several files, give the first; the others are not looked at.

    Raises:
        GgufError: One of the four kinds in the module's docstring; never anything else.
    """
    path = Path(path)
    try:
        if not path.is_file():  # opening a pipe would wait for its writer
            reason = "not a regular file" if path.exists() else "no such file"
            raise GgufUnreadableError(reason, path)
        with path.open("rb", buffering=0) as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            shard = _NAMED_LIKE_A_SHARD.search(path.name)
            return parse_gguf(file, size, shards_by_name=int(shard[2]) if shard else 1)
    except GgufError as error:
        error.path = path
        error.args = (f"{path}: {error.reason}",)
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise GgufUnreadableError(getattr(error, "strerror", None) or str(error), path) from error


def parse_gguf(file: BinaryIO | io.RawIOBase, size: int, *, shards_by_name: int = 1) -> GgufInfo:
    """Read a header from a seekable stream of ``size`` bytes that stands at its start.

    Raises:
        NotGgufError: Other bytes.
        GgufTruncatedError: The header or a tensor's data ends behind ``size``.
        GgufMalformedError: A length or a type that makes no sense.
    """
    cursor = _Cursor(file, size)
    version = _read_version(cursor)
    tensors, keys = cursor.u64(), cursor.u64()
    if tensors > _MAX_TENSORS or keys > _MAX_KEYS:
        raise GgufMalformedError(f"claims {tensors} tensors and {keys} metadata keys")
    facts: dict[str, Scalar] = {}
    kept_bytes = 0
    for _ in range(keys):
        key = cursor.text(_MAX_KEY_BYTES, "a metadata key")
        value = _read_value(cursor, key)
        if value is None or len(key) > _MAX_NAME_BYTES:
            continue
        facts[key] = value
        kept_bytes += len(value) if isinstance(value, str) else 0
        if kept_bytes > 4 * _MAX_KEPT_BYTES:
            raise GgufMalformedError(f"holds more than {kept_bytes:,} bytes of templates")
    elements = _check_tensors(cursor, tensors, _alignment(facts))
    return _describe(facts, size, version, tensors, elements, shards_by_name)


def _read_version(cursor: _Cursor) -> int:
    magic = cursor.take_up_to(4)
    if magic != MAGIC:
        raise NotGgufError(f"starts with {magic!r}, not b'GGUF'" if magic else "the file is empty")
    version = cursor.u32()
    if version in (2, 3):
        return version
    if not version & 0xFFFF:
        raise NotGgufError("is a big-endian GGUF file, which llama.cpp does not load here")
    raise NotGgufError(f"has GGUF version {version}; llama.cpp loads 2 and 3")


def _read_value(cursor: _Cursor, key: str) -> Scalar | None:
    """One value; None for what no caller asks about, which is only stepped over."""
    kind = cursor.u32()
    if kind == _ARRAY:
        _skip_array(cursor, key)
        return None
    if kind == _STRING:
        if _is_kept(key):
            return cursor.text(_MAX_KEPT_BYTES, key)
        cursor.skip_strings(1)
        return None
    layout = _SCALARS.get(kind)
    if layout is None:
        raise GgufMalformedError(f"the value of {key!r} has the unknown type {kind}")
    return cast("Scalar", layout.unpack(cursor.take(layout.size))[0])


def _is_kept(key: str) -> bool:
    """Few strings matter, and some of the others (licences, merges as text) are long."""
    return key.startswith("tokenizer.chat_template") or key in {
        "general.architecture",
        "general.name",
        "general.type",
        "general.size_label",
    }


def _skip_array(cursor: _Cursor, key: str) -> None:
    kind, count = cursor.u32(), cursor.u64()
    if kind == _STRING:
        if count > _MAX_STRINGS:
            raise GgufMalformedError(f"{key!r} claims {count} strings")
        cursor.skip_strings(count)
        return
    layout = _SCALARS.get(kind)
    if layout is None:  # also an array of arrays, which llama.cpp refuses
        raise GgufMalformedError(f"{key!r} is a list of the unknown type {kind}")
    cursor.skip(count * layout.size)


def _alignment(facts: dict[str, Scalar]) -> int:
    value = facts.get("general.alignment", _DEFAULT_ALIGNMENT)
    if type(value) is not int or value <= 0 or value & (value - 1):
        raise GgufMalformedError(f"general.alignment is {value}")
    return value


def _check_tensors(cursor: _Cursor, count: int, alignment: int) -> int:
    """Hold the tensor table against the file's size and return the number of elements.

    Raises:
        GgufTruncatedError: A tensor's data reaches past the end of the file.
        GgufMalformedError: The tensors do not stand one after the other, as llama.cpp wants them.
    """
    elements = end = 0
    ends: list[tuple[int, str]] = []
    all_known = True
    for _ in range(count):
        name = cursor.text(_MAX_NAME_BYTES, "a tensor's name")
        dimensions = cursor.u32()
        if dimensions > _MAX_DIMENSIONS:
            raise GgufMalformedError(f"tensor {name!r} claims {dimensions} dimensions")
        extent = 1
        for _ in range(dimensions):
            extent *= cursor.u64()
        if extent > _MAX_ELEMENTS:
            raise GgufMalformedError(f"tensor {name!r} claims {extent:,} elements")
        kind, offset = cursor.u32(), cursor.u64()
        expected = _aligned(end, alignment)
        if all_known and offset != expected:
            raise GgufMalformedError(f"tensor {name!r} is at {offset:,}, not at {expected:,}")
        size = gguf_types.size_bytes(kind, extent)
        # A newer llama.cpp may know the type, so the file gets the benefit of the doubt.
        all_known = all_known and size is not None
        end = offset + (size or 0)
        ends.append((end, name))
        elements += extent
    start = _aligned(cursor.position, alignment)
    missing = next((name for end, name in ends if start + end > cursor.size), None)
    if missing is not None:
        raise GgufTruncatedError(
            f"truncated: {cursor.size:,} of {start + max(ends)[0]:,} bytes are there,"
            f" and the data of tensor {missing!r} is not whole"
        )
    return elements


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _describe(
    facts: dict[str, Scalar],
    size: int,
    version: int,
    tensors: int,
    elements: int,
    shards_by_name: int,
) -> GgufInfo:
    architecture = _text(facts, "general.architecture")
    templates = [v for k, v in facts.items() if k.startswith("tokenizer.chat_template")]
    template = _text(facts, "tokenizer.chat_template")
    all_templates = "\n".join(v for v in templates if isinstance(v, str))
    split_count = max(_number(facts, "split.count") or 1, shards_by_name)
    pooling = _number(facts, f"{architecture}.pooling_type")
    return GgufInfo(
        size_bytes=size,
        version=version,
        architecture=architecture,
        name=_text(facts, "general.name"),
        context_length=_number(facts, f"{architecture}.context_length"),
        embedding_length=_number(facts, f"{architecture}.embedding_length"),
        parameter_count=elements if elements and split_count == 1 else None,
        size_label=_text(facts, "general.size_label"),
        quantization=gguf_types.QUANTIZATIONS.get(_number(facts, "general.file_type")),
        chat_template=template,
        # There may be a second one for calls with tools: `tokenizer.chat_template.tool_use`.
        template_has_tools=bool(_TOOLS.search(all_templates)),
        template_has_reasoning=bool(_REASONING.search(all_templates)),
        pooling=_POOLINGS[pooling] if pooling is not None and pooling < len(_POOLINGS) else None,
        split_count=split_count,
        is_projector=architecture == "clip" or _text(facts, "general.type") == "mmproj",
        tensor_count=tensors,
    )


def _text(facts: dict[str, Scalar], key: str) -> str | None:
    value = facts.get(key)
    return value if isinstance(value, str) and value else None


def _number(facts: dict[str, Scalar], key: str) -> int | None:
    value = facts.get(key)
    return value if type(value) is int and value >= 0 else None


class _Cursor:
    """A forward reader that never holds more than one block, or the one string being read.

    Reading, not mapping: a file cut short under a memory map ends the process with SIGBUS.
    """

    def __init__(self, file: BinaryIO | io.RawIOBase, size: int) -> None:
        self.size = size
        self._file = file
        self._block = b""
        self._at = 0  # in the block
        self._base = 0  # where the block starts in the file

    @property
    def position(self) -> int:
        return self._base + self._at

    def u32(self) -> int:
        return cast("int", _U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return cast("int", _U64.unpack(self.take(8))[0])

    def text(self, limit: int, what: str) -> str:
        length = self.u64()
        if length > limit:
            raise GgufMalformedError(f"{what} claims {length:,} bytes")
        return self.take(length).decode("utf-8", "replace")

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._block):
            self._need(count)
        data = self._block[self._at : self._at + count]
        self._at += count
        return data

    def take_up_to(self, count: int) -> bytes:
        return self.take(min(count, self.size))

    def skip(self, count: int) -> None:
        if self.position + count > self.size:
            self._end(self.position + count)
        self._move(self.position + count)

    def skip_strings(self, count: int) -> None:
        """Step over strings: the one tight loop, since a vocabulary has hundreds of thousands."""
        block, at = self._block, self._at
        room = len(block) - 8
        for _ in range(count):
            if at > room:
                self._at = at
                self._need(8)
                block, at = self._block, self._at
                room = len(block) - 8
            at += 8 + unpack_from("<Q", block, at)[0]
            if at > len(block):
                self._at = len(block)
                self.skip(at - len(block))
                block, at = self._block, self._at
                room = len(block) - 8
        self._at = at

    def _need(self, count: int) -> None:
        """Make ``count`` more bytes stand in the block."""
        if self.position + count > self.size:
            self._end(self.position + count)
        if self.position + count > _MAX_HEADER_BYTES:
            raise GgufMalformedError(f"the header is longer than {_MAX_HEADER_BYTES:,} bytes")
        rest = self._block[self._at :]
        self._base, self._at = self.position, 0
        parts, have = [rest], len(rest)
        while have < count:
            part = self._file.read(max(count - have, _BLOCK_BYTES))
            if not part:  # shorter than it was when its size was asked
                self._end(self._base + count)
                break
            parts.append(part)
            have += len(part)
        self._block = b"".join(parts)

    def _move(self, position: int) -> None:
        if position <= self._base + len(self._block):
            self._at = position - self._base
            return
        if position > _MAX_HEADER_BYTES:
            raise GgufMalformedError(f"the header is longer than {_MAX_HEADER_BYTES:,} bytes")
        self._file.seek(position)
        self._block, self._base, self._at = b"", position, 0

    def _end(self, wanted: int) -> None:
        if wanted > _MAX_HEADER_BYTES:  # no download stopped early; a length is wrong
            raise GgufMalformedError(f"a length in the header leads to byte {wanted:,}")
        raise GgufTruncatedError(
            f"truncated: the header alone needs {wanted:,} bytes and the file has {self.size:,}"
        )
