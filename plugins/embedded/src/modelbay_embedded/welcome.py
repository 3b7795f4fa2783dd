"""The welcome model: what a first chat meets when there is no model anywhere.

It is a GGUF file of some 300 KB that modelbay writes itself and the real engine runs. It is no
language model: one transparent layer and an output matrix that names, for each token, the one that
follows. So it answers everything with the same text, word by word, and ends its turn.

How the table works: each word of the text has a channel of the embedding for itself, all other
tokens share channel 0. The layer writes nothing into the residual stream, so what reaches the
output matrix is the last token's channel, and the row with a weight there is the next token.
Channel 0 leads to the first word, therefore any prompt at all starts the text.

Needs nothing but the standard library and builds in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from modelbay_embedded.gguf_file import MAGIC

WELCOME_TEXT = """\
Hello from modelbay. This is the built-in welcome model, not a real language model: it gives this \
same answer to everything, and you see it because no other model was found on this computer.

To talk to a real one, do one of these:
- put a .gguf file into a folder and name that folder in the environment variable MODELBAY_MODELS
- start Ollama, llama-server or llama-swap

Then run: modelbay models
If nothing new appears there, "modelbay doctor" says where it looked."""

_CONTEXT_LENGTH = 32_768  # every byte of a prompt is one token
_WIDTH = 128
_HEADS = 4
_HEAD_WIDTH = _WIDTH // _HEADS
_FEED_FORWARD = 32
_NEXT_WEIGHT = 14.0  # times sqrt(_WIDTH): a logit of 158 against 0, certain at any temperature
_ALIGNMENT = 32
_BLANK = "\u2581"  # SentencePiece writes a blank inside a token this way
_SHORTEST_PIECE = 3  # characters; shorter ones could come out of tokenising a prompt

_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' ~ message.role ~ '|>' ~ message.content ~ '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)

# Token kinds: llama.h, `llama_token_type`.
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
# Value types of the metadata, and tensor types: ggml docs/gguf.md.
_U32, _I32, _F32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_TENSOR_F32, _TENSOR_F16 = 0, 1
_MOSTLY_F16 = 1

_Value = bool | int | float | str | list[str] | list[float] | list[int]


def ensure_welcome(folder: Path) -> Path:
    """Return the model's path in ``folder``, writing it first unless it is there as it should be.

    The name carries a hash of the bytes, so a changed text is another file; and nobody ever sees
    half of one, since it gets its name when it is whole.

    Raises:
        OSError: The folder cannot be made or written.
    """
    data = build_welcome()
    path = folder / f"welcome-{hashlib.sha256(data).hexdigest()[:12]}.gguf"
    if _holds(path, data):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix="welcome-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        if _holds(path, data):  # Windows refuses to replace what another process has loaded
            return path
        raise
    return path


def build_welcome(text: str = WELCOME_TEXT) -> bytes:
    """The whole file, the same bytes each time.

    Raises:
        ValueError: The text is empty, or cannot be cut into fewer than 128 different pieces.
    """
    pieces = list(_cut(text))
    if not 0 < len(pieces) < _WIDTH:
        raise ValueError(f"a text of {len(pieces)} pieces; 1 to {_WIDTH - 1} fit")
    tokens = _vocabulary(pieces)
    first_piece = len(tokens) - len(pieces)
    end = tokens.index(("<|end|>", _CONTROL))

    embedding = _Matrix(len(tokens), _WIDTH)
    output = _Matrix(len(tokens), _WIDTH)
    for token in range(len(tokens)):
        embedding.put(token, max(0, token - first_piece + 1), 1.0)
    for channel, token in enumerate([*range(first_piece, len(tokens)), end]):
        output.put(token, channel, _NEXT_WEIGHT)

    tensors: list[tuple[str, _Matrix | _Ones]] = [
        ("token_embd.weight", embedding),
        ("output_norm.weight", _Ones(_WIDTH)),
        ("output.weight", output),
        ("blk.0.attn_norm.weight", _Ones(_WIDTH)),
        ("blk.0.attn_q.weight", _Matrix(_WIDTH, _WIDTH)),
        ("blk.0.attn_k.weight", _Matrix(_HEAD_WIDTH, _WIDTH)),
        ("blk.0.attn_v.weight", _Matrix(_HEAD_WIDTH, _WIDTH)),
        ("blk.0.attn_output.weight", _Matrix(_WIDTH, _WIDTH)),
        ("blk.0.ffn_norm.weight", _Ones(_WIDTH)),
        ("blk.0.ffn_gate.weight", _Matrix(_FEED_FORWARD, _WIDTH)),
        ("blk.0.ffn_up.weight", _Matrix(_FEED_FORWARD, _WIDTH)),
        ("blk.0.ffn_down.weight", _Matrix(_WIDTH, _FEED_FORWARD)),
    ]
    return _gguf(_metadata(tokens, end), tensors)


def _cut(text: str) -> Iterator[str]:
    """Cut into words that differ from each other, each with the white space that follows it.

    Raises:
        ValueError: The text's end repeats something, so that no cut makes it unique.
    """
    seen: set[str] = set()
    piece = ""
    for word in _words(text):
        piece += word
        if len(piece) >= _SHORTEST_PIECE and piece not in seen:
            seen.add(piece)
            yield piece
            piece = ""
    if piece:
        raise ValueError(f"the text ends with a repetition: {piece!r}")


def _words(text: str) -> Iterator[str]:
    start = 0
    for index in range(1, len(text)):
        if text[index - 1].isspace() and not text[index].isspace():
            yield text[start:index]
            start = index
    yield text[start:]


def _vocabulary(pieces: Sequence[str]) -> list[tuple[str, int]]:
    """Token texts with their kinds; the pieces stand last."""
    control = ("<s>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
    return [
        ("<unk>", _UNKNOWN),
        *((text, _CONTROL) for text in control),
        *((f"<0x{value:02X}>", _BYTE) for value in range(256)),
        (_BLANK, _NORMAL),
        *((piece.replace(" ", _BLANK), _NORMAL) for piece in pieces),
    ]


def _metadata(tokens: Sequence[tuple[str, int]], end: int) -> dict[str, tuple[int, _Value]]:
    scores = [-float(index) for index in range(len(tokens))]
    return {
        "general.architecture": (_STRING, "llama"),
        "general.type": (_STRING, "model"),
        "general.name": (_STRING, "modelbay welcome"),
        "general.description": (_STRING, "Always gives the same text. Not a language model."),
        "general.file_type": (_U32, _MOSTLY_F16),
        "general.alignment": (_U32, _ALIGNMENT),
        "llama.context_length": (_U32, _CONTEXT_LENGTH),
        "llama.embedding_length": (_U32, _WIDTH),
        "llama.block_count": (_U32, 1),
        "llama.feed_forward_length": (_U32, _FEED_FORWARD),
        "llama.attention.head_count": (_U32, _HEADS),
        "llama.attention.head_count_kv": (_U32, 1),
        "llama.attention.layer_norm_rms_epsilon": (_F32, 1e-6),
        "llama.rope.dimension_count": (_U32, _HEAD_WIDTH),
        "llama.vocab_size": (_U32, len(tokens)),
        "tokenizer.ggml.model": (_STRING, "llama"),
        "tokenizer.ggml.pre": (_STRING, "default"),
        "tokenizer.ggml.tokens": (_STRING, [text for text, _ in tokens]),
        "tokenizer.ggml.scores": (_F32, scores),
        "tokenizer.ggml.token_type": (_I32, [kind for _, kind in tokens]),
        "tokenizer.ggml.unknown_token_id": (_U32, 0),
        "tokenizer.ggml.bos_token_id": (_U32, 1),
        "tokenizer.ggml.eos_token_id": (_U32, end),
        "tokenizer.ggml.add_bos_token": (_BOOL, True),
        "tokenizer.ggml.add_eos_token": (_BOOL, False),
        "tokenizer.ggml.add_space_prefix": (_BOOL, False),
        "tokenizer.chat_template": (_STRING, _TEMPLATE),
    }


class _Matrix:
    """A float16 tensor of zeros, and the few places that are not."""

    kind = _TENSOR_F16

    def __init__(self, rows: int, columns: int) -> None:
        self.shape = (columns, rows)  # GGUF names the fastest dimension first
        self.data = bytearray(2 * rows * columns)

    def put(self, row: int, column: int, value: float) -> None:
        struct.pack_into("<e", self.data, 2 * (row * self.shape[0] + column), value)


class _Ones:
    """A float32 vector of ones: the weights of a normalisation."""

    kind = _TENSOR_F32

    def __init__(self, length: int) -> None:
        self.shape = (length,)
        self.data = struct.pack(f"<{length}f", *[1.0] * length)


def _gguf(
    metadata: dict[str, tuple[int, _Value]], tensors: Sequence[tuple[str, _Matrix | _Ones]]
) -> bytes:
    """Lay out a GGUF file of version 3.

    Source: ggml docs/gguf.md, "File Structure".
    """
    head = bytearray(MAGIC + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, (kind, value) in metadata.items():
        head += _packed(_STRING, key)
        if isinstance(value, list):
            head += struct.pack("<IIQ", _ARRAY, kind, len(value))
            head += b"".join(_packed(kind, item) for item in value)
        else:
            head += struct.pack("<I", kind) + _packed(kind, value)
    body = bytearray()
    for name, tensor in tensors:
        head += _packed(_STRING, name) + struct.pack("<I", len(tensor.shape))
        head += struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape)
        head += struct.pack("<IQ", tensor.kind, len(body))
        body += _padded(tensor.data)
    return _padded(head) + bytes(body)


def _packed(kind: int, value: bool | int | float | str) -> bytes:
    if isinstance(value, str):
        data = value.encode("utf-8")
        return struct.pack("<Q", len(data)) + data
    return struct.pack({_U32: "<I", _I32: "<i", _F32: "<f", _BOOL: "<?"}[kind], value)


def _padded(data: bytes | bytearray) -> bytes:
    return bytes(data) + bytes(-len(data) % _ALIGNMENT)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False
