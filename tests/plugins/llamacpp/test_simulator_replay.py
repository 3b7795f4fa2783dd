"""Holds the simulator to the recordings: each recorded request gets the recorded kind of answer.

Compared are status, header names, content type, all keys and types of the JSON, the values that are
a contract (messages, reasons, token counts), and for streams the order of events and the kind of
end. A transcript is replayed once, in order, against a simulator set up as its "# server:" line
says; what happened between the recorded requests stands in BEFORE and DURING.
"""

import functools
import http.client
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel, ToolCall
from recorded_exchanges import (
    RECORDED,
    Answer,
    Recorded,
    Transcript,
    event_shapes,
    literals,
    parsed,
    runs,
    shape,
    transcripts,
)

TRANSCRIPTS = {t.name: t for t in transcripts("llamacpp")}

NOT_REPLAYED = {
    ("router/71-api-key", 3): "goes to the port of a child process; the simulator has none",
    ("router/71b-api-key-env", 1): "goes to the port of a child process; the simulator has none",
}

MODELS = {
    model.id: model
    for model in (
        SimulatedModel("broken", exit_code=1),
        SimulatedModel("slow", answer="uM", endless=True, tools=False, n_ctx_train=4096),
        SimulatedModel(
            "slow-think",
            reasoning="First I count the apples, then I weigh each pear.",
            answer="The answer is 42.",
        ),
        SimulatedModel("tiny-a", answer="no particular words", endless=True, tools=False),
        SimulatedModel("tiny-b", answer="other words", endless=True, tools=False),
        SimulatedModel("tiny-embed", answer="x", endless=True, tools=False),
        SimulatedModel("tiny-rank", answer="x", tools=False, pooling="rank"),
        SimulatedModel("tiny-say", answer="The answer is 42, my friend."),
        SimulatedModel(
            "tiny-think", reasoning="Six times seven is forty-two.", answer="The answer is 42."
        ),
        SimulatedModel(
            "tiny-tool",
            answer="",
            tool_calls=[ToolCall("get_weather", '{"city": "Paris", "unit": "celsius"}')],
        ),
        SimulatedModel("tiny-vision", answer="A small red square.", vision=True, tools=False),
    )
}
LATE = SimulatedModel(
    "acme/late-GGUF:Q4_K_M",
    answer="The answer is 42, my friend.",
    source="cache",
    download_s=math.inf,
)


# the server as it was started


