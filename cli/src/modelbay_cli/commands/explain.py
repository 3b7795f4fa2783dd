"""`modelbay explain`: every layer's word on what a model can do."""

import difflib
import time
from typing import Any

import click

from modelbay.host.host import Explanation
from modelbay.models.capabilities import FACT_NAMES, Provenance
from modelbay_cli import facts, figures
from modelbay_cli.options import deadline_option, examples, json_option, verbose_option
from modelbay_cli.output import NOTHING, Screen, Section, table
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay explain desk/qwen3",
        "modelbay explain desk/qwen3 context_window",
        "modelbay explain desk/qwen3 --json",
    )
)
@click.argument("ref")
@click.argument("field", default="")
@json_option
@deadline_option
@verbose_option
def command(ref: str, field: str, as_json: bool, deadline_s: float | None) -> None:
    """Explain what is known of a model: each field's value, who says so, why, and how long ago.

    The first line of a field counts; those after it are hidden by it. The user wins over what was
    measured (modelbay verify), that over the server, that over the plugin's table, that over
    defaults.
    """
    if field and field not in FACT_NAMES:
        near = difflib.get_close_matches(field, FACT_NAMES, 1)
        known = f"did you mean {near[0]}?" if near else f"known: {', '.join(FACT_NAMES)}"
        raise click.BadParameter(f"there is no field '{field}'; {known}", param_hint="FIELD")
    with Session(deadline_s=deadline_s) as session:
        explanation = session.run(session.host.explain(ref))
        entry = session.host.catalog.provider(explanation.ref.provider_id)
        live_s = None if entry is None else entry.age_s
    rows = [row for row in _rows(explanation, live_s) if field in ("", row["field"])]
    out = Screen.stdout()
    if as_json:
        out.json(rows)
        return
    cells = [
        [
            row["field"],
            facts.worded(row["value"]),
            row["source"],
            row["where"],
            NOTHING if row["age_s"] is None else figures.duration(row["age_s"]),
            "" if row["wins"] else "hidden",
        ]
        for row in rows
    ]
    title = str(explanation.ref)
    table(out, ("FIELD", "VALUE", "SOURCE", "WHERE", "AGE", "NOTE"), [Section(cells, title)])


def _rows(explanation: Explanation, live_s: float | None) -> list[dict[str, Any]]:
    """One field's voices together, the strongest first."""
    voices: dict[str, list[tuple[object, Provenance]]] = {}
    for field, value, origin in explanation.voices:
        voices.setdefault(field, []).append((value, origin))
    for field, origin in explanation.capabilities.provenance.items():
        voices.setdefault(field, [(getattr(explanation.capabilities, field), origin)])
    return [
        {
            "field": field,
            "value": _plain(value),
            "source": origin.layer,
            "where": origin.evidence,
            "age_s": _age_s(origin, live_s),
            "wins": place == 0,
        }
        for field, said in voices.items()
        for place, (value, origin) in enumerate(said)
    ]


def _age_s(origin: Provenance, live_s: float | None) -> float | None:
    if origin.at is not None:
        return round(max(0.0, time.time() - origin.at), 1)
    return round(live_s, 1) if origin.layer == "live" and live_s is not None else None


def _plain(value: object) -> object:
    """A value as JSON has it."""
    dump = getattr(value, "model_dump", None)
    return value if dump is None else dump(mode="json", exclude_none=True)
