"""Does again what the recording client did, and brings answers into a form to compare.

What differs from run to run is replaced: moments, durations, speeds, random ids, vectors, pictures,
the jokes in the loading text, the words of a child's own log. All the rest is compared whole.
"""

import base64
import functools
import gzip
import http.client
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelbay_llamaswap.simulator import LlamaSwapSimulator
from recorded_exchanges import Answer, Recorded, Transcript, parsed

_ANY = Answer(0, {}, "", ended=True)
_PATIENCE_S = 10
_SILENCE_S = 0.1  # how long nothing has to come where nothing may come


# the client


@dataclass
class World:
    """A running simulator, and what goes on beside the exchange under test."""

    sim: LlamaSwapSimulator
    transcript: Transcript
    threads: list[threading.Thread] = field(default_factory=list)
    early: dict[int, "Pending"] = field(default_factory=dict)

    def beside(self, work: Callable[[], object]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.threads.append(thread)

    def begin(self, index: int) -> None:
        """Send an exchange before its turn."""
        self.early[index] = Pending(self.sim, self.transcript.exchanges[index])

    def ask(self, method: str, target: str, body: object = None) -> Answer | None:
        text = "" if body is None else json.dumps(body)
        headers = {"content-type": "application/json"} if text else {}
        return send(self.sim, Recorded(method, target, headers, text, _ANY, []))

    def chat(self, model: str, **more: object) -> None:
        self.ask("POST", "/v1/chat/completions", chat_body(model, **more))

    def chat_beside(self, model: str, **more: object) -> None:
        self.beside(lambda: self.chat(model, **more))

    def wait(self, predicate: Callable[[], bool]) -> None:
        self.sim.wait_until(predicate, _PATIENCE_S)

    def wait_state(self, model: str, state: str) -> None:
        self.wait(lambda: self.sim.states[model] == state)

    def finish(self) -> None:
        """Let all go on that hold, and wait for what runs beside."""
        while any(thread.is_alive() for thread in self.threads):
            self.sim.release_held()
            for model in self.sim.states:
                self.sim.finish_load(model)
            for thread in self.threads:
                thread.join(0.05)


def chat_body(model: str, **more: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}


class Pending:
    """An exchange that runs in a thread of its own."""

    def __init__(self, sim: LlamaSwapSimulator, exchange: Recorded) -> None:
        self._answer: Answer | None = None
        self._thread = threading.Thread(target=self._run, args=(sim, exchange), daemon=True)
        self._thread.start()

    def _run(self, sim: LlamaSwapSimulator, exchange: Recorded) -> None:
        self._answer = send(sim, exchange)

    def result(self) -> Answer | None:
        self._thread.join(_PATIENCE_S)
        return self._answer


def send(sim: LlamaSwapSimulator, exchange: Recorded) -> Answer | None:
    """Send what was recorded, and no header more; leave early where the recording did."""
    connection = http.client.HTTPConnection("127.0.0.1", sim.port, timeout=_PATIENCE_S)
    body = _body(exchange)
    connection.putrequest(exchange.method, exchange.target, skip_accept_encoding=True)
    for name, value in exchange.headers.items():
        connection.putheader(name, value)
    connection.putheader("Connection", "close")
    if body or exchange.method in ("POST", "PUT"):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)
    try:
        if exchange.answer is None:
            return _silence(connection)
        response = connection.getresponse()
        with response:
            text, ended = _read(response, exchange.answer)
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, text, ended)
    finally:
        connection.close()


def _silence(connection: http.client.HTTPConnection) -> Answer | None:
    if connection.sock is None:
        raise AssertionError("the connection is closed")
    connection.sock.settimeout(_SILENCE_S)
    try:
        response = connection.getresponse()
    except TimeoutError:
        return None
    return Answer(response.status, {}, "", ended=False)


def _body(exchange: Recorded) -> bytes:
    if exchange.headers.get("content-encoding") == "gzip":
        return gzip.compress(json.dumps(chat_body("tiny")).encode())
    if exchange.headers.get("content-type", "").startswith("multipart/"):
        return (exchange.body + "\n").replace("\n", "\r\n").encode()
    return exchange.body.encode()


