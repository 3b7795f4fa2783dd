"""What the simulator pretends, pinned; the official client judges the rest."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from modelbay_openai.simulator import PERSONALITIES, OpenAISimulator, SimulatedModel, demo

MODELS = [SimulatedModel("tiny", answer="Hi."), SimulatedModel("cold", loaded=False)]
HI = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}


def call(url: str, body: object = None, key: str | None = None) -> tuple[int, Any]:
    """Status and body of an answer, whatever they are."""
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            status, raw = answer.status, answer.read()
    except urllib.error.HTTPError as exc:
        with exc:
            status, raw = exc.code, exc.read()
    try:
        return status, json.loads(raw)
    except ValueError:
        return status, raw.decode()


GONE = "The model `gone` does not exist."
TYPES = {"message": GONE, "param": None}


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        (
            "openai",
            404,
            {"error": {**TYPES, "type": "invalid_request_error", "code": "model_not_found"}},
        ),
        ("vllm", 404, {"error": {**TYPES, "type": "NotFoundError", "code": 404}}),
        ("lmstudio", 404, {"error": "Model 'gone' not found"}),
        (
            "openrouter",
            400,
            {
                "error": {"code": 400, "message": "gone is not a valid model ID"},
                "user_id": "user_simulated",
            },
        ),
    ],
)
def test_a_name_nobody_has_is_refused_in_each_server_s_shape(
    name: str, status: int, body: object
) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        found = call(f"{sim.address}/chat/completions", {**HI, "model": "gone"})

    assert found == (status, body)


@pytest.mark.parametrize("name", ["sglang", "tabbyapi", "koboldcpp"])
def test_the_others_answer_any_name_with_their_model(name: str) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        status, body = call(f"{sim.address}/chat/completions", {**HI, "model": "gone"})

    assert (status, body["model"]) == (200, "tiny")


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        (
            "sglang",
            400,
            {
                "object": "error",
                "message": "Field required: messages",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
        (
            "tabbyapi",
            422,
            {
                "detail": [
                    {
                        "loc": ["body", "messages"],
                        "msg": "Field required: messages",
                        "type": "missing",
                    }
                ]
            },
        ),
        (
            "koboldcpp",
            400,
            {"detail": {"msg": "Field required: messages", "type": "bad_input"}},
        ),
    ],
)
def test_a_request_without_messages_is_refused_in_each_server_s_shape(
    name: str, status: int, body: object
) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        assert call(f"{sim.address}/chat/completions", {"model": "tiny"}) == (status, body)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("lmstudio", (200, {"error": "Unexpected endpoint or method. (GET /nothing)"})),
        ("vllm", (404, {"detail": "Not Found"})),
        ("koboldcpp", (404, "Error: KoboldCpp HTTP Server is running, no such page.")),
    ],
)
def test_an_unknown_path(name: str, answer: tuple[int, object]) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        assert call(f"{sim.base_url}/nothing") == answer


@pytest.mark.parametrize("name", PERSONALITIES)
def test_a_key_is_wanted_where_one_is_set(name: str) -> None:
    with OpenAISimulator(MODELS, name, key="sk-right") as sim:
        assert call(f"{sim.address}/chat/completions", HI)[0] == 401
        assert call(f"{sim.address}/chat/completions", HI, "sk-wrong")[0] == 401
        assert call(f"{sim.address}/chat/completions", HI, "sk-right")[0] == 200
        free = sim.personality.open_list
        assert call(f"{sim.address}/models")[0] == (200 if free else 401)


def test_lm_studio_loads_what_is_asked_for_and_nothing_else() -> None:
    with OpenAISimulator(MODELS, "lmstudio") as sim:
        call(f"{sim.address}/models")
        call(f"{sim.base_url}/api/v1/models")
        assert sim.loads.total() == 0

        call(f"{sim.address}/chat/completions", {**HI, "model": "cold"})
        call(f"{sim.address}/chat/completions", {**HI, "model": "cold"})
        assert dict(sim.loads) == {"cold": 1}

        states = [m["state"] for m in call(f"{sim.base_url}/api/v0/models")[1]["data"]]
        assert states == ["loaded", "loaded"]


def test_the_demo_starts() -> None:
    with demo(port=0) as sim:
        assert [m["id"] for m in call(f"{sim.address}/models")[1]["data"]] == [
            "qwen3-8b",
            "nomic-embed",
        ]
