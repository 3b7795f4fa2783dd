"""Mirrors modelbay/host/list_cache.py, and what the registry makes of it."""

import asyncio
import json
from pathlib import Path

import pytest

from modelbay.errors import BackendUnreachableError, ProtocolError
from modelbay.host.backend import MODELS_LIMIT
from modelbay.host.handles import ProviderHandle
from modelbay.host.list_cache import CHANGED, OLDEST_S, SALT, ListCache, Remembered
from modelbay.host.registry import Registry
from modelbay.models.capabilities import CapabilityTable, Facts
from modelbay.models.catalog import DiscoveredModel, Problem
from modelbay.models.manage import Done, Load
from modelbay.models.provider import ProviderConfig
from pretend import JUMPING, Clock, config, fails, host, jumping, lists, plugin

pytestmark = pytest.mark.anyio

DESK = config("desk", base_url="http://desk:1")
MODEL = DiscoveredModel(
    wire_id="a/b:c", facts=Facts(context_window=8192, tools=True), state="loaded", digest="d"
)
PROBLEM = Problem(code="backend_unreachable", message="down", hint="start it")


@pytest.fixture
def anyio_backend() -> object:
    return JUMPING


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0)


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> ListCache:
    return ListCache(tmp_path, clock=clock)


# --- on disk --------------------------------------------------------------------------------------


def test_what_was_kept_comes_back_with_its_age(cache: ListCache, clock: Clock) -> None:
    cache.keep(DESK, "1.0", [MODEL], age_s=2.0)
    clock.now += 40

    assert cache.load(DESK, "1.0") == Remembered(models=(MODEL,), age_s=42.0)


def test_a_failure_is_kept_beside_the_last_good_list(cache: ListCache, clock: Clock) -> None:
    cache.keep(DESK, "1.0", [MODEL], age_s=100.0, problem=PROBLEM)
    clock.now += 5

    assert cache.load(DESK, "1.0") == Remembered((MODEL,), 105.0, 5.0, PROBLEM)


def test_a_provider_that_never_answered_has_no_list(cache: ListCache, clock: Clock) -> None:
    cache.keep(DESK, "1.0", [], age_s=None, problem=PROBLEM)
    clock.now += 5

    assert cache.load(DESK, "1.0") == Remembered((), None, 5.0, PROBLEM)


@pytest.mark.parametrize(
    ("provider", "version"),
    [
        (config("desk", base_url="http://desk:2"), "1.0"),
        (config("desk", kind="labs", base_url="http://desk:1"), "1.0"),
        (config("desk", base_url="http://desk:1", sidecarUrl="http://s"), "1.0"),
        (config("lab", base_url="http://desk:1"), "1.0"),
        (DESK, "1.1"),
    ],
)
def test_another_provider_or_version_has_no_list_yet(
    cache: ListCache, provider: object, version: str
) -> None:
    cache.keep(DESK, "1.0", [MODEL], age_s=0)

    assert cache.load(provider, version) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("passed_s", [OLDEST_S + 1, -60.0])
def test_a_list_of_last_week_or_of_tomorrow_counts_for_nothing(
    cache: ListCache, clock: Clock, passed_s: float
) -> None:
    cache.keep(DESK, "1.0", [MODEL], age_s=0)
    clock.now += passed_s

    assert cache.load(DESK, "1.0") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', "\x00"])
def test_a_damaged_file_counts_for_nothing(cache: ListCache, tmp_path: Path, text: str) -> None:
    cache.keep(DESK, "1.0", [MODEL], age_s=0)
    (tmp_path / "models" / "desk.json").write_text(text)

    assert cache.load(DESK, "1.0") is None
    cache.keep(DESK, "1.0", [MODEL], age_s=0)
    assert cache.load(DESK, "1.0") == Remembered((MODEL,), 0.0)


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    cache = ListCache(tmp_path / "taken")
    cache.keep(DESK, "1.0", [MODEL], age_s=0)

    assert cache.load(DESK, "1.0") is None


def test_the_files_are_private_and_hold_no_key(cache: ListCache, tmp_path: Path) -> None:
    secret = config("desk", base_url="http://me:sk-secret@desk", apiKey="sk-secret")
    cache.keep(secret, "1.0", [MODEL], age_s=0)

    [path] = (tmp_path / "models").iterdir()
    assert path.name == "desk.json"
    assert (path.stat().st_mode & 0o777, "sk-secret" in path.read_text()) == (0o600, False)


