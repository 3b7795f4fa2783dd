"""Mirrors management.py, loading.py, pulling.py and following.py of modelbay_llamacpp."""

import asyncio
import math

import pytest

from modelbay.errors import (
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    ModelNotFoundError,
    UnsupportedActionError,
)
from modelbay.models.events import TextDelta
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import (
    Action,
    Delete,
    Done,
    Health,
    HealthReport,
    ListedModel,
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
from modelbay.testing.simulator import Fault
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel
from plugins.llamacpp.bay import Bay, OpenBay, StartLlama, ask, first

pytestmark = pytest.mark.anyio

NO_EVENTS = Fault(status=404, body=b'{"error":{"message":"File Not Found","code":404}}')


def router(*models: SimulatedModel, **options: object) -> LlamaCppSimulator:
    return LlamaCppSimulator(models, "router", **options)  # type: ignore[arg-type]


# --- looking -------------------------------------------------------------------------------------


async def test_the_list_has_every_model_with_its_state(bay: OpenBay) -> None:
    """S3-07, S3-36, S3-41."""
    with router(SimulatedModel("a"), SimulatedModel("b", aliases=["bee"])) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))

        assert await desk.manage(ListModels()) == [
            ModelList(
                models=(
                    ListedModel(
                        wire_id="a",
                        state="loaded",
                        size_bytes=242176,
                        details={
                            "source": "models_dir",
                            "can_remove": False,
                            "parameters": 120768,
                        },
                    ),
                    ListedModel(
                        wire_id="b",
                        state="unloaded",
                        details={
                            "aliases": ["bee"],
                            "source": "models_dir",
                            "can_remove": False,
                        },
                    ),
                )
            )
        ]


async def test_running_models_are_those_that_hold_a_place(bay: OpenBay) -> None:
    """S3-37."""
    models = [SimulatedModel("a", n_ctx=512), SimulatedModel("b"), SimulatedModel("c")]
    with router(*models, sleep_idle_s=math.inf) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        await desk.manage(Load(model="b"))
        sim.sleep_now("b")
        (found,) = await desk.manage(Running())

    details: JsonObject = {"source": "models_dir", "can_remove": False, "parameters": 120768}
    assert found == RunningModels(
        models=(
            RunningModel(
                wire_id="a",
                size_bytes=242176,
                context=512,
                active_streams=0,
                details=details,
            ),
            RunningModel(
                wire_id="b",
                size_bytes=242176,
                context=4096,
                active_streams=0,
                details={**details, "sleeping": True},
            ),
        )
    )


async def test_a_dropped_in_file_is_seen_when_rescanning_is_on(bay: OpenBay) -> None:
    """S3-03."""
    with router(SimulatedModel("a")) as sim:
        sim.add_model(SimulatedModel("late"))
        (without,) = await bay(sim.base_url).manage(ListModels())
        (rescanned,) = await bay(sim.base_url, rescan=True).manage(ListModels())

    assert isinstance(without, ModelList)
    assert isinstance(rescanned, ModelList)
    assert [len(without.models), len(rescanned.models)] == [1, 2]


@pytest.mark.parametrize("loaded", [True, False])
async def test_show_tells_what_is_known_and_loads_nothing(bay: OpenBay, loaded: bool) -> None:
    model = SimulatedModel("a", path="/secret/a.gguf", args=("--hf-token", "hf_topsecret"))
    with router(model) as sim:
        desk = bay(sim.base_url)
        if loaded:
            await desk.manage(Load(model="a"))
        (shown,) = await desk.manage(Show(model="a"))

        assert sim.loads == ({"a": 1} if loaded else {})
    assert isinstance(shown, ModelDetails)
    assert shown.details["context_configured"] == 8192
    assert shown.details.get("slots") == (2 if loaded else None)
    assert shown.details.get("context") == (4096 if loaded else None)
    assert ("sampling" in shown.details, "template" in shown.details) == (loaded, loaded)
    assert "secret" not in shown.model_dump_json()
    assert "<|im_start|>" not in shown.model_dump_json()  # the template's text stays there