def simulator_for(transcript: Transcript) -> LlamaCppSimulator:
    words = transcript.server.split()
    start = words.index("llama-server")
    env = dict(word.split("=", 1) for word in words[:start])
    options = _options(words[start + 1 :])
    slots = int(options["-np"]) if "-np" in options else None
    asked = int(options.get("-c", "384"))
    n_ctx = -(-asked // (slots or 1) // 256) * 256
    model_path = options.get("-m")
    if model_path is not None:
        models = [_single_model(model_path, options)]
    elif "LLAMA_CACHE" in env:
        models = [
            replace(MODELS["tiny-say"], id=f"acme/tiny-GGUF:{tag}", source="cache")
            for tag in ("F16", "Q8_0")
        ]
    else:
        models = list(MODELS.values())
    if "--models-preset" in options:
        # A section with the id of a file is merged with it, and counts as a preset from then on.
        models = [replace(m, source="preset") if m.id == "tiny-a" else m for m in models]
        models += _presets()
    tested, change = ADJUST.get(transcript.name, ("", lambda model: model))
    n_ctx = 512 if "--models-preset" in options else n_ctx
    models = [replace(m, n_ctx=n_ctx) for m in models]
    models = [change(m) if m.id == tested else m for m in models]
    keys = options.get("--api-key", env.get("LLAMA_API_KEY", ""))
    return LlamaCppSimulator(
        models,
        "single" if model_path is not None else "router",
        hub=[LATE],
        slots=slots,
        second_s=0.005,
        models_max=int(options.get("--models-max", "4")),
        autoload="--no-models-autoload" not in options,
        keys=keys.split(",") if keys else (),
        prefix=options.get("--api-prefix", ""),
        metrics="--metrics" in options,
        props="--props" in options,
        slots_endpoint="--no-slots" not in options,
        slot_save="--slot-save-path" in options,
    )


def _options(words: list[str]) -> dict[str, str]:
    """Flags with their values; "" for a flag without one."""
    found: dict[str, str] = {}
    for word, after in zip(words, [*words[1:], "-"], strict=True):
        if word.startswith("-"):
            found[word] = "" if after.startswith("-") else after
    return found


def _single_model(path: str, options: dict[str, str]) -> SimulatedModel:
    names = sorted(options.get("--alias", path).split(","))
    model = MODELS[path.rpartition("/")[2].removesuffix(".gguf")]
    pooling = "none" if options.get("--pooling") == "none" else model.pooling
    return replace(
        model,
        id=names[0],
        aliases=names[1:],
        tags=options["--tags"].split(",") if "--tags" in options else (),
        path=path,
        jinja="--no-jinja" not in options,
        embeddings="--embeddings" in options,
        rerank="--reranking" in options,
        pooling=pooling,
    )


def _presets() -> list[SimulatedModel]:
    return [
        replace(
            MODELS["tiny-say"],
            id="chat-default",
            aliases=("gpt-4o-mini", "default"),
            tags=("demo",),
            source="preset",
        ),
        replace(MODELS["tiny-embed"], id="embedder", embeddings=True, source="preset"),
    ]


# Where a recording caught a server in the middle of something: how the simulator stops there.
ADJUST: dict[str, tuple[str, Callable[[SimulatedModel], SimulatedModel]]] = {
    "single/01-health-loading-then-ready": ("slow", lambda m: replace(m, load_s=math.inf)),
    "single/22b-cancel-slow-model": ("slow", lambda m: replace(m, hold_after=8)),
    "single/23-sse-ping": ("slow", lambda m: replace(m, prompt_s=0.03)),
    "single/24b-reasoning-control": ("slow-think", lambda m: replace(m, hold_after=6)),
    "single/27-queued": ("slow", lambda m: replace(m, hold_after=4)),
    "single/28-resumable-stream": ("tiny-a", lambda m: replace(m, hold_after=30)),
    "router/62-load-unload": ("tiny-a", lambda m: replace(m, load_s=math.inf)),
    "router/68-loading": ("slow", lambda m: replace(m, load_s=math.inf)),
    "router/69-models-sse": ("slow", lambda m: replace(m, load_s=math.inf)),
    "router/70-no-autoload": ("tiny-a", lambda m: replace(m, listen_s=math.inf)),
    "router/77-queue": ("tiny-a", lambda m: replace(m, hold_after=20)),
    "errors/35-shared-context": ("tiny-a", lambda m: replace(m, hold_after=100)),
}


# the client


@dataclass
class World:
    """A running simulator, and what goes on beside the exchange under test."""

    sim: LlamaCppSimulator
    transcript: Transcript
    threads: list[threading.Thread] = field(default_factory=list)
    early: dict[int, "Pending"] = field(default_factory=dict)

    def beside(self, work: Callable[[], object]) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        self.threads.append(thread)

    def begin(self, index: int) -> None:
        """Send an exchange before its turn."""
        self.early[index] = Pending(self, self.transcript.exchanges[index])

    def post(self, path: str, body: object) -> None:
        send(self.sim, Recorded("POST", path, {}, json.dumps(body), _ANY, []))

    def get(self, path: str) -> None:
        send(self.sim, Recorded("GET", path, {}, "", _ANY, []))

    def chat_beside(self, model: str, **more: object) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": "go on"}], **more}
        self.beside(lambda: self.post("/v1/chat/completions", body))

    def wait(self, predicate: Callable[[], bool]) -> None:
        self.sim.wait_until(predicate, 5)

    def wait_state(self, model: str, state: str | None) -> None:
        self.wait(lambda: self.sim.states.get(model) == state)

    def load(self, model: str) -> None:
        self.post("/models/load", {"model": model})
        self.wait_state(model, "loaded")

    def finish(self, model: str) -> None:
        self.sim.finish_load(model)
        self.wait_state(model, "loaded")

    def unload(self, model: str) -> None:
        self.post("/models/unload", {"model": model})
        self.wait_state(model, "unloaded")


class Pending:
    """An exchange that runs in a thread of its own."""

    def __init__(self, world: World, exchange: Recorded) -> None:
        self._answer: Answer | None = None
        self._thread = threading.Thread(target=self._run, args=(world, exchange))
        self._thread.start()

    def _run(self, world: World, exchange: Recorded) -> None:
        self._answer = send(world.sim, exchange)

    def result(self) -> Answer | None:
        self._thread.join(10)
        return self._answer


_ANY = Answer(0, {}, "", ended=True)


def send(sim: LlamaCppSimulator, exchange: Recorded) -> Answer | None:
    """Do what the recording client did, leaving early included."""
    connection = http.client.HTTPConnection("127.0.0.1", sim.port, timeout=10)
    headers = {**exchange.headers, "Connection": "close"}
    body = exchange.body.encode() if exchange.body or exchange.method == "POST" else None
    busy, states = sim.busy_slots, sim.states
    connection.request(exchange.method, exchange.target, body, headers)
    if exchange.answer is None:
        sim.wait_until(lambda: sim.busy_slots > busy or sim.states != states, 5)
        connection.close()
        return None
    response = connection.getresponse()
    try:
        text, ended = _read(response, exchange.answer)
    finally:
        response.close()
        connection.close()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, found, text, ended)


