"""`modelbay ps`: what is in memory, asked of every provider side by side."""

import asyncio

import click

from modelbay import Host, ModelbayError, ModelRef
from modelbay.models.catalog import Problem
from modelbay.models.manage import Running, RunningModel, RunningModels
from modelbay_cli import facts, figures
from modelbay_cli.actions import MANAGEMENT_S, outcome_of, require_lasting
from modelbay_cli.options import deadline_option, examples, json_option, verbose_option
from modelbay_cli.output import NOTHING, Screen, Section, table
from modelbay_cli.session import Session

_COLUMNS = ("MODEL", "STATE", "SIZE", "VRAM", "CONTEXT", "STREAMS", "UNLOADS IN", "NOTE")

_Answer = tuple[str, tuple[RunningModel, ...], Problem | None]


@click.command(
    epilog=examples(
        "modelbay ps",
        "modelbay ps desk",
        "modelbay ps --json",
    )
)
@click.argument("provider_id", metavar="[PROVIDER]", default="")
@json_option
@deadline_option
@verbose_option
def command(provider_id: str, as_json: bool, deadline_s: float | None) -> None:
    """List the models in memory, of every provider that can tell or of the one named.

    A provider that fails is a row with its problem.
    """
    limit_s = deadline_s or MANAGEMENT_S
    with Session() as session:
        if provider_id:
            models = session.run(_running(session.host, provider_id, limit_s))
            answers: list[_Answer] = [(provider_id, models, None)]
        else:
            answers = session.run(_everywhere(session.host, limit_s))
    if as_json:
        Screen.stdout().json({"providers": [_json(*answer) for answer in answers]})
        return
    sections = [_section(*answer) for answer in answers]
    if any(section.rows or section.problem for section in sections):
        table(Screen.stdout(), _COLUMNS, sections)
    else:
        Screen.stderr().line("no model is in memory: modelbay load REF", style="dim")


async def _running(host: Host, provider_id: str, limit_s: float) -> tuple[RunningModel, ...]:
    require_lasting(host, provider_id)
    events = host.manage(provider_id, Running(), deadline_s=limit_s)
    outcome = await outcome_of(events, RunningModels)
    return () if outcome is None else outcome.models


async def _everywhere(host: Host, limit_s: float) -> list[_Answer]:
    able = [
        handle
        for handle in host.providers
        if handle.table is not None
        and "running" in handle.table.actions
        and not handle.table.lives_with_host
    ]
    results = await asyncio.gather(
        *(_running(host, handle.id, limit_s) for handle in able), return_exceptions=True
    )
    answers: list[_Answer] = []
    for handle, result in zip(able, results, strict=True):
        if isinstance(result, ModelbayError):
            # A proposal that nobody confirmed and that does not answer is not there.
            if not handle.config.implicit:
                problem = Problem(code=result.code, message=result.message, hint=result.hint)
                answers.append((handle.id, (), problem))
        elif isinstance(result, BaseException):
            raise result
        else:
            answers.append((handle.id, result, None))
    return answers


def _section(
    provider_id: str, models: tuple[RunningModel, ...], problem: Problem | None
) -> Section:
    if problem is not None:
        return Section([], problem=(provider_id, "down", facts.problem(problem)))
    rows = [
        [
            str(ModelRef(provider_id, model.wire_id)),
            model.state,
            figures.size(model.size_bytes),
            figures.size(model.vram_bytes),
            figures.tokens(model.context),
            NOTHING if model.active_streams is None else str(model.active_streams),
            NOTHING if model.expires_in_s is None else figures.duration(model.expires_in_s),
            NOTHING,
        ]
        for model in models
    ]
    return Section(rows)


def _json(
    provider_id: str, models: tuple[RunningModel, ...], problem: Problem | None
) -> dict[str, object]:
    return {
        "id": provider_id,
        "problem": None if problem is None else problem.model_dump(mode="json"),
        "models": [
            {"id": str(ModelRef(provider_id, model.wire_id)), **model.model_dump(mode="json")}
            for model in models
        ],
    }