async def test_show_of_an_unknown_model_names_those_there_are(bay: OpenBay) -> None:
    with (
        router(SimulatedModel("a"), SimulatedModel("b")) as sim,
        pytest.raises(ModelNotFoundError) as caught,
    ):
        await bay(sim.base_url).manage(Show(model="A"))

    assert caught.value.hint == "this server knows: a, b"


@pytest.mark.parametrize("prefix", ["", "/llm"])
async def test_health_tells_the_mode_and_its_limits(bay: OpenBay, prefix: str) -> None:
    with router(SimulatedModel("a"), models_max=3, autoload=False, prefix=prefix) as sim:
        assert await bay(sim.base_url).manage(Health()) == [
            HealthReport(
                healthy=True,
                server="llama.cpp router b1-0c1e570",
                version="b1-0c1e570",
                details={
                    "mode": "router",
                    "models": 1,
                    "running": 0,
                    "models_max": 3,
                    "autoload": False,
                },
            )
        ]


async def test_a_loading_server_is_not_healthy_yet(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", load_s=math.inf)]) as sim:
        (report,) = await bay(sim.base_url).manage(Health())

    assert report == HealthReport(
        healthy=False,
        server="llama.cpp",
        details={"state": "loading", "message": "Loading model (HTTP 503)"},
    )


# --- single-model mode ---------------------------------------------------------------------------


async def test_a_single_model_is_loaded_already_under_each_of_its_names(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", aliases=["zoo"])]) as sim:
        desk = bay(sim.base_url)
        answers = [await desk.manage(Load(model=name)) for name in ("tiny", "zoo")]

    assert answers == [[Done(message="tiny is loaded", changed=False)]] * 2


@pytest.mark.parametrize(
    ("action", "message", "hint"),
    [
        (
            Load(model="other"),
            "this llama.cpp server has one model and cannot load 'other'",
            "it serves only tiny; start llama-server with --models-dir DIR to load others",
        ),
        (
            Unload(model="tiny"),
            "a single-model llama.cpp server cannot unload its model",
            "stop llama-server, or start it with --sleep-idle-seconds N",
        ),
        (
            Pull(model="acme/tiny"),
            "llama.cpp cannot pull by name",
            "start llama-server with -hf <repo>",
        ),
        (
            Delete(model="tiny"),
            "a single-model llama.cpp server cannot delete its model",
            "stop llama-server and remove the file",
        ),
        (
            Logs(),
            "llamacpp cannot show a log",
            "llama-server writes its log to its own stderr, or to --log-file FILE",
        ),
    ],
)
async def test_what_a_single_model_server_cannot_do_is_refused_with_a_next_step(
    bay: OpenBay, action: Action, message: str, hint: str
) -> None:
    """S3-22, S3-39: never a silent no-op."""
    with LlamaCppSimulator() as sim, pytest.raises(UnsupportedActionError) as caught:
        await bay(sim.base_url).manage(action)

    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.real
async def test_a_real_single_model_server_answers_every_look(
    bay: OpenBay, llama: StartLlama
) -> None:
    desk = bay(llama("tiny", {"say": "Hello there."}))
    (running,) = await desk.manage(Running())
    (health,) = await desk.manage(Health())
    (shown,) = await desk.manage(Show(model="tiny"))

    assert isinstance(running, RunningModels)
    assert [(m.wire_id, m.state, m.context) for m in running.models] == [("tiny", "loaded", 2048)]
    assert isinstance(health, HealthReport)
    assert (health.healthy, health.details["mode"], health.details["slots"]) == (True, "single", 1)
    assert isinstance(shown, ModelDetails)
    assert shown.details["context_trained"] == 2048
    assert await desk.manage(Load(model="tiny")) == [Done(message="tiny is loaded", changed=False)]
    with pytest.raises(UnsupportedActionError):
        await desk.manage(Unload(model="tiny"))


# --- load ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["server", "readme"])
async def test_a_load_tells_its_progress_and_ends_when_the_model_is_ready(
    bay: OpenBay, style: str
) -> None:
    """S3-08, S3-13, S3-42; both spellings of the events."""
    with router(SimulatedModel("a", load_s=0.05), event_style=style) as sim:
        events = await bay(sim.base_url).manage(Load(model="a"))

        assert sim.states == {"a": "loaded"}
    assert events == [
        Progress(status="loading"),
        *(Progress(status="loading", fraction=done) for done in (0.25, 0.5, 0.75, 1.0)),
        Done(message="a is loaded"),
    ]


async def test_without_events_the_list_is_polled(bay: OpenBay) -> None:
    """S3-22: a router older than ``/models/sse``."""
    with router(SimulatedModel("a", load_s=0.05)) as sim:
        sim.inject(NO_EVENTS, path="/models/sse")
        desk = bay(sim.base_url)
        events = await desk.manage(Load(model="a"))
        await desk.manage(Unload(model="a"))
        await desk.manage(Load(model="a"))
        asked = [request.path for request in sim.requests]

    assert events == [Progress(status="loading"), Done(message="a is loaded")]
    assert asked.count("/models/sse") == 1  # known to be missing from then on


async def test_events_that_break_off_do_not_hold_up_a_load(bay: OpenBay) -> None:
    with router(SimulatedModel("a", load_s=0.05)) as sim:
        sim.inject(Fault(cut_after_bytes=10), path="/models/sse")
        events = await bay(sim.base_url).manage(Load(model="a"))

    assert events[-1] == Done(message="a is loaded")


async def test_a_model_is_loaded_under_its_alias(bay: OpenBay) -> None:
    with router(SimulatedModel("a", aliases=["zoo"])) as sim:
        events = await bay(sim.base_url).manage(Load(model="zoo"))

    assert events[-1] == Done(message="a is loaded")


async def test_loading_twice_is_loading_once(bay: OpenBay) -> None:
    """U4."""
    with router(SimulatedModel("a")) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))

        assert await desk.manage(Load(model="a")) == [Done(message="a is loaded", changed=False)]
        assert sim.loads == {"a": 1}


