"""Checks of discovery: what is listed, what looking costs, and what a strange answer does."""

import time
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import count

import pytest

from modelbay.errors import (
    AuthenticationError,
    BackendError,
    BackendUnreachableError,
    ModelbayError,
    PluginError,
)
from modelbay.models.catalog import DiscoveredModel
from modelbay.testing.conformance.bay import Bay, Rule, as_json, put, shown
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.ports import dead_url
from modelbay.testing.conformance.target import Target
from modelbay.testing.fault import Fault
from modelbay.testing.rechunk import http_answer

MEGABYTE = 1_000_000
UNHEARD_OF = "kit-unheard-of"
# Words servers use for the state of a model. A later version may use another one any day.
STATES = (
    *("loaded", "loading", "unloaded", "unloading", "ready", "running", "sleeping", "starting"),
    *("stopped", "stopping", "shutdown", "failed", "downloading", "downloaded", "ok", "idle"),
)


class DiscoveryChecks(Kit):
    read = "modelbay/hookspecs.py: discover_models"
    memory_limit_mb = 96

    async def test_discovery_lists_the_model(self, bay: Bay, rule: Rule) -> None:
        """The model the target names is listed, under its wire id."""
        models = await bay.backend().discover_models()
        names = [model.wire_id for model in models]
        known = {name for model in models for name in (model.wire_id, *model.aliases)}
        rule.holds(bay.target.model in known, f"listed: {names}")

    async def test_discovery_twice_gives_the_same(self, bay: Bay, rule: Rule) -> None:
        """A second look at an unchanged server gives equal models."""
        first = await bay.backend().discover_models()
        second = await bay.backend().discover_models()
        rule.holds(first == second, f"first {first}, then {second}")

    async def test_discovered_ids_are_bare(self, bay: Bay, rule: Rule) -> None:
        """A wire id is what the server calls the model; the provider's prefix is the host's."""
        ids = [model.wire_id for model in await bay.backend().discover_models()]
        wrong = [name for name in ids if name.startswith(f"{bay.provider_id}/")]
        rule.holds(not wrong, wrong)

    async def test_discovery_makes_no_model_load(self, bay: Bay, rule: Rule) -> None:
        """Looking at the list never makes a server load a model."""
        bay.target.require("loads")
        before = bay.target.loads()
        for _ in range(2):
            await bay.host.refresh(force=True)
        loads = bay.target.loads() - before
        rule.holds(loads == 0, f"{loads} load(s); {_seen(bay)}")

    async def test_discovery_changes_nothing(self, bay: Bay, rule: Rule) -> None:
        """Looking deletes nothing, puts nothing and asks no model to speak."""
        bay.target.require("requests")
        bay.mark()
        await bay.backend().discover_models()
        wrong = [
            request.target
            for request in bay.seen()
            if request.method in ("PUT", "DELETE", "PATCH")
            or request.path.endswith(bay.target.chat_path)
        ]
        rule.holds(bay.seen(), "the server was not asked at all")
        rule.holds(not wrong, wrong)

    async def test_a_dead_port_is_unreachable_to_discovery(
        self, target: Target, rule: Rule
    ) -> None:
        """Discovery where nothing listens raises BackendUnreachableError, and soon."""
        target.require("address")
        config = target.config.model_copy(update={"base_url": dead_url()})
        async with Bay.open(target, config) as bay:
            began = time.monotonic()
            error = await _error(bay, rule)
            rule.holds(isinstance(error, BackendUnreachableError), repr(error))
            rule.holds(time.monotonic() - began < self.patience_s, "it took too long")

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_refused_key_is_told_by_discovery(
        self, bay: Bay, rule: Rule, status: int
    ) -> None:
        """A server that wants another key is no server without models."""
        bay.target.require("faults")
        bay.target.arm(Fault(status=status, body=b'{"error": "no"}'))
        error = await _error(bay, rule)
        rule.holds(isinstance(error, AuthenticationError), repr(error))

    @pytest.mark.parametrize(
        "fault",
        [
            Fault.html(200),
            Fault(status=500),
            Fault(status=404),
            Fault(status=200),
            Fault(drop=True),
        ],
        ids=("html", "500", "404", "empty", "closed"),
    )
    async def test_another_answer_is_a_typed_error(
        self, bay: Bay, rule: Rule, fault: Fault
    ) -> None:
        """Whatever answers there instead of the server, discovery raises a BackendError."""
        bay.target.require("faults")
        bay.target.arm(fault)
        await _error(bay, rule)

    async def test_an_endless_list_is_refused_in_bounded_memory(self, bay: Bay, rule: Rule) -> None:
        """A list of 200 MB is a typed error, soon, and not in memory."""
        bay.target.require("faults")
        bay.target.arm(Fault(huge_mb=200, content_type="application/json"))
        began = time.monotonic()
        tracemalloc.start()
        try:
            await _error(bay, rule)
            peak_mb = tracemalloc.get_traced_memory()[1] / MEGABYTE
        finally:
            tracemalloc.stop()
        rule.holds(peak_mb < self.memory_limit_mb, f"{peak_mb:.0f} MB in memory")
        rule.holds(time.monotonic() - began < 5 * self.patience_s, "it took too long")

    async def test_unheard_of_states_do_not_break_discovery(self, bay: Bay, rule: Rule) -> None:
        """A state this version has no name for is `unknown`, and the model is still listed."""
        models = await _look(bay, lambda v: put(v, _unheard_of))
        _still_listed(bay, rule, models)

    async def test_a_state_nobody_told_is_not_invented(self, bay: Bay, rule: Rule) -> None:
        """Where the server's words for a state are unheard of, not every model is called loaded."""
        models = await _look(bay, lambda v: put(v, _unheard_of))
        states = [] if isinstance(models, ModelbayError) else [m.state for m in models]
        invented = bool(states) and set(states) == {"loaded"}
        bay.keeps(rule, "state", not invented, f"all {len(states)} models are loaded")

    async def test_unheard_of_fields_do_not_break_discovery(self, bay: Bay, rule: Rule) -> None:
        """Servers add fields; a plugin passes over those it does not know."""
        models = await _look(bay, _more_fields)
        _still_listed(bay, rule, models)

    @pytest.mark.parametrize("size", [1, 7])
    async def test_discovery_does_not_depend_on_chunk_boundaries(
        self, bay: Bay, rule: Rule, size: int
    ) -> None:
        """The same list gives the same models, wherever its bytes are cut."""
        bay.target.require("faults")
        whole = await bay.backend().discover_models()
        bay.see_each_chunk()
        bay.target.arm(Fault(rechunk_bytes=size))
        cut = await bay.backend().discover_models()
        rule.holds(whole == cut, f"uncut {whole}; in pieces of {size} bytes {cut}")

    @pytest.mark.parametrize("mutation", ["nulls", "strings", "no lists", "no objects"])
    async def test_a_misshapen_list_is_typed(self, bay: Bay, rule: Rule, mutation: str) -> None:
        """JSON of another shape is an error of the server's or an empty list, not the plugin's."""
        models = await _look(bay, MUTATIONS[mutation])
        rule.holds(
            not isinstance(models, PluginError),
            repr(models.__cause__ or models) if isinstance(models, PluginError) else "",
        )

    async def test_a_failed_look_is_followed_by_a_good_one(self, bay: Bay, rule: Rule) -> None:
        """Once the server is well again its models are back."""
        bay.target.require("faults")
        bay.target.arm(Fault(status=500))
        await _error(bay, rule)
        bay.target.clear()
        _still_listed(bay, rule, await bay.backend().discover_models())


