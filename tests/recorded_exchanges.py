"""Reads the recorded exchanges in `tests/recorded/`: what a real server was asked and answered.

The format: comment lines begin with "# "; ">>> REQUEST" opens a request, "<<< RESPONSE (seconds)"
its answer; stream bodies are shown after chunked decoding; markers in brackets say what was left
out.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RECORDED = Path(__file__).parent / "recorded"

_REQUEST, _RESPONSE = ">>> REQUEST", "<<< RESPONSE"
_PART_OF_A_BODY = ("# HELP ", "# TYPE ", "# +")  # metrics, and times within a stream
_CUT_TEXT = re.compile(r"\[cut: (\d+) more characters\]")
_CUT_NUMBERS = re.compile(r",\[cut: \d+ more numbers\]")
_CUT_EVENTS = re.compile(r"\[cut: (\d+) more events like these\]")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `body` is text, chunks joined; `ended` False: the client left first."""

    status: int
    headers: Mapping[str, str]
    body: str
    ended: bool

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One exchange. `answer` is None when the client gave up before any byte came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: str
    answer: Answer | None
    remarks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Transcript:
    """One file: what it is about, the command line of the server, the exchanges in order."""

    name: str
    title: str
    server: str
    exchanges: Sequence[Recorded]


def transcripts(folder: str) -> list[Transcript]:
    """All transcripts below `tests/recorded/<folder>`, by name."""
    root = RECORDED / folder
    paths = sorted(p for p in root.rglob("*.txt") if p.name != "00-index.txt")
    return [read_transcript(p, str(p.relative_to(root).with_suffix(""))) for p in paths]


def recorded(server: str, name: str) -> list[Recorded]:
    """The exchanges of the first transcript whose name begins so."""
    path = next((RECORDED / server).rglob(f"{name}*.txt"))
    return list(read_transcript(path, name).exchanges)


def read_transcript(path: Path, name: str) -> Transcript:
    lines = path.read_text(encoding="utf-8").split("\n")
    title = lines[0].removeprefix("# ")
    server = next((s.removeprefix("# server: ") for s in lines if s.startswith("# server: ")), "")
    return Transcript(name, title, server, list(_exchanges(lines)))


def _exchanges(lines: Sequence[str]) -> Iterator[Recorded]:
    remarks: list[str] = []
    at = 0
    while at < len(lines):
        if lines[at] != _REQUEST:
            if lines[at].startswith("#"):
                remarks.append(lines[at].removeprefix("#").strip())
            at += 1
            continue
        opened = at + 1
        answered = next(i for i in range(opened, len(lines)) if lines[i].startswith(_RESPONSE))
        at = next((i for i in range(answered + 1, len(lines)) if _ends_body(lines[i])), len(lines))
        yield _exchange(lines[opened:answered], lines[answered:at], remarks)
        remarks = []


def _ends_body(line: str) -> bool:
    return line == _REQUEST or (line.startswith("# ") and not line.startswith(_PART_OF_A_BODY))


def _exchange(request: Sequence[str], answer: Sequence[str], remarks: list[str]) -> Recorded:
    method, _, rest = request[0].partition(" ")
    headers, body = _message(request[1:])
    return Recorded(
        method,
        rest.removesuffix(" HTTP/1.1"),
        headers,
        _expand(body),
        _answer(answer[0], answer[1:]),
        remarks,
    )


def _answer(opening: str, lines: Sequence[str]) -> Answer | None:
    if lines[0] == "[no answer]":
        return None
    headers, body = _message(lines[1:])
    return Answer(int(lines[0].split(" ")[1]), headers, body, "closed by the client" not in opening)


def _message(lines: Sequence[str]) -> tuple[dict[str, str], str]:
    blank = list(lines).index("") if "" in lines else len(lines)
    headers = {}
    for line in lines[:blank]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return headers, "\n".join(lines[blank + 1 :]).rstrip("\n")


def _expand(body: str) -> str:
    """Put back what was left out of a repetitive request: ``word word [cut: ...]``."""
    found = _CUT_TEXT.search(body)
    if found is None:
        return body
    count = int(found.group(1))
    return body[: found.start()] + ("word " * count)[:count] + body[found.end() :]


# what to compare


def parsed(text: str) -> object:
    """A JSON body, with the markers for left-out numbers removed. None if it is not JSON."""
    try:
        value: object = json.loads(_CUT_NUMBERS.sub("", text))
    except ValueError:
        return None
    return value


def shape(value: object) -> str:
    """Keys and types of a JSON value, recursively; lists by the shapes of what is in them."""
    match value:
        case dict():
            items = sorted(
                ("URL" if k.startswith("http") else k, shape(v)) for k, v in value.items()
            )
            return "{" + ",".join(f"{k}:{s}" for k, s in items) + "}"
        case list():
            return "[" + "|".join(sorted({shape(item) for item in value})) + "]"
        case bool():
            return "bool"
        case None:
            return "null"
        case str():
            return "str"
        case _:
            return "num"


def literals(value: object, names: frozenset[str], path: str = "") -> dict[str, object]:
    """The values of fields with these names, by path."""
    found: dict[str, object] = {}
    if isinstance(value, dict):
        for key, item in value.items():
            here = f"{path}/{key}"
            if key in names and not isinstance(item, dict | list):
                found[here] = item
            found |= literals(item, names, here)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            found |= literals(item, names, f"{path}/{at}")
    return found


def event_shapes(body: str) -> list[str]:
    """The events of a stream by their shape, in order; "..." where some were left out."""
    shapes: list[str] = []
    for block in body.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith("# +")]
        if not lines:
            continue
        if _CUT_EVENTS.fullmatch(lines[0]):
            shapes.append("...")
        else:
            shapes.append(" ".join(map(_line_shape, lines)))
    return shapes


def _line_shape(line: str) -> str:
    if not line.startswith("data: "):
        return line
    value = parsed(line.removeprefix("data: "))
    return line if value is None else shape(value)


def runs(shapes: Sequence[str]) -> list[str]:
    """The same with repetitions taken together."""
    return [s for at, s in enumerate(shapes) if at == 0 or shapes[at - 1] != s]