def _read(response: http.client.HTTPResponse, expected: Answer) -> tuple[str, bool]:
    """All of it; or, where the recording client left, as much as it had seen."""
    if expected.ended:
        try:
            return response.read().decode(), True
        except http.client.IncompleteRead as exc:
            return exc.partial.decode(), False
    text, wanted = "", len(pieces(expected))
    while line := response.readline().decode():
        text += line
        at_an_end = line == "\n" or not expected.is_stream
        if at_an_end and len(pieces(replace(expected, body=text))) >= wanted:
            break
    return text, False


# what is compared


@dataclass(frozen=True, slots=True)
class Gap:
    """So many events that the recording left out."""

    count: int


_GAP = re.compile(r"\[cut: (\d+) more events like these\]")
_ID = re.compile(r"^(chatcmpl-|resp_|msg_)(?!stub)\w+$")
_VOLATILE = frozenset(
    {
        *("created", "created_at", "completed_at", "timestamp", "duration_ms", "elapsed_ms"),
        *("prompt_ms", "prompt_per_token_ms", "prompt_per_second", "predicted_ms"),
        *("predicted_per_token_ms", "predicted_per_second", "tokens_per_second"),
        *("relevance_score", "media_marker", "chat_template", "embedding", "resp_bytes"),
        *("min", "max", "binSize", "p50", "p95", "p99"),
    }
)
# With one of these in it the length of a body is another each time.
_LENGTHS = (
    *("timings", "embedding", "b64_json", "chat_template", "relevance_score", "timestamp"),
    *("resp_body", "histogram", "[cut", "Request 127.0.0.1"),
)


def whole(answer: Answer) -> dict[str, object]:
    """An answer as it is compared."""
    return {
        "status": answer.status,
        "ended": answer.ended,
        "headers": _headers(answer),
        "body": pieces(answer),
    }


def _headers(answer: Answer) -> dict[str, str]:
    skipped = ("connection", "keep-alive")
    found = {name: value for name, value in answer.headers.items() if name not in skipped}
    if "content-length" in found:
        if answer.status == 204:
            del found["content-length"]  # the testing server sends it, a real one does not
        elif any(mark in answer.body for mark in _LENGTHS):
            found["content-length"] = "(some)"
    return found


def pieces(answer: Answer) -> list[object]:
    """The body in parts: events of a stream, lines of a log, or one document."""
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/event-stream"):
        return _events(answer.body)
    if kind == "text/plain" and ("[INFO]" in answer.body or " I srv " in answer.body):
        return list(_log_lines(answer.body))
    value = parsed(answer.body)
    if isinstance(value, dict | list):
        return [json.dumps(_steady(value), ensure_ascii=False)]
    return [answer.body.rstrip("\n")]


def _events(body: str) -> list[object]:
    found: list[object] = []
    for block in body.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith("# +")]
        if not lines:
            continue
        gap = _GAP.fullmatch(lines[0])
        found.append(Gap(int(gap.group(1))) if gap else "\n".join(map(_event_line, lines)))
    return _collapsed(_without_remarks(found))


def _event_line(line: str) -> str:
    for mark in ("data: ", "data:", ""):
        text = line.removeprefix(mark)
        value = parsed(text)
        if line.startswith(mark) and isinstance(value, dict):
            return mark + json.dumps(_steady(_opened(value)), ensure_ascii=False)
    return line


def _opened(value: dict[str, object]) -> dict[str, object]:
    """A frame of /api/events, its inner JSON decoded."""
    if set(value) == {"type", "data"} and isinstance(value["data"], str):
        return {**value, "data": json.loads(value["data"])}
    return value


_CHILD = '"source": "upstream"'


def _collapsed(events: Sequence[object]) -> list[object]:
    """Lines of a child's log, one after the other, are one."""
    found: list[object] = []
    for event in events:
        shown = event
        if isinstance(event, str) and _CHILD in event and '"data": ""' not in event:
            shown = "(lines of a child)"
        if shown != "(lines of a child)" or found[-1:] != [shown]:
            found.append(shown)
    return found