async def test_a_load_somebody_else_began_is_followed(bay: OpenBay) -> None:
    with router(SimulatedModel("a", load_s=math.inf)) as sim:
        one, two = bay(sim.base_url), bay(sim.base_url)
        loading = one.backend.manage(Load(model="a"))
        await anext(loading)
        other = asyncio.ensure_future(two.manage(Load(model="a")))
        await sim.wait_until_async(
            lambda: sum(request.path == "/models/sse" for request in sim.requests) == 2
        )
        await first(bay(sim.base_url).backend.manage(Load(model="a")), Progress)
        sim.finish_load("a")
        assert (await other)[-1] == Done(message="a is loaded")
        assert [event async for event in loading][-1] == Done(message="a is loaded")
        assert sim.loads == {"a": 1}


async def test_loads_side_by_side_do_not_disturb_each_other(bay: OpenBay) -> None:
    with router(*(SimulatedModel(name, load_s=0.05) for name in "abc")) as sim:
        desk = bay(sim.base_url)
        ends = await asyncio.gather(*(desk.manage(Load(model=name)) for name in "abc"))

    assert [events[-1] for events in ends] == [Done(message=f"{n} is loaded") for n in "abc"]


async def test_a_file_that_cannot_be_loaded_is_an_error_with_the_exit_code(bay: OpenBay) -> None:
    with router(SimulatedModel("a", exit_code=7)) as sim, pytest.raises(BackendError) as caught:
        await bay(sim.base_url).manage(Load(model="a"))

    assert caught.value.message == "'a' could not be loaded: its process ended with exit code 7"
    assert caught.value.hint is not None


