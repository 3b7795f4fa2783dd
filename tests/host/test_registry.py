"""Mirrors modelbay/host/registry.py, on a loop whose clock jumps: no look costs time."""

import asyncio
import contextlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import modelbay.host.registry
from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendUnreachableError,
    ConfigError,
    ModelbayError,
    PluginLoadError,
    UnknownProviderError,
    WrongServerError,
)
from modelbay.host import assembly
from modelbay.host.assembly import assemble
from modelbay.host.backend import Backend
from modelbay.host.handles import ProviderHandle
from modelbay.host.ledger import Ledger
from modelbay.host.list_cache import ListCache
from modelbay.host.registry import Registry
from modelbay.models.capabilities import Facts, Measurement
from modelbay.models.catalog import (
    CatalogChange,
    DiscoveredModel,
    DiscoveredModels,
    ModelInfo,
    Problem,
    ProviderEntry,
)
from modelbay.models.provider import ProviderSource
from modelbay.resolve import Resolver
from pretend import JUMPING, Clock, config, context, fails, jumping, lists, manager, plugin

pytestmark = pytest.mark.anyio

Discover = Callable[[], object]


@pytest.fixture
def anyio_backend() -> object:
    return JUMPING


class Server:
    """What a provider answers when it is looked at; may change between looks."""

    def __init__(self, discover: Discover | None = None) -> None:
        self.discover = discover or lists("m")
        self.looks = 0

    @property
    def plugin(self) -> ModuleType:
        async def discover_models() -> object:
            self.looks += 1
            return await self.discover()  # type: ignore[misc]

        return plugin(discover_models=discover_models)


def handle(id: str, server: Server, **fields: Any) -> ProviderHandle:
    held = context(id=id, **fields)
    backend = Backend("acme", manager(server.plugin), held)
    return ProviderHandle(held.config, backend, Resolver(held.config, backend.table))


def task(work: object) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]


def registry(
    *handles: ProviderHandle,
    clock: Callable[[], float] | None = None,
    default: str | None = None,
    cache: ListCache | None = None,
    ledger: Ledger | None = None,
    jitter: float = 0.0,
) -> Registry:
    return Registry(
        handles,
        default_provider=default,
        spawn=task,
        clock=clock or jumping().time,
        cache=cache,
        ledger=ledger,
        jitter=lambda: jitter,
    )


def shown(held: Registry) -> dict[str, tuple[str, list[str]]]:
    """Status and models of each provider."""
    return {p.id: (p.status, [m.id for m in p.models]) for p in held.catalog.providers}


def hang() -> Discover:
    async def discover_models() -> list[DiscoveredModel]:
        await asyncio.Event().wait()
        return []

    return discover_models


# --- what is known --------------------------------------------------------------------------------


async def test_before_the_first_look_nothing_is_known() -> None:
    held = registry(handle("desk", Server()), default="desk")

    assert held.catalog.providers == (
        ProviderEntry(id="desk", label="desk", kind="acme", status="unknown"),
    )
    assert (held.catalog.default_provider, held.find("desk/m")) == ("desk", None)


async def test_after_a_look_the_models_are_listed_with_their_age() -> None:
    clock = Clock()
    held = registry(handle("desk", Server(lists("a", "b", state="loaded"))), clock=clock)
    await held.refresh(force=False)
    clock.now += 7

    [entry] = held.catalog.providers
    assert (entry.status, entry.problem, entry.age_s, entry.took_s) == ("ok", None, 7.0, 0.0)
    assert [(m.id, m.name, m.kind, m.state) for m in entry.models] == [
        ("desk/a", "a", "acme", "loaded"),
        ("desk/b", "b", "acme", "loaded"),
    ]
    assert held.find("desk/a") is entry.models[0]


async def test_all_that_was_discovered_reaches_the_model() -> None:
    given = DiscoveredModel(
        wire_id="a/b",
        name="A b",
        aliases=("x",),
        state="failed",
        origin="remote",
        loaded_context=1,
        size_bytes=2,
        digest="d",
        family="f",
        quantization="q",
        problem="crashed",
        details={"k": "v"},
    )

    async def discover() -> list[DiscoveredModel]:
        return [given]

    held = registry(handle("desk", Server(discover)))
    await held.refresh(force=False)

    [info] = held.models_of("desk")
    same = {name: getattr(given, name) for name in DiscoveredModel.model_fields}
    del same["wire_id"], same["facts"], same["evidence"]
    assert {name: getattr(info, name) for name in same} == same
    assert held.discovered(info) == given


