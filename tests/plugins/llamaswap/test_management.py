"""Mirrors modelbay_llamaswap/management.py, activity.py and logs.py: the actions that look."""

import asyncio
import math

import pytest

from modelbay.closing import closing
from modelbay.errors import (
    AuthenticationError,
    BackendUnreachableError,
    ModelNotFoundError,
    UnsupportedActionError,
)
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import (
    Done,
    Health,
    HealthReport,
    ListedModel,
    ListModels,
    LogLine,
    Logs,
    ModelDetails,
    ModelList,
    Pull,
    Running,
    RunningModel,
    RunningModels,
    Show,
)
from modelbay.testing.conformance.ports import dead_url
from modelbay.testing.simulator import Exchange
from modelbay_llamaswap import logs as module
from modelbay_llamaswap.logs import tail
from plugins.llamaswap.bay import OpenBay
from plugins.llamaswap.serving import Scripted, entry, process, refused

pytestmark = pytest.mark.anyio


async def test_the_list_is_that_of_discovery(bay: OpenBay) -> None:
    own = {"type": "model", "aliases": ["t"]}
    with Scripted([entry("tiny", meta={"llamaswap": own})], [process("tiny")]) as sim:
        events = await bay(sim.base_url).manage(ListModels())

    assert events == [
        ModelList(models=(ListedModel(wire_id="tiny", state="loaded", details={"aliases": ["t"]}),))
    ]


async def test_running_is_typed_with_the_raw_payload_and_without_the_command(
    bay: OpenBay,
) -> None:
    """S1-19, S1-35, U6."""
    raw: JsonObject = {**process("org/hidden", "starting", ttl=300)}  # type: ignore[dict-item]
    with Scripted([entry("tiny")], [raw]) as sim:
        (events,) = await bay(sim.base_url).manage(Running())
        (shown,) = await bay(sim.base_url, showCommands=True).manage(Running())

    expected = RunningModel(
        wire_id="org/hidden",
        state="loading",
        active_streams=0,
        details={"unloads_after_idle_s": 300},
        raw={key: value for key, value in raw.items() if key != "cmd"},
    )
    assert events == RunningModels(models=(expected,))
    assert "hidden-org" not in events.model_dump_json()
    assert isinstance(shown, RunningModels)
    assert shown.models[0].raw == raw


async def test_running_measures_what_is_ready_and_nothing_else(bay: OpenBay) -> None:
    """The same question to a model that is not running would load it."""
    running = [process("a"), process("b", "starting"), process("c", "stopping")]
    with Scripted([entry(name) for name in "abc"], running) as sim:
        settings = {"default_generation_settings": {"n_ctx": 512}}
        sim.answer("/upstream/a/props", settings, method="GET")
        desk = bay(sim.base_url)
        for _ in range(2):
            (events,) = await desk.manage(Running())

        asked = [path for path in sim.paths() if "upstream" in path]
    assert asked == ["GET /upstream/a/props"]
    assert isinstance(events, RunningModels)
    assert [model.context for model in events.models] == [512, None, None]


async def test_a_server_without_running_says_so(bay: OpenBay) -> None:
    with Scripted() as sim:
        sim.answer("/running", "404 page not found\n", 404, method="GET")
        with pytest.raises(UnsupportedActionError, match="v94"):
            await bay(sim.base_url).manage(Running())


ACTIVITY: JsonObject = {
    "data": [
        {
            "id": 24,
            "timestamp": "2026-11-20T23:55:10Z",
            "model": "tiny",
            "req_path": "/v1/chat/completions",
            "resp_status_code": 200,
            "tokens": {
                "cache_tokens": 1,
                "draft_tokens": -1,
                "input_tokens": 3,
                "output_tokens": 100,
                "prompt_per_second": 2000,
                "tokens_per_second": -1,
            },
            "duration_ms": 11321,
        }
    ]
}
STATS: JsonObject = {
    "total_requests": 6,
    "total_input_tokens": 46,
    "total_output_tokens": 25,
    "total_cache_tokens": 42,
    "prompt_histogram": None,
}
MACHINE: JsonObject = {
    "enabled": True,
    "sys_stats": [{"mem_total_mb": 1, "load_avg_1": 9}, {"mem_total_mb": 100, "mem_used_mb": 7.5}],
    "gpu_stats": None,
}
LAST: JsonObject = {
    "at": "2026-11-20T23:55:10Z",
    "path": "/v1/chat/completions",
    "status": 200,
    "duration_s": 11.321,
    "cache_tokens": 1,
    "input_tokens": 3,
    "output_tokens": 100,
    "prompt_per_second": 2000.0,
}