async def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(bay: OpenBay) -> None:
    with router(SimulatedModel("a")) as sim, pytest.raises(ModelNotFoundError) as caught:
        await bay(sim.base_url).manage(Load(model="b"))

    assert caught.value.hint == "this server knows: a"


async def test_before_giving_up_a_router_may_look_again(bay: OpenBay) -> None:
    with router(SimulatedModel("a")) as sim:
        sim.add_model(SimulatedModel("late"))
        events = await bay(sim.base_url, rescan=True).manage(Load(model="late"))

    assert events[-1] == Done(message="late is loaded")


async def test_options_of_a_load_are_refused(bay: OpenBay) -> None:
    with router(SimulatedModel("a")) as sim:
        with pytest.raises(UnsupportedActionError, match=r"takes no options for a load \(n_ctx\)"):
            await bay(sim.base_url).manage(Load(model="a", options={"n_ctx": 512}))
        assert sim.loads == {}


async def test_a_load_waits_for_a_place(bay: OpenBay) -> None:
    """An explicit load fails at once when all places are busy; ours asks again."""
    models = [SimulatedModel("a", load_s=math.inf), SimulatedModel("b")]
    with router(*models, models_max=1) as sim:
        desk = bay(sim.base_url)
        blocker = desk.backend.manage(Load(model="a"))
        await anext(blocker)
        waiting = desk.backend.manage(Load(model="b"))
        begun = await anext(waiting)
        sim.finish_load("a")
        rest = [event async for event in waiting]
        await blocker.aclose()  # type: ignore[attr-defined]

    assert begun == Progress(status="waiting for a free place")
    assert (rest[0], rest[-1]) == (Progress(status="loading"), Done(message="b is loaded"))


async def test_a_load_that_takes_too_long_is_a_timeout(bay: OpenBay) -> None:
    with (
        router(SimulatedModel("a", load_s=math.inf)) as sim,
        pytest.raises(BackendTimeoutError) as caught,
    ):
        await bay(sim.base_url, loadDeadlineS=0.05).manage(Load(model="a"))

    assert (caught.value.message, caught.value.hint) == (
        "'a' was not loaded within 0.05 s",
        "raise loadDeadlineS",
    )


async def test_a_caller_who_leaves_a_load_leaves_nothing_behind(bay: OpenBay) -> None:
    """The router finishes the load; our event stream is closed."""
    with router(SimulatedModel("a", load_s=math.inf)) as sim:
        await first(bay(sim.base_url).backend.manage(Load(model="a")), Progress)
        await sim.wait_until_async(lambda: sim.streams_closed_by_client == 1)
        sim.finish_load("a")
        await sim.wait_until_async(lambda: sim.states == {"a": "loaded"})


# --- unload --------------------------------------------------------------------------------------


async def loaded(desk: Bay, *names: str) -> Bay:
    for name in names:
        await desk.manage(Load(model=name))
    return desk


async def test_an_unload_ends_when_the_model_is_gone(bay: OpenBay) -> None:
    """S3-09, S3-38."""
    with router(SimulatedModel("a", unload_s=0.05), SimulatedModel("b")) as sim:
        desk = await loaded(bay(sim.base_url), "a", "b")
        events = await desk.manage(Unload(model="a"))

        assert sim.states == {"a": "unloaded", "b": "loaded"}
    assert events == [Progress(status="unloading"), Done(message="a unloaded")]


async def test_unloading_what_is_not_loaded_succeeds(bay: OpenBay) -> None:
    """U4."""
    with router(SimulatedModel("a")) as sim:
        desk = bay(sim.base_url)

        assert await desk.manage(Unload(model="a")) == [
            Done(message="a is not loaded", changed=False)
        ]
        assert await desk.manage(Unload()) == [Done(message="no model is loaded", changed=False)]


async def test_without_a_name_every_model_is_unloaded(bay: OpenBay) -> None:
    with router(SimulatedModel("a"), SimulatedModel("b"), SimulatedModel("c")) as sim:
        desk = await loaded(bay(sim.base_url), "a", "c")
        events = await desk.manage(Unload())

        assert set(sim.states.values()) == {"unloaded"}
    assert events[-1] == Done(message="a, c unloaded")


