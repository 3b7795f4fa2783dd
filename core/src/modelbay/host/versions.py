"""The version promise: which plugins are for this core, told from their metadata alone.

`API_VERSION` is the major version of ``modelbay-core``. A plugin's range is its requirement on
``modelbay-core``; what does not admit this core is refused by name and never imported. Only the
little of PEP 440 is here that this takes: `packaging` would cost every start its import.
"""

import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

CORE_DISTRIBUTION = "modelbay-core"
CORE_VERSION = "0.1.0"
API_VERSION = int(CORE_VERSION.partition(".")[0])

Fit: TypeAlias = Literal["fits", "too_new", "too_old", "excluded"]
_Key: TypeAlias = tuple[object, ...]

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*([^;]*)(;.*)?", re.DOTALL)
_CLAUSE = re.compile(r"(===|~=|==|!=|<=|>=|<|>)\s*(\S+)")
_VERSION = re.compile(
    r"""v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)
    (?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_n>\d*))?
    (?:-(?P<post_m>\d+)|[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_n>\d*))?
    (?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_n>\d*))?""",
    re.VERBOSE | re.IGNORECASE,
)
_PRE = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
_FIRST, _LAST = -1, 1  # where what is absent sorts


def core_range(requirements: Iterable[str]) -> str:
    """What a distribution asks of ``modelbay-core``, as it stands in its metadata.

    What only an extra or another marker asks for is no part of it.
    """
    found = []
    for text in requirements:
        match = _REQUIREMENT.match(text)
        if match and not match[3] and _normal(match[1]) == CORE_DISTRIBUTION:
            found.append(match[2].strip().strip("()").strip())
    return ",".join(part for part in found if part)


def fit(asked: str, version: str = CORE_VERSION) -> Fit:
    """Whether a range admits a version of the core, and if not on which side the plugin is.

    A range that cannot be read, such as a URL, is taken to admit it: an installer has judged it.
    """
    for text in filter(None, (part.strip() for part in asked.split(","))):
        clause = _CLAUSE.fullmatch(text)
        verdict = "fits" if clause is None else _clause(clause[1], clause[2], version)
        if verdict != "fits":
            return verdict
    return "fits"


def misfit(what: str, dist: str, dist_version: str, asked: str) -> tuple[str, str] | None:
    """Why a distribution is not for this core and what to type, or ``None`` if it is.

    Args:
        what: Such as ``plugin 'acme'``.
    """
    verdict = fit(asked)
    if verdict == "fits":
        return None
    side = {"too_new": "is too new", "too_old": "is too old", "excluded": "rules this core out"}
    message = (
        f"{what} ({dist} {dist_version}) {side[verdict]}: it is for {CORE_DISTRIBUTION} {asked},"
        f" and this is {CORE_VERSION}"
    )
    away = f"modelbay plugin uninstall {dist}"
    if verdict == "too_old":
        return message, f"modelbay plugin upgrade {dist}   # or: {away}"
    return message, f"{away}   # or upgrade modelbay to a version it is for"


def _clause(operator: str, text: str, version: str) -> Fit:
    prefix = text.removesuffix(".*")
    theirs, ours = _VERSION.fullmatch(prefix), _VERSION.fullmatch(version)
    if operator == "===" or theirs is None or ours is None:
        return "fits" if operator != "===" or text.lower() == version.lower() else "excluded"
    wanted, have = _key(theirs), _key(ours)
    side: Fit = "too_new" if have < wanted else "too_old"
    match operator:
        case "==" | "!=":
            same = _begins(ours, theirs) if prefix != text else have == wanted
            if operator == "!=":
                return "excluded" if same else "fits"
            return "fits" if same else side
        case "~=":
            if have < wanted:
                return "too_new"
            return "fits" if _begins(ours, theirs, without_last=True) else "too_old"
        case ">=":
            return "fits" if have >= wanted else "too_new"
        case "<=":
            return "fits" if have <= wanted else "too_old"
        case ">":
            # A post-release of a version is not above it, unless one is asked for.
            after = _is(ours, "post") and not _is(theirs, "post") and _same_release(ours, theirs)
            return "fits" if have > wanted and not after else "too_new"
        case _:
            # A pre-release of a version is not below it, unless one is asked for.
            early = _before(ours) and not _before(theirs) and _same_release(ours, theirs)
            return "fits" if have < wanted and not early else "too_old"


def _key(match: re.Match[str]) -> _Key:
    """What sorts as PEP 440 says: development, a, b, rc, the release, then post-releases."""
    release = _release(match)
    while len(release) > 1 and release[-1] == 0:
        release = release[:-1]
    post, dev = _is(match, "post"), match["dev"] is not None
    pre: tuple[int, str, int] = (_LAST, "", 0)
    if match["pre"]:
        name = match["pre"].lower()
        pre = (0, _PRE.get(name, name), int(match["pre_n"] or 0))
    elif dev and not post:
        pre = (_FIRST, "", 0)
    after = int(match["post_m"] or match["post_n"] or 0) if post else -1
    during = (0, int(match["dev_n"] or 0)) if dev else (_LAST, 0)
    return (int(match["epoch"] or 0), release, pre, after, during)


def _release(match: re.Match[str]) -> tuple[int, ...]:
    return tuple(map(int, match["release"].split(".")))


def _is(match: re.Match[str], part: Literal["post"]) -> bool:
    return match[part] is not None or match["post_m"] is not None


def _before(match: re.Match[str]) -> bool:
    return match["pre"] is not None or match["dev"] is not None


def _same_release(one: re.Match[str], other: re.Match[str]) -> bool:
    return _key(one)[:2] == _key(other)[:2]


def _begins(ours: re.Match[str], theirs: re.Match[str], *, without_last: bool = False) -> bool:
    """Whether our release begins like theirs: ``==1.2.*``, and ``~=1.2`` without its last."""
    start = _release(theirs)
    if without_last:
        start = start[:-1]
    have = _release(ours)
    have += (0,) * (len(start) - len(have))
    return int(ours["epoch"] or 0) == int(theirs["epoch"] or 0) and have[: len(start)] == start


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