def _read(response: http.client.HTTPResponse, expected: Answer) -> tuple[str, bool]:
    if expected.ended:
        try:
            return response.read().decode(), True
        except http.client.IncompleteRead as exc:
            return exc.partial.decode(), False
    # The client left when it had seen enough; so does this one.
    wanted, text = len(runs(_without_cuts(event_shapes(expected.body)))), ""
    while line := response.readline().decode():
        text += line
        if line == "\n" and len(runs(event_shapes(text))) >= wanted:
            break
    return text, False


def _without_cuts(shapes: list[str]) -> list[str]:
    return [s for s in shapes if s != "..."]


# what happened between the recorded requests

Step = Callable[[World], None]


def _both(*steps: Step) -> Step:
    def run(world: World) -> None:
        for step in steps:
            step(world)

    return run


def _load(model: str) -> Step:
    return lambda world: world.load(model)


def _wait_state(model: str, state: str | None) -> Step:
    return lambda world: world.wait_state(model, state)


def _begin(*indexes: int) -> Step:
    def run(world: World) -> None:
        for index in indexes:
            world.begin(index)

    return run


def _hold(count: int) -> Step:
    return lambda world: world.wait(lambda: world.sim.holding == count)


def _release(model: str) -> Step:
    return lambda world: world.sim.release(model)


def _start_controlled_stream(enabled: bool) -> Step:
    def run(world: World) -> None:
        if not enabled:
            world.sim.release("slow-think")
            world.wait(lambda: world.sim.active_streams == 0)
        world.chat_beside("slow-think", stream=True, reasoning_control=enabled)
        world.wait(lambda: world.sim.holding == 1)

    return run


def _life_of_slow(world: World) -> None:
    """Load, loaded, unload, load, kill: what the recorded events are about."""
    world.wait(lambda: world.sim.open_streams == 1)
    world.post("/models/load", {"model": "slow"})
    world.finish("slow")
    world.unload("slow")
    world.post("/models/load", {"model": "slow"})
    world.wait_state("slow", "loading")
    time.sleep(0.01)  # let the first progress event out
    world.unload("slow")


