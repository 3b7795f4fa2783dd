"""When the simulated Ollama loads, reloads and lets go, and what it cuts from a prompt."""

import base64
import math
from datetime import datetime
from typing import Any

import httpx2 as httpx
import pytest

from modelbay_ollama.simulator import (
    Knobs,
    SimulatedModel,
)
from plugins.ollama.serving import (
    HI,
    chat,
    error,
    in_thread,
    lines,
    serving,
)

# --- load and unload ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [("/api/chat", {"messages": []}, {"message": {"role": "assistant", "content": ""}}),
     ("/api/chat", {}, {"message": {"role": "assistant", "content": ""}}),
     ("/api/generate", {}, {"response": ""})],
)  # fmt: skip
def test_an_empty_request_loads_and_with_zero_unloads(
    path: str, body: dict[str, object], field: dict[str, object]
) -> None:
    with serving() as (sim, http):
        answers = []
        for keep_alive in ("1h", 0):
            request = {"model": "m:1b", "stream": True, "keep_alive": keep_alive, **body}
            response = http.post(path, json=request)
            answers.append((response.headers["content-type"], response.json()))
        sim.wait_until(lambda: sim.unloads == {"m:1b": 1})

        assert http.get("/api/ps").json() == {"models": []}
    kind = "application/json; charset=utf-8"
    for (content_type, answer), reason in zip(answers, ("load", "unload"), strict=True):
        del answer["created_at"]
        assert content_type == kind
        assert answer == {"model": "m:1b", **field, "done": True, "done_reason": reason}


def test_two_chats_in_a_row_are_one_load() -> None:
    with serving() as (sim, http):
        chat(http)
        chat(http)

        assert (sim.loads, sim.reloads, [a.loaded for a in sim.answers]) == (
            {"m:1b": 1},
            {},
            [True, False],
        )


@pytest.mark.parametrize(
    "change", [{"options": {"num_ctx": 8192}}, {"options": {"num_gpu": 0}}, {"shift": False}]
)
def test_a_changed_load_option_or_shift_reloads(change: dict[str, Any]) -> None:
    with serving() as (sim, http):
        chat(http)
        chat(http, **change)
        chat(http, **change)
        chat(http)

        assert (sim.loads, sim.reloads) == ({"m:1b": 3}, {"m:1b": 2})


def test_other_options_do_not_reload() -> None:
    with serving() as (sim, http):
        chat(http, options={"temperature": 0.1})
        chat(http, options={"temperature": 0.9, "num_ctx": 4096, "num_batch": None})

        assert (sim.loads, sim.reloads) == ({"m:1b": 1}, {})


def test_unloading_waits_for_whoever_is_talking() -> None:
    with serving(knobs=Knobs(token_delay_s=math.inf)) as (sim, http):
        with in_thread(lambda: chat(http)):
            sim.wait_until(lambda: sim.holding == 1)
            answer = httpx.post(
                f"{sim.base_url}/api/chat", json={"model": "m:1b", "keep_alive": 0}
            ).json()
            assert answer["done_reason"] == "unload"
            assert list(sim.running) == ["m:1b"]
            for _ in range(3):
                sim.wait_until(lambda: sim.holding == 1)
                sim.release("m:1b")
        sim.wait_until(lambda: sim.unloads == {"m:1b": 1})

        assert sim.running == {}


def test_unloading_is_seen_in_ps_until_it_is_over() -> None:
    with serving(knobs=Knobs(unload_delay_s=math.inf)) as (sim, http):
        chat(http, keep_alive=0)
        sim.wait_until(lambda: sim.holding == 1)
        assert list(sim.running) == ["m:1b"]
        sim.finish_unload("m:1b")
        sim.wait_until(lambda: sim.unloads == {"m:1b": 1})

        assert sim.running == {}


def test_keep_alive_is_sticky_and_the_servers_own_only_for_a_fresh_load() -> None:
    with serving() as (sim, http):
        chat(http, keep_alive="1h")
        chat(http)
        sim.advance(3500)
        kept = sim.running
        sim.advance(200)
        expired = sim.running
        chat(http)
        sim.advance(301)

        assert (kept, expired, sim.running, sim.loads) == ({"m:1b": 4096}, {}, {}, {"m:1b": 2})


