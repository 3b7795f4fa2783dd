"""A pytest module from a recording: what was asked, and what the host makes of the answers now."""

import keyword
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelbay.errors import ConfigError, ModelbayError
from modelbay.models.chat import ChatRequest
from modelbay.models.events import StreamEvent
from modelbay.models.frozen import JsonObject
from modelbay.testing.recording.folder import read_folder
from modelbay.testing.recording.form import RecordedExchange, providers_of
from modelbay.testing.recording.literal import literal, names_in
from modelbay.testing.recording.replay import Replay
from modelbay.testing.recording.replayer import Miss
from modelbay.testing.recording.turn import UntellableError, asked, body_of
from modelbay.testing.streams import joined

_OPENING = '"""What was recorded is asked again: the answers are read as they were."""'
_TRIES = 3  # the first tells what else of the body has to be said
_PLACE = re.compile(r"body /([^/]+)")
_NO_WORD = re.compile(r"\W+")
_EVENTS = frozenset(
    {
        "ErrorEvent",
        "Finish",
        "Notice",
        "ReasoningDelta",
        "Status",
        "TextDelta",
        "Timings",
        "ToolCall",
        "ToolCallDelta",
        "Usage",
    }
)


@dataclass(frozen=True, slots=True)
class WrittenTest:
    """What became of a recording.

    Attributes:
        tests: The names of the tests.
        left_out: Why there is none for an exchange or a provider.
    """

    tests: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Turn:
    exchange: RecordedExchange
    request: ChatRequest
    events: list[StreamEvent]
    whole: bool  # every event is the same each time


def write_test(recording: Path, path: Path) -> WrittenTest:
    """Write a module that asks the recording again, as the plugins installed now do it.

    There is a test for each provider whose list of models was recorded, and for each chat. What
    they compare with is what comes out now: read it before you believe it.

    Raises:
        ConfigError: The recording cannot be read, or nothing of it can be asked again; or there is
            a file already that was not written here.
        OSError: The file cannot be written.
    """
    exchanges = read_folder(recording)
    if path.exists() and not path.read_bytes().startswith(_OPENING.encode()):
        raise ConfigError(
            "there is another file already, which was not written from a recording",
            where=str(path),
            hint=f"modelbay replay {recording} --as-test test_recorded.py",
        )
    tests: list[tuple[str, str]] = []
    left_out: list[str] = []
    used: set[str] = set()
    for provider_id in providers_of(exchanges):
        try:
            with Replay(exchanges, provider_ids=[provider_id]) as replay:
                models = replay.models(provider_id)
            with Replay(exchanges, provider_ids=[provider_id]) as replay:
                if replay.models(provider_id) != models:
                    left_out.append(f"the models of {provider_id}: they are different each time")
                    continue
        except ModelbayError as exc:
            left_out.append(f"the models of {provider_id}: {exc.message}")
        else:
            name = f"test_{_word(provider_id)}_lists_its_models_as_recorded"
            tests.append((name, _models_test(name, provider_id, models)))
    for exchange in exchanges:
        if body_of(exchange) is None:
            continue
        try:
            turn = _turn(exchange, exchanges)
        except UntellableError as exc:
            left_out.append(f"exchange {exchange.number}: {exc}")
            continue
        name = f"test_exchange_{exchange.number}_is_answered_as_recorded"
        tests.append((name, _turn_test(name, turn)))
        used |= names_in(turn.request) | names_in(turn.events)
        used |= set() if turn.whole else {"joined"}
    if not tests:
        raise ConfigError(
            "nothing of this recording can be asked again",
            where=str(recording),
            hint="; ".join(left_out) or "record a chat: modelbay record -- modelbay chat hello",
        )
    head = _head(recording, path, used)
    path.write_text(head + "".join(f"\n\n{body}" for _, body in tests), encoding="utf-8")
    return WrittenTest(tuple(name for name, _ in tests), tuple(left_out))