def _download_absent(world: World) -> None:
    world.wait_state("acme/absent-GGUF:Q8_0", "downloaded")
    world.get("/models")


BEFORE: dict[tuple[str, int], Step] = {
    ("single/01-health-loading-then-ready", 7): lambda w: w.finish("slow"),
    ("single/04-slots-idle-and-used", 1): lambda w: w.post(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}
    ),
    ("single/22b-cancel-slow-model", 1): lambda w: w.wait(lambda: w.sim.busy_slots == 0),
    ("single/22b-cancel-slow-model", 2): _both(
        lambda w: w.wait(lambda: w.sim.busy_slots == 0),
        lambda w: w.chat_beside("slow", stream=True, max_tokens=20),
        _hold(1),
    ),
    ("single/24b-reasoning-control", 0): _start_controlled_stream(True),
    ("single/24b-reasoning-control", 1): _start_controlled_stream(False),
    ("single/24b-reasoning-control", 2): _release("slow-think"),
    ("single/27-queued", 0): _both(
        lambda w: w.chat_beside("slow", stream=True, max_tokens=20), _hold(1)
    ),
    ("single/28-resumable-stream", 2): _both(_hold(1), _release("tiny-a")),
    ("single/29-sleep", 0): lambda w: w.sim.sleep_now("tiny-say"),
    ("router/62-load-unload", 2): lambda w: w.finish("tiny-a"),
    ("router/62-load-unload", 9): _wait_state("tiny-a", "unloaded"),
    ("router/63-models-loaded", 0): _load("tiny-say"),
    ("router/64-per-model", 0): _load("tiny-say"),
    ("router/65-chat", 0): _load("tiny-say"),
    ("router/66-autoload-evict", 0): _load("tiny-say"),
    ("router/68-loading", 6): _both(
        lambda w: w.unload("slow"), lambda w: w.post("/models/load", {"model": "slow"})
    ),
    ("router/68-loading", 7): _wait_state("slow", "unloaded"),
    ("router/70-no-autoload", 6): lambda w: w.finish("tiny-a"),
    ("router/72-presets", 0): _load("chat-default"),
    ("router/72-presets", 4): _wait_state("chat-default", "unloaded"),
    ("router/74-download-delete", 2): _both(
        _begin(7), lambda w: w.wait(lambda: w.sim.open_streams == 1)
    ),
    ("router/74-download-delete", 3): _download_absent,
    ("router/74-download-delete", 7): lambda w: w.sim.finish_load(LATE.id),
    ("router/74-download-delete", 8): _wait_state(LATE.id, "downloaded"),
    ("router/74-download-delete", 13): lambda w: w.post("/models", {"model": LATE.id}),
    ("router/76-sleeping", 0): _both(_load("tiny-say"), lambda w: w.sim.sleep_now("tiny-say")),
    ("router/77-queue", 0): _both(
        lambda w: w.chat_beside("tiny-a", stream=True, max_tokens=30), _hold(1)
    ),
    ("router/77-queue", 2): _both(_begin(3), _hold(1)),
    ("errors/35-shared-context", 0): _both(_begin(0, 1), _hold(2), _release("tiny-a")),
    ("errors/35-shared-context", 2): _both(
        lambda w: w.wait(lambda: w.sim.busy_slots == 0),
        lambda w: w.chat_beside("tiny-a", max_tokens=400, ignore_eos=True),
        _hold(1),
    ),
}
DURING: dict[tuple[str, int], Step] = {
    ("single/27-queued", 1): _both(lambda w: w.wait(lambda: w.sim.queued == 1), _release("slow")),
    ("router/68-loading", 5): lambda w: w.finish("slow"),
    ("router/69-models-sse", 0): _life_of_slow,
    ("router/77-queue", 1): _both(lambda w: w.wait(lambda: w.sim.queued == 1), _release("tiny-a")),
    ("errors/35-shared-context", 2): _both(_hold(2), _release("tiny-a")),
}


