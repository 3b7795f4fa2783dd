"""Models people know, for servers that do not describe theirs, and what every Ollama can do.

A fallback: what an installed model says of itself always wins. Windows are trained lengths in
tokens, never what a request gets. Letters of a row: V vision, T thinking, F function calls, E
embeddings, A audio; ``t`` is thinking that only some of its builds have. A letter that is missing
is a fact too, or a shorter family's row would fill it in. Sources: S Ollama's own
source at v0.33.0-rc2, M the models.dev data set of 2 Jul 2026, L LibreChat's token table, O a
public issue, K the model's own card, from general knowledge.
"""

import re
from fnmatch import fnmatchcase

from modelbay.models.capabilities import CapabilityTable, Facts, TableRow
from modelbay_ollama.names import parse_name

_SOURCES = {
    "S": "Ollama source v0.33.0-rc2",
    "M": "models.dev data set, 2 Jul 2026",
    "L": "LibreChat token table",
    "O": "public issue",
    "K": "model card (inferred)",
}

# family or family:tag-glob | trained window | letters | sources | remark
_ROWS = """
llama2 | 4096 | | LK |
llama3 | 8192 | | ML |
llama3.1 | 131072 | F | M |
llama3.2 | 131072 | F | M | 1b and 3b
llama3.2-vision | 131072 | V | MS | cannot be loaded by Ollama 0.30 and later
llama3.3 | 131072 | F | M |
llama4 | 1048576 | VF | MK | maverick's; hosts list less
llama4:*scout* | 10485760 | VF | MK | hosts list less
llama-guard3 | 131072 | | K |
mistral | 32768 | F | LK | 7b
mistral-nemo | 131072 | F | MK | GGUF metadata may say 1024000
mistral-small | 32768 | F | LK | 22b and 24b
mistral-small3.1 | 131072 | VF | M |
mistral-small3.2 | 131072 | VF | M |
mistral-large | 131072 | F | M | 2407 and 2411
mistral-large-3 | 262144 | VF | M | cloud
mixtral | 32768 | F | M | 8x7b
mixtral:8x22b* | 65536 | F | M |
ministral-3 | 262144 | VF | MS |
codestral | 32768 | | MK | hosted: 256000; fills in the middle
devstral | 131072 | F | M |
devstral-2 | 262144 | F | M |
devstral-small-2 | 262144 | VF | M |
magistral | 40960 | TF | MK | as shipped; the card says 131072
gemma | 8192 | | ML |
gemma2 | 8192 | | ML |
gemma3 | 131072 | V | MS | 4b and larger
gemma3:1b* | 32768 | | MS |
gemma3:270m* | 32768 | | MS |
gemma3n | 32768 | | M |
gemma4 | 262144 | VTF | MS | 12b and larger
gemma4:e2b* | 131072 | VTFA | MS |
gemma4:e4b* | 131072 | VTFA | MS |
functiongemma | 32768 | F | SK |
embeddinggemma | 2048 | E | K | 768 dimensions
phi3 | 131072 | | M |
phi3:*4k* | 4096 | | M |
phi3.5 | 131072 | | M |
phi4 | 16384 | | M |
phi4-mini | 131072 | F | M |
phi4-reasoning | 32768 | T | MK | a host lists 128000
qwen2 | 32768 | F | K |
qwen2.5 | 32768 | F | M |
qwen2.5-coder | 32768 | F | M | fills in the middle
qwen2.5vl | 128000 | V | M |
qwq | 131072 | TF | MK | some GGUF files 40960
qwen3 | 40960 | TF | MS |
qwen3:*2507* | 262144 | F | MS |
qwen3:*thinking-2507* | 262144 | TF | MS |
qwen3-coder | 262144 | F | MS |
qwen3-coder-next | 262144 | F | MS |
qwen3-next | 262144 | TF | SM |
qwen3-vl | 262144 | VTF | MS | all but its instruct tags
qwen3-vl:*instruct* | 262144 | VF | MS |
qwen3.5 | 262144 | VTF | MS |
qwen3.6 | 262144 | VTF | MS |
qwen3.8 | 262144 | VTF | OS | ollama#18509
qwen3-embedding | 32768 | E | K | up to 40960
deepseek-r1 | 131072 | T | M | the distilled ones
deepseek-r1:671b* | 163840 | T | M |
deepseek-r1:*0528* | 131072 | TF | M |
deepseek-v3 | 163840 | F | MS |
deepseek-v3.1 | 163840 | TF | MS |
deepseek-v3.2 | 163840 | TF | MS |
deepseek-v4-flash | 1048576 | TF | M | cloud
deepseek-v4-pro | 1048576 | TF | M | cloud
deepseek-coder-v2 | 163840 | | K | fills in the middle
deepseek-ocr | 8192 | V | SK |
gpt-oss | 131072 | TF | SM | low, medium, high; always on
gpt-oss-safeguard | 131072 | TF | SM | low, medium, high; always on
granite3.1 | 131072 | F | K |
granite3.2 | 131072 | tF | K |
granite3.3 | 131072 | tF | K |
granite3.2-vision | 16384 | VF | K |
granite4 | 131072 | F | M |
granite4.1 | 131072 | F | M |
granite-embedding | 512 | E | K |
command-r | 131072 | F | M | 128000
command-r-plus | 131072 | F | M | 128000
command-r7b | 131072 | F | M | 128000
command-a | 262144 | F | M | 256000
aya-expanse | 8192 | | K |
cogito | 131072 | tF | K | thinks when its system text says so
cogito-2.1 | 163840 | TF | SM | cloud
olmo2 | 4096 | | K |
olmo-3 | 65536 | tF | MS | its think tags think, its instruct tags call
olmo-3.1 | 65536 | tF | MS | its think tags think, its instruct tags call
nemotron | 131072 | F | M |
nemotron-mini | 4096 | F | MK | a host lists 128000
nemotron-3-nano | 1048576 | TF | SM | a host lists 262144
nemotron-3-super | 262144 | TF | M |
hermes3 | 131072 | F | M |
smollm2 | 8192 | F | K |
lfm2 | 32768 | tF | MS | converter default 128000
lfm2.5 | 32768 | tF | MS | converter default 128000
glm4 | 131072 | | L |
glm-4.6 | 202752 | TF | SM | cloud
glm-4.7 | 202752 | TF | SM | cloud
glm-4.7-flash | 200000 | TF | SM |
glm-5 | 202752 | TF | SM | cloud
glm-5.1 | 202752 | TF | SM | cloud
glm-ocr | 131072 | V | S |
kimi-k2.5 | 262144 | VTF | SM | cloud
kimi-k2.6 | 262144 | VTF | SM | cloud
minimax-m2 | 204800 | TF | SM | cloud
minimax-m2.* | 204800 | TF | SM | cloud
minimax-m3 | 512000 | VTF | SM | cloud
exaone3.5 | 32768 | | K |
exaone-deep | 32768 | T | K |
falcon3 | 32768 | | K |
rnj-1 | 32768 | F | M |
dolphin3 | 131072 | | K |
llava | 32768 | V | K | 7b
llava:13b* | 4096 | V | K |
llava-llama3 | 8192 | V | K |
bakllava | 32768 | V | K |
moondream | 2048 | V | K |
minicpm-v | 32768 | V | K |
codellama | 16384 | | K | fills in the middle
codegemma | 8192 | | K | fills in the middle
starcoder2 | 16384 | | K | fills in the middle
stable-code | 16384 | | K | fills in the middle
tinyllama | 2048 | | K |
yi | 4096 | | K |
zephyr | 32768 | | K |
openchat | 8192 | | K |
nomic-embed-text | 2048 | E | K | in its metadata; the card says 8192
nomic-embed-text-v2-moe | 512 | E | K |
mxbai-embed-large | 512 | E | K |
bge-large | 512 | E | K |
snowflake-arctic-embed | 512 | E | K |
paraphrase-multilingual | 512 | E | K |
all-minilm | 512 | E | K | 256 of them useful
bge-m3 | 8192 | E | K | 1024 dimensions
snowflake-arctic-embed2 | 8192 | E | K | 1024 dimensions
"""

