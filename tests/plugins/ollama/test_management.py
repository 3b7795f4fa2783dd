"""Mirrors modelbay_ollama/management.py, loading.py and pulling.py."""

import json
import math

import pytest

from modelbay.closing import closing
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
    StreamInterruptedError,
    UnsupportedActionError,
    WrongServerError,
)
from modelbay.models.events import TextDelta
from modelbay.models.manage import (
    Action,
    Copy,
    Create,
    Delete,
    Done,
    Health,
    HealthReport,
    ListModels,
    Load,
    Logs,
    ModelDetails,
    ModelList,
    Progress,
    Pull,
    Running,
    RunningModel,
    RunningModels,
    Show,
    Unload,
)
from modelbay.testing.conformance.ports import dead_url
from modelbay.testing.fault import Fault
from modelbay.testing.streams import check_manage_events
from modelbay_ollama.failures import SilentEndError
from modelbay_ollama.pulling import Transfer
from modelbay_ollama.simulator import Knobs, Layer, OllamaSimulator, Pullable, SimulatedModel
from plugins.ollama.bay import Bay, OpenBay, ask

LLAMA = "llama3.1:8b"
EMBEDDER = SimulatedModel("vectors:latest", family="bert", capabilities=("embedding",))
CODE = SimulatedModel("codestral:22b", size_bytes=12_000_000)


def codestral(**fields: object) -> Pullable:
    layers = [
        Layer(8_000_000, backward=True),
        Layer(4_000_000, ends_short=True),
        Layer(500, silent=True),
    ]
    return Pullable(CODE, **{"layers": layers, **fields})  # type: ignore[arg-type] # a test's own


# --- looking -------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_list_has_sizes_families_and_states(bay: OpenBay) -> None:
    """S4-30, S4-86."""
    with OllamaSimulator([SimulatedModel(LLAMA), EMBEDDER]) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model=LLAMA))
        (found,) = await desk.manage(ListModels())

    assert isinstance(found, ModelList)
    assert [(m.wire_id, m.state, m.size_bytes, m.details["family"]) for m in found.models] == [
        (LLAMA, "loaded", 4_920_753_328, "llama"),
        ("vectors:latest", "unloaded", 4_920_753_328, "bert"),
    ]


@pytest.mark.anyio
async def test_what_runs_is_told_with_memory_window_and_time_left(bay: OpenBay) -> None:
    """S4-32, S4-88, U7."""
    half = SimulatedModel(LLAMA, size_vram_bytes=2_460_376_664)
    with OllamaSimulator([half], knobs=Knobs(default_ctx=8192)) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model=LLAMA))
        (found,) = await desk.manage(Running())

    assert isinstance(found, RunningModels)
    (model,) = found.models
    assert 290 < (model.expires_in_s or 0) <= 300
    assert model.model_copy(update={"expires_in_s": 300.0, "details": {}}) == RunningModel(
        wire_id=LLAMA,
        size_bytes=5_994_495_152,  # in memory: the weights and the window
        vram_bytes=2_460_376_664,
        context=8192,
        active_streams=0,
        expires_in_s=300.0,
    )
    assert model.details["gpu_share"] == 0.41


@pytest.mark.anyio
async def test_a_model_kept_for_ever_has_no_time_left(bay: OpenBay) -> None:
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url, keepAlive=-1)
        await desk.manage(Load(model=LLAMA))
        (found,) = await desk.manage(Running())

    assert isinstance(found, RunningModels)
    assert (found.models[0].expires_in_s, found.models[0].details["expires"]) == (None, "never")


@pytest.mark.anyio
async def test_show_tells_three_context_numbers_and_no_long_texts(bay: OpenBay) -> None:
    """S4-31, S4-40, U7."""
    model = SimulatedModel(
        LLAMA,
        parameters={"num_ctx": 1_048_576, "temperature": 0.7, "stop": ["a", "b"]},
        license="MIT " * 5000,
        system="Be brief.",
    )
    with OllamaSimulator([model]) as sim:
        somebody_else = bay(sim.base_url)
        await somebody_else.manage(Load(model=LLAMA, options={"num_ctx": 4096}))
        (found,) = await bay(sim.base_url).manage(Show(model=LLAMA))

    assert isinstance(found, ModelDetails)
    shown = found.details
    assert [shown[f"context_{name}"] for name in ("trained", "configured", "effective")] == [
        131_072,
        1_048_576,
        4096,
    ]
    assert shown["parameters"] == {"num_ctx": 1_048_576, "temperature": 0.7, "stop": ["a", "b"]}
    assert (shown["system"], shown["state"], "license" in shown) == ("Be brief.", "loaded", False)