@pytest.mark.parametrize(
    "other",
    [
        config("desk", base_url="http://desk:1", apiKey="sk-two"),
        config("desk", base_url="http://desk:1", apiKey="sk-one", headers={"X-Org": "b"}),
        DESK,
    ],
)
def test_another_key_or_account_has_no_list_yet(cache: ListCache, other: ProviderConfig) -> None:
    first = config("desk", base_url="http://desk:1", apiKey="sk-one", headers={"X-Org": "a"})
    cache.keep(first, "1.0", [MODEL], age_s=0)

    assert cache.load(first, "1.0") == Remembered((MODEL,), 0.0)
    assert cache.load(other, "1.0") is None


def test_the_digest_of_a_key_is_of_no_use_elsewhere(tmp_path: Path, clock: Clock) -> None:
    """Two folders, one key: nobody can try keys out on the file without the salt beside it."""
    secret = config("desk", apiKey="sk-secret")
    for folder in ("a", "b"):
        ListCache(tmp_path / folder, clock=clock).keep(secret, "1.0", [MODEL], age_s=0)

    kept = [json.loads((tmp_path / f / "models/desk.json").read_text())["key"] for f in ("a", "b")]
    assert kept[0] != kept[1]
    assert (tmp_path / "a" / SALT).stat().st_mode & 0o777 == 0o600


def test_a_damaged_salt_is_made_anew(cache: ListCache, tmp_path: Path) -> None:
    secret = config("desk", apiKey="sk-secret")
    (tmp_path / SALT).write_bytes(b"short")
    cache.keep(secret, "1.0", [MODEL], age_s=0)
    cache.keep(secret, "1.0", [MODEL], age_s=0)

    assert cache.load(secret, "1.0") == Remembered((MODEL,), 0.0)


def test_a_list_that_is_forgotten_is_gone_and_leaves_a_mark(
    cache: ListCache, tmp_path: Path
) -> None:
    cache.keep(DESK, "1.0", [MODEL], age_s=0)
    cache.keep(config("lab"), "1.0", [MODEL], age_s=0)
    cache.forget("desk")

    assert cache.load(DESK, "1.0") is None
    assert cache.load(config("lab"), "1.0") == Remembered((MODEL,), 0.0)
    assert (tmp_path / CHANGED).exists()


def test_without_a_cache_there_is_nothing_to_forget_and_none_is_made(tmp_path: Path) -> None:
    ListCache(tmp_path / "cache").forget("desk")

    assert not (tmp_path / "cache").exists()


async def test_a_host_without_a_cache_forgets_what_it_has_changed(
    tmp_path: Path,
) -> None:
    kept = ListCache(tmp_path / "cache")
    kept.keep(DESK, "1.0", [MODEL], age_s=0)
    able = plugin(capabilities=lambda: CapabilityTable(actions=frozenset({"load"})))
    async with (
        host([DESK], env={"MODELBAY_HOME": str(tmp_path)}, acme=able) as held,
        held.manage("desk", Load(model="m")) as events,
    ):
        assert [type(event) async for event in events] == [Done]

    assert kept.load(DESK, "1.0") is None


# --- in the registry ------------------------------------------------------------------------------


class Bay:
    """One program after another over the same cache, their clocks running together."""

    def __init__(self, folder: Path, **hooks: object) -> None:
        self.env = {"MODELBAY_HOME": str(folder)}
        self.hooks = hooks
        self.folder = folder

    def open(self, wall: Clock, discover: object = None) -> tuple[Registry, list[int]]:
        """The registry of a new program, and a count of its looks."""
        looks = [0]

        async def counted() -> object:
            looks[0] += 1
            return await (discover or lists("m"))()  # type: ignore[operator]

        held = host([DESK], acme=plugin(discover_models=counted, **self.hooks))  # type: ignore[arg-type]
        shelf = held.registry.handle("desk")
        registry = Registry(
            [ProviderHandle(shelf.config, shelf.backend, shelf.resolver, version="1.0")],
            default_provider=None,
            spawn=lambda work: asyncio.get_running_loop().create_task(work),
            clock=jumping().time,
            cache=ListCache(self.folder, clock=wall),
            jitter=lambda: 0.0,
        )
        return registry, looks


def shown(registry: Registry) -> tuple[str, list[str], float | None]:
    [entry] = registry.catalog.providers
    return entry.status, [model.id for model in entry.models], entry.age_s


