"""How a request differs from a recorded one, without showing what is in either."""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import parse_qsl, unquote

from pydantic import JsonValue

from modelbay.testing.recording.form import RecordedBody, RecordedRequest
from modelbay.testing.recording.redaction import BLOT
from modelbay.testing.request import Request


def differences(recorded: RecordedRequest, request: Request) -> list[str]:
    """The places where they differ: ``method``, ``path``, ``query NAME``, ``body /POINTER``.

    JSON is compared by value. A blot stands for whatever was there. Headers are not compared.
    """
    found: list[str] = []
    path, _, query = recorded.target.partition("?")
    if recorded.method != request.method:
        found.append(f"method (recorded: {recorded.method})")
    if not _same(unquote(path), request.path):
        found.append(f"path (recorded: {path})")
    found += _queries(query, request.target.partition("?")[2])
    return found + [f"body {place or '/'}" for place in _bodies(recorded.body, request.body)]


def _queries(recorded: str, sent: str) -> Iterator[str]:
    ours, theirs = _fields(recorded), _fields(sent)
    for name in sorted(ours.keys() | theirs.keys()):
        before, now = ours.get(name, []), theirs.get(name, [])
        if len(before) != len(now) or not all(map(_same, before, now)):
            yield f"query {name}"


def _fields(query: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return found


def _bodies(recorded: RecordedBody, sent: bytes) -> Iterator[str]:
    if recorded.omitted is not None:
        return
    if recorded.is_json:
        try:
            value: JsonValue = json.loads(sent)
        except (ValueError, RecursionError):
            yield ""
        else:
            yield from _values(recorded.value, value, "")
        return
    before, now = (data.decode("utf-8", "surrogateescape") for data in (recorded.data, sent))
    if not _same(before, now):
        yield ""


def _values(recorded: JsonValue, sent: JsonValue, place: str) -> Iterator[str]:
    match recorded, sent:
        case _ if recorded == BLOT or (recorded == [BLOT] and isinstance(sent, list)):
            return  # it stands for a number or a list too
        case dict(), dict():
            for name in sorted(recorded.keys() | sent.keys()):
                here = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
                if name not in recorded or name not in sent:
                    yield here
                else:
                    yield from _values(recorded[name], sent[name], here)
        case list(), list() if len(recorded) == len(sent):
            for at, (before, now) in enumerate(zip(recorded, sent, strict=True)):
                yield from _values(before, now, f"{place}/{at}")
        case str(), str():
            if not _same(recorded, sent):
                yield place
        case _:
            if type(recorded) is bool or type(sent) is bool:  # 1 == True, and not in JSON
                if recorded is not sent:
                    yield place
            elif recorded != sent:
                yield place


def _same(recorded: str, sent: str) -> bool:
    if recorded == sent:
        return True
    return BLOT in recorded and _pattern(recorded).fullmatch(sent) is not None


@lru_cache(maxsize=256)
def _pattern(recorded: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, recorded.split(BLOT))), re.DOTALL)