_EMBEDDERS = re.compile(r"embed|minilm|\bbge|arctic-embed|paraphrase")


def _row(line: str) -> TableRow:
    family, window, letters, sources, remark = (part.strip() for part in line.split("|"))
    # A family ends where its tag or a further word begins: `qwen3` is not the family of a later
    # `qwen3.9`, of which nothing is known.
    pattern = family if "*" in family else f"{family}[-:]*"
    embeds = "E" in letters
    facts = Facts(
        trained_context=int(window),
        vision="V" in letters,
        reasoning=None if "t" in letters else "T" in letters,
        tools="F" in letters,
        audio="A" in letters,
        embeddings=embeds,
    )
    named = ", ".join(_SOURCES[letter] for letter in sources)
    return TableRow(pattern=pattern, facts=facts, evidence=f"{named}{remark and f'; {remark}'}")


def _literal(row: TableRow) -> int:
    return len(row.pattern.replace("[-:]", "").replace("*", ""))


# The longest family that fits decides, and the first row that matches does, so they go by length.
ROWS: tuple[TableRow, ...] = tuple(
    sorted((_row(line) for line in _ROWS.strip().splitlines()), key=_literal, reverse=True)
)

TABLE = CapabilityTable(
    rows=(
        *ROWS,
        *(
            TableRow(
                pattern=f"*{word}*",
                facts=Facts(embeddings=True, tools=False, vision=False, reasoning=False),
                evidence="embedding families are known by their names",
            )
            for word in ("embed", "minilm", "bge-")
        ),
    ),
    every_model=Facts(rerank=False, image_generation=False),
    every_model_evidence="Ollama has no endpoint for it",
    actions=frozenset(
        {"list", "running", "load", "unload", "pull", "delete", "copy", "create", "show", "health"}
    ),
    hints={
        "logs": "journalctl -u ollama, or ~/.ollama/logs/server.log",
        "balance": "models on your own hardware cost nothing; the cloud: ollama.com/settings",
    },
    server_checks_names=True,
    start_hint="ollama serve",
)