@pytest.mark.anyio
@pytest.mark.parametrize("version", ["0.5.0", "0.12.0", "0.33.0"])
async def test_health_names_the_version(bay: OpenBay, version: str) -> None:
    """S4-28, S4-29, S4-84, S4-99."""
    with OllamaSimulator(version=version) as sim:
        (report,) = await bay(sim.base_url).manage(Health())

    assert isinstance(report, HealthReport)
    assert (report.healthy, report.server, report.version) == (True, f"Ollama {version}", version)
    assert (report.details["models"], report.details["loaded"]) == (1, [])


@pytest.mark.anyio
async def test_no_server_is_told_as_such(bay: OpenBay) -> None:
    """S4-109."""
    with pytest.raises(BackendUnreachableError):
        await bay(dead_url()).manage(Health())


@pytest.mark.anyio
async def test_what_the_kind_cannot_is_refused_with_a_hint(bay: OpenBay) -> None:
    with pytest.raises(UnsupportedActionError) as raised:
        await bay(dead_url()).manage(Logs())

    assert "server.log" in (raised.value.hint or "")


# --- load and unload -----------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_load_ends_when_the_model_is_ready(bay: OpenBay) -> None:
    """Section 5.9; the window is known then."""
    with OllamaSimulator(knobs=Knobs(default_ctx=4096)) as sim:
        desk = bay(sim.base_url)
        events = await desk.manage(Load(model=LLAMA))
        again = await desk.manage(Load(model=LLAMA))

        assert sim.loads == {LLAMA: 1}
    assert events == [
        Progress(status="loading"),
        Done(message=f"{LLAMA} is loaded, with a window of 4096 tokens"),
    ]
    assert again == [
        Done(message=f"{LLAMA} is loaded, with a window of 4096 tokens", changed=False)
    ]


@pytest.mark.anyio
async def test_options_of_a_load_are_checked_and_sent(bay: OpenBay) -> None:
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model=LLAMA, options={"num_ctx": "8192", "keep_alive": "1d"}))
        with pytest.raises(InvalidRequestError):
            await desk.manage(Load(model=LLAMA, options={"num_ctx": "large"}))

        assert sim.running == {LLAMA: 8192}


@pytest.mark.anyio
async def test_an_embedding_model_is_loaded_by_its_own_route(bay: OpenBay) -> None:
    with OllamaSimulator([EMBEDDER]) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="vectors:latest"))
        running = sim.running
        done = (await desk.manage(Unload(model="vectors:latest")))[-1]

        assert (list(running), sim.running) == (["vectors:latest"], {})
    assert done == Done(message="vectors:latest unloaded")


@pytest.mark.anyio
async def test_a_model_that_cannot_be_loaded_says_why(bay: OpenBay) -> None:
    broken = SimulatedModel(LLAMA, load_error="cudaMalloc failed: out of memory")
    with (
        OllamaSimulator([broken]) as sim,
        pytest.raises(BackendError, match="out of memory") as raised,
    ):
        await bay(sim.base_url).manage(Load(model=LLAMA))

    assert "numCtx" in (raised.value.hint or "")


@pytest.mark.anyio
async def test_a_load_that_takes_too_long_is_a_timeout(bay: OpenBay) -> None:
    with (
        OllamaSimulator(knobs=Knobs(load_delay_s=math.inf)) as sim,
        pytest.raises(BackendTimeoutError),
    ):
        await bay(sim.base_url, loadDeadlineS=0.1).manage(Load(model=LLAMA))


@pytest.mark.anyio
async def test_an_unload_ends_when_the_model_is_gone(bay: OpenBay) -> None:
    """Trap 26: the server answers at once."""
    with OllamaSimulator(knobs=Knobs(unload_delay_s=0.05)) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model=LLAMA))
        events = await desk.manage(Unload(model="llama3.1:8B"))
        running = sim.running
        again = await desk.manage(Unload())

    assert (events, running) == (
        [Progress(status="unloading"), Done(message=f"{LLAMA} unloaded")],
        {},
    )
    assert again == [Done(message="no model is loaded", changed=False)]


@pytest.mark.anyio
async def test_an_unload_that_takes_too_long_is_a_timeout(bay: OpenBay) -> None:
    with OllamaSimulator(knobs=Knobs(unload_delay_s=math.inf)) as sim:
        desk = bay(sim.base_url, unloadDeadlineS=0.1)
        await desk.manage(Load(model=LLAMA))
        with pytest.raises(BackendTimeoutError, match="still in memory"):
            await desk.manage(Unload(model=LLAMA))


