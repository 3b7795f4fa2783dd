"""A simulated model as data, its tokens and its chat template.

The tokenizer is the one of the tiny models the transcripts were made with: one token for each
character (each byte beyond ASCII), one for each tag of the template, a BOS in front. What the model
says comes in pieces of three characters. So token counts agree with the recordings.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Source = Literal["models_dir", "preset", "cache"]

BOS = 1
_TAGS = (
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
)
_TAG = re.compile("|".join(map(re.escape, _TAGS)))
_TAG_IDS = {tag: 1 + at for at, tag in enumerate(_TAGS)}
_FIRST_BYTE = 5  # byte b has the id b + 5
_ALPHABET = (
    " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,"
    "!?:;'\"()[]{}<>/\\|-_=+*&^%$#@~\n"
)
_FIRST_CHAR = 261
_CHAR_IDS = {char: _FIRST_CHAR + at for at, char in enumerate(_ALPHABET)}
_PIECE_CHARS = 3
IMAGE_TOKENS = 34  # what the recorded projector makes of one image, its marker included


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model makes. `arguments` is JSON text, sent exactly as written here."""

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """What one model is and does. All times in seconds, and near zero unless a test wants them.

    Attributes:
        id: The wire id; in single mode what ``--alias`` gave.
        answer: What it says. With `tool_calls` as well: what it says after a tool result.
        says: Makes its words of the messages instead.
        listed_as: What lists and descriptions say it is instead; it does what it does all the same.
        reasoning: What it thinks first, between ``<think>`` tags.
        tool_calls: What it calls when the request offers tools (all of them, in one turn).
        json_answer: What it says under a JSON constraint; "": the smallest value the schema allows.
        endless: It never ends by itself: the answer is repeated until a limit.
        n_ctx: Context of one slot, in tokens. With shared slots: of all together.
        tools: Its chat template knows tools. Otherwise they are left out without a word.
        vision, audio: It has such a projector.
        embeddings, rerank, pooling, n_embd, batch: An embedding or rerank model; `batch` is the
            longest input in tokens.
        jinja: False: started with ``--no-jinja``.
        load_s: How long a load takes. `math.inf`: until `LlamaCppSimulator.finish_load`.
        listen_s: Router: how much of `load_s` passes before the child accepts connections.
            `math.inf`: until `finish_load`.
        exit_code: Other than 0: a load ends in failure with it.
        unload_s: How long a stop takes when idle.
        prompt_s, token_s: Time before the first token, and for each further one.
        hold_after: Stop after so many tokens until `LlamaCppSimulator.release`.
        die_after: The process dies after so many tokens.
        fail_after: A compute error ("Context size has been exceeded.") after so many tokens.
        args: More command line arguments in a router's list, such as ``("--embeddings",)``.
        source: Where a router found it; only ``cache`` can be removed.
        path: The file; "": derived from the id.
        size_bytes, n_params, n_ctx_train, ftype: What `meta` says.
        download_s: How long a download of it takes, when it is on the simulated hub.
    """

    id: str
    answer: str = "Hello from the simulator."
    says: Callable[[Sequence[Mapping[str, object]]], str] | None = None
    listed_as: "SimulatedModel | None" = None
    reasoning: str = ""
    tool_calls: Sequence[ToolCall] = ()
    json_answer: str = ""
    endless: bool = False
    aliases: Sequence[str] = ()
    tags: Sequence[str] = ()
    n_ctx: int = 4096
    n_ctx_train: int = 32768
    tools: bool = True
    vision: bool = False
    audio: bool = False
    embeddings: bool = False
    rerank: bool = False
    pooling: Literal["mean", "rank", "none"] = "mean"
    n_embd: int = 64
    batch: int = 512
    jinja: bool = True
    load_s: float = 0.0
    listen_s: float = 0.0
    exit_code: int = 0
    unload_s: float = 0.0
    prompt_s: float = 0.0
    token_s: float = 0.0
    hold_after: int | None = None
    die_after: int | None = None
    fail_after: int | None = None
    args: Sequence[str] = ()
    source: Source = "models_dir"
    path: str = ""
    size_bytes: int = 242_176
    n_params: int = 120_768
    ftype: str = "F16"
    download_s: float = 0.0

    @property
    def shown(self) -> "SimulatedModel":
        """What is told of it."""
        return self.listed_as or self

    @property
    def names(self) -> list[str]:
        """Every name a request may use, the id first."""
        return [self.id, *self.aliases]

    @property
    def file(self) -> str:
        return self.path or f"models/{self.id.replace('/', '--').replace(':', '-')}.gguf"

    def meta(self) -> dict[str, object]:
        """`meta` of a list entry; `n_ctx` is that of one slot."""
        return {
            "vocab_type": 1,
            "n_vocab": 365,
            "n_ctx": self.n_ctx,
            "n_ctx_train": self.n_ctx_train,
            "n_embd": self.n_embd,
            "n_params": self.n_params,
            "size": self.size_bytes,
            "ftype": self.ftype,
        }

    def template_caps(self) -> dict[str, bool]:
        """`chat_template_caps` of ``/props``."""
        return {
            "supports_object_arguments": self.tools,
            "supports_parallel_tool_calls": self.tools,
            "supports_preserve_reasoning": self.tools,
            "supports_reasoning_effort": False,
            "supports_string_content": True,
            "supports_system_role": True,
            "supports_tool_calls": self.tools,
            "supports_tools": self.tools,
            "supports_typed_content": False,
        }