def _reasoning(event: object) -> str | None:
    """The piece of a loading frame; None for another event."""
    if not isinstance(event, str):
        return None
    value = parsed(event.removeprefix("data: "))
    if not isinstance(value, dict) or "id" in value or set(value) != {"choices"}:
        return None
    text: str = value["choices"][0]["delta"]["reasoning_content"]
    return text


def _without_remarks(events: Sequence[object]) -> list[object]:
    """Loading text without its jokes and dots, and with all durations alike."""
    texts = [_reasoning(event) for event in events]
    found: list[object] = []
    lines = at = 0
    while at < len(events):
        text, after = texts[at], texts[at + 1] if at + 1 < len(texts) else None
        if lines >= 2 and text == "\n" and after not in ("Done!", "Queue"):
            at = next((i for i in range(at + 1, len(texts)) if texts[i] == " "), at) + 1
            continue
        if text == "\n" and after == "Done!":
            lines = -9  # the closing lines are kept
        lines += text == "\n"
        if text != ".":
            found.append(re.sub(r"\d", "0", str(events[at])) if _is_time(text) else events[at])
        at += 1
    return found


def _is_time(text: str | None) -> bool:
    return text is not None and re.fullmatch(r"[ (\d.s)]*\d[ (\d.s)]*", text) is not None


_STAMP = re.compile(r"^\d+\.\d\d\.\d\d\d\.\d\d\d ")


def _log_lines(body: str) -> Sequence[str]:
    """Proxy lines without their numbers; of a child's own words only what it loads."""
    lines = [line for line in body.split("\n") if line and not line.startswith("# +")]
    if any(line.startswith("[INFO]") for line in lines):
        return [re.sub(r"(?<=:)\d+|(?<=\d{3} )\d+ .*", "N", line) for line in lines]
    words = [_STAMP.sub("", line) for line in lines]
    return sorted({line for line in words if "load_model: loading model" in line})


def _steady(value: object, key: str = "") -> object:
    match value:
        case dict():
            return {name: _steady(item, name) for name, item in value.items()}
        case list() if key == "embedding":
            return "(vector)"
        case list() if key == "bins":
            return [len(value), sum(value)]
        case list():
            return [_steady(item, key) for item in value]
        case str() if key == "b64_json":
            return "(picture)" if base64.b64decode(value).startswith(b"\x89PNG") else value
        case str() if key == "resp_body":
            return _steady(json.loads(base64.b64decode(value)))
        case str() if key == "embedding":
            return f"({len(value)} characters)"
        case str() if key == "Content-Length" and int(value) > 200:
            return "(some)"  # of an answer
        case str() if key == "id":
            return _ID.sub(r"\1(some)", value)
        case _:
            return "(some)" if key in _VOLATILE and value is not None else value


def same(expected: Sequence[object], actual: Sequence[object]) -> bool:
    """Whether the parts agree, left-out ones counted."""
    at = 0
    for part in expected:
        if isinstance(part, Gap):
            at += part.count
            continue
        if at >= len(actual) or actual[at] != part:
            return False
        at += 1
    return at == len(actual)


Step = Callable[[World], object]


def both(*steps: Step) -> Step:
    def run(world: World) -> None:
        for step in steps:
            step(world)

    return run


def replay(
    transcript: Transcript,
    server: Callable[[], LlamaSwapSimulator],
    before: Mapping[int, Step],
    during: Mapping[int, Step],
) -> list[Answer | None]:
    """All answers of one transcript, in order."""
    answers: list[Answer | None] = []
    with server() as sim:
        world = World(sim, transcript)
        for index, exchange in enumerate(transcript.exchanges):
            world.wait(lambda: sim.open_connections <= _busy(world))
            if index in before:
                before[index](world)
            if index in during:
                world.beside(functools.partial(during[index], world))
            early = world.early.pop(index, None)
            answers.append(early.result() if early else send(sim, exchange))
        world.finish()
    return answers


def _busy(world: World) -> int:
    """Connections that others may hold."""
    return len(world.early) + sum(thread.is_alive() for thread in world.threads)