async def test_show_tells_what_the_model_has_answered(bay: OpenBay) -> None:
    own = {"type": "model", "aliases": ["t"]}
    listed = entry("tiny", context_length=4096, meta={"llamaswap": own})
    with Scripted([listed], [process("tiny", ttl=60)]) as sim:
        settings = {"default_generation_settings": {"n_ctx": 512}, "total_slots": 2}
        sim.answer("/upstream/tiny/props", settings, method="GET")
        sim.answer("/api/metrics/activity", ACTIVITY, method="GET")
        sim.answer("/api/metrics/stats", STATS, method="GET")
        sim.answer("/api/performance", MACHINE, method="GET")
        events = await bay(sim.base_url).manage(Show(model="t"))

        assert all("api-key" not in event.model_dump_json() for event in events)
    assert events == [
        ModelDetails(
            wire_id="tiny",
            details={
                "state": "loaded",
                "aliases": ["t"],
                "context_configured": 4096,
                "unloads_after_idle_s": 60,
                "context": 512,
                "slots": 2,
                "activity": {
                    "requests": 6,
                    "input_tokens": 46,
                    "output_tokens": 25,
                    "cached_tokens": 42,
                    "last": [LAST],
                },
                "machine": {"mem_total_mb": 100.0, "mem_used_mb": 7.5},
            },
        )
    ]


async def test_show_of_an_older_server_reads_its_flat_rows(bay: OpenBay) -> None:
    """``/api/metrics`` from v140 to v235; there the newest row is the last."""
    rows = [
        {"model": "tiny", "timestamp": "1", "input_tokens": 5, "output_tokens": 7},
        {"model": "other", "timestamp": "2"},
        {"model": "tiny", "timestamp": "3", "duration_ms": 10},
    ]
    with Scripted() as sim:
        sim.answer("/api/metrics", rows, method="GET")
        events = await bay(sim.base_url).manage(Show(model="tiny"))

    assert events == [
        ModelDetails(
            wire_id="tiny",
            details={
                "state": "unloaded",
                "activity": {
                    "requests": 2,
                    "last": [
                        {"at": "3", "duration_s": 0.01},
                        {"at": "1", "input_tokens": 5, "output_tokens": 7},
                    ],
                },
            },
        )
    ]


async def test_show_loads_nothing(bay: OpenBay) -> None:
    with Scripted([entry("tiny"), entry("cold")], [process("tiny", "stopping")]) as sim:
        for name in ("tiny", "cold"):
            await bay(sim.base_url).manage(Show(model=name))

        assert [path for path in sim.paths() if "upstream" in path or "props" in path] == []


async def test_an_unlisted_model_that_runs_can_be_shown(bay: OpenBay) -> None:
    with Scripted([entry("tiny")], [process("org/hidden")]) as sim:
        (events,) = await bay(sim.base_url).manage(Show(model="org/hidden"))

    assert events == ModelDetails(
        wire_id="org/hidden", details={"unlisted": True, "state": "loaded"}
    )


async def test_show_of_a_name_nobody_has_is_an_error(bay: OpenBay) -> None:
    with Scripted() as sim, pytest.raises(ModelNotFoundError) as caught:
        await bay(sim.base_url).manage(Show(model="nope"))

    assert caught.value.hint == "this server lists: tiny"


