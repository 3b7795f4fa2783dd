"""Checks of management: a declared action ends with its outcome, and once more with the same."""

from contextlib import suppress

import pytest

from modelbay.errors import (
    AuthenticationError,
    BackendError,
    ModelbayError,
    PluginError,
    UnsupportedActionError,
)
from modelbay.models.manage import (
    AccountBalance,
    Action,
    ActionName,
    Balance,
    Copy,
    Delete,
    Done,
    Health,
    HealthReport,
    ListModels,
    Load,
    Logs,
    ManageEvent,
    ModelDetails,
    ModelList,
    Running,
    RunningModels,
    Show,
    Unload,
)
from modelbay.testing.conformance.bay import Bay, Rule, shown, values
from modelbay.testing.conformance.capabilities import ACTIONS, NOBODY
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.ports import dead_url
from modelbay.testing.conformance.ruling import rule_out
from modelbay.testing.conformance.target import Target
from modelbay.testing.fault import Fault
from modelbay.testing.streams import check_manage_events

DEADLINE_S = 10.0
ANSWERS: dict[ActionName, type] = {
    "list": ModelList,
    "running": RunningModels,
    "health": HealthReport,
    "show": ModelDetails,
    "balance": AccountBalance,
}


class ManagementChecks(Kit):
    read = "modelbay/hookspecs.py: manage; modelbay/models/manage.py"

    @pytest.mark.parametrize("name", ANSWERS)
    async def test_an_action_ends_with_its_outcome(
        self, bay: Bay, rule: Rule, name: ActionName
    ) -> None:
        """`list`, `running`, `health`, `show` and `balance` end with the outcome of that name."""
        _declared(bay, name)
        actions: dict[str, Action] = {
            "list": ListModels(),
            "running": Running(),
            "health": Health(),
            "show": Show(model=bay.target.model),
            "balance": Balance(),
        }
        events = await _do(bay, actions[name])
        rule.holds(not check_manage_events(events), check_manage_events(events))
        rule.holds(isinstance(events[-1], ANSWERS[name]), f"ended with {events[-1]}")

    async def test_list_agrees_with_discovery(self, bay: Bay, rule: Rule) -> None:
        """`list` names the models that discovery names."""
        _declared(bay, "list")
        listed = (await _do(bay, ListModels()))[-1]
        found = {model.wire_id for model in await bay.backend().discover_models()}
        rule.holds(
            isinstance(listed, ModelList) and {m.wire_id for m in listed.models} == found,
            f"discovery found {sorted(found)}, list gave {listed}",
        )

    async def test_running_names_listed_models(self, bay: Bay, rule: Rule) -> None:
        """What runs is something discovery lists."""
        _declared(bay, "running")
        running = (await _do(bay, Running()))[-1]
        models = await bay.backend().discover_models()
        known = {name for model in models for name in (model.wire_id, *model.aliases)}
        strangers = [
            model.wire_id
            for model in (running.models if isinstance(running, RunningModels) else ())
            if model.wire_id not in known
        ]
        rule.holds(not strangers, f"nobody lists {strangers}")

    async def test_looking_loads_nothing(self, bay: Bay, rule: Rule) -> None:
        """`list`, `running`, `health` and `show` make no model load."""
        bay.target.require("loads")
        before = bay.target.loads()
        looks = (ListModels(), Running(), Health(), Show(model=bay.target.model))
        for action in looks:
            if action.action in bay.backend().table.actions:
                with suppress(ModelbayError):  # a show may be refused while it is not loaded
                    await _do(bay, action)
        loads = bay.target.loads() - before
        rule.holds(loads == 0, f"{loads} load(s)")

    async def test_show_names_the_model_it_was_asked_for(self, bay: Bay, rule: Rule) -> None:
        """`show` tells about the model it was asked for."""
        _declared(bay, "show")
        details = (await _do(bay, Show(model=bay.target.model)))[-1]
        rule.holds(
            isinstance(details, ModelDetails) and details.wire_id == bay.target.model, details
        )

    async def test_a_healthy_server_is_called_healthy(self, bay: Bay, rule: Rule) -> None:
        """`health` of a server that answers says so."""
        _declared(bay, "health")
        report = (await _do(bay, Health()))[-1]
        rule.holds(isinstance(report, HealthReport) and report.healthy, report)

    async def test_a_dead_server_is_not_healthy(self, target: Target, rule: Rule) -> None:
        """`health` where nothing listens is a report that says so, or a BackendError."""
        target.require("address")
        config = target.config.model_copy(update={"base_url": dead_url()})
        async with Bay.open(target, config) as bay:
            _declared(bay, "health")
            try:
                report = (await _do(bay, Health()))[-1]
            except BackendError:
                return
            rule.holds(isinstance(report, HealthReport) and not report.healthy, report)

    async def test_a_refused_action_is_a_typed_error(self, bay: Bay, rule: Rule) -> None:
        """A server that wants another key says so through `list` too."""
        bay.target.require("faults")
        _declared(bay, "list")
        bay.target.arm(Fault(status=401, body=b'{"error": "no"}'))
        try:
            events = await _do(bay, ListModels())
        except AuthenticationError:
            return
        except ModelbayError as exc:
            rule.broken(f"{exc!r}, caused by {exc.__cause__!r}")
        rule.broken(events)

    @pytest.mark.parametrize("name", ["list", "running", "health", "show"])
    @pytest.mark.parametrize(
        "fault",
        [Fault.html(200), Fault(status=500), Fault(status=200, body=b"7"), Fault(drop=True)],
        ids=("html", "500", "misshapen", "closed"),
    )
    async def test_another_answer_to_an_action_is_typed(
        self, bay: Bay, rule: Rule, fault: Fault, name: ActionName
    ) -> None:
        """Whatever answers instead of the server, a look at it is no fault of the plugin's."""
        bay.target.require("faults")
        _declared(bay, name)
        looks: dict[str, Action] = {
            "list": ListModels(),
            "running": Running(),
            "health": Health(),
            "show": Show(model=bay.target.model),
        }
        bay.target.arm(fault)
        try:
            events = await _do(bay, looks[name])
        except PluginError as exc:
            rule.broken(f"{exc!r}, caused by {exc.__cause__!r}")
        except ModelbayError:
            return
        report = events[-1]
        rule.holds(isinstance(report, HealthReport), f"a quiet success: {events}")
        rule.holds(not getattr(report, "healthy", False), f"called healthy: {report}")

    async def test_load_is_idempotent(self, bay: Bay, rule: Rule) -> None:
        """Loading a model that is loaded is a success, and starts nothing."""
        _declared(bay, "load")
        bay.target.require("load")
        action = Load(model=bay.target.model)
        await _do_it(bay, rule, action)
        count = bay.target.loads() if bay.target.has("loads") else 0
        done = await _do_it(bay, rule, action)
        rule.holds(not done.changed, f"the second load says it changed something: {done}")
        if bay.target.has("loads"):
            rule.holds(bay.target.loads() == count, "the second load loaded again")

    async def test_a_loaded_model_runs(self, bay: Bay, rule: Rule) -> None:
        """When `load` has ended the model is among the running ones, ready."""
        _declared(bay, "load")
        _declared(bay, "running")
        bay.target.require("load")
        await _do_it(bay, rule, Load(model=bay.target.model))
        running = (await _do(bay, Running()))[-1]
        names = [m.wire_id for m in getattr(running, "models", ()) if m.state == "loaded"]
        rule.holds(bay.target.model in names, running)

    async def test_unload_is_idempotent(self, bay: Bay, rule: Rule) -> None:
        """Unloading a model that is not loaded is a success; then it does not run."""
        _declared(bay, "unload")
        bay.target.require("load")
        action = Unload(model=bay.target.model)
        await _do_it(bay, rule, action)
        done = await _do_it(bay, rule, action)
        rule.holds(not done.changed, f"the second unload says it changed something: {done}")
        if "running" in bay.backend().table.actions:
            running = (await _do(bay, Running()))[-1]
            names = [m.wire_id for m in getattr(running, "models", ())]
            rule.holds(bay.target.model not in names, f"still running: {running}")

    @pytest.mark.parametrize("name", ["pull", "delete", "copy", "create", "load", "unload"])
    async def test_a_change_is_asked_of_the_server(
        self, bay: Bay, rule: Rule, name: ActionName
    ) -> None:
        """What says that it changed a model has told the server which, or is a typed error."""
        _declared(bay, name)
        bay.target.require("requests")
        bay.mark()
        try:
            events = await _do(bay, ACTIONS[name])
        except ModelbayError:
            return
        asked = [NOBODY in value for r in bay.seen() for value in values(r) if type(value) is str]
        changed = getattr(events[-1], "changed", True)
        named = any(asked) or (bool(bay.seen()) and not changed)  # it looked, and found nothing
        rule.holds(named, f"ended with {events[-1]}; the server was told {shown(bay.seen())}")

    async def test_a_copy_is_listed_and_can_be_deleted(self, bay: Bay, rule: Rule) -> None:
        """After `copy` discovery lists the copy; after `delete` it does not."""
        _declared(bay, "copy")
        _declared(bay, "delete")
        copy = "kit-copy:latest"
        await _do_it(bay, rule, Copy(model=bay.target.model, to=copy))
        listed = {model.wire_id for model in await bay.backend().discover_models()}
        rule.holds(copy in listed, f"discovery found {sorted(listed)}")
        await _do_it(bay, rule, Delete(model=copy))
        listed = {model.wire_id for model in await bay.backend().discover_models()}
        rule.holds(copy not in listed, f"deleted, and discovery found {sorted(listed)}")

    @pytest.mark.parametrize("name", ["load", "show"])
    async def test_a_model_nobody_has_is_an_error(
        self, bay: Bay, rule: Rule, name: ActionName
    ) -> None:
        """`load` and `show` of an unknown model raise a typed error."""
        _declared(bay, name)
        action = Load(model=NOBODY) if name == "load" else Show(model=NOBODY)
        try:
            events = await _do(bay, action)
        except (BackendError, UnsupportedActionError):
            return
        except ModelbayError as exc:
            rule.broken(f"{exc!r}, caused by {exc.__cause__!r}")
        rule.broken(f"a quiet success: {events}")

    async def test_an_action_can_be_closed_early(self, bay: Bay, rule: Rule) -> None:
        """Closing a management stream, before or after its first event, is harmless."""
        actions = bay.backend().table.actions
        for action in (ListModels(), Logs(follow=True)):
            if action.action not in actions:
                continue
            for steps in (0, 1):
                stream = bay.hook("manage")(provider=bay.context(), action=action)
                try:
                    for _ in range(steps):
                        await anext(stream)  # type: ignore[call-overload]
                    await stream.aclose()  # type: ignore[attr-defined]
                except (StopAsyncIteration, ModelbayError):
                    continue
                except Exception as exc:
                    rule.broken(f"{action.action} after {steps} events: {exc!r}")


def _declared(bay: Bay, name: ActionName) -> None:
    if name not in bay.backend().table.actions:
        rule_out(f"declared in the plugin's table: no '{name}'")


async def _do(bay: Bay, action: Action) -> list[ManageEvent]:
    async with bay.host.manage(bay.provider_id, action, deadline_s=DEADLINE_S) as events:
        return [event async for event in events]


async def _do_it(bay: Bay, rule: Rule, action: Action) -> Done:
    events = await _do(bay, action)
    rule.holds(not check_manage_events(events), check_manage_events(events))
    done = events[-1]
    if not isinstance(done, Done):
        rule.broken(f"ended with {done}")
    return done