# replay


def replay(transcript: Transcript) -> list[Answer | None]:
    """All answers of one transcript, in order."""
    answers: list[Answer | None] = []
    with simulator_for(transcript) as sim:
        world = World(sim, transcript)
        for index, exchange in enumerate(transcript.exchanges):
            key = (transcript.name, index)
            if key in NOT_REPLAYED:
                answers.append(None)
                continue
            if key in BEFORE:
                BEFORE[key](world)
            if key in DURING:
                world.beside(functools.partial(DURING[key], world))
            early = world.early.pop(index, None)
            answers.append(early.result() if early else send(sim, _prepared(world, exchange)))
        for model in list(sim.states):
            sim.release(model)
        for thread in world.threads:
            thread.join(10)
    return answers


def _prepared(world: World, exchange: Recorded) -> Recorded:
    """The control requests name a completion: put in the id of the one that runs now."""
    if '"chatcmpl-' not in exchange.body or "control" not in exchange.target:
        return exchange
    running = world.sim.completions
    if not running:
        return exchange
    body = json.loads(exchange.body)
    return replace(exchange, body=json.dumps({**body, "id": running[0]}))


@pytest.fixture(scope="module")
def replayed() -> Callable[[str], list[Answer | None]]:
    """Answers by transcript, each transcript replayed once."""
    known: dict[str, list[Answer | None]] = {}

    def answers(name: str) -> list[Answer | None]:
        if name not in known:
            known[name] = replay(TRANSCRIPTS[name])
        return known[name]

    return answers


CASES = [
    (name, index)
    for name, transcript in TRANSCRIPTS.items()
    for index in range(len(transcript.exchanges))
    if (name, index) not in NOT_REPLAYED
]

CONTRACT = frozenset(
    {
        *("message", "type", "code", "n_prompt_tokens", "object", "finish_reason", "index"),
        *("role", "owned_by", "value", "event", "success", "status", "failed", "exit_code"),
        *("source", "can_remove", "stop_type", "truncated", "input_tokens", "id_slot"),
        *("stop_reason", "max_instances", "models_autoload", "total_slots", "encoding_format"),
        *("n_ctx", "name", "arguments", "is_done", "tokens_evaluated", "tokens_predicted"),
        *("prompt_tokens", "completion_tokens", "output_tokens", "content", "text", "prompt"),
        *("reasoning_content", "model", "is_sleeping", "is_processing"),
    }
)
# Values that random weights or earlier requests decided: their keys are compared all the same.
RANDOM_WEIGHTS = ("tiny-a", "tiny-b", "slow", "tiny-embed", "tiny-rank")
DECIDED_BY_WEIGHTS = frozenset(
    {"content", "text", "finish_reason", "completion_tokens", "prompt_tokens", "index", "id_slot"}
)
DECIDED_BY_CACHE = frozenset({"id_slot"})


OTHER_WORDS = {
    ("single/25-tools", 16): "which part of a clashing call the parser swallows is its secret",
}


def _compared_names(transcript: Transcript, exchange: Recorded) -> frozenset[str]:
    random = any(f"models/{name}.gguf" in transcript.server for name in RANDOM_WEIGHTS) or any(
        f'"model": "{name}"' in exchange.body for name in RANDOM_WEIGHTS
    )
    names = CONTRACT - DECIDED_BY_CACHE - (DECIDED_BY_WEIGHTS if random else frozenset())
    if "/responses" in exchange.target or "/messages" in exchange.target:
        names -= {"input_tokens"}  # depends on what is cached there
    return names


