"""What the kit found: levels, a JSON document and a badge.

A level stands on groups of checks, and every higher one on those of the lower ones too:

- **bronze**: `packaging`, `declaration`, `capability`, `discovery`, `chat`, `prompt`, `secrecy`. It
  can be installed, its table and its target are true, it lists, asks and answers, and it keeps
  secrets.
- **silver**: and `stream`, `closing`, `interruption`, `tool`, `reasoning`, `error`, `hygiene`.
  Whatever bytes arrive and whenever they stop, the caller learns the truth.
- **gold**: and `deadline`, `management`, `feature`, `media`, `isolation`, `performance`, `soak`.
  All of the kit, and two hundred turns in a row.

A check that a target's declaration or a missing hook rules out counts as held: that the refusal is
typed, and that the declaration is no pretext, are checks of their own. One that is skipped for any
other reason is broken. One that is expected to fail does not.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from modelbay.models.frozen import JsonObject
from modelbay.testing.conformance.capabilities import CapabilityChecks
from modelbay.testing.conformance.chat import ChatChecks
from modelbay.testing.conformance.closing import ClosingChecks
from modelbay.testing.conformance.deadlines import DeadlineChecks
from modelbay.testing.conformance.declarations import DeclarationChecks
from modelbay.testing.conformance.digest import kit_digest
from modelbay.testing.conformance.discovery import DiscoveryChecks
from modelbay.testing.conformance.errors import ErrorChecks
from modelbay.testing.conformance.features import FeatureChecks, ReasoningChecks, ToolChecks
from modelbay.testing.conformance.hygiene import HygieneChecks
from modelbay.testing.conformance.interruption import InterruptionChecks
from modelbay.testing.conformance.isolation import IsolationChecks, SecrecyChecks
from modelbay.testing.conformance.kit import Kit, group_name
from modelbay.testing.conformance.management import ManagementChecks
from modelbay.testing.conformance.media import MediaChecks
from modelbay.testing.conformance.packaging import PackagingChecks
from modelbay.testing.conformance.performance import PerformanceChecks
from modelbay.testing.conformance.prompts import PromptChecks
from modelbay.testing.conformance.soak import SoakChecks
from modelbay.testing.conformance.streaming import StreamChecks

Level: TypeAlias = Literal["bronze", "silver", "gold"]
Verdict: TypeAlias = Literal["held", "broken", "ruled_out", "excused"]

LEVELS: tuple[Level, ...] = get_args(Level)
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
GROUPS: dict[Level, tuple[type[Kit], ...]] = {
    "bronze": (
        PackagingChecks,
        DeclarationChecks,
        CapabilityChecks,
        DiscoveryChecks,
        ChatChecks,
        PromptChecks,
        SecrecyChecks,
    ),
    "silver": (
        StreamChecks,
        ClosingChecks,
        InterruptionChecks,
        ToolChecks,
        ReasoningChecks,
        ErrorChecks,
        HygieneChecks,
    ),
    "gold": (
        DeadlineChecks,
        ManagementChecks,
        FeatureChecks,
        MediaChecks,
        IsolationChecks,
        PerformanceChecks,
        SoakChecks,
    ),
}
__all__ = ["GROUPS", "LEVELS", "VERDICTS", "CheckResult", "Report", "group_name", "kit_digest"]
OWN = "own"  # the group of checks that an author added

_COLORS = {"bronze": "#b0703c", "silver": "#8a8d91", "gold": "#c39a13", None: "#c0392b"}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check, or one set of parameters of it.

    Attributes:
        name: With the parameters: ``test_a_cut_is_an_error[7]``.
        reason: What was seen, for a broken one; the declaration, for one that is ruled out.
    """

    name: str
    verdict: Verdict
    reason: str = ""
    took_s: float = 0.0

    @property
    def check(self) -> str:
        """The name without parameters."""
        return self.name.partition("[")[0]

    @property
    def group(self) -> str:
        return group_of(self.check)


@dataclass(frozen=True, slots=True)
class Report:
    """The results for one plugin.

    Attributes:
        asked: The level whose groups were run.
        digest: Of the kit; only results of one digest can be compared.
        core: Version of modelbay-core.
    """

    kind: str
    dist: str
    version: str
    asked: Level
    results: tuple[CheckResult, ...]
    digest: str
    core: str

    @property
    def level(self) -> Level | None:
        """The highest level that holds, of those that were asked for."""
        reached: Level | None = None
        for level in LEVELS[: LEVELS.index(self.asked) + 1]:
            if self.missing(level):
                break
            reached = level
        return reached

    @property
    def passed(self) -> bool:
        return self.level == self.asked

    def missing(self, level: Level) -> tuple[str, ...]:
        """Checks of this level's own groups that do not hold, or were not run at all."""
        wanted = {name for group in GROUPS[level] for name in checks_of(group)}
        bad = {r.check for r in self.results if r.verdict in ("broken", "excused")}
        run = {r.check for r in self.results}
        return tuple(sorted(name for name in wanted if name in bad or name not in run))

    def count(self, verdict: Verdict) -> int:
        return sum(result.verdict == verdict for result in self.results)

    def as_json(self) -> JsonObject:
        """The whole report; ``badge`` is what badge services call an endpoint."""
        return {
            "schema": 1,
            "kind": self.kind,
            "dist": self.dist,
            "version": self.version,
            "core": self.core,
            "kit": self.digest,
            "asked": self.asked,
            "level": self.level,
            "counts": {verdict: self.count(verdict) for verdict in VERDICTS},
            "missing": {level: list(self.missing(level)) for level in self._asked_levels()},
            "checks": [
                {
                    "name": result.name,
                    "group": result.group,
                    "verdict": result.verdict,
                    "reason": result.reason,
                    "took_s": round(result.took_s, 3),
                }
                for result in self.results
            ],
            "badge": {
                "schemaVersion": 1,
                "label": "modelbay",
                "message": self.level or "not yet",
                "color": _COLORS[self.level].removeprefix("#"),
            },
        }

    def as_svg(self) -> str:
        """The badge as an image of its own."""
        message = self.level or "not yet"
        left, right = _width("modelbay"), _width(message)
        label = html.escape(f"modelbay: {message}")
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20"'
            f' role="img" aria-label="{label}"><title>{label}</title>'
            f'<rect width="{left}" height="20" fill="#444"/>'
            f'<rect x="{left}" width="{right}" height="20" fill="{_COLORS[self.level]}"/>'
            '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"'
            ' text-anchor="middle">'
            f'<text x="{left / 2:g}" y="14">modelbay</text>'
            f'<text x="{left + right / 2:g}" y="14">{message}</text></g></svg>\n'
        )

    def _asked_levels(self) -> Sequence[Level]:
        return LEVELS[: LEVELS.index(self.asked) + 1]


def checks_of(group: type[Kit]) -> tuple[str, ...]:
    """Names of a group's checks."""
    return tuple(name for name in vars(group) if name.startswith("test_"))


def group_of(check: str) -> str:
    """The name of the group a check belongs to."""
    for groups in GROUPS.values():
        for group in groups:
            if check in vars(group):
                return group_name(group)
    return OWN


def is_part_of(check: str, level: Level) -> bool:
    """Whether this level asks for this check; an author's own are always asked."""
    upto = LEVELS[: LEVELS.index(level) + 1]
    names = {group_name(group) for one in upto for group in GROUPS[one]}
    return group_of(check) in (names | {OWN})


def _width(text: str) -> int:
    """Pixels of a text in the badge's font, with its margins."""
    return 7 * len(text) + 12
