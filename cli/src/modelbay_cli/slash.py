"""Commands about a provider inside a conversation: ``/desk``, ``/desk pull NAME``."""

from collections.abc import Callable

import click

from modelbay.errors import BackendUnreachableError, UnknownModelError
from modelbay.host.handles import ProviderHandle
from modelbay.models.catalog import Catalog, ModelInfo, Problem
from modelbay.models.manage import (
    Action,
    Delete,
    Health,
    HealthReport,
    ModelDetails,
    Pull,
    Running,
    RunningModel,
    RunningModels,
    Show,
)
from modelbay_cli import facts, figures
from modelbay_cli.actions import follow, outcome_of
from modelbay_cli.output import Screen, aligned, shown_url
from modelbay_cli.session import Session

HELP = """\
/PROVIDER                 its server, what is in memory, what there is
/PROVIDER list | ps       the models, and those in memory
/PROVIDER pull NAME       download a model
/PROVIDER show NAME       what the server tells of a model
/PROVIDER remove NAME     delete a model; -y does not ask"""


class ProviderCommands:
    """Answers ``/PROVIDER ...``, on stderr: stdout belongs to the models.

    Args:
        confirm: Asks the user; by default at the terminal.
    """

    def __init__(
        self,
        session: Session,
        err: Screen,
        confirm: Callable[[str], bool] = lambda text: click.confirm(text, err=True),
    ) -> None:
        self._session = session
        self._err = err
        self._confirm = confirm

    def knows(self, provider_id: str) -> bool:
        return self._spelled(provider_id) is not None

    def _spelled(self, provider_id: str) -> str | None:
        """The id as it is configured; capitals do not count unless two ids differ in them alone."""
        ids = [handle.id for handle in self._session.host.providers]
        if provider_id in ids:
            return provider_id
        return next((each for each in ids if each.lower() == provider_id.lower()), None)

    def run(self, provider_id: str, words: list[str]) -> None:
        """One command.

        Raises:
            ModelbayError: The provider cannot, or its server refused.
        """
        provider_id = self._spelled(provider_id) or provider_id
        try:
            self._do(provider_id, words)
        except BackendUnreachableError as exc:
            exc.hint = _start_hint(self._session.host.registry.handle(provider_id)) or exc.hint
            raise

    def _do(self, provider_id: str, words: list[str]) -> None:
        name, *rest = words or [""]
        yes = not {"-y", "--yes", "-f", "--force"}.isdisjoint(rest)
        target = next((word for word in rest if not word.startswith("-")), "")
        target = target.removeprefix(f"{provider_id}/")
        match name.lower():
            case "" | "status":
                self._status(provider_id)
            case "list" | "ls":
                self._list(provider_id)
            case "ps":
                self._ps(provider_id)
            case "pull" | "get" if target:
                self._act(provider_id, Pull(model=target))
                self._err.line(f"✓ {target} ready", style="good")
            case "show" if target:
                self._show(provider_id, target)
            case "remove" | "rm" | "delete" if target:
                self._remove(provider_id, target, yes=yes)
            case _:
                self._err.line(HELP.replace("/PROVIDER", f"/{provider_id}"))

    def _status(self, provider_id: str) -> None:
        handle = self._session.host.registry.handle(provider_id)
        entry = self._session.run(self._session.host.refresh(provider_id, force=True)).provider(
            provider_id
        )
        assert entry is not None  # the handle is there
        address = shown_url(entry.base_url) if entry.base_url else ""
        if entry.problem is not None:
            self._err.line(f"{provider_id}: {entry.status}: {entry.problem.message}")
            if hint := _hint(handle, entry.problem):
                self._err.line(f"hint: {hint}", style="dim")
            return
        server = self._server(handle)
        place = f"running at {address}" if address else "running"
        self._err.line(" ".join(part for part in (f"{provider_id}:", server, place) if part))
        self._ps(provider_id, title="Loaded")
        self._rows("Available", [_available(model) for model in entry.models])

    def _server(self, handle: ProviderHandle) -> str:
        if handle.table is None or "health" not in handle.table.actions:
            return ""
        events = self._session.host.manage(handle.id, Health())
        report = self._session.run(outcome_of(events, HealthReport))
        if report is None:
            return ""
        if not report.version or report.version in report.server:  # many say it in their name
            return report.server
        return f"{report.server} {report.version}".strip()

    def _list(self, provider_id: str) -> None:
        catalog: Catalog = self._session.run(self._session.host.refresh(provider_id, force=True))
        entry = catalog.provider(provider_id)
        models = () if entry is None else entry.models
        self._rows("", [_available(model) for model in models])
        if entry is not None and entry.problem is not None:
            handle = self._session.host.registry.handle(provider_id)
            hint = _hint(handle, entry.problem)
            self._err.line(facts.problem(entry.problem.model_copy(update={"hint": hint})))

    def _ps(self, provider_id: str, title: str = "") -> None:
        events = self._session.host.manage(provider_id, Running())
        running = self._session.run(outcome_of(events, RunningModels))
        models = () if running is None else running.models
        if models:
            self._rows(title, [_in_memory(model) for model in models])
        else:
            self._err.line("nothing is in memory", style="dim")

    def _show(self, provider_id: str, name: str) -> None:
        events = self._session.host.manage(provider_id, Show(model=name))
        details = self._session.run(outcome_of(events, ModelDetails))
        self._rows(name, [] if details is None else facts.flattened(details.details))

    def _remove(self, provider_id: str, name: str, *, yes: bool) -> None:
        self._session.host.manage(provider_id, Delete(model=name))  # refuses before the question
        if yes or (self._is_there(provider_id, name) and self._agreed(f"{provider_id}/{name}")):
            self._act(provider_id, Delete(model=name))
            self._err.line(f"{provider_id}/{name} is deleted")

    def _is_there(self, provider_id: str, name: str) -> bool:
        """Nobody is asked about a model that is not there.

        Raises:
            ModelbayError: The server knows no such model, or cannot be asked.
        """
        host = self._session.host
        catalog = self._session.run(host.refresh(provider_id, force=True))
        entry, handle = catalog.provider(provider_id), host.registry.handle(provider_id)
        if host.registry.find(f"{provider_id}/{name}") is not None:
            return True
        if handle.table is not None and "show" in handle.table.actions:
            # It may be another spelling, which only the server can tell.
            self._session.run(outcome_of(host.manage(provider_id, Show(model=name)), ModelDetails))
            return True
        if entry is not None and entry.problem is not None:
            return True  # its list cannot be read; the server itself will say
        raise UnknownModelError(f"{provider_id} has no model '{name}'", hint=f"/{provider_id} list")

    def _agreed(self, model: str) -> bool:
        """A line that is broken off, by Ctrl-C or Ctrl-D, is a no."""
        try:
            return self._confirm(f"Delete {model}?")
        except (click.Abort, EOFError, KeyboardInterrupt):
            self._err.line()
            return False

    def _act(self, provider_id: str, action: Action) -> None:
        events = self._session.host.manage(provider_id, action)
        self._session.run(follow(events, self._err))

    def _rows(self, title: str, rows: list[list[str]]) -> None:
        if not rows:
            return
        if title:
            self._err.line(title, style="bold")
        for line in aligned(rows):
            self._err.line(f"  {line}")


