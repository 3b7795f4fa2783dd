"""The program `llm`, with the gateway's models in its ``extra-openai-models.yaml``."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.clients import environments, upstreams
from gateway.clients.upstreams import RETRY_AFTER_S, Upstreams

pytestmark = pytest.mark.soak

NAMES = ("lab/org/tiny:q4", "caller", "forecaster", "breaks", "lab/nobody", "limited")
WEATHER = '''
def weather(city: str) -> str:
    """The weather in a city."""
    return "sunny"
'''

LLM = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def llm(newest: Path, up: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> LLM:
    """Runs it and gives its exit code and what it wrote."""
    home = tmp_path_factory.mktemp("llm")
    models: list[dict[str, Any]] = [
        {
            "model_id": name,
            "model_name": name,
            "api_base": f"{up.base_url}/v1",
            "supports_tools": True,
            "supports_schema": True,
        }
        for name in NAMES
    ]
    (home / "extra-openai-models.yaml").write_text(json.dumps(models))  # JSON is YAML

    def llm(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [newest / "llm", *arguments],
            env=environments.bare(
                {
                    "HOME": str(home),
                    "LLM_USER_PATH": str(home),
                    # `llm embed` knows no address but what its own client reads from here.
                    "OPENAI_BASE_URL": f"{up.base_url}/v1",
                    "OPENAI_API_KEY": "sk-no-key",
                }
            ),
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return llm


def test_it_lists_the_models_under_their_ids(llm: LLM) -> None:
    """S0-55, S0-56: another program sees the refs as they are."""
    code, listed, _ = llm("models", "list")

    own = [f"OpenAI Chat: {name}" for name in NAMES]
    assert (code, [line for line in listed.splitlines() if line in own]) == (0, own)


@pytest.mark.parametrize("option", ["--usage", "--no-stream"])
def test_chat_streamed_and_not(llm: LLM, option: str) -> None:
    told = llm("-m", "lab/org/tiny:q4", "hi", "--usage", option)

    assert told == (0, "Hello there.\n", "Token usage: 22 input, 9 output\n")


@pytest.mark.parametrize("option", ["--log", "--no-stream"])
def test_a_tool_is_run_and_its_result_used(llm: LLM, option: str) -> None:
    told = llm("-m", "caller", "hi", "--functions", WEATHER, "--tools-debug", option)

    assert told == (
        0,
        "It is sunny.\n",
        "\nTool call: weather({'city': 'Rome'})\n  sunny\n\n",
    )


def test_a_schema_is_kept(llm: LLM) -> None:
    told = llm("-m", "forecaster", "hi", "--schema", "city, degrees int")

    assert told == (0, '{"city": "Rome", "degrees": 31}\n', "")


def test_a_conversation_is_continued(llm: LLM, up: Upstreams) -> None:
    llm("-m", "lab/org/tiny:q4", "one")
    assert llm("-c", "two") == (0, "Hello there.\n", "")

    asked = up.lab.requests[-1].json()
    assert isinstance(asked, dict)
    assert [(message["role"], message["content"]) for message in asked["messages"]] == [
        ("user", "one"),
        ("assistant", "Hello there."),
        ("user", "two"),
    ]


def test_embeddings_by_a_bare_id(llm: LLM, up: Upstreams) -> None:
    code, vector, _ = llm("embed", "-m", "3-small", "-c", "a")

    assert (code, json.loads(vector)) == (0, up.packed_vectors("a")[0])


@pytest.mark.parametrize(
    ("model", "said", "message"),
    [
        ("lab/nobody", "", f"Error code: 404 - {upstreams.UNKNOWN}"),
        ("breaks", "Hello ", upstreams.BROKEN),
    ],
)
def test_errors_are_told_in_the_gateways_words(
    llm: LLM, model: str, said: str, message: str
) -> None:
    assert llm("-m", model, "hi") == (1, said, f"Error: {message}\n")


def test_it_waits_as_long_as_it_was_told(llm: LLM, up: Upstreams) -> None:
    told = llm("-m", "limited", "hi")

    assert told == (1, "", f"Error: Error code: 429 - {upstreams.LIMITED}\n")
    first, second, third = up.busy.asked_s
    assert min(second - first, third - second) >= RETRY_AFTER_S
