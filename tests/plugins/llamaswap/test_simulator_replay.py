"""Holds the simulator to the recordings: each recorded request gets the recorded answer, whole.

Compared are status, all header fields, and bodies with everything in them, the order of JSON fields
too; see `replaying` for what is left out. A transcript is replayed once, in order; what happened
between the recorded requests stands in BEFORE and DURING. The transcripts without exchanges tell
the order of things in time: test_simulator_swaps.py and test_simulator_life.py hold it to them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from plugins.llamaswap.recorded_servers import SERVERS, cellar, desk, hello, say, writer
from plugins.llamaswap.replaying import (
    Step,
    World,
    both,
    chat_body,
    replay,
    same,
    send,
    whole,
)
from recorded_exchanges import Answer, Transcript, parsed, transcripts

TRANSCRIPTS = {t.name: t for t in transcripts("llamaswap") if t.exchanges}
TOLD_IN_WORDS = {
    "chat/26-swap-both-at-once",
    "errors/43-swap-waits-for-stream",
    "errors/46-unload-blocks-others",
    "events/61-slow-load-and-failure",
}
PAIR = "two/98-two-instances"


# what happened between the recorded requests


def _chat(model: str = "tiny", **more: object) -> Step:
    return lambda world: world.chat(model, **more)


def _unload(world: World) -> None:
    world.ask("POST", "/api/models/unload")


def _hold(count: int = 1) -> Step:
    return lambda world: world.wait(lambda: world.sim.holding == count)


def _begin(index: int) -> Step:
    return lambda world: world.begin(index)


def _state(model: str, state: str) -> Step:
    return lambda world: world.wait_state(model, state)


def _held_and_killed(world: World) -> None:
    _hold()(world)
    world.sim.kill("writer")


def _two_wait(world: World) -> None:
    """The second of them was the first to be answered."""
    world.chat_beside("slow", max_tokens=2)
    world.wait(lambda: world.sim.waiting == 1)
    world.begin(1)
    world.wait(lambda: world.sim.waiting == 2)


def _both_go_on(world: World) -> None:
    world.sim.finish_load("slow")
    _hold(2)(world)
    world.sim.release_held()


def _two_hold(world: World) -> None:
    world.finish()
    for _ in range(2):
        world.chat_beside("slow", max_tokens=2)
    _hold(2)(world)


def _stops(model: str, index: int | None = None) -> Step:
    """An unload is under way, as the exchange `index` if that is one."""

    def run(world: World) -> None:
        if index is None:
            world.beside(lambda: world.ask("POST", f"/api/models/unload/{model}"))
        else:
            world.begin(index)
        world.wait_state(model, "stopping")

    return run


def _loads_beside(model: str) -> Step:
    return both(lambda w: w.chat_beside(model, max_tokens=2), _state(model, "starting"))


def _loaded(model: str) -> Step:
    return both(lambda w: w.sim.finish_load(model), _state(model, "ready"), lambda w: w.finish())


def _activity(world: World) -> None:
    """What the rows are about."""
    world.chat("t", max_tokens=3)
    world.chat("tiny", stream=True)
    world.chat("tiny", stream=True, stream_options={"include_usage": True})
    world.chat("broken")
    world.chat("nope")
    world.ask("GET", "/upstream/tiny/health")
    world.ask("POST", "/upstream/tiny/tokenize", {"content": "hi"})
    world.ask("POST", "/upstream/tiny/v1/chat/completions", chat_body("x", max_tokens=2))


def _watched_life(world: World) -> None:
    """A streamed chat with an X-Session-ID and a key, then unload."""
    world.wait(lambda: world.sim.listeners == 1)
    exchange = TRANSCRIPTS["chat/20-cold-and-warm"].exchanges[0]
    headers = {**exchange.headers, "authorization": "Bearer k", "x-session-id": "s1"}
    body = '{"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": true}'
    send(world.sim, replace(exchange, headers=headers, body=body))
    world.wait(lambda: world.sim.inflight == [])
    world.ask("POST", "/api/models/unload")


def _one_more_line(world: World) -> None:
    world.wait(lambda: world.sim.open_connections == 1)
    world.chat("tiny", max_tokens=1)


def _queue_behind_slow(world: World) -> None:
    world.chat("slow", max_tokens=1)
    world.chat_beside("slow", max_tokens=26, stream=True)
    world.wait(lambda: world.sim.active == {"slow": 1})


def _second_in_line(world: World) -> None:
    world.wait(lambda: world.sim.waiting == 1)
    world.chat("tiny", max_tokens=2)


def _reloaded(world: World) -> None:
    world.begin(1)
    _hold()(world)
    world.sim.reload([writer(6), say(), hello("late")])


def _terminated(world: World) -> None:
    _hold()(world)
    world.sim.terminate()
    world.sim.release_held()


def _together(world: World) -> None:
    world.chat("a")
    world.chat("b")


BEFORE: dict[str, Mapping[int, Step]] = {
    "chat/22-other-inference-routes": {0: _chat()},
    "chat/25-concurrency-limit": {0: _two_wait, 2: _two_hold},
    "chat/27-group-together": {0: _together},
    "errors/41-child-killed-mid-stream": {
        3: both(_chat("writer", max_tokens=2), lambda w: w.sim.kill("writer")),
    },
    "errors/42-unload-mid-stream": {
        0: both(_begin(1), _hold()),
        2: both(_begin(3), _hold()),
    },
    "errors/45-bad-requests": {0: _chat(), 20: _unload},
    "loading/30-cold-then-answer": {3: _unload},
    "loading/34-queued": {0: _queue_behind_slow},
    "manage/50-unload": {
        4: _chat(),
        5: _chat(),
        6: _chat(),
        9: _chat("org/model:7b"),
        10: _chat("org/model:7b"),
        11: both(_begin(12), _state("slow", "starting")),
        13: both(_chat(), _stops("tiny")),
    },
    "manage/51-upstream": {3: _unload},
    "manage/52-upstream-slashes": {7: _unload, 8: _chat()},
    "manage/53-logs": {0: both(lambda w: w.ask("GET", "/health"), _chat(max_tokens=1))},
    "manage/55-activity": {2: _activity},
    "manage/56-inflight-cancel": {
        0: both(_begin(1), _hold()),
        2: both(_begin(3), lambda w: w.wait(lambda: w.sim.inflight == ["2"])),
    },
    "manage/57-ttl": {0: _chat()},
    "models/02-one-loading": {0: _loads_beside("slow")},
    "models/03-one-loaded": {
        0: both(_loads_beside("slow"), _loaded("slow")),
        1: _stops("slow"),
        2: _state("slow", "stopped"),
    },
    "process/95-reload-and-exit": {
        0: _reloaded,
        2: _chat("writer", max_tokens=2),
    },
    "running/10-states": {
        1: _loads_beside("slow"),
        2: _loaded("slow"),
        3: _stops("slow", 4),
    },
}
DURING: dict[str, Mapping[int, Step]] = {
    "chat/25-concurrency-limit": {1: _both_go_on},
    "errors/41-child-killed-mid-stream": {0: _held_and_killed, 2: _held_and_killed},
    "events/60-load-and-unload": {0: _watched_life},
    "loading/34-queued": {0: _second_in_line},
    "manage/53-logs": {10: _one_more_line},
    "process/95-reload-and-exit": {2: _terminated},
}


Whole = dict[str, object]


def _replaced(pattern: str, by: str) -> Callable[[Whole], Whole]:
    def change(answer: Whole) -> Whole:
        body = answer["body"]
        assert isinstance(body, list)
        parts = [re.sub(pattern, by, p) if isinstance(p, str) else p for p in body]
        return {**answer, "body": parts}

    return change


def _some_fields(answer: Whole) -> Whole:
    """The recording kept four fields of them."""
    body = answer["body"]
    assert isinstance(body, list)
    value = parsed(body[0])
    assert isinstance(value, dict)
    kept = ("total_slots", "model_alias", "model_path", "modalities")
    headers = {**answer["headers"], "content-length": "(some)"}  # type: ignore[dict-item]
    return {**answer, "headers": headers, "body": [{name: value[name] for name in kept}]}


# What chance decided.
ADJUST: dict[tuple[str, int], Callable[[Whole], Whole]] = {
    # which of two requests that were let in together was the first one
    ("loading/34-queued", 0): _replaced(r'"(cache|prompt)_n": \d+', r'"\1_n": N'),
    # random weights
    ("media/90-embeddings-rerank", 3): _replaced(r'"content": "\ufffd+"', '"content": "?"'),
    ("manage/51-upstream", 3): _some_fields,
    # The recorded build's store in memory, which stock builds do not have, took asc for desc.
    ("manage/55-activity", 3): _replaced(r'"id": \d', '"id": N'),
}


# replay


def replay_pair(transcript: Transcript) -> list[Answer | None]:
    """Two at once, with a model of the same id."""
    of_b = {1, 3, 5, 8, 9}
    with desk() as a, cellar() as b:
        return [
            send(b if index in of_b else a, exchange)
            for index, exchange in enumerate(transcript.exchanges)
        ]


@pytest.fixture(scope="module")
def replayed() -> Callable[[str], list[Answer | None]]:
    """Answers by transcript, each transcript replayed once."""
    known: dict[str, list[Answer | None]] = {}

    def answers(name: str) -> list[Answer | None]:
        if name not in known:
            transcript = TRANSCRIPTS[name]
            known[name] = (
                replay_pair(transcript)
                if name == PAIR
                else replay(transcript, SERVERS[name], BEFORE.get(name, {}), DURING.get(name, {}))
            )
        return known[name]

    return answers


CASES = [(name, index) for name, t in TRANSCRIPTS.items() for index in range(len(t.exchanges))]


@pytest.mark.parametrize(("name", "index"), CASES, ids=[f"{n}[{i}]" for n, i in CASES])
def test_a_recorded_request_gets_the_recorded_answer(
    name: str, index: int, replayed: Callable[[str], list[Answer | None]]
) -> None:
    exchange = TRANSCRIPTS[name].exchanges[index]
    actual = replayed(name)[index]
    if exchange.answer is None:
        assert actual is None
        return
    assert actual is not None
    expected, got = whole(exchange.answer), whole(actual)
    if (name, index) in ADJUST:
        expected, got = ADJUST[name, index](expected), ADJUST[name, index](got)
    wanted, found = expected.pop("body"), got.pop("body")
    assert got == expected, actual.body
    assert isinstance(wanted, list)
    assert isinstance(found, list)
    assert same(wanted, found), f"wanted {wanted}\n   got {found}"


def test_every_exchange_is_replayed() -> None:
    told = {t.name for t in transcripts("llamaswap") if not t.exchanges}

    assert told == TOLD_IN_WORDS
    assert {*SERVERS} == {*TRANSCRIPTS}
    assert len(CASES) == 238