def row_of(text: str) -> TableRow | None:
    """The row that knows a model, by its own part of the name: whoever made this copy of it."""
    return next((row for row in ROWS if fnmatchcase(own_part(text), row.pattern)), None)


def in_table(text: str) -> bool:
    """Whether a row knows a model of this name as it is written, so that the table's layer does."""
    return any(fnmatchcase(text, row.pattern) for row in ROWS)


def own_part(text: str) -> str:
    """``hf.co/sam/Qwen3-8B:Q4`` as ``qwen3-8b:q4``; a bare name has the tag ``latest``."""
    name = parse_name(text)
    return text if name is None else f"{name.model}:{name.tag}".lower()


def embeds_by_name(text: str) -> bool:
    """Whether a model's name says that it makes vectors and nothing else."""
    return _EMBEDDERS.search(text.rpartition("/")[2].lower()) is not None


# --- from the number of parameters ---------------------------------------------------------------

_COUNT = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*([KMBT])", re.IGNORECASE)
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}

GUESS = "a guess from the parameter count; nobody has said"


def parameters(size: str | None) -> int | None:
    """``8.2B`` as a number; ``None`` if it is none."""
    found = _COUNT.fullmatch((size or "").strip())
    return None if found is None else round(float(found[1]) * _UNITS[found[2].upper()])


def estimated_window(size: str | None) -> int | None:
    """A trained length that models of this size have at least, as a rule (S4-38, S4-46).

    The last resort for a family nobody knows, and low on purpose: a window believed too large
    loses conversations, one believed too small costs a little.
    """
    count = parameters(size)
    if count is None:
        return None
    if count < 3e9:
        return 2048
    return 4096 if count < 10e9 else 8192