async def test_the_next_program_begins_with_the_list_of_the_last(
    tmp_path: Path, clock: Clock
) -> None:
    bay = Bay(tmp_path)
    first, looks = bay.open(clock)
    await first.refresh(force=False)
    clock.now += 60

    second, more = bay.open(clock)
    assert shown(second) == ("ok", ["desk/m"], 60.0)
    await second.refresh(force=False)
    assert (looks, more, second.stale) == ([1], [0], ())


async def test_a_list_that_is_too_old_is_shown_with_its_age_and_named(
    tmp_path: Path, clock: Clock
) -> None:
    bay = Bay(tmp_path)
    first, _ = bay.open(clock)
    await first.refresh(force=False)
    clock.now += 301

    second, looks = bay.open(clock)
    await second.refresh(force=False, stale_is_enough=True)
    assert (shown(second), looks, second.stale) == (("ok", ["desk/m"], 301.0), [0], ("desk",))

    await second.refresh(force=False)
    assert (shown(second), looks, second.stale) == (("ok", ["desk/m"], 0.0), [1], ())


async def test_a_failure_is_not_tried_again_by_the_next_program_at_once(
    tmp_path: Path, clock: Clock
) -> None:
    bay = Bay(tmp_path)
    first, _ = bay.open(clock)
    await first.refresh(force=False)
    failing, _ = bay.open(clock, fails(BackendUnreachableError("down", hint="start it")))
    await failing.refresh(force=True)
    clock.now += 10

    next_one, looks = bay.open(clock)
    await next_one.refresh(force=False, stale_is_enough=True)
    assert (shown(next_one)[:2], looks) == (("stale", ["desk/m"]), [0])
    [entry] = next_one.catalog.providers
    assert (entry.problem, entry.next_look_s) == (
        Problem(code="backend_unreachable", message="down", hint="start it"),
        5.0,
    )
    error = next_one.problem_of("desk")
    assert (type(error), error and error.provider_id) == (BackendUnreachableError, "desk")

    clock.now += 6
    later, looks = bay.open(clock)
    await later.refresh(force=False, stale_is_enough=True)
    assert (shown(later)[:2], looks) == (("ok", ["desk/m"]), [1])


async def test_what_lives_with_the_program_is_not_kept(tmp_path: Path, clock: Clock) -> None:
    table = CapabilityTable(lives_with_host=True)
    bay = Bay(tmp_path, capabilities=lambda: table)
    first, _ = bay.open(clock)
    await first.refresh(force=False)

    assert not (tmp_path / "models").exists()


async def test_what_the_user_says_counts_at_once_over_a_list_that_was_kept(
    tmp_path: Path, clock: Clock
) -> None:
    """The list is kept, not what became of it: user facts are no part of its key."""
    ListCache(tmp_path / "cache", clock=clock).keep(DESK, "1.0", [MODEL], age_s=0)
    facts = config("desk", base_url="http://desk:1", models={"a*": {"tools": False}})
    kept = ListCache(tmp_path / "cache", clock=clock).load(facts, "1.0")

    assert kept == Remembered((MODEL,), 0.0)


async def test_a_host_keeps_lists_only_when_it_is_told_to(tmp_path: Path) -> None:
    async with host([DESK], env={"MODELBAY_HOME": str(tmp_path)}, acme=plugin()) as held:
        await held.refresh()

    assert not (tmp_path / "cache").exists()


# --- limits ---------------------------------------------------------------------------------------


async def test_a_list_that_is_too_long_is_refused_by_name() -> None:
    names = [str(number) for number in range(MODELS_LIMIT + 1)]
    async with host([DESK], acme=plugin(discover_models=lists(*names))) as held:
        [entry] = (await held.refresh()).providers

    assert entry.problem is not None
    assert (entry.problem.code, entry.models) == (ProtocolError.code, ())
    assert entry.problem.message == (
        "provider 'desk' lists 20001 models; more than 20000 are not taken"
    )


def test_the_file_of_a_list_is_json_that_people_can_read(cache: ListCache, tmp_path: Path) -> None:
    cache.keep(DESK, "1.0", [MODEL], age_s=0)
    kept = json.loads((tmp_path / "models" / "desk.json").read_text())

    assert kept["models"] == [
        {
            "wire_id": "a/b:c",
            "facts": {"context_window": 8192, "tools": True},
            "state": "loaded",
            "digest": "d",
        }
    ]