def _start_hint(handle: ProviderHandle) -> str:
    return "" if handle.table is None else handle.table.start_hint


def _hint(handle: ProviderHandle, problem: Problem) -> str | None:
    """How to start it where nothing answers; else what the problem says itself."""
    start = _start_hint(handle) if problem.code == BackendUnreachableError.code else ""
    return start or problem.hint


def _available(model: ModelInfo) -> list[str]:
    where = "remote" if model.origin == "remote" else model.state
    words = [facts.size(model), model.family or "", model.quantization or ""]
    return [model.ref.wire_id, where, *words]


def _in_memory(model: RunningModel) -> list[str]:
    left_s = model.expires_in_s
    idle = "" if left_s is None else f"unloads in {figures.duration(left_s)}"
    vram = "" if model.vram_bytes is None else f"{figures.size(model.vram_bytes)} VRAM"
    size = "" if model.size_bytes is None else figures.size(model.size_bytes)
    context = "" if model.context is None else f"{figures.tokens(model.context)} context"
    return [model.wire_id, model.state, size, vram, context, idle]


def greeting(catalog: Catalog) -> list[str]:
    """A line for each provider that was found (S4-27)."""
    lines = []
    for entry in catalog.providers:
        if entry.hidden:
            continue
        count = len(entry.models)
        found = f"{count} model{'' if count == 1 else 's'}"
        place = f" at {shown_url(entry.base_url)}" if entry.base_url else ""
        state = found if entry.problem is None else f"{entry.status}: {entry.problem.message}"
        lines.append(f"{entry.label}{place}: {state}")
    return lines


def switched(model: ModelInfo, label: str, *, is_listed: bool = True) -> str:
    """``Switched to codestral:22b (local, Ollama)`` (S4-93)."""
    if not is_listed:
        return f"Switched to {model.ref.wire_id} ({label} does not list it)"
    where = "local" if model.origin != "remote" else "remote"
    return f"Switched to {model.ref.wire_id} ({where}, {label})"