@pytest.mark.anyio
@pytest.mark.parametrize("action", [Unload(model=LLAMA), Unload(), Delete(model=LLAMA)])
async def test_a_model_that_answers_us_is_not_taken_away(bay: OpenBay, action: Action) -> None:
    talker = SimulatedModel(LLAMA, answer="more ", endless=True, token_delay_s=0.005)
    with OllamaSimulator([talker]) as sim:
        desk = bay(sim.base_url)
        async with closing(desk.backend.stream_chat(ask(), await desk.model())) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
            with pytest.raises(BackendBusyError):
                await desk.manage(action)

        assert sim.installed == [LLAMA]


@pytest.mark.anyio
async def test_one_runner_under_two_names_is_found_under_both(bay: OpenBay) -> None:
    """Trap 24: shared weights are one runner, listed under the name it was loaded as."""
    names = [SimulatedModel(name, digest="ab" * 32, weights="w") for name in ("one:8b", "two:8b")]
    with OllamaSimulator(names) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="one:8b"))
        found = await desk.discover()
        again = await desk.manage(Load(model="two:8b"))
        await desk.manage(Unload(model="two:8b"))

        assert sim.running == {}
    assert (found["one:8b"].state, found["two:8b"].state) == ("loaded", "loaded")
    assert isinstance(again[0], Done)
    assert "as one:8b" in again[0].message


# --- pull ----------------------------------------------------------------------------------------


async def pulled(desk: Bay, name: str = "codestral:22b") -> list[Progress]:
    events = await desk.manage(Pull(model=name))
    assert check_manage_events(events) == []
    assert isinstance(events[-1], Done)
    return [event for event in events if isinstance(event, Progress)]


@pytest.mark.anyio
@pytest.mark.parametrize("version", ["0.12.0", "0.33.0"])
@pytest.mark.parametrize("tensors", [False, True])
async def test_a_pull_counts_the_bytes_of_the_whole_and_never_falls(
    bay: OpenBay, version: str, tensors: bool
) -> None:
    """S4-34, S4-85, S4-92; trap 27."""
    with OllamaSimulator(version=version, registry=[codestral(tensors=tensors)]) as sim:
        desk = bay(sim.base_url)
        steps = await pulled(desk)

        assert "codestral:22b" in sim.installed
        assert "codestral:22b" in await desk.discover()
    done = [step.done_bytes or 0 for step in steps]
    assert done == sorted(done)
    assert steps[0] == Progress(status="pulling manifest")
    assert (steps[-1].status, steps[-1].fraction) == ("success", 1.0)
    assert all((step.fraction or 0) < 1 for step in steps[:-1])


@pytest.mark.anyio
async def test_a_model_that_is_there_already_is_no_change(bay: OpenBay) -> None:
    with OllamaSimulator(registry=[codestral()]) as sim:
        desk = bay(sim.base_url)
        changed = [(await desk.manage(Pull(model="codestral:22b")))[-1] for _ in range(2)]

    assert [done.changed for done in changed if isinstance(done, Done)] == [True, False]


@pytest.mark.anyio
async def test_closing_a_pull_stops_it_and_the_next_goes_on(bay: OpenBay) -> None:
    """Section 4.6: cancelling is disconnecting; what has come is kept."""
    with OllamaSimulator(registry=[codestral()], knobs=Knobs(pull_tick_s=0.01)) as sim:
        desk = bay(sim.base_url)
        async with closing(desk.backend.manage(Pull(model="codestral:22b"))) as events:
            async for event in events:
                if isinstance(event, Progress) and event.done_bytes:
                    break
        await sim.wait_until_async(lambda: sim.pulls_cancelled == {"codestral:22b": 1})
        kept = sum(sim.partial_layers.values())
        first = next(step for step in await pulled(desk) if step.done_bytes)

    assert kept > 0
    assert (first.done_bytes or 0) >= kept


@pytest.mark.anyio
async def test_an_unknown_name_is_no_disk_error(bay: OpenBay) -> None:
    """Trap 29."""
    with OllamaSimulator() as sim, pytest.raises(ModelNotFoundError) as raised:
        await bay(sim.base_url).manage(Pull(model="nosuch:1b"))

    assert "ollama.com/library" in (raised.value.hint or "")


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["", "no name", "a/b/c/d", "m:", "foo:cloud:local"])
async def test_what_is_no_name_is_refused_before_the_wire(bay: OpenBay, name: str) -> None:
    for kind in (Pull, Delete, Load, Create, Show):
        with pytest.raises(InvalidRequestError):
            await bay(dead_url()).manage(kind(model=name))