Models = Sequence[DiscoveredModel]


async def _error(bay: Bay, rule: Rule) -> BackendError:
    try:
        models = await bay.backend().discover_models()
    except BackendError as exc:
        return exc
    except ModelbayError as exc:
        return rule.broken(f"{exc!r}, caused by {exc.__cause__!r}")
    return rule.broken(f"a quiet success: {models}")


async def _look(bay: Bay, change: Callable[[object], object]) -> Models | ModelbayError:
    """Discovery, with every JSON answer it would get from the server changed."""
    bay.target.require("faults", "requests")
    bay.mark()
    await bay.backend().discover_models()
    http = bay.context().http
    prefix = http.base_url.path.rstrip("/")
    for request in {r.target: r for r in bay.seen() if r.method == "GET"}.values():
        answer = await http.get(http.base_url.copy_with(raw_path=request.target.encode()))
        try:
            body = as_json(change(answer.json()))
        except ValueError:
            continue  # not JSON: nothing to change
        changed = http_answer(body, status=answer.status_code, content_type="application/json")
        bay.target.arm(Fault(garbage=changed), request.path.removeprefix(prefix))
    try:
        return await bay.backend().discover_models()
    except ModelbayError as exc:
        return exc


def _still_listed(bay: Bay, rule: Rule, models: Models | ModelbayError) -> None:
    if isinstance(models, ModelbayError):
        rule.broken(f"{models!r}, caused by {models.__cause__!r}")
    known = {name for model in models for name in (model.wire_id, *model.aliases)}
    rule.holds(bay.target.model in known, f"listed: {sorted(known)}")


def _seen(bay: Bay) -> str:
    return shown(bay.seen()) if bay.target.has("requests") else "its requests are not known"


def _unheard_of(value: object) -> object:
    return UNHEARD_OF if isinstance(value, str) and value in STATES else value


def _more_fields(value: object) -> object:
    match value:
        case dict():
            more: dict[str, object] = {key: _more_fields(inner) for key, inner in value.items()}
            return {"kit_new_field": {"deep": [1, None, "x"]}, **more}
        case list():
            return [_more_fields(inner) for inner in value]
        case _:
            return value


def _no_lists(value: object) -> object:
    match value:
        case dict():
            return {key: _no_lists(inner) for key, inner in value.items()}
        case list():
            return []
        case _:
            return value


def _no_objects(value: object) -> object:
    match value:
        case dict():
            return {key: [] if isinstance(v, dict) else _no_objects(v) for key, v in value.items()}
        case list():
            return [7 if isinstance(inner, dict) else _no_objects(inner) for inner in value]
        case _:
            return value


def _strings(value: object) -> object:
    numbers = count()
    return put(value, lambda _: f"kit-{next(numbers)}")


MUTATIONS: dict[str, Callable[[object], object]] = {
    "nulls": lambda value: put(value, lambda _: None),
    "strings": _strings,
    "no lists": _no_lists,
    "no objects": _no_objects,
}