@pytest.mark.parametrize(
    ("version", "server"),
    [("v250", "llama-swap v250"), ("217", "llama-swap v217"), ("0", "llama-swap")],
)
async def test_health_names_server_and_version(bay: OpenBay, version: str, server: str) -> None:
    with Scripted(running=[process("tiny", "starting")]) as sim:
        stamp = {"version": version, "commit": "60226b63", "build_date": "2026-08-14"}
        sim.answer("/api/version", stamp, method="GET")
        events = await bay(sim.base_url).manage(Health())

    assert events == [
        HealthReport(
            healthy=True,
            server=server,
            version=version,
            details={
                "models": 1,
                "running": [{"model": "tiny", "state": "loading"}],
                "commit": "60226b63",
                "build_date": "2026-08-14",
            },
        )
    ]


@pytest.mark.parametrize("up", [True, False])
async def test_health_looks_whether_the_sidecar_answers(bay: OpenBay, up: bool) -> None:
    with Scripted() as sim, Scripted() as side:
        address = side.base_url if up else dead_url()
        (report,) = await bay(sim.base_url, sidecarUrl=address).manage(Health())

    assert isinstance(report, HealthReport)
    told = {"answers": True} if up else {"answers": False, "problem": "backend_unreachable"}
    assert report.details["sidecar"] == told


async def test_health_checks_the_key_which_the_liveness_route_does_not(bay: OpenBay) -> None:
    with Scripted() as sim:
        sim.answer("/running", refused("unauthorized", "unauthorized"), 401, method="GET")
        with pytest.raises(AuthenticationError):
            await bay(sim.base_url).manage(Health())


async def test_health_of_a_dead_server_is_an_error(bay: OpenBay) -> None:
    with pytest.raises(BackendUnreachableError):
        await bay(dead_url()).manage(Health())


async def test_what_llama_swap_cannot_do_is_said_with_another_way(bay: OpenBay) -> None:
    with pytest.raises(UnsupportedActionError) as caught:
        await bay("http://127.0.0.1:9").manage(Pull(model="m"))

    assert caught.value.hint == (
        "fetch the model's file, then add it under models: in llama-swap's config.yaml"
    )


# --- logs -----------------------------------------------------------------------------------------


async def test_the_combined_log_is_told_line_by_line(bay: OpenBay) -> None:
    with Scripted() as sim:
        text = "[INFO] \x1b[32mlistening\x1b[0m\r\n[WARN] key sk-1234\x07 seen\n"
        sim.answer("/logs", text, method="GET")
        events = await bay(sim.base_url, apiKey="sk-1234").manage(Logs())

    assert events == [
        LogLine(text="[INFO] listening"),
        LogLine(text="[WARN] key *** seen"),
        Done(changed=False),
    ]


async def test_a_model_s_log_ends_where_it_pauses(bay: OpenBay) -> None:
    """It is only to be had as a stream without an end."""
    with Scripted([entry("org/m:7b")]) as sim:

        @sim.route("GET", "/logs/stream/{id...}")
        async def log(exchange: Exchange) -> None:
            assert exchange.params["id"] == "org/m:7b"
            await exchange.start_stream("text/plain")
            await exchange.raw(b"first\nsec")
            await exchange.raw(b"ond\n")
            await exchange.sleep(math.inf)

        events = await bay(sim.base_url).manage(Logs(model="org/m:7b"))

    assert events == [LogLine(text="first"), LogLine(text="second"), Done(changed=False)]