@pytest.mark.anyio
async def test_a_name_with_both_sources_is_told_as_such(bay: OpenBay) -> None:
    """Section 3.3."""
    with pytest.raises(InvalidRequestError, match="use either :local or :cloud, not both"):
        await bay(dead_url()).manage(Pull(model="foo:cloud:local"))


@pytest.mark.anyio
async def test_a_name_may_say_where_it_shall_run(bay: OpenBay) -> None:
    """Section 3.3: the wire has it as it was written."""
    cloud = SimulatedModel("gpt-oss:20b", family="gptoss")
    with OllamaSimulator([SimulatedModel(LLAMA)], "0.33.0", cloud=[cloud]) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model=f"{LLAMA}:local"))
        loaded = sim.running
        await desk.manage(Unload(model=f"{LLAMA}:local"))
        (done,) = (await desk.manage(Pull(model="gpt-oss:20b:cloud")))[-1:]
        pulled_names = list(sim.installed)
        await desk.manage(Delete(model="gpt-oss:20b:cloud"))

        assert (list(loaded), sim.running, sim.installed) == ([LLAMA], {}, [LLAMA])
    assert done == Done(message="gpt-oss:20b:cloud is there")
    assert "gpt-oss:20b-cloud" in pulled_names


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["llama3.1:8b:local", "gpt-oss:20b:cloud"])
async def test_a_copy_has_no_source(bay: OpenBay, name: str) -> None:
    for action in (Copy(model=name, to="a"), Copy(model="a", to=name), Create(model=name)):
        with pytest.raises(InvalidRequestError, match="is no model name"):
            await bay(dead_url()).manage(action)


@pytest.mark.anyio
async def test_a_registry_without_tls_is_told_how_to_be_pulled_from(bay: OpenBay) -> None:
    """Section 4.6: the server wants to be asked for that expressly."""
    with OllamaSimulator() as sim, pytest.raises(BackendError, match="insecure") as raised:
        await bay(sim.base_url).manage(Pull(model="http://localhost:5000/u/m:t"))

    assert "ollama pull --insecure http://localhost:5000/u/m:t" in (raised.value.hint or "")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ("max retries exceeded: EOF", "connection to the registry"),
        ("unauthorized: access denied", "ollama signin"),
    ],
)
async def test_a_failed_pull_says_what_to_do(bay: OpenBay, error: str, hint: str) -> None:
    failing = codestral(error=error, error_after=2)
    with OllamaSimulator(registry=[failing]) as sim, pytest.raises(BackendError) as raised:
        await bay(sim.base_url).manage(Pull(model="codestral:22b"))

    assert hint in (raised.value.hint or "")


@pytest.mark.anyio
async def test_a_pull_that_is_cut_in_the_middle_of_a_line_can_be_gone_on_with(
    bay: OpenBay,
) -> None:
    body = b'{"status":"pulling manifest"}\n{"status":"pull'
    ended, torn = Fault(status=200, body=body), Fault(cut_after_bytes=12)
    with OllamaSimulator(registry=[codestral()]) as sim:
        for fault in (ended, torn):
            sim.inject(fault, path="/api/pull", times=1)
            with pytest.raises(StreamInterruptedError) as raised:
                await bay(sim.base_url).manage(Pull(model="codestral:22b"))
            assert raised.value.hint == "ask for it again; what has come is kept"
            assert "proxy" not in raised.value.message


@pytest.mark.anyio
async def test_a_load_waits_for_a_full_queue(bay: OpenBay) -> None:
    """Trap 39: as often as busyTries says."""
    body = b'{"error":"server busy, please try again.  maximum pending requests exceeded"}'
    with OllamaSimulator([SimulatedModel(LLAMA)]) as sim:
        sim.inject(Fault(status=503, body=body), path="/api/chat", times=2)
        await bay(sim.base_url, busyTries=2).manage(Load(model=LLAMA))
        sim.inject(Fault(status=503, body=body), path="/api/chat")
        with pytest.raises(BackendBusyError):
            await bay(sim.base_url, busyTries=1).manage(Load(model=LLAMA, options={"num_gpu": 1}))

        assert sim.calls_of("/api/chat") == 3 + 2


@pytest.mark.anyio
async def test_an_error_after_the_first_line_ends_a_pull(bay: OpenBay) -> None:
    failing = codestral(error="max retries exceeded: EOF", error_after=2)
    with (
        OllamaSimulator(registry=[failing]) as sim,
        pytest.raises(BackendError, match="max retries exceeded"),
    ):
        await bay(sim.base_url).manage(Pull(model="codestral:22b"))