@pytest.mark.parametrize(("name", "index"), CASES, ids=[f"{n}[{i}]" for n, i in CASES])
def test_a_recorded_request_gets_the_recorded_kind_of_answer(
    name: str, index: int, replayed: Callable[[str], list[Answer | None]]
) -> None:
    transcript = TRANSCRIPTS[name]
    exchange = transcript.exchanges[index]
    expected, actual = exchange.answer, replayed(name)[index]
    if expected is None:
        assert actual is None
        return
    assert actual is not None
    assert (actual.status, actual.ended) == (expected.status, expected.ended), actual.body
    assert _header_names(actual) == _header_names(expected)
    assert actual.headers.get("content-type") == expected.headers.get("content-type")
    if expected.is_stream:
        _same_events(expected, actual)
        return
    wanted, got = parsed(expected.body), _trimmed(parsed(actual.body), parsed(expected.body))
    if wanted is None:
        assert _without_numbers(actual.body) == _without_numbers(expected.body)
        return
    assert shape(got) == shape(wanted)
    names = _compared_names(transcript, exchange)
    if (name, index) in OTHER_WORDS:
        names -= {"reasoning_content"}
    assert literals(got, names) == literals(_uncut(wanted, got), names)


def _header_names(answer: Answer) -> set[str]:
    return {name for name in answer.headers if name not in ("connection", "keep-alive")}


def _trimmed(got: object, wanted: object) -> object:
    """A router's list, with only the entries that the recording kept."""
    match got, wanted:
        case {"data": list(entries), **rest}, {"data": list(kept)} if entries and kept:
            ids = [e.get("id") for e in kept if isinstance(e, dict) and "status" in e]
            if ids:
                return {**rest, "data": [e for e in entries if e["id"] in ids]}
    return got


def _uncut(wanted: object, got: object) -> object:
    """The recorded value, long texts that were cut replaced by those under test."""
    match wanted, got:
        case dict(), dict():
            return {k: _uncut(v, got.get(k)) for k, v in wanted.items()}
        case list(), list() if len(wanted) == len(got):
            return [_uncut(a, b) for a, b in zip(wanted, got, strict=True)]
        case str(), str() if "[cut: " in wanted:
            return got
        case _:
            return wanted


def _without_numbers(text: str) -> list[str]:
    """Metrics without their values and help texts; other text as it is."""
    lines = [line for line in text.strip().split("\n") if not line.startswith("# HELP")]
    return [line.rpartition(" ")[0] if line.startswith("llamacpp:") else line for line in lines]


def _same_events(expected: Answer, actual: Answer) -> None:
    wanted, got = runs(event_shapes(expected.body)), runs(event_shapes(actual.body))
    if not expected.ended:
        assert got[: len(_without_cuts(wanted))] == runs(_without_cuts(wanted))
        return
    if "..." not in wanted:
        assert got == wanted
        return
    cut = wanted.index("...")
    head, tail = wanted[:cut], wanted[cut + 1 :]
    assert (got[: len(head)], got[-len(tail) :]) == (head, tail)


def test_every_exchange_is_replayed_or_excused_with_a_reason() -> None:
    assert set(NOT_REPLAYED) <= {
        (name, index) for name, t in TRANSCRIPTS.items() for index in range(len(t.exchanges))
    }
    assert all(NOT_REPLAYED.values())
    assert len(CASES) + len(NOT_REPLAYED) == sum(len(t.exchanges) for t in TRANSCRIPTS.values())


def test_a_connection_is_kept_as_the_recording_says() -> None:
    remarks = (RECORDED / "llamacpp/process/80-keep-alive.txt").read_text(encoding="utf-8")
    with LlamaCppSimulator() as sim:
        connection = http.client.HTTPConnection("127.0.0.1", sim.port, timeout=10)
        for number in range(1, 101):
            connection.request("GET", "/health")
            response = connection.getresponse()
            response.read()
            if number in (1, 99):
                found = f"Keep-Alive: {response.getheader('Keep-Alive')}"
                assert f"request {number} on one connection: HTTP/1.1 200 OK | {found}" in remarks
        found = f"Connection: {response.getheader('Connection')}"
        assert f"request 100 on one connection: HTTP/1.1 200 OK | {found}" in remarks
        connection.close()