def _turn(exchange: RecordedExchange, exchanges: Sequence[RecordedExchange]) -> _Turn:
    """The request that leads to this exchange, and what comes of it.

    Raises:
        UntellableError: None was found.
    """
    body = body_of(exchange) or {}
    extra: JsonObject = {}
    for _ in range(_TRIES):
        request = asked(exchange, extra)
        events, served, misses = _ask(request, exchanges, exchange.provider_id)
        if exchange.number in served:
            again, _, _ = _ask(request, exchanges, exchange.provider_id)
            whole = again == events
            if not whole and joined(again) != joined(events):
                raise UntellableError("its events are different each time")
            return _Turn(exchange, request, events if whole else joined(events), whole)
        missing = _missing(exchange, misses)
        if not missing or missing & {"messages", "model", "stream", "tools"} - extra.keys():
            break
        if not missing <= body.keys() - extra.keys():
            break
        extra = {**extra, **{name: body[name] for name in sorted(missing)}}
    if misses:
        raise UntellableError(str(misses[-1]))
    twins = [each.number for each in exchanges if each.request == exchange.request]
    if twins[0] != exchange.number:
        raise UntellableError(f"it asks the same as exchange {twins[0]}")
    raise UntellableError("the host does not come to ask it; were the models recorded too?")


def _ask(
    request: ChatRequest, exchanges: Sequence[RecordedExchange], provider_id: str
) -> tuple[list[StreamEvent], list[int], list[Miss]]:
    with Replay(exchanges, provider_ids=[provider_id]) as replay:
        events = replay.events(request)
        return events, replay.served(provider_id), replay.misses


def _missing(exchange: RecordedExchange, misses: Sequence[Miss]) -> set[str]:
    """The members of the body that differed, where nothing else did."""
    near = [miss for miss in misses if miss.nearest.number == exchange.number]
    if not near:
        return set()
    places = [_PLACE.match(where) for where in near[-1].differs]
    return {found[1] for found in places if found is not None} if all(places) else set()


def _head(recording: Path, path: Path, used: set[str]) -> str:
    place = Path(os.path.relpath(recording.resolve(), path.resolve().parent)).as_posix()
    ours = sorted(used & {"ChatRequest", "ImagePart", "Message", "Tool"})
    chat = sorted(used & {"TextPart"})
    events = sorted(used & _EVENTS)
    lines = [
        _OPENING,
        "",
        "from pathlib import Path",
        "",
        *_import("modelbay", ours),
        *_import("modelbay.models.chat", chat),
        *_import("modelbay.models.events", events),
        "from modelbay.testing import Replay",
        *_import("modelbay.testing.streams", ["joined"] if "joined" in used else []),
        "",
        f"RECORDED = Path(__file__).parent / {literal(place)}",
    ]
    return "\n".join(lines) + "\n"


def _import(module: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= 79:
        return [line]
    return [f"from {module} import (", *(f"    {name}," for name in names), ")"]


def _models_test(name: str, provider_id: str, models: list[JsonObject]) -> str:
    expected = "[]" if not models else literal(models, 4, len("assert models == "))
    return (
        f"def {name}() -> None:\n"
        f"    with Replay(RECORDED, provider_ids=[{literal(provider_id)}]) as replay:\n"
        f"        models = replay.models({literal(provider_id)})\n\n"
        f"    assert models == {expected}\n"
    )


def _turn_test(name: str, turn: _Turn) -> str:
    found = "events" if turn.whole else "joined(events)"
    provider_id = literal(turn.exchange.provider_id)
    return (
        f"def {name}() -> None:\n"
        f"    request = {literal(turn.request, 4, len('request = '))}\n"
        f"    with Replay(RECORDED, provider_ids=[{provider_id}]) as replay:\n"
        f"        events = replay.events(request)\n\n"
        f"    assert {found} == {literal(turn.events, 4, len(f'assert {found} == '))}\n"
    )


def _word(text: str) -> str:
    word = _NO_WORD.sub("_", text).lower()
    return f"{word}_" if keyword.iskeyword(word) else word
