"""Ollama's model names: their grammar, when two are one model, and what people read. Pure.

Grammar: ``[scheme://][host/][namespace/]model[:tag]``, read from the right. Source of every rule:
Ollama's own name parser at v0.33.0-rc2; the tests go through its table row by row.
"""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from modelbay.context import ProviderContext
from modelbay.errors import InvalidRequestError

HOST = "registry.ollama.ai"
NAMESPACE = "library"
TAG = "latest"

Source: TypeAlias = Literal["cloud", "local", "unspecified"]

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-.:]{0,349}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-.]{0,79}")


@dataclass(frozen=True, slots=True)
class Name:
    """A name in its parts, the defaults filled in."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def display(self) -> str:
        """How the server prints it: without what is default, but always with the tag."""
        short = f"{self.model}:{self.tag}"
        if self.host.lower() != HOST:
            return f"{self.host}/{self.namespace}/{short}"
        if self.namespace.lower() != NAMESPACE:
            return f"{self.namespace}/{short}"
        return short

    @property
    def key(self) -> str:
        """Equal for all spellings of one model: whole, and without case."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}".casefold()


def parse_name(text: str) -> Name | None:
    """The parts of a name; ``None`` if the server would call it invalid."""
    rest = text.partition("://")[2] if "://" in text else text
    path, slash, last = rest.rpartition("/")
    model, colon, tag = last.rpartition(":")
    if not colon:
        model, tag = last, TAG
    host, namespace = HOST, NAMESPACE
    if slash:
        before, deeper, namespace = path.rpartition("/")
        if deeper:
            host = before
    if not (_PART.fullmatch(model) and _PART.fullmatch(tag) and _HOST.fullmatch(host)):
        return None
    return Name(host, namespace, model, tag) if _NAMESPACE.fullmatch(namespace) else None


def require_name(provider: ProviderContext, text: str, *, sources: bool = True) -> None:
    """Refuse a name before the wire that the server would call invalid.

    Args:
        sources: A suffix may say where it shall run: ``:cloud``, ``:local``. Copies and made models
            take none.

    Raises:
        InvalidRequestError: It is empty, or no name.
    """
    message = f"'{text}' is no model name" if text else "the model name is empty"
    hint = "a name looks like llama3.1:8b, user/model:tag or hf.co/user/repo:Q4_K_M"
    if sources:
        try:
            split_source(text)
        except ValueError as exc:
            message, hint = str(exc), "leave one of the two suffixes out"
        else:
            if parse_name(pulled_as(text)) is not None:
                return
    elif parse_name(text) is not None:
        return
    raise InvalidRequestError(message, provider_id=provider.id, hint=hint, stage="encode")


def identity(text: str) -> str:
    """What two spellings of one model have in common; of an invalid name, itself.

    ``llama3``, ``LLAMA3:latest`` and ``library/llama3`` are one, as are ``gpt-oss:20b:cloud`` and
    ``gpt-oss:20b-cloud``. Never sent to a server: the wire has the name as it was written.
    """
    name = parse_name(pulled_as(text))
    return text.casefold() if name is None else name.key


def aliases(text: str) -> tuple[str, ...]:
    """Other spellings of a listed name that people write; the exact one is not among them."""
    name = parse_name(text)
    if name is None:
        return ()
    found = [text.lower()]
    if name.tag == TAG:
        bare = text.removesuffix(f":{TAG}")
        found += [bare, bare.lower()]
    if name.host == HOST and name.namespace == NAMESPACE:
        found += [f"{NAMESPACE}/{each}" for each in (text, *found[1:2])]
    return tuple(each for each in dict.fromkeys(found) if each != text)


# --- where it runs -------------------------------------------------------------------------------


def split_source(text: str) -> tuple[str, Source]:
    """The base name and where it shall run (Ollama 0.18.0 and later).

    Raises:
        ValueError: It asks for both places at once.
    """
    base, source = _take_suffix(text)
    if source != "unspecified" and _take_suffix(base)[1] not in ("unspecified", source):
        raise ValueError(f'use either :local or :cloud, not both: "{text}"')
    return base, source


