"""Mirrors modelbay_ollama/table.py: each family row by row, and who wins (S4-105)."""

from fnmatch import fnmatchcase

import pytest

from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel
from modelbay.resolve import Resolver
from modelbay_ollama.table import (
    ROWS,
    TABLE,
    embeds_by_name,
    estimated_window,
    in_table,
    parameters,
    row_of,
)
from pretend import config

RESOLVER = Resolver(config(), TABLE)

# wire id | trained window | V vision, T thinking, F functions, E embeddings, A audio; t not known
FAMILIES = """
llama2:7b 4096 -
llama3:8b 8192 -
llama3.1:8b 131072 F
llama3.2:3b 131072 F
llama3.2-vision:11b 131072 V
llama3.3:70b 131072 F
llama4:scout 10485760 VF
llama4:17b-scout-16e-instruct-q4_K_M 10485760 VF
llama4:maverick 1048576 VF
llama-guard3:8b 131072 -
mistral:7b 32768 F
mistral-nemo:12b 131072 F
mistral-small:24b 32768 F
mistral-small3.1:24b 131072 VF
mistral-small3.2:24b 131072 VF
mistral-large:123b 131072 F
mistral-large-3:675b-cloud 262144 VF
mixtral:8x7b 32768 F
mixtral:8x22b 65536 F
ministral-3:8b 262144 VF
codestral:22b 32768 -
devstral:24b 131072 F
devstral-2:123b-cloud 262144 F
devstral-small-2:24b 262144 VF
magistral:24b 40960 TF
gemma:7b 8192 -
gemma2:9b 8192 -
gemma3:1b 32768 -
gemma3:1b-it-qat 32768 -
gemma3:4b 131072 V
gemma3n:e4b 32768 -
gemma4:e2b 131072 VTFA
gemma4:e4b 131072 VTFA
gemma4:12b 262144 VTF
functiongemma:270m 32768 F
embeddinggemma:300m 2048 E
phi3:mini 131072 -
phi3:medium-4k 4096 -
phi3.5:3.8b 131072 -
phi4:14b 16384 -
phi4-mini:3.8b 131072 F
phi4-reasoning:14b 32768 T
qwen2:7b 32768 F
qwen2.5:7b 32768 F
qwen2.5-coder:7b 32768 F
qwen2.5vl:7b 128000 V
qwq:32b 131072 TF
qwen3:8b 40960 TF
qwen3:4b-thinking-2507-q4_K_M 262144 TF
qwen3:4b-instruct-2507-q4_K_M 262144 F
qwen3-coder:30b 262144 F
qwen3-coder-next:latest 262144 F
qwen3-next:80b 262144 TF
qwen3-vl:8b 262144 VTF
qwen3-vl:8b-instruct 262144 VF
qwen3.5:9b 262144 VTF
qwen3.6:27b 262144 VTF
qwen3.8:cloud 262144 VTF
qwen3-embedding:8b 32768 E
deepseek-r1:8b 131072 T
deepseek-r1:671b 163840 T
deepseek-r1:8b-0528-qwen3-q4_K_M 131072 TF
deepseek-v3:671b 163840 F
deepseek-v3.1:671b-cloud 163840 TF
deepseek-v3.2:cloud 163840 TF
deepseek-v4-flash:cloud 1048576 TF
deepseek-v4-pro:cloud 1048576 TF
deepseek-coder-v2:16b 163840 -
deepseek-ocr:3b 8192 V
gpt-oss:20b 131072 TF
gpt-oss-safeguard:20b 131072 TF
granite3.1-dense:8b 131072 F
granite3.2:8b 131072 tF
granite3.3:8b 131072 tF
granite3.2-vision:2b 16384 VF
granite4:3b 131072 F
granite4.1:8b 131072 F
granite-embedding:30m 512 E
command-r:35b 131072 F
command-r-plus:104b 131072 F
command-r7b:7b 131072 F
command-a:111b 262144 F
aya-expanse:8b 8192 -
cogito:8b 131072 tF
cogito-2.1:671b-cloud 163840 TF
olmo2:7b 4096 -
olmo-3:7b 65536 tF
olmo-3.1:32b 65536 tF
nemotron:70b 131072 F
nemotron-mini:4b 4096 F
nemotron-3-nano:30b 1048576 TF
nemotron-3-super:120b 262144 TF
hermes3:8b 131072 F
smollm2:1.7b 8192 F
lfm2:24b 32768 tF
lfm2.5-thinking:1.2b 32768 tF
glm4:9b 131072 -
glm-4.6:cloud 202752 TF
glm-4.7:cloud 202752 TF
glm-5:cloud 202752 TF
glm-5.1:cloud 202752 TF
glm-4.7-flash:latest 200000 TF
glm-ocr:latest 131072 V
kimi-k2.5:cloud 262144 VTF
kimi-k2.6:cloud 262144 VTF
minimax-m2.5:cloud 204800 TF
minimax-m3:cloud 512000 VTF
exaone3.5:7.8b 32768 -
exaone-deep:7.8b 32768 T
falcon3:7b 32768 -
rnj-1:8b 32768 F
dolphin3:8b 131072 -
llava:7b 32768 V
llava:13b 4096 V
llava-llama3:8b 8192 V
bakllava:7b 32768 V
moondream:1.8b 2048 V
minicpm-v:8b 32768 V
codellama:7b 16384 -
codegemma:7b 8192 -
starcoder2:3b 16384 -
stable-code:3b 16384 -
tinyllama:1.1b 2048 -
yi:6b 4096 -
zephyr:7b 32768 -
openchat:7b 8192 -
nomic-embed-text:latest 2048 E
nomic-embed-text-v2-moe:latest 512 E
mxbai-embed-large:335m 512 E
bge-large:335m 512 E
snowflake-arctic-embed:335m 512 E
paraphrase-multilingual:278m 512 E
all-minilm:latest 512 E
bge-m3:567m 8192 E
snowflake-arctic-embed2:568m 8192 E
"""