async def test_an_unknown_model_cannot_be_unloaded(bay: OpenBay) -> None:
    with router(SimulatedModel("a")) as sim, pytest.raises(ModelNotFoundError):
        await bay(sim.base_url).manage(Unload(model="b"))


async def test_a_model_that_does_not_stop_in_time_is_a_timeout(
    bay: OpenBay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelbay_llamacpp.loading.GRACE_S", 0.05)
    with router(SimulatedModel("a", unload_s=30)) as sim:
        desk = await loaded(bay(sim.base_url, stopTimeoutS=0), "a")
        with pytest.raises(BackendTimeoutError, match="a did not stop within"):
            await desk.manage(Unload(model="a"))


async def test_a_load_after_our_own_unload_waits_until_it_is_gone(bay: OpenBay) -> None:
    """Between the two the list still says loaded (trap 6)."""
    with router(SimulatedModel("a", unload_s=0.2)) as sim:
        desk = await loaded(bay(sim.base_url), "a")
        leaving = asyncio.ensure_future(desk.manage(Unload(model="a")))
        await sim.wait_until_async(
            lambda: any(request.path == "/models/unload" for request in sim.requests)
        )
        again = await desk.manage(Load(model="a"))
        await leaving

        assert again[-1] == Done(message="a is loaded")
        assert sim.states == {"a": "loaded"}


# --- pull and delete -----------------------------------------------------------------------------

LATE = SimulatedModel("acme/late:Q4_K_M", source="cache", download_s=0.05)


@pytest.mark.parametrize("style", ["server", "readme"])
async def test_a_download_tells_its_progress_and_ends_when_it_is_listed(
    bay: OpenBay, style: str
) -> None:
    """U2: what S3-16 and S3-39 had as impossible, routers can do now."""
    with router(hub=[LATE], event_style=style) as sim:
        events = await bay(sim.base_url).manage(Pull(model=LATE.id))

        assert sim.states == {LATE.id: "unloaded"}
    total = 253_664
    steps = [(0.0, 0), (0.25, total // 4), (0.5, total // 2), (0.75, total * 3 // 4), (1.0, total)]
    assert events == [
        Progress(status="downloading"),
        *(
            Progress(status="downloading", fraction=part, done_bytes=done, total_bytes=total)
            for part, done in steps
        ),
        Done(message=f"{LATE.id} is there"),
    ]


async def test_what_is_there_is_not_pulled_again(bay: OpenBay) -> None:
    with router(SimulatedModel("acme/tiny:F16", source="cache")) as sim:
        assert await bay(sim.base_url).manage(Pull(model="acme/tiny:F16")) == [
            Done(message="acme/tiny:F16 is there", changed=False)
        ]
        assert [request.method for request in sim.requests] == ["GET", "GET"]


async def test_a_repository_that_does_not_exist_is_not_found(bay: OpenBay) -> None:
    """Although the server says success and then "finished" (trap 31)."""
    with router() as sim, pytest.raises(ModelNotFoundError, match="nothing came of 'acme/absent"):
        await bay(sim.base_url).manage(Pull(model="acme/absent:Q8_0"))


async def test_a_download_somebody_else_began_is_followed_and_not_called_off(
    bay: OpenBay,
) -> None:
    late = SimulatedModel(LATE.id, source="cache", download_s=math.inf)
    with router(hub=[late]) as sim:
        one = bay(sim.base_url).backend.manage(Pull(model=LATE.id))
        await anext(one)
        await first(bay(sim.base_url).backend.manage(Pull(model=LATE.id)), Progress)
        assert sim.states == {LATE.id: "downloading"}
        sim.finish_load(LATE.id)
        assert [event async for event in one][-1] == Done(message=f"{LATE.id} is there")


async def test_a_caller_who_leaves_calls_his_download_off(bay: OpenBay) -> None:
    late = SimulatedModel(LATE.id, source="cache", download_s=math.inf)
    with router(hub=[late]) as sim:
        await first(bay(sim.base_url).backend.manage(Pull(model=LATE.id)), Progress)

        assert sim.states == {}


async def test_a_cancelled_task_calls_its_download_off(bay: OpenBay) -> None:
    late = SimulatedModel(LATE.id, source="cache", download_s=math.inf)
    with router(hub=[late]) as sim:
        pulling = asyncio.ensure_future(bay(sim.base_url).manage(Pull(model=LATE.id)))
        await sim.wait_until_async(lambda: sim.states == {LATE.id: "downloading"})
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling

        assert sim.states == {}


async def test_a_download_that_is_called_off_elsewhere_is_an_error(bay: OpenBay) -> None:
    late = SimulatedModel(LATE.id, source="cache", download_s=math.inf)
    with router(hub=[late]) as sim:
        pulling = bay(sim.base_url).backend.manage(Pull(model=LATE.id))
        await anext(pulling)
        other = bay(sim.base_url).backend.manage(Unload(model=LATE.id))
        # Unload leaves downloads alone; the router's own route calls them off.
        assert [e async for e in other] == [Done(message=f"{LATE.id} is not loaded", changed=False)]
        await bay(sim.base_url).context.http.post("/models/unload", json={"model": LATE.id})
        with pytest.raises(BackendError, match="failed or was called off"):
            await first(pulling, Done)


async def test_an_older_router_cannot_pull_or_delete(bay: OpenBay) -> None:
    with router(SimulatedModel("acme/tiny:F16", source="cache")) as sim:
        sim.inject(NO_EVENTS, path="/models")
        desk = bay(sim.base_url)
        with pytest.raises(UnsupportedActionError) as pulled:
            await desk.manage(Pull(model="acme/late"))
        with pytest.raises(UnsupportedActionError) as deleted:
            await desk.manage(Delete(model="acme/tiny:F16"))

    assert [pulled.value.message, pulled.value.hint] == [
        "this router is too old to pull by name",
        "update llama-server, or start llama-server with -hf <repo>",
    ]
    assert deleted.value.message == "this router is too old to delete"


async def test_a_downloaded_model_is_deleted_even_when_loaded(bay: OpenBay) -> None:
    with router(SimulatedModel("acme/tiny:F16", source="cache")) as sim:
        desk = await loaded(bay(sim.base_url), "acme/tiny:F16")

        assert await desk.manage(Delete(model="acme/tiny:F16")) == [
            Done(message="acme/tiny:F16 removed")
        ]
        assert sim.states == {}
        assert any(request.target == "/models?model=acme%2Ftiny%3AF16" for request in sim.requests)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("models_dir", "remove the file from the router's --models-dir"),
        ("preset", "remove its section from the router's --models-preset file"),
    ],
)
async def test_a_model_the_router_did_not_download_stays(
    bay: OpenBay, source: str, hint: str
) -> None:
    """S3-39."""
    with router(SimulatedModel("a", source=source)) as sim:  # type: ignore[arg-type]
        with pytest.raises(UnsupportedActionError) as caught:
            await bay(sim.base_url).manage(Delete(model="a"))
        assert sim.states == {"a": "unloaded"}

    assert caught.value.hint == hint


async def test_a_model_with_our_streams_on_it_is_not_deleted(bay: OpenBay) -> None:
    model = SimulatedModel("acme/tiny:F16", source="cache", hold_after=1)
    with router(model) as sim:
        desk = bay(sim.base_url)
        stream = desk.backend.stream_chat(ask(), await desk.model(model.id))
        while not isinstance(await anext(stream), TextDelta):
            pass
        with pytest.raises(BackendBusyError, match="1 of our requests run on"):
            await desk.manage(Delete(model=model.id))
        await stream.aclose()  # type: ignore[attr-defined]