def pieces(text: str) -> list[str]:
    """What the model says, token by token: tags alone, text by threes, a rest of one joined on."""
    found: list[str] = []
    for part in _split_tags(text):
        if part in _TAG_IDS:
            found.append(part)
            continue
        cut = [part[at : at + _PIECE_CHARS] for at in range(0, len(part), _PIECE_CHARS)]
        if len(cut) > 1 and len(cut[-1]) == 1:
            cut[-2:] = [cut[-2] + cut[-1]]
        found += cut
    return found


def tokenize(text: str, *, bos: bool = True, tags: bool = True) -> list[int]:
    """Token ids of a text; `tags`: template tags are one token each."""
    ids = [BOS] if bos else []
    for part in _split_tags(text) if tags else [text]:
        if tags and part in _TAG_IDS:
            ids.append(_TAG_IDS[part])
            continue
        for char in part:
            known = _CHAR_IDS.get(char)
            ids += [known] if known else [byte + _FIRST_BYTE for byte in char.encode()]
    return ids


def token_piece(token: int) -> str | list[int]:
    """The text of a token, or its one byte as a list when it is no UTF-8 of its own."""
    if token >= _FIRST_CHAR:
        at = token - _FIRST_CHAR
        return _ALPHABET[at] if at < len(_ALPHABET) else ""
    if token >= _FIRST_BYTE + len(_TAGS):
        return [token - _FIRST_BYTE]
    return _TAGS[token - 1] if 0 < token <= len(_TAGS) else ""


def detokenize(tokens: Sequence[int]) -> str:
    raw = bytearray()
    for token in tokens:
        piece = token_piece(token)
        raw += piece.encode() if isinstance(piece, str) else bytes(piece)
    return raw.decode("utf-8", "replace")


def _split_tags(text: str) -> Iterator[str]:
    at = 0
    for tag in _TAG.finditer(text):
        if tag.start() > at:
            yield text[at : tag.start()]
        yield tag.group()
        at = tag.end()
    if at < len(text):
        yield text[at:]


_TOOLS_HEAD = "You may call these functions:\n<tools>"
_TOOLS_TAIL = (
    "\n</tools>\nTo call one, answer with:\n<tool_call>\n"
    '{"name": <function name>, "arguments": <object>}\n</tool_call>'
)
NO_THOUGHT = "<think>\n\n</think>\n\n"
CHAT_TEMPLATE = (
    "{%- if tools -%}{{- '<|im_start|>system\\n' -}}...{%- endif -%}{%- for m in messages -%}..."
)


def render(
    model: SimulatedModel,
    messages: Sequence[Mapping[str, object]],
    tools: Sequence[object],
    *,
    thinking: bool,
    prefill: bool,
) -> str:
    """The prompt. `prefill`: the last message is left open, to be continued."""
    out: list[str] = []
    rest = list(messages)
    if tools and model.tools:
        first = ""
        if rest and rest[0].get("role") == "system":
            first = f"{content_text(rest.pop(0))}\n\n"
        listed = "".join(f"\n{json.dumps(tool, ensure_ascii=False)}" for tool in tools)
        out.append(f"<|im_start|>system\n{first}{_TOOLS_HEAD}{listed}{_TOOLS_TAIL}<|im_end|>\n")
    last = rest.pop() if prefill else None
    out += [_render_message(message) for message in rest]
    out.append("<|im_start|>assistant\n")
    if model.tools and (last is not None or not thinking):
        out.append(NO_THOUGHT)
    if last is not None:
        out.append(content_text(last))
    return "".join(out)


def _render_message(message: Mapping[str, object]) -> str:
    role, text = message.get("role"), content_text(message)
    if role == "tool":
        role, text = "user", f"<tool_response>\n{text}\n</tool_response>"
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        text += "\n".join(_render_call(call) for call in calls)
    thought = message.get("reasoning_content")
    if isinstance(thought, str) and thought:
        text = f"<think>\n{thought}\n</think>\n\n{text}"
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def _render_call(call: object) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return ""
    arguments = function.get("arguments", "{}")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return call_text(ToolCall(str(function.get("name", "")), text))


def call_text(call: ToolCall) -> str:
    """A tool call as the model writes it."""
    return f'<tool_call>\n{{"name": "{call.name}", "arguments": {call.arguments}}}\n</tool_call>'


def content_text(message: Mapping[str, object]) -> str:
    """The text of a message's content, whatever its form."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