@pytest.mark.anyio
async def test_a_pull_without_its_success_is_no_success(bay: OpenBay) -> None:
    """Trap 27."""
    lines = [{"status": "pulling manifest"}, {"status": "verifying sha256 digest"}]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    with OllamaSimulator() as sim:
        sim.inject(Fault(status=200, body=body), path="/api/pull")
        with pytest.raises(StreamInterruptedError, match="without saying") as raised:
            await bay(sim.base_url).manage(Pull(model="codestral:22b"))

    assert not isinstance(raised.value, SilentEndError)
    assert "what has come is kept" in (raised.value.hint or "")


@pytest.mark.anyio
@pytest.mark.parametrize("action", [Pull(model="m:1b"), Show(model="m:1b"), Running()])
async def test_a_proxy_s_page_is_no_answer_to_any_action(bay: OpenBay, action: Action) -> None:
    with OllamaSimulator() as sim:
        sim.inject(Fault.html(200, "Welcome"))
        with pytest.raises(BackendError) as raised:
            await bay(sim.base_url).manage(action)

    assert isinstance(raised.value, (ProtocolError, WrongServerError))
    assert raised.value.hint


@pytest.mark.anyio
async def test_a_server_without_a_list_of_what_runs_says_so(bay: OpenBay) -> None:
    """Before 0.1.38 there is no such route."""
    with OllamaSimulator(version="0.1.30") as sim, pytest.raises(UnsupportedActionError) as raised:
        await bay(sim.base_url).manage(Running())

    assert raised.value.hint == "upgrade it to 0.1.38 or later"


def layer(digest: str, total: int, completed: int | None = None) -> bytes:
    line: dict[str, object] = {"status": f"pulling {digest}", "digest": digest, "total": total}
    return json.dumps(line if completed is None else {**line, "completed": completed}).encode()


def test_a_layer_counts_as_there_when_the_next_thing_begins() -> None:
    """Trap 27: its last line may lack some, and a piece may be fetched again."""
    transfer = Transfer()
    lines = [
        layer("a", 800),
        layer("a", 800, 400),
        layer("a", 800, 300),
        layer("a", 800, 790),
        layer("b", 200, 100),
        b'{"status":"verifying sha256 digest"}',
        b'{"status":"success"}',
    ]

    steps = [step for line in lines if (step := transfer.feed(line)) is not None]

    assert [(step.done_bytes, step.total_bytes) for step in steps] == [
        (0, 800),
        (400, 800),
        (400, 800),
        (790, 800),
        (900, 1000),
        (1000, 1000),
        (1000, 1000),
    ]
    assert [step.fraction for step in steps] == [0.0, 0.5, 0.5, 0.9875, 0.9875, 0.99, 1.0]


# --- delete, copy, create ------------------------------------------------------------------------


@pytest.mark.anyio
async def test_delete_copy_and_create_do_what_they_say(bay: OpenBay) -> None:
    """S4-34, S4-35."""
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        copied = await desk.manage(Copy(model=LLAMA, to="mine:8b"))
        made = await desk.manage(
            Create(
                model="poet:8b",
                options={
                    "from": LLAMA,
                    "system": "Answer in verse.",
                    "parameters": {"num_ctx": "4096", "stop": "END"},
                },
            )
        )
        (poet,) = await desk.manage(Show(model="poet:8b"))
        deleted = await desk.manage(Delete(model="mine:8b"))
        installed = set(sim.installed)

    assert copied == [Done(message=f"{LLAMA} is also mine:8b")]
    assert made[-1] == Done(message="poet:8b is made")
    assert isinstance(poet, ModelDetails)
    assert (poet.details["system"], poet.details["context_configured"]) == (
        "Answer in verse.",
        4096,
    )
    assert deleted == [Done(message="mine:8b deleted")]
    assert installed == {LLAMA, "poet:8b"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "action", [Delete(model="nosuch:1b"), Copy(model="nosuch:1b", to="x"), Show(model="nosuch:1b")]
)
async def test_a_model_nobody_has_is_not_found(bay: OpenBay, action: Action) -> None:
    with OllamaSimulator() as sim, pytest.raises(ModelNotFoundError) as raised:
        await bay(sim.base_url).manage(action)

    assert (raised.value.hint or "").startswith("modelbay pull desk/nosuch:1b")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "options",
    [{}, {"system": "x"}, {"from": LLAMA, "modelfile": "FROM x"}, {"from": LLAMA, "parameters": 7}],
)
async def test_a_description_of_no_model_is_refused_before_the_wire(
    bay: OpenBay, options: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequestError):
        await bay(dead_url()).manage(Create.model_validate({"model": "m", "options": options}))