def _take_suffix(text: str) -> tuple[str, Source]:
    head, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        return text, "unspecified"
    lowered = tag.lower()
    if lowered in ("cloud", "local"):
        return head, "cloud" if lowered == "cloud" else "local"
    if lowered.endswith("-cloud"):
        return f"{head}:{tag[: -len('-cloud')]}", "cloud"
    return text, "unspecified"


def is_cloud(text: str) -> bool:
    """Whether the name itself says that the model runs in Ollama's cloud."""
    return _take_suffix(text)[1] == "cloud"


def pulled_as(text: str) -> str:
    """The name under which a model with a source suffix is installed and deleted."""
    base, source = _take_suffix(text)
    if source == "unspecified":
        return text
    has_tag = ":" in base.rpartition("/")[2]
    if source == "local":
        return base
    return f"{base}-cloud" if has_tag else f"{base}:cloud"


# --- what people read ----------------------------------------------------------------------------

_WORDS = {
    "gpt": "GPT",
    "oss": "OSS",
    "glm": "GLM",
    "llava": "LLaVA",
    "deepseek": "DeepSeek",
    "minilm": "MiniLM",
    "bge": "BGE",
    "mxbai": "MxBai",
    "qwq": "QwQ",
    "smollm": "SmolLM",
    "starcoder": "StarCoder",
    "codellama": "CodeLlama",
    "codegemma": "CodeGemma",
    "embeddinggemma": "EmbeddingGemma",
    "functiongemma": "FunctionGemma",
    "tinyllama": "TinyLlama",
    "moondream": "Moondream",
    "minicpm": "MiniCPM",
    "minimax": "MiniMax",
    "openchat": "OpenChat",
    "bakllava": "BakLLaVA",
    "exaone": "EXAONE",
    "olmo": "OLMo",
    "lfm": "LFM",
    "rnj": "RNJ",
    "vl": "VL",
    "ocr": "OCR",
    "gguf": "GGUF",
    "moe": "MoE",
}
_FAMILY = re.compile(r"([A-Za-z]{3,})(\d[\d.]*)(.*)")
_SIZE = re.compile(r"[a-z]?\d[\d.]*([x]\d[\d.]*)?[bm]")
_VERSION = re.compile(r"[a-z]\d[\d.]*")


def humanise(text: str) -> str:
    """A name for people: ``llama3.1:8b`` is ``Llama 3.1 8B`` (S4-51)."""
    name = parse_name(text)
    if name is None:
        return text
    words = [_word(word) for word in re.split(r"[-_ ]+", name.model) if word]
    if words[:2] == ["GPT", "OSS"]:
        words[:2] = ["GPT-OSS"]
    if name.tag.lower() != TAG:
        words += _tag(name.tag)
    readable = " ".join(words)
    return readable if name.namespace == NAMESPACE else f"{readable} ({name.namespace})"


def _word(word: str) -> str:
    known = _WORDS.get(word.lower())
    if known is not None:
        return known
    if word != word.lower():
        return word  # somebody has chosen the capitals
    if _SIZE.fullmatch(word):
        return _size(word)
    if _VERSION.fullmatch(word):
        return word.upper()  # r1, v3, k2.6
    if found := _FAMILY.fullmatch(word):
        family, number, rest = found.groups()
        apart = " " if len(rest) > 1 else ""  # qwen2.5vl, but gemma3n
        return f"{_word(family)} {number}{apart}{_word(rest) if apart else rest}"
    return word[:1].upper() + word[1:]


def _tag(tag: str) -> list[str]:
    """``8b-instruct-q4_K_M`` as words; a quantization stays as it is written."""
    words = []
    for word in tag.split("-"):
        if re.match(r"(q\d|iq\d|fp?\d|bf\d|mxfp\d|int\d)", word.lower()):
            words.append(word.upper() if "_" not in word else word[:1].upper() + word[1:])
        elif word:
            words.append(_word(word))
    return words


def _size(word: str) -> str:
    return word.upper().replace("X", "x")