@pytest.mark.parametrize("keep_alive", [-1, -0.5, "-1m"])
def test_a_negative_keep_alive_is_for_ever(keep_alive: object) -> None:
    with serving() as (sim, http):
        chat(http, keep_alive=keep_alive)
        sim.advance(10 * 365 * 86_400)

        assert (
            datetime.fromisoformat(http.get("/api/ps").json()["models"][0]["expires_at"]).year
            > 2300
        )


@pytest.mark.parametrize("keep_alive", [300, 2.5, "10m", "1h30m", "1.5h", "500ms", None])
def test_good_keep_alives_are_taken(keep_alive: object) -> None:
    with serving() as (_, http):
        assert chat(http, keep_alive=keep_alive).status_code == 200


@pytest.mark.parametrize(
    ("keep_alive", "answer"),
    [
        ("-1", 'time: missing unit in duration "-1"'),
        ("300", 'time: missing unit in duration "300"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("", 'time: invalid duration ""'),
        ("5 m", 'time: unknown unit " m" in duration "5 m"'),
        (True, "Unsupported type: 'bool'"),
        ([1], "Unsupported type: '[]interface {}'"),
    ],
)
def test_bad_keep_alives_are_400(keep_alive: object, answer: str) -> None:
    with serving() as (_, http):
        assert error(chat(http, keep_alive=keep_alive)) == (400, answer)


def test_leaving_during_a_load_aborts_it() -> None:
    with serving(knobs=Knobs(load_delay_s=math.inf)) as (sim, http):
        with pytest.raises(httpx.TimeoutException):
            http.post("/api/chat", json={"model": "m:1b", "messages": HI}, timeout=0.2)
        sim.wait_until(lambda: sim.aborted_loads == {"m:1b": 1})

        assert (sim.running, sim.loads) == ({}, {"m:1b": 1})


def test_a_load_that_another_waits_for_goes_on() -> None:
    with serving(knobs=Knobs(load_delay_s=math.inf)) as (sim, http):
        with in_thread(lambda: chat(http)):
            sim.wait_until(lambda: sim.holding == 1)
            with pytest.raises(httpx.TimeoutException):
                httpx.post(f"{sim.base_url}/api/chat", json={"model": "m:1b"}, timeout=0.2)
            sim.finish_load("m:1b")

        assert (sim.loads, sim.aborted_loads) == ({"m:1b": 1}, {})
        assert [answer.outcome for answer in sim.answers] == ["done"]


def test_a_load_that_fails_is_500() -> None:
    broken = SimulatedModel("m:1b", load_error="llama-server process has terminated: exit status 1")
    with serving([broken]) as (sim, http):
        assert error(chat(http)) == (500, "llama-server process has terminated: exit status 1")
        assert sim.running == {}


def test_the_least_lasting_idle_model_makes_room() -> None:
    models = [SimulatedModel(name) for name in "abcd"]
    with serving(models) as (sim, http):
        for name in "abcd":
            chat(http, name)

        assert set(sim.running) == {"b:latest", "c:latest", "d:latest"}


def test_a_full_queue_is_503_with_two_spaces() -> None:
    knobs = Knobs(load_delay_s=math.inf, max_queue=1)
    with serving(knobs=knobs) as (sim, http), in_thread(lambda: chat(http)):
        sim.wait_until(lambda: sim.holding == 1)
        full = httpx.post(f"{sim.base_url}/api/chat", json={"model": "m:1b"})
        sim.finish_load("m:1b")

    busy = "server busy, please try again.  maximum pending requests exceeded"
    assert error(full) == (503, busy)
    assert "retry-after" not in full.headers


def test_one_runner_answers_one_after_the_other() -> None:
    with serving(knobs=Knobs(token_delay_s=math.inf)) as (sim, http):
        first = in_thread(lambda: chat(http))
        second = in_thread(lambda: httpx.post(f"{sim.base_url}/api/chat", json={
            "model": "m:1b", "messages": HI}))  # fmt: skip
        with first, second:
            for _ in range(6):
                sim.wait_until(lambda: sim.holding == 1)
                sim.release("m:1b")
        assert [answer.outcome for answer in sim.answers] == ["done", "done"]


def test_closing_the_connection_stops_the_answer() -> None:
    with serving([SimulatedModel("m:1b", endless=True, hold_after=2)]) as (sim, http):
        with http.stream("POST", "/api/chat", json={"model": "m:1b", "messages": HI}) as response:
            sim.wait_until(lambda: sim.holding == 1)
            assert response.status_code == 200
        sim.wait_until(lambda: sim.cancelled_answers == {"m:1b": 1})

        assert (sim.active_streams, sim.open_streams, sim.streams_closed_by_client) == (0, 0, 1)


# --- the window -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "knobs", "parameters", "asked", "window"),
    [
        ("0.33.0", {}, {"num_ctx": 8192}, 16_384, 16_384),
        ("0.33.0", {"default_ctx": 1000}, {"num_ctx": 8192}, None, 8192),
        ("0.33.0", {"default_ctx": 1000}, {}, None, 1000),
        ("0.33.0", {"gpu_gib": 47}, {}, None, 131_072),  # 262144, clamped to the trained length
        ("0.33.0", {"gpu_gib": 24}, {}, None, 32_768),
        ("0.33.0", {"gpu_gib": 8}, {}, None, 4096),
        ("0.12.0", {"gpu_gib": 47}, {}, None, 4096),
        ("0.5.0", {"default_ctx": 1000}, {}, None, 2048),
        ("0.33.0", {}, {}, 10**9, 131_072),
        ("0.33.0", {}, {}, 1, 4),
    ],
)
def test_the_effective_window_follows_the_servers_rules(
    version: str,
    knobs: dict[str, Any],
    parameters: dict[str, object],
    asked: int | None,
    window: int,
) -> None:
    model = SimulatedModel("m:1b", parameters=parameters)
    with serving([model], version, knobs=Knobs(**knobs)) as (sim, http):
        chat(http, options={"num_ctx": asked})

        assert sim.running == {"m:1b": window}