@pytest.mark.parametrize("name", ["_HISTORY_S", "_HISTORY_BYTES"])
async def test_a_log_without_a_pause_is_told_as_it_comes_and_ends_all_the_same(
    bay: OpenBay, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(module, name, {"_HISTORY_S": 0.3, "_HISTORY_BYTES": 40}[name])
    with Scripted() as sim:

        @sim.route("GET", "/logs/stream/{id...}")
        async def log(exchange: Exchange) -> None:
            await exchange.start_stream("text/plain")
            while True:
                await exchange.raw(b"line\n")
                await exchange.sleep(0.01)

        desk = bay(sim.base_url)
        async with closing(desk.backend.manage(Logs(model="tiny"))) as events:
            first = await anext(events)
            assert sim.open_streams == 1
            rest = [event async for event in events]
        last = await tail(desk.context, "tiny")

        await sim.wait_until_async(lambda: sim.open_streams == 0)
    assert first == LogLine(text="line")
    assert rest[-1] == Done(changed=False)
    assert set(rest[:-1]) == {LogLine(text="line")}
    assert last == ["line"] * len(last)
    assert 0 < len(last) <= 8


@pytest.mark.parametrize("name", ["requestTimeoutS", "firstByteTimeoutS", "idleTimeoutS"])
async def test_a_provider_s_limits_are_not_those_of_its_logs_and_lists(
    bay: OpenBay, name: str
) -> None:
    with Scripted(running=[process("tiny")]) as sim:

        @sim.route("GET", "/logs/stream")
        async def log(exchange: Exchange) -> None:
            await exchange.sleep(0.1)
            await exchange.start_stream("text/plain")
            await exchange.raw(b"one\n")
            await exchange.sleep(0.1)
            await exchange.raw(b"two\n")

        @sim.route("GET", "/running")
        async def running(exchange: Exchange) -> None:
            await exchange.sleep(0.1)
            await exchange.json({"running": []})

        desk = bay(sim.base_url, **{name: 0.05})
        (followed, listed) = await asyncio.gather(
            desk.manage(Logs(follow=True)), desk.manage(ListModels())
        )

    assert len(listed) == 1
    assert followed == [
        LogLine(text="one"),
        LogLine(text="two"),
        Done(message="the server ended its log", changed=False),
    ]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("10%\r20%\r30%\r\n", "30%"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://h\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred\x9b0m \x1b[1;31mbold\x1b[m", "red bold"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x1b(Bplain \x1b7\x85", "plain "),
        ("\x1b]0;never ended", "0;never ended"),
        ("tab\tkept", "tab\tkept"),
    ],
)
async def test_a_line_of_a_log_is_plain_text(bay: OpenBay, written: str, shown: str) -> None:
    with Scripted() as sim:
        sim.answer("/logs", written, method="GET")
        events = await bay(sim.base_url).manage(Logs())

    assert events == [LogLine(text=shown), Done(changed=False)]


async def test_an_empty_log_sends_no_head_and_is_empty(
    bay: OpenBay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HEAD_S", 0.05)
    with Scripted() as sim:

        @sim.route("GET", "/logs/stream/{id...}")
        async def log(exchange: Exchange) -> None:
            await exchange.sleep(math.inf)

        events = await bay(sim.base_url).manage(Logs(model="tiny"))

    assert events == [Done(message="nothing is logged", changed=False)]


@pytest.mark.parametrize(("model", "path"), [(None, "/logs/stream"), ("tiny", "/logs/stream/tiny")])
async def test_a_log_that_is_followed_has_no_limit_on_silence(
    bay: OpenBay, model: str | None, path: str
) -> None:
    with Scripted() as sim:

        @sim.route("GET", path)
        async def log(exchange: Exchange) -> None:
            await exchange.start_stream("text/plain")
            for line in (b"one\n", b"two\n"):
                await exchange.raw(line)
            await exchange.sleep(math.inf)

        desk = bay(sim.base_url)
        action = Logs(model=model, follow=True)
        async with closing(desk.backend.manage(action)) as events:
            seen = [await anext(events), await anext(events)]

        await sim.wait_until_async(lambda: sim.open_streams == 0)
    assert seen == [LogLine(text="one"), LogLine(text="two")]


async def test_a_log_of_nobody_is_an_error(bay: OpenBay) -> None:
    text = "invalid logger. Use 'proxy', 'upstream' or a model's ID"
    with Scripted() as sim:
        sim.answer("/logs/stream/nope", refused(text, "bad_request"), 400, method="GET")
        with pytest.raises(ModelNotFoundError) as caught:
            await bay(sim.base_url).manage(Logs(model="nope"))

    assert caught.value.hint == "this server lists: tiny"


async def test_before_v177_all_models_share_one_log(bay: OpenBay) -> None:
    with Scripted() as sim:
        sim.answer("/logs/stream/tiny", "invalid logger\n", 400, method="GET")
        sim.answer("/logs/stream/upstream", "shared\n", method="GET")
        events = await bay(sim.base_url).manage(Logs(model="tiny"))

    assert events == [LogLine(text="shared"), Done(changed=False)]
