"""Mirrors modelbay_ollama/names.py: the tables of names, row by row."""

import pytest

from modelbay.errors import InvalidRequestError
from modelbay_ollama.names import (
    aliases,
    humanise,
    identity,
    is_cloud,
    parse_name,
    pulled_as,
    require_name,
    split_source,
)
from pretend import context

VALID = [
    ("llama3", "registry.ollama.ai/library/llama3:latest", "llama3:latest"),
    ("llama3:latest", "registry.ollama.ai/library/llama3:latest", "llama3:latest"),
    ("library/llama3", "registry.ollama.ai/library/llama3:latest", "llama3:latest"),
    (
        "registry.ollama.ai/library/llama3:latest",
        "registry.ollama.ai/library/llama3:latest",
        "llama3:latest",
    ),
    ("qwen3:8b-q4_K_M", "registry.ollama.ai/library/qwen3:8b-q4_k_m", "qwen3:8b-q4_K_M"),
    ("mattw/pygmalion", "registry.ollama.ai/mattw/pygmalion:latest", "mattw/pygmalion:latest"),
    ("hf.co/u/Repo-GGUF:Q4_K_M", "hf.co/u/repo-gguf:q4_k_m", "hf.co/u/Repo-GGUF:Q4_K_M"),
    ("http://localhost:5000/u/m:t", "localhost:5000/u/m:t", "localhost:5000/u/m:t"),
    ("LLAMA3:8B", "registry.ollama.ai/library/llama3:8b", "LLAMA3:8B"),
]
INVALID = [
    *("localhost:5000/m", "a.b/c", "a/b/c/d", "model:", ":tag", "/m", "m/", "m:a:b"),
    *("m@sha256:ab", "my model", "-m", "m:-x", "", "a" * 81, f"m:{'t' * 81}"),
]


@pytest.mark.parametrize(("text", "whole", "display"), VALID)
def test_a_name_is_read_from_the_right_and_shown_without_its_defaults(
    text: str, whole: str, display: str
) -> None:
    name = parse_name(text)

    assert name is not None
    assert (name.key, name.display) == (whole, display)


@pytest.mark.parametrize("text", INVALID)
def test_what_the_server_would_call_invalid_is_refused_before_the_wire(text: str) -> None:
    assert parse_name(text) is None
    with pytest.raises(InvalidRequestError) as raised:
        require_name(context(), text)
    assert "llama3.1:8b" in (raised.value.hint or "")


def test_all_spellings_of_a_model_are_one_model() -> None:
    """Trap 23."""
    spellings = ("llama3", "LLAMA3", "Llama3:Latest", "library/llama3:latest")

    assert len({identity(text) for text in spellings}) == 1
    assert identity("gpt-oss:20b:cloud") == identity("gpt-oss:20b-cloud")
    assert identity("llama3:8b") != identity("llama3")


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("llama3:latest", ("llama3", "library/llama3:latest", "library/llama3")),
        ("qwen3:8b", ("library/qwen3:8b",)),
        ("hf.co/u/Repo:Q4_K_M", ("hf.co/u/repo:q4_k_m",)),
        ("mattw/m:latest", ("mattw/m",)),
    ],
)
def test_a_listed_name_has_the_spellings_people_write(text: str, others: tuple[str, ...]) -> None:
    assert aliases(text) == others


SOURCES = [
    ("gpt-oss:20b:cloud", "gpt-oss:20b", "cloud", "gpt-oss:20b-cloud"),
    ("gpt-oss:20b-cloud", "gpt-oss:20b", "cloud", "gpt-oss:20b-cloud"),
    ("gpt-oss:20b:CLOUD", "gpt-oss:20b", "cloud", "gpt-oss:20b-cloud"),
    ("gpt-oss:cloud", "gpt-oss", "cloud", "gpt-oss:cloud"),
    ("kimi-k2.6:cloud", "kimi-k2.6", "cloud", "kimi-k2.6:cloud"),
    ("gpt-oss:20b:local", "gpt-oss:20b", "local", "gpt-oss:20b"),
    ("glm-5-cloud", "glm-5-cloud", "unspecified", "glm-5-cloud"),
    ("my-cloud-model", "my-cloud-model", "unspecified", "my-cloud-model"),
]


@pytest.mark.parametrize(("text", "base", "source", "pulled"), SOURCES)
def test_a_suffix_says_where_a_model_runs(text: str, base: str, source: str, pulled: str) -> None:
    """Wire notes, section 3.3."""
    assert split_source(text) == (base, source)
    assert (pulled_as(text), is_cloud(text)) == (pulled, source == "cloud")


def test_a_model_cannot_run_in_both_places() -> None:
    with pytest.raises(ValueError, match="either :local or :cloud"):
        split_source("foo:cloud:local")


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("llama3.1:8b", "Llama 3.1 8B"),
        ("llama3:latest", "Llama 3"),
        ("qwen2.5-coder:7b-instruct-q4_K_M", "Qwen 2.5 Coder 7B Instruct Q4_K_M"),
        ("deepseek-r1:latest", "DeepSeek R1"),
        ("gpt-oss:20b-cloud", "GPT-OSS 20B Cloud"),
        ("mixtral:8x7b", "Mixtral 8x7B"),
        ("gemma3n:e4b", "Gemma 3n E4B"),
        ("qwen2.5vl:7b", "Qwen 2.5 VL 7B"),
        ("kimi-k2.6:cloud", "Kimi K2.6 Cloud"),
        ("nomic-embed-text:latest", "Nomic Embed Text"),
        ("hf.co/u/Repo-GGUF:Q4_K_M", "Repo GGUF Q4_K_M (u)"),
        ("no name at all", "no name at all"),
    ],
)
def test_a_name_can_be_read_aloud(text: str, readable: str) -> None:
    """S4-51."""
    assert humanise(text) == readable