def test_a_model_that_sees_has_a_window_of_2048_at_least() -> None:
    with serving([SimulatedModel("m:1b", capabilities=("completion", "vision"))]) as (sim, http):
        chat(http, options={"num_ctx": 100})

        assert sim.running == {"m:1b": 2048}


def turns(count: int, size: int, system: bool = False) -> list[dict[str, str]]:
    """Messages of `size` bytes: user and assistant in turn, a user at the end."""
    first = [{"role": "system", "content": "s" * size}] if system else []
    roles = ["user" if (count - at) % 2 else "assistant" for at in range(count)]
    return [*first, *({"role": role, "content": role[0] * size} for role in roles)]


def test_the_oldest_messages_are_dropped_in_silence_but_not_system_and_last() -> None:
    with serving(knobs=Knobs(bytes_per_token=1.0)) as (sim, http):
        last = lines(chat(http, messages=turns(9, 996, system=True)))[-1]

    [record] = sim.answers
    assert last["done_reason"] == "stop"
    assert last["prompt_eval_count"] == record.prompt_tokens == 4000
    assert (record.full_tokens, record.dropped_messages, record.truncated) == (10_000, 6, True)
    assert sim.truncations == 1


def test_a_prompt_that_fits_is_whole() -> None:
    with serving(knobs=Knobs(bytes_per_token=1.0)) as (sim, http):
        last = lines(chat(http, messages=turns(4, 1020)))[-1]

    assert (last["prompt_eval_count"], sim.answers[0].truncated, sim.truncations) == (
        4096,
        False,
        0,
    )


@pytest.mark.parametrize(
    ("path", "version", "shift", "tokens"),
    [("rendered", "0.33.0", None, 2051), ("rendered", "0.33.0", False, None),
     ("native", "0.33.0", None, None), ("native", "0.12.0", None, 4096),
     ("rendered", "0.12.0", None, 4096)],
)  # fmt: skip
def test_a_last_message_too_long_by_itself_is_cut_or_refused(
    path: Any, version: str, shift: bool | None, tokens: int | None
) -> None:
    model = SimulatedModel("m:1b", path=path)
    with serving([model], version, knobs=Knobs(bytes_per_token=1.0)) as (sim, http):
        response = chat(http, messages=turns(1, 15_700), shift=shift)

    if tokens is None:
        status, message = error(response)
        assert status == 400
        wanted = "exceed_context_size_error" if path == "native" else "the prompt is longer than"
        assert wanted in message
    else:
        assert lines(response)[-1]["prompt_eval_count"] == tokens
        assert sim.answers[0].truncated