def gives(models: object) -> Discover:
    async def discover_models() -> object:
        return models

    return discover_models


async def test_what_is_measured_of_one_model_is_said_of_no_other(tmp_path: Path) -> None:
    said = DiscoveredModel(wire_id="x", facts=Facts(tools=True), aliases=("alias",))
    found = DiscoveredModels("abc", [said] * 3)
    held = registry(handle("desk", Server(gives(found))), ledger=Ledger(tmp_path))
    await held.refresh(force=False)
    before = held.models_of("desk")
    measurement = Measurement(field="tools", value=False, evidence="asked", at=1.0)

    held.note(before[1], [measurement])

    after = held.models_of("desk")
    assert [model.capabilities.tools for model in before] == [True, True, True]
    assert [model.capabilities.tools for model in after] == [True, False, True]
    assert [held.measured(model) for model in after] == [(), (measurement,), ()]
    assert [held.discovered(model) for model in after] == list(found)
    assert held.find("desk/b") is after[1]
    assert held.find("desk/alias") is after[0]


async def test_whoever_watches_is_told_of_a_measurement_though_nobody_had_read_the_list(
    tmp_path: Path,
) -> None:
    held = registry(handle("desk", Server(lists("a", "b"))), ledger=Ledger(tmp_path))
    await held.refresh(force=False)
    model = held.models_of("desk")[1]
    await held.refresh(force=True)
    told: list[CatalogChange] = []
    held.listener = told.extend

    held.note(model, [Measurement(field="tools", value=True, evidence="asked", at=1.0)])

    assert told == [CatalogChange(type="changed", provider_id="desk", id="desk/b", state="unknown")]


