"""Tiny GGUF models for tests, small enough to build on the fly and real enough for llama.cpp.

Two sorts of weights. With ``say`` the layers add nothing and the output matrix is a table from the
last token to the next one, so the model answers every prompt with exactly that text, at any
temperature. Without it the weights are seeded noise, which does for usage, limits, embeddings and
grammars.

Needs ``gguf`` and ``numpy``, which the plugin itself does not.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Literal

import gguf
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Template = Literal["chatml", "tools"]
Pooling = Literal["none", "mean", "cls", "last", "rank"]
MetaValue = str | int | float | bool

_BLANK = "\u2581"  # SentencePiece writes a blank inside a token this way
_LETTERS = f"{_BLANK}{string.ascii_letters}{string.digits}.,:;!?'\"(){{}}[]<>/_-"
_SHORTEST = 3  # characters: two could be merged from letters while a prompt is tokenised
_SURE = 160.0  # logit of the scripted token, every other one is 0
_POOLING: dict[Pooling, int] = {"none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}

_CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)

# The tags are those of the Hermes and Qwen families. llama.cpp renders the template with sample
# messages and derives its output parser from the differences, so every tag has to come from here.
_TOOLS = """\
{%- if tools -%}
{{- '<|im_start|>system\\n' -}}
{%- if messages and messages[0].role == 'system' -%}
{{- messages[0].content ~ '\\n\\n' -}}
{%- endif -%}
{{- 'Functions at your disposal:\\n<tools>\\n' -}}
{%- for tool in tools -%}{{- tool | tojson ~ '\\n' -}}{%- endfor -%}
{{- '</tools>\\nCall one like this:\\n<tool_call>\\n' -}}
{{- '{"name": "...", "arguments": {...}}\\n</tool_call><|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'system' and tools and loop.first -%}
{%- elif message.role == 'tool' -%}
{{- '<|im_start|>user\\n<tool_response>\\n' ~ message.content -}}
{{- '\\n</tool_response><|im_end|>\\n' -}}
{%- elif message.role == 'assistant' -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if message.reasoning_content -%}
{{- '<think>\\n' ~ message.reasoning_content ~ '\\n</think>\\n\\n' -}}
{%- endif -%}
{%- if message.content -%}{{- message.content -}}{%- endif -%}
{%- for call in message.tool_calls or [] -%}
{%- if message.content or not loop.first -%}{{- '\\n' -}}{%- endif -%}
{{- '<tool_call>\\n{"name": "' ~ call.function.name ~ '", "arguments": ' -}}
{%- if call.function.arguments is string -%}{{- call.function.arguments -}}
{%- else -%}{{- call.function.arguments | tojson -}}{%- endif -%}
{{- '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- else -%}
{{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if enable_thinking is defined and not enable_thinking -%}
{{- '<think>\\n\\n</think>\\n\\n' -}}
{%- endif -%}
{%- endif -%}"""

TEMPLATES: dict[Template, str] = {"chatml": _CHATML, "tools": _TOOLS}


def write_tiny_gguf(
    path: Path,
    *,
    say: str | None = None,
    endless: bool = False,
    template: Template | None = "chatml",
    pooling: Pooling | None = None,
    n_ctx_train: int = 2048,
    seed: int = 1,
    name: str | None = None,
    architecture: str = "llama",
    layers: int = 2,
    width: int | None = None,
    feed_forward: int = 128,
    slow: bool = False,
    metadata: Mapping[str, MetaValue] | None = None,
    keep_bytes: int | None = None,
) -> Path:
    """Write one model file and return its path.

    Args:
        say: The whole answer to every prompt. A text of n characters takes about n / 4 tokens.
        endless: Start the text again instead of ending the turn; needs ``say``.
        template: ``tools`` has tool calls in ``<tool_call>`` and reasoning in ``<think>`` tags, so
            ``say`` may hold these; None writes no template (as embedding models have none).
        pooling: Makes it an embedding (``mean``, ``cls``, ``last``) or a rerank (``rank``) model.
        n_ctx_train: Context length the file claims, in tokens.
        architecture: Prefix of the keys too, so that an unknown one is refused for its name alone.
        width: Embedding length, a multiple of 64; chosen to fit when left out.
        slow: About 130 MB of weights: some tens to a hundred tokens per second on one thread.
        metadata: More keys, written last.
        keep_bytes: Cut the finished file to this many bytes: a download that broke off.

    Raises:
        ValueError: ``say`` repeats itself so that it cannot be cut into different tokens.
    """
    rng = np.random.default_rng(seed)
    pieces = list(cut(say)) if say else []
    if slow:
        layers, width, feed_forward = 8, max(width or 0, 1024), 2048
    if width is None:
        width = 64 * (1 + len(pieces) // 64)
    vocab = _vocabulary(pieces)
    turn_end = vocab["<|im_end|>"]

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name or path.stem)
    writer.add_context_length(n_ctx_train)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // 4)
    writer.add_vocab_size(len(vocab))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    if pooling is not None:
        writer.add_uint32(f"{architecture}.pooling_type", _POOLING[pooling])
        writer.add_causal_attention(pooling == "last")
    _add_tokenizer(writer, vocab, pieces)
    if template is not None:
        writer.add_chat_template(TEMPLATES[template])
    for key, value in (metadata or {}).items():
        _add_value(writer, key, value)

    if pieces:
        embedding, output = _script(vocab, pieces, width, turn_end, endless=endless)
    else:
        embedding = rng.standard_normal((len(vocab), width)) / 2
        output = rng.standard_normal((len(vocab), width)) * 5 / np.sqrt(width)
    _add_tensors(writer, rng, embedding, output, layers, feed_forward, silent=bool(pieces))
    _finish(writer)
    if keep_bytes is not None:
        with path.open("r+b") as file:
            file.truncate(keep_bytes)
    return path


def write_tiny_projector(path: Path, *, width: int = 64, seed: int = 1) -> Path:
    """Write an image projector (``mmproj``) for a text model of that embedding width."""
    rng = np.random.default_rng(seed)
    inner, patch, side = 32, 8, 64
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "gemma3")
    writer.add_bool("clip.use_gelu", True)
    numbers = {
        "image_size": side,
        "patch_size": patch,
        "embedding_length": inner,
        "feed_forward_length": 64,
        "block_count": 1,
        "projection_dim": width,
        "attention.head_count": 2,
    }
    for key, value in numbers.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5] * 3)
    writer.add_array("clip.vision.image_std", [0.5] * 3)
    block = "v.blk.0"
    shapes: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (inner, 3, patch, patch),
        "v.patch_embd.bias": (inner,),
        "v.position_embd.weight": ((side // patch) ** 2, inner),
        f"{block}.ffn_up.weight": (64, inner),
        f"{block}.ffn_up.bias": (64,),
        f"{block}.ffn_down.weight": (inner, 64),
        f"{block}.ffn_down.bias": (inner,),
        "mm.input_projection.weight": (inner, width),
        "mm.soft_emb_norm.weight": (inner,),
    }
    for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
        shapes[f"{block}.{part}.weight"] = (inner, inner)
        shapes[f"{block}.{part}.bias"] = (inner,)
    for part in (f"{block}.ln1", f"{block}.ln2", "v.post_ln"):
        shapes[f"{part}.weight"] = (inner,)
        shapes[f"{part}.bias"] = (inner,)
    for tensor, shape in shapes.items():
        writer.add_tensor(tensor, (rng.standard_normal(shape) / 10).astype(np.float32))
    _finish(writer)
    return path


def cut(text: str) -> Iterator[str]:
    """Cut a text into pieces that differ from each other, so that each has one successor.

    Raises:
        ValueError: There is no such cut from left to right (the text repeats itself to its end).
    """
    seen: set[str] = set()
    start = 0
    while start < len(text):
        end = start + _SHORTEST
        while text[start:end] in seen:
            end += 1
            if end > len(text):
                raise ValueError(f"the end of the text repeats itself: {text[start:]!r}")
        if len(text) - end < _SHORTEST:
            end = len(text)
        seen.add(text[start:end])
        yield text[start:end]
        start = end


def _vocabulary(pieces: list[str]) -> dict[str, int]:
    texts = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    texts += [f"<0x{value:02X}>" for value in range(256)]
    texts += [*_LETTERS, *(piece.replace(" ", _BLANK) for piece in pieces)]
    # A text of one letter is that letter's token.
    return {text: index for index, text in enumerate(dict.fromkeys(texts))}


def _add_tokenizer(writer: gguf.GGUFWriter, vocab: dict[str, int], pieces: list[str]) -> None:
    kinds = gguf.TokenType
    control = {"<unk>": kinds.UNKNOWN}
    control |= dict.fromkeys(("<s>", "</s>", "<|im_start|>", "<|im_end|>"), kinds.CONTROL)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(list(vocab))
    writer.add_token_scores([-float(index) for index in vocab.values()])
    writer.add_token_types(
        [
            control.get(text, kinds.BYTE if text.startswith("<0x") else kinds.NORMAL)
            for text in vocab
        ]
    )
    writer.add_bos_token_id(vocab["<s>"])
    writer.add_eos_token_id(vocab["<|im_end|>"])
    writer.add_unk_token_id(vocab["<unk>"])
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def _add_value(writer: gguf.GGUFWriter, key: str, value: MetaValue) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)


def _script(
    vocab: dict[str, int], pieces: list[str], width: int, turn_end: int, *, endless: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Embedding and output matrix that chain the pieces; channel 0 means "not scripted"."""
    if len(pieces) >= width:
        raise ValueError(f"{len(pieces)} pieces need an embedding wider than {width}")
    ids = [vocab[piece.replace(" ", _BLANK)] for piece in pieces]
    embedding = np.zeros((len(vocab), width))
    embedding[:, 0] = 1
    for channel, token in enumerate(ids, start=1):
        embedding[token] = np.eye(width)[channel]
    output = np.zeros((len(vocab), width))
    # RMS normalisation turns a unit vector into one of length sqrt(width).
    for channel, token in enumerate([*ids, ids[0] if endless else turn_end]):
        output[token, channel] = _SURE / np.sqrt(width)
    return embedding, output


def _add_tensors(
    writer: gguf.GGUFWriter,
    rng: np.random.Generator,
    embedding: npt.NDArray[np.float64],
    output: npt.NDArray[np.float64],
    layers: int,
    feed_forward: int,
    *,
    silent: bool,
) -> None:
    width = embedding.shape[1]
    ones = np.ones(width, dtype=np.float32)
    writer.add_tensor("token_embd.weight", embedding.astype(np.float16))
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", output.astype(np.float16))
    shapes = {
        "attn_q": (width, width),
        "attn_k": (width // 2, width),
        "attn_v": (width // 2, width),
        "attn_output": (width, width),
        "ffn_gate": (feed_forward, width),
        "ffn_up": (feed_forward, width),
        "ffn_down": (width, feed_forward),
    }
    for layer in range(layers):
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", ones)
        for part, shape in shapes.items():
            # These two write to the residual stream.
            loud = not (silent and part in ("attn_output", "ffn_down"))
            noise = rng.standard_normal(shape, dtype=np.float32) * (loud / np.sqrt(width))
            writer.add_tensor(f"blk.{layer}.{part}.weight", noise.astype(np.float16))


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