def test_truncate_false_is_400_since_it_exists() -> None:
    knobs = Knobs(bytes_per_token=1.0)
    with serving(version="0.12.5", knobs=knobs) as (_, http):
        assert chat(http, messages=turns(9, 1000), truncate=False).status_code == 200
    with serving(version="0.12.6", knobs=knobs) as (_, http):
        assert chat(http, messages=turns(9, 1000), truncate=False).status_code == 400


def test_an_mlx_model_never_truncates() -> None:
    model = SimulatedModel("m:1b", format="safetensors")
    with serving([model], knobs=Knobs(bytes_per_token=1.0)) as (_, http):
        wrong = (
            "input length (9036 tokens) exceeds the model's maximum context length (4096 tokens)"
        )
        assert error(chat(http, messages=turns(9, 1000))) == (400, wrong)


def test_some_templates_fail_when_the_user_turn_is_gone() -> None:
    model = SimulatedModel("m:1b", needs_user_turn=True)
    history = [
        *turns(1, 2000),
        {"role": "assistant", "content": "a"},
        {"role": "tool", "content": "t" * 3000},
    ]
    with serving([model], knobs=Knobs(bytes_per_token=1.0)) as (_, http):
        assert error(chat(http, messages=history)) == (500, "no user query found in messages")


def test_every_conversation_has_a_ratio_of_its_own_and_keeps_it() -> None:
    with serving() as (sim, http):
        for number in range(40):
            chat(http, messages=[{"role": "user", "content": f"question {number}"}])
        ratios = [record.bytes_per_token for record in sim.answers]
        grown = [{"role": "user", "content": "question 7"}, *turns(3, 50)]
        chat(http, messages=grown)

    assert len(set(ratios)) == 40
    assert 1.2 <= min(ratios) < 2.2 < 5 < max(ratios) <= 6
    assert sim.answers[-1].bytes_per_token == ratios[7]


def test_the_seed_decides_the_ratios() -> None:
    found = []
    for seed in (1, 1, 2):
        with serving(seed=seed) as (sim, http):
            chat(http)
            found.append(sim.answers[0].bytes_per_token)

    assert found[0] == found[1] != found[2]


def test_an_image_costs_a_fixed_number_on_models_that_see() -> None:
    image = base64.b64encode(b"not looked at").decode()
    seen, blind = SimulatedModel("s", capabilities=("completion", "vision")), SimulatedModel("b")
    message = {"role": "user", "content": "hi", "images": [image, image]}
    with serving([seen, blind]) as (sim, http):
        chat(http, "s", messages=[message])
        chat(http, "b", messages=[message])

    tokens = [record.prompt_tokens for record in sim.answers]
    assert tokens[0] - tokens[1] == 2 * 768


def test_0_30_0_leaves_cached_tokens_out_of_the_count() -> None:
    counts = {}
    for version in ("0.30.0", "0.30.1", "0.35.0"):
        with serving(version=version, knobs=Knobs(bytes_per_token=1.0)) as (_, http):
            chat(http, messages=turns(1, 100))
            last = lines(chat(http, messages=[*turns(1, 100), *turns(2, 20)]))[-1]
            counts[version] = (last["prompt_eval_count"], last.get("prompt_eval_cached_count"))

    assert counts == {"0.30.0": (48, None), "0.30.1": (152, None), "0.35.0": (152, 104)}


def test_a_modelfiles_own_turns_count() -> None:
    model = SimulatedModel(
        "m:1b", system="s" * 96, messages=[{"role": "user", "content": "x" * 46}]
    )
    with serving([model], knobs=Knobs(bytes_per_token=1.0)) as (sim, http):
        chat(http)
        chat(http, messages=[{"role": "system", "content": "other"}, *HI])

    assert [record.prompt_tokens for record in sim.answers] == [100 + 50 + 6, 50 + 9 + 6]