@pytest.fixture
def put_together(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The providers whose models were put together, in turn."""
    ids: list[str] = []

    def noted(
        handle: ProviderHandle, found: DiscoveredModels, ledger: Ledger | None
    ) -> tuple[ModelInfo, ...]:
        ids.append(handle.id)
        return assemble(handle, found, ledger)

    monkeypatch.setattr(assembly, "assemble", noted)
    return ids


async def test_models_are_put_together_for_whoever_reads_them_and_once(
    put_together: list[str],
) -> None:
    held = registry(handle("desk", Server()), handle("lab", Server()))

    await held.refresh(force=False)
    assert put_together == []

    model = held.find("lab/m")
    assert put_together == ["lab"]

    first, again = held.catalog, held.catalog
    assert put_together == ["lab", "desk"]
    assert [
        a.models is b.models for a, b in zip(first.providers, again.providers, strict=True)
    ] == [
        True,
        True,
    ]
    assert first.providers[1].models == (model,)


async def test_while_a_slow_one_is_waited_for_the_others_models_are_put_together(
    put_together: list[str],
) -> None:
    held = registry(handle("desk", Server()), handle("lab", Server(hang())))

    await held.refresh(force=False)

    assert put_together == ["desk"]
    assert shown(held) == {"desk": ("ok", ["desk/m"]), "lab": ("down", [])}
    assert put_together == ["desk"]


async def test_between_many_models_others_have_their_turns(
    put_together: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modelbay.host.registry, "BURST", 3)
    held = registry(*(handle(id, Server(lists("a", "b"))) for id in ("a", "b", "c", "d", "e")))
    await held.refresh(force=False)
    seen: list[list[str]] = []

    async def watch() -> None:
        while True:
            seen.append([*put_together])
            await asyncio.sleep(0)

    watching = task(watch())
    await held.assemble()
    watching.cancel()

    assert seen == [["a", "b"], ["a", "b", "c", "d"]]
    assert put_together == ["a", "b", "c", "d", "e"]


async def test_a_catalogue_is_the_same_after_a_journey() -> None:
    held = registry(handle("desk", Server(lists("a", "b"))), handle("lab", Server(hang())))
    await held.refresh(force=False)
    catalog = held.catalog

    assert pickle.loads(pickle.dumps(catalog)) == catalog
    assert catalog.model_copy(deep=True) == catalog
    listed = json.loads(catalog.model_dump_json())["providers"][0]["models"]
    assert [model["id"] for model in listed] == ["desk/a", "desk/b"]


async def test_a_model_that_is_listed_no_more_is_found_no_more() -> None:
    server = Server(lists("a", "b"))
    held = registry(handle("desk", server), handle("other", Server(lists("a"))))
    await held.refresh(force=False)
    assert held.find("desk/a") is held.models_of("desk")[0]

    server.discover = lists("b", "c")
    await held.refresh(["desk"], force=True)

    found = [held.find(ref) for ref in ("desk/a", "desk/b", "desk/c", "other/a", "desk", "no/b")]
    assert [model and model.id for model in found] == [
        None,
        "desk/b",
        "desk/c",
        "other/a",
        None,
        None,
    ]
    assert found[1] is held.models_of("desk")[0]


# --- how often ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("discover", "ttl_s"),
    [
        (lists("m"), 300),
        (lists(), 300),
        (fails(BackendUnreachableError("down")), 15),
        (lists("a", "b", state="loading"), 15),
    ],
)
async def test_a_look_is_good_for_five_minutes_and_a_failed_one_for_fifteen_seconds(
    discover: Discover, ttl_s: float
) -> None:
    clock, server = Clock(), Server(discover)
    held = registry(handle("desk", server), clock=clock)
    looks = []
    for after_s in (0, ttl_s - 0.5, 0.5, ttl_s - 0.5, 0.5):
        clock.now += after_s
        await held.refresh(force=False)
        looks.append(server.looks)

    assert looks == [1, 1, 2, 2, 3]


async def test_a_forced_look_is_always_a_new_one() -> None:
    server = Server()
    held = registry(handle("desk", server), clock=Clock())
    for _ in range(3):
        await held.refresh(force=True)

    assert server.looks == 3


async def test_only_the_providers_asked_for_are_looked_at() -> None:
    desk, cloud = Server(), Server()
    held = registry(handle("desk", desk), handle("cloud", cloud))
    await held.refresh(["cloud"], force=True)

    assert (desk.looks, cloud.looks) == (0, 1)


def slow(seconds: float, *wire_ids: str) -> Discover:
    async def discover_models() -> list[DiscoveredModel]:
        await asyncio.sleep(seconds)
        return [DiscoveredModel(wire_id=name) for name in wire_ids]

    return discover_models


async def test_all_who_want_a_look_share_one_flight() -> None:
    server = Server(slow(1, "m"))
    held = registry(handle("desk", server))
    await asyncio.gather(*(held.refresh(force=force) for force in (False, True, False)))

    assert (server.looks, shown(held)) == (1, {"desk": ("ok", ["desk/m"])})


async def test_a_waiter_that_gives_up_does_not_end_the_flight() -> None:
    server = Server(slow(1, "m"))
    held = registry(handle("desk", server))
    first, second = (asyncio.create_task(held.refresh(force=False)) for _ in range(2))
    await asyncio.sleep(0.5)
    first.cancel()
    await asyncio.wait({first, second})

    assert (first.cancelled(), second.exception()) == (True, None)
    assert (server.looks, shown(held)) == (1, {"desk": ("ok", ["desk/m"])})


async def test_a_flight_nobody_waits_for_any_more_still_lands() -> None:
    server = Server(slow(1, "m"))
    held = registry(handle("desk", server))
    only = asyncio.create_task(held.refresh(force=False))
    await asyncio.sleep(0.5)
    only.cancel()
    await asyncio.sleep(1)

    assert (server.looks, shown(held)) == (1, {"desk": ("ok", ["desk/m"])})


async def test_a_look_that_a_change_has_overtaken_is_followed_by_another() -> None:
    """What it is told may be of before the change: a model that "loads" has failed since."""
    server = Server(slow(1, "before"))
    held = registry(handle("desk", server))
    waiting = asyncio.create_task(held.refresh(force=False))
    await asyncio.sleep(0.5)
    held.expire("desk")
    server.discover = slow(1, "after")
    await asyncio.gather(waiting, held.refresh(force=True))

    assert (server.looks, shown(held)) == (2, {"desk": ("ok", ["desk/after"])})
    await held.refresh(force=False)
    assert server.looks == 2


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "before", "status"),
    [
        (BackendUnreachableError("off", hint="start it"), [], "down"),
        (BackendUnreachableError("off", hint="start it"), ["m"], "stale"),
        (BackendBusyError("off", hint="start it"), ["m"], "loading"),
        (AuthenticationError("off", hint="start it"), ["m"], "misconfigured"),
        (WrongServerError("off", found="a router", hint="start it"), [], "misconfigured"),
    ],
)
async def test_a_provider_that_fails_keeps_its_last_models_and_says_why(
    error: ModelbayError, before: list[str], status: str
) -> None:
    server = Server(lists(*before))
    held = registry(handle("desk", server))
    if before:
        await held.refresh(force=True)
    server.discover = fails(error)
    await held.refresh(force=True)

    [entry] = held.catalog.providers
    assert (entry.status, entry.problem, [m.wire_id for m in entry.models]) == (
        status,
        Problem(code=error.code, message="off", hint="start it"),
        before,
    )
    assert held.problem_of("desk") is error


async def test_a_provider_that_has_recovered_has_no_problem() -> None:
    server = Server(fails(BackendUnreachableError("off")))
    held = registry(handle("desk", server))
    await held.refresh(force=True)
    server.discover = lists("m")
    await held.refresh(force=True)

    assert (shown(held), held.problem_of("desk")) == ({"desk": ("ok", ["desk/m"])}, None)


async def test_a_plugin_that_breaks_its_contract_is_a_row() -> None:
    held = registry(handle("desk", Server(fails(KeyError("x")))), handle("good", Server()))
    await held.refresh(force=False)

    assert shown(held) == {"desk": ("misconfigured", []), "good": ("ok", ["good/m"])}


async def test_a_hung_provider_costs_its_own_limit_and_never_delays_the_others() -> None:
    held = registry(
        handle("hung", Server(hang()), probeTimeoutS=2),
        handle("slow", Server(slow(1, "m")), probeTimeoutS=60),
        handle("fast", Server()),
    )
    waiting = asyncio.create_task(held.refresh(force=False))
    await asyncio.sleep(0.5)
    early = shown(held)
    await asyncio.sleep(1)
    later = shown(held)
    await waiting

    assert early == {"hung": ("unknown", []), "slow": ("unknown", []), "fast": ("ok", ["fast/m"])}
    assert later["slow"] == ("ok", ["slow/m"])
    assert shown(held)["hung"] == ("down", [])
    assert jumping().time() == pytest.approx(2)
    problem = held.problem_of("hung")
    assert problem is not None
    assert (problem.code, str(problem), problem.hint) == (
        "backend_timeout",
        "provider 'hung' did not list its models within 2 s",
        'raise "probeTimeoutS" of "hung", or see modelbay doctor',
    )


async def test_a_provider_that_swallows_its_cancellation_delays_nobody_either() -> None:
    release = asyncio.Event()

    async def stubborn() -> list[DiscoveredModel]:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        raise RuntimeError("nobody is there to hear this")

    held = registry(handle("desk", Server(stubborn), probeTimeoutS=1))
    await held.refresh(force=False)

    assert jumping().time() == pytest.approx(1, abs=0.2)
    assert shown(held) == {"desk": ("down", [])}
    release.set()


async def test_a_plugin_that_cancels_itself_is_a_row_like_another_failure() -> None:
    async def cancels_itself() -> list[DiscoveredModel]:
        raise asyncio.CancelledError

    held = registry(handle("desk", Server(cancels_itself)))
    await held.refresh(force=False)

    [entry] = held.catalog.providers
    assert (entry.status, entry.problem is not None) == ("misconfigured", True)


async def test_a_kept_error_holds_no_request() -> None:
    held = registry(handle("desk", Server(fails(BackendUnreachableError("off")))))
    await held.refresh(force=False)

    problem = held.problem_of("desk")
    assert problem is not None
    assert problem.__traceback__ is None


async def test_a_provider_without_a_plugin_is_a_row_and_is_not_looked_at() -> None:
    problem = PluginLoadError("no plugin", hint="pip install it")
    held = registry(ProviderHandle(config("desk", "odd"), problem=problem))
    await held.refresh(force=True)

    [entry] = held.catalog.providers
    assert (entry.status, entry.kind, entry.problem) == (
        "misconfigured",
        "odd",
        Problem(code="plugin_load_error", message="no plugin", hint="pip install it"),
    )


async def test_a_problem_that_is_raised_again_and_again_does_not_grow() -> None:
    held = ProviderHandle(config(), problem=PluginLoadError("no plugin"))
    lengths = []
    for _ in range(3):
        with pytest.raises(PluginLoadError) as caught:
            held.require()
        lengths.append(len(caught.traceback))

    assert len(set(lengths)) == 1


# --- implicit providers ---------------------------------------------------------------------------


async def test_a_proposal_is_hidden_until_it_has_answered_once() -> None:
    server = Server(fails(BackendUnreachableError("off")))
    held = registry(handle("desk", server, source="loopback"))

    def state() -> tuple[bool, bool, str]:
        [entry] = held.catalog.providers
        return entry.implicit, entry.hidden, entry.status

    states = [state()]
    for discover in (server.discover, lists("m"), server.discover):
        server.discover = discover
        await held.refresh(force=True)
        states.append(state())

    assert states == [
        (True, True, "unknown"),
        (True, True, "down"),
        (True, False, "ok"),
        (True, False, "stale"),
    ]


async def test_what_somebody_configured_is_never_hidden() -> None:
    held = registry(handle("desk", Server(fails(BackendUnreachableError("off")))))
    await held.refresh(force=True)

    assert [entry.hidden for entry in held.catalog.providers] == [False]


@pytest.mark.parametrize(
    ("source", "problem", "hidden"),
    [
        ("environment", ConfigError("no address", where="ACME_HOST"), False),
        ("loopback", ConfigError("no address", where="ACME_HOST"), True),
        ("environment", PluginLoadError("no plugin"), True),
    ],
)
async def test_a_wrong_variable_of_the_user_is_shown(
    source: ProviderSource, problem: ModelbayError, hidden: bool
) -> None:
    """It is what they said, and nothing else would tell why nothing is found."""
    held = registry(ProviderHandle(config(source=source), problem=problem))
    await held.refresh(force=True)

    [entry] = held.catalog.providers
    assert (entry.hidden, entry.status) == (hidden, "misconfigured")
    assert entry.problem is not None
    assert entry.problem.message == problem.message


async def test_hidden_providers_are_known_too() -> None:
    held = registry(handle("a", Server()), handle("b", Server(), source="loopback"))

    assert held.provider_ids == ("a", "b")
    assert held.handle("b").id == "b"
    with pytest.raises(UnknownProviderError) as caught:
        held.handle("c")
    assert (str(caught.value), caught.value.hint) == (
        "there is no provider 'c' (known: a, b)",
        "modelbay doctor",
    )


# --- stand-ins and aliases ------------------------------------------------------------------------


async def test_a_stand_in_is_listed_only_while_there_is_no_other_model() -> None:
    bundled, desk = Server(lists("welcome", origin="stand_in")), Server(lists())
    held = registry(handle("desk", desk), handle("bundled", bundled))
    listed = []
    for discover in (lists(), lists("m"), lists()):
        desk.discover = discover
        await held.refresh(force=True)
        listed.append((shown(held), held.find("bundled/welcome") is not None))

    alone = ({"desk": ("ok", []), "bundled": ("ok", ["bundled/welcome"])}, True)
    assert listed == [
        alone,
        ({"desk": ("ok", ["desk/m"]), "bundled": ("ok", [])}, False),
        alone,
    ]


async def test_a_model_is_found_by_its_aliases_but_an_alias_never_hides_a_name() -> None:
    async def discover() -> list[DiscoveredModel]:
        return [
            DiscoveredModel(wire_id="a", aliases=("b", "x")),
            DiscoveredModel(wire_id="b", aliases=("a", "x", "y/z")),
        ]

    held = registry(handle("desk", Server(discover)))
    await held.refresh(force=False)

    found = {name: held.find(f"desk/{name}") for name in ("a", "b", "x", "y/z", "c")}
    assert {name: info and info.wire_id for name, info in found.items()} == {
        "a": "a",
        "b": "b",
        "x": "a",
        "y/z": "b",
        "c": None,
    }


# --- snapshots ------------------------------------------------------------------------------------


async def test_a_snapshot_never_changes_and_every_look_makes_another() -> None:
    clock, server = Clock(), Server(lists("a"))
    held = registry(handle("desk", server), clock=clock)
    await held.refresh(force=True)
    first = held.catalog
    copy = first.model_copy(deep=True)
    server.discover = lists("b")
    await held.refresh(force=True)
    second = held.catalog
    server.discover = fails(BackendUnreachableError("off"))
    await held.refresh(force=True)

    assert first == copy
    assert [[m.wire_id for m in c.models] for c in (first, second, held.catalog)] == [
        ["a"],
        ["b"],
        ["b"],
    ]
    assert first.generation < second.generation < held.catalog.generation


async def test_a_look_that_is_running_changes_nothing_yet() -> None:
    server = Server(lists("a"))
    held = registry(handle("desk", server))
    await held.refresh(force=True)
    server.discover = slow(1, "b")
    waiting = asyncio.create_task(held.refresh(force=True))
    await asyncio.sleep(0.5)
    during = held.catalog
    await waiting

    assert [m.wire_id for m in during.models] == ["a"]
    assert [m.wire_id for m in held.catalog.models] == ["b"]