@pytest.mark.parametrize("row", FAMILIES.strip().splitlines())
def test_a_known_family_has_its_facts(row: str) -> None:
    """S4-21, S4-42 to S4-46, S4-55: the longest family decides, field by field."""
    wire_id, window, letters = row.split()

    found = RESOLVER.capabilities(DiscoveredModel(wire_id=wire_id))

    assert (
        found.trained_context,
        found.vision,
        found.reasoning,
        found.tools,
        found.embeddings,
        found.audio,
        found.context_window,  # a trained length is never a window by itself
        found.provenance["trained_context"].layer,
    ) == (
        int(window),
        "V" in letters,
        None if "t" in letters else "T" in letters,
        "F" in letters,
        "E" in letters,
        "A" in letters,
        None,
        "table",
    )


def test_every_row_is_tried() -> None:
    ids = [row.split()[0] for row in FAMILIES.strip().splitlines()]
    tried = {next(row.pattern for row in ROWS if fnmatchcase(name, row.pattern)) for name in ids}

    assert {row.pattern for row in ROWS} - tried <= {"minimax-m2[-:]*", "gemma3:270m*"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("qwen3", "qwen3:latest"),
        ("sam/qwen3", "qwen3:latest"),
        ("sam/qwen3:8b", "qwen3:8b"),
        ("hf.co/sam/Qwen3-Coder-30B-GGUF:Q4_K_M", "qwen3-coder:30b"),
        ("sam/gemma3:1b", "gemma3:1b"),
        ("sam/llama4:scout", "llama4:scout"),
        ("minimax-m2.1", "minimax-m2.1:cloud"),
    ],
)
def test_a_family_is_known_without_its_tag_and_in_a_namespace(written: str, meant: str) -> None:
    """Wire notes, section 10: by the model's own part of the name."""
    found = row_of(written)

    assert found is not None
    assert found == row_of(meant)


@pytest.mark.parametrize(
    "wire_id", ["qwen3.9:8b", "gemma5:4b", "llama33:8b", "mistralx:7b", "sam/myqwen3:8b"]
)
def test_a_family_nobody_knows_yet_is_not_taken_for_an_older_one(wire_id: str) -> None:
    assert (in_table(wire_id), row_of(wire_id)) == (False, None)


def test_what_the_server_says_wins_over_the_table() -> None:
    """S4-97: the table is what is left when nobody says."""
    live = DiscoveredModel(wire_id="llama3.1:8b", facts=Facts(tools=False, trained_context=8192))

    found = RESOLVER.capabilities(live)

    assert (found.tools, found.trained_context) == (False, 8192)


@pytest.mark.parametrize(
    ("name", "embeds"),
    [
        ("some-embed-model:latest", True),
        ("user/all-minilm-l12:latest", True),
        ("bge-reranker:latest", True),
        ("llama3:8b", False),
    ],
)
def test_embedding_families_are_known_by_name(name: str, embeds: bool) -> None:
    assert embeds_by_name(name) is embeds
    assert RESOLVER.capabilities(DiscoveredModel(wire_id=name)).embeddings is (
        True if embeds else False if name.startswith("llama3") else None
    )


@pytest.mark.parametrize(
    ("size", "count", "window"),
    [
        ("270M", 270e6, 2048),
        ("1.2B", 1.2e9, 2048),
        ("8.2B", 8.2e9, 4096),
        ("116.8B", 116.8e9, 8192),
        ("1T", 1e12, 8192),
        ("", None, None),
        (None, None, None),
        ("many", None, None),
    ],
)
def test_the_last_resort_is_a_guess_from_the_parameter_count(
    size: str | None, count: float | None, window: int | None
) -> None:
    """S4-38, S4-46."""
    assert (parameters(size), estimated_window(size)) == (count, window)
