"""Mirrors modelbay_gateway/metering.py and own/metrics.py, over real sockets."""

import asyncio
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest

import pretend
from gateway.conftest import Raw, Start
from gateway.own.lab import Lab, lab_host
from gateway.own.test_manage import wait_until
from gateway.serving import acme, desk, media
from modelbay.errors import BackendBusyError, RateLimitedError
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, ReasoningDelta, StreamEvent, TextDelta, Usage
from modelbay_gateway.limits import Limits
from modelbay_gateway.metering import BOUNDS_S, Histogram

LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+)\})? (\S+)')
CHAT = {"model": "desk/m", "messages": [{"role": "user", "content": "hi"}]}
SPENT: list[StreamEvent] = [
    ReasoningDelta("hm"),
    TextDelta("hello"),
    Usage(input_tokens=7, output_tokens=5),
    Finish("stop"),
]


def samples(client: httpx.Client) -> dict[str, float]:
    """Every sample; and the text is what Prometheus reads, line by line."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n")
    found, families = {}, set()
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family not in families
            assert kind in ("counter", "gauge", "histogram")
            families.add(family)
        elif not line.startswith("# HELP "):
            match = LINE.fullmatch(line)
            assert match, line
            assert re.sub("_(bucket|sum|count)$", "", match[1]) in families
            key = f"{match[1]}{{{match[2]}}}" if match[2] else match[1]
            assert key not in found
            found[key] = float(match[3])
    return found


def test_answers_are_counted_by_surface_and_status(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))
    client.post("/v1/chat/completions", json=CHAT)
    client.post("/v1/chat/completions", json={**CHAT, "stream": True})
    client.post("/v1/chat/completions", content=b"{")
    client.get("/api/models")
    client.get("/nowhere")
    client.get("/health", headers={"origin": "https://evil.example"})

    found = samples(client)

    assert {key: value for key, value in found.items() if "modelbay_requests_total" in key} == {
        'modelbay_requests_total{surface="front",status="403"}': 1,
        'modelbay_requests_total{surface="front",status="404"}': 1,
        'modelbay_requests_total{surface="openai",status="200"}': 2,
        'modelbay_requests_total{surface="openai",status="400"}': 1,
        'modelbay_requests_total{surface="own",status="200"}': 1,
    }


def test_tokens_are_counted_as_the_provider_counts_them(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme(SPENT))))
    for stream in (False, True):
        client.post("/v1/chat/completions", json={**CHAT, "stream": stream})

    found = samples(client)

    assert found['modelbay_tokens_total{provider="desk",direction="input"}'] == 14
    assert found['modelbay_tokens_total{provider="desk",direction="output"}'] == 10
    assert found['modelbay_first_token_seconds_count{provider="desk"}'] == 2
    assert found['modelbay_first_token_seconds_bucket{provider="desk",le="+Inf"}'] == 2


def test_the_first_token_is_measured_whatever_came_before_it(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme([Usage(7, 0), TextDelta("a"), TextDelta("b"), Finish("stop")]))))
    for stream in (False, True):
        client.post("/v1/chat/completions", json={**CHAT, "stream": stream})

    assert samples(client)['modelbay_first_token_seconds_count{provider="desk"}'] == 2


def test_failures_of_providers_are_counted_by_their_code(start: Start, raw: Raw) -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        if request.messages[-1].text == "early":
            raise RateLimitedError("too many")
        yield TextDelta("half")
        raise BackendBusyError("it went away")

    client = raw(start(desk(acme(reply))))
    for text in ("early", "early", "late"):
        body = {**CHAT, "messages": [{"role": "user", "content": text}], "stream": True}
        client.post("/v1/chat/completions", json=body)

    found = samples(client)

    assert {key: value for key, value in found.items() if "errors" in key} == {
        'modelbay_provider_errors_total{provider="desk",code="rate_limited"}': 2,
        'modelbay_provider_errors_total{provider="desk",code="backend_busy"}': 1,
    }
    assert found['modelbay_first_token_seconds_count{provider="desk"}'] == 1
    assert found['modelbay_provider_running{provider="desk",task="chat"}'] == 0


def test_every_task_is_counted(start: Start, raw: Raw) -> None:
    client = raw(start(desk(media())))
    client.post("/v1/embeddings", json={"model": "desk/embed", "input": "x"})
    client.post("/v1/completions", json={"model": "desk/m", "prompt": "x"})
    client.post("/v1/images/generations", json={"model": "desk/m", "prompt": "x"})
    client.post("/v1/rerank", json={"model": "desk/m", "query": "x", "documents": ["d"]})

    found = samples(client)

    assert {
        task: found[
            f'modelbay_provider_requests_total{{provider="desk",task="{task}",outcome="ok"}}'
        ]
        for task in ("embed", "complete", "generate_image", "rerank")
    } == {"embed": 1, "complete": 1, "generate_image": 1, "rerank": 1}


def test_what_runs_and_what_waits_can_be_seen(start: Start, raw: Raw) -> None:
    gate = asyncio.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("half")
        await gate.wait()
        yield Finish("stop")

    served = start(desk(acme(reply)), limits=Limits(active=1))
    body = {**CHAT, "stream": True}
    seen: list[dict[str, float]] = []

    def reached() -> bool:
        seen.append(samples(raw(served)))
        return seen[-1]['modelbay_queue_waiting{provider="desk"}'] == 1

    with (
        raw(served).stream("POST", "/v1/chat/completions", json=body) as first,
        ThreadPoolExecutor(1) as pool,
    ):
        lines = first.iter_lines()  # kept: a reader that is thrown away closes the answer
        next(lines)
        second = pool.submit(raw(served).post, "/v1/chat/completions", json=CHAT)
        wait_until(reached)
        served.loop.call_soon_threadsafe(gate.set)
        assert second.result(30).status_code == 200

    last = seen[-1]
    assert last["modelbay_open_streams"] == 1
    assert last['modelbay_queue_active{provider="desk"}'] == 1
    assert last['modelbay_provider_running{provider="desk",task="chat"}'] == 1


def test_a_client_that_goes_away_is_no_fault_of_the_provider(start: Start, raw: Raw) -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("half")
        await asyncio.Event().wait()

    client = raw(start(desk(acme(reply))))
    with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        next(answer.iter_lines())

    key = 'modelbay_provider_requests_total{provider="desk",task="chat",outcome="cancelled"}'
    wait_until(lambda: samples(client).get(key) == 1)
    assert not [name for name in samples(client) if "errors" in name]


def test_no_name_that_a_client_makes_up_becomes_a_label(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))
    client.get("/api/models")
    client.post("/v1/chat/completions", json=CHAT)
    client.get("/nowhere")
    client.post("/v1/chat/completions", json={**CHAT, "model": "desk/other"})
    before = set(samples(client))

    for n in range(30):
        name = f'made-up-{n}"}}\n'
        client.post("/v1/chat/completions", json={**CHAT, "model": name})
        client.post("/v1/chat/completions", json={**CHAT, "model": f"{name}/m"})
        client.get(f"/made-up-{n}")
        client.get("/health", headers={"x-conversation-id": f"made-up-{n}"})
    after = samples(client)

    assert {name for name in set(after) - before if "own" not in name} <= {
        'modelbay_requests_total{surface="front",status="200"}'
    }
    assert "made-up" not in str(after)


def test_it_asks_no_provider(start: Start, raw: Raw) -> None:
    lab = Lab()
    client = raw(start(lab_host(lab)))
    client.get("/api/models")
    looks = lab.looks

    for _ in range(3):
        samples(client)

    assert lab.looks == looks


def test_a_label_may_hold_any_character(start: Start, raw: Raw) -> None:
    providers = [pretend.config(), pretend.config("a.b-c_d")]
    client = raw(start(pretend.host(providers, acme=acme())))
    client.get("/api/models")

    assert samples(client)['modelbay_provider_models{provider="a.b-c_d"}'] == 1


@pytest.mark.parametrize(
    ("value", "place"), [(0.0, 0), (0.01, 0), (0.0101, 1), (300.0, 13), (301.0, 14)]
)
def test_a_value_at_a_bound_is_below_it(value: float, place: int) -> None:
    histogram = Histogram()
    histogram.add(value)

    expected = [0] * (len(BOUNDS_S) + 1)
    expected[place] = 1
    assert (histogram.counts, histogram.total) == (expected, value)
