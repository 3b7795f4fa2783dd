"""Holds the simulator to what the comments in the recordings say beside the exchanges."""

import json
import re
from dataclasses import replace

import pytest

from modelbay_llamaswap.simulator.activity import histogram
from modelbay_llamaswap.simulator.generation import Forwarded
from plugins.llamaswap.recorded_servers import SERVERS
from plugins.llamaswap.replaying import Pending, World, chat_body, pieces, send
from recorded_exchanges import RECORDED, Answer, Recorded, parsed, transcripts

TRANSCRIPTS = {t.name: t for t in transcripts("llamaswap")}
ALL = Answer(200, {}, "", ended=True)
Asked = tuple[str, dict[str, str], str]


def text_of(name: str) -> str:
    return (RECORDED / f"llamaswap/{name}.txt").read_text(encoding="utf-8")


# what children are asked


def _got_by_children(name: str) -> list[Asked]:
    """Each "what the child got": method and path, header fields, body."""
    mark = r"^# what (?:the child|it) got:\n((?:#   .*\n|# \n)+)"
    found: list[Asked] = []
    for block in re.findall(mark, text_of(name), re.MULTILINE):
        lines = [line.removeprefix("# ").removeprefix("  ") for line in block.split("\n")]
        blank = lines.index("")
        pairs = [line.split(": ", 1) for line in lines[1:blank]]
        fields = {name.lower(): value for name, value in pairs}
        found.append((lines[0], fields, "\n".join(lines[blank + 1 :])))
    return found


def _asked(forwarded: Forwarded) -> Asked:
    request = forwarded.request
    body = request.body.decode().replace("\r", "")
    return f"{request.method} {request.raw_path}", dict(request.headers), body


def _comparable(got: Asked) -> object:
    """The host is another one, JSON may have other spaces, a new form another boundary."""
    line, fields, body = got
    fields = {k: v for k, v in fields.items() if k not in ("host", "content-length")}
    boundary = re.search("[0-9a-f]{60}", fields["content-type"])
    if boundary is not None:
        fields["content-type"] = fields["content-type"].replace(boundary.group(), "B")
        body = body.replace(boundary.group(), "B")
    value = parsed(body)
    return line, fields, body.strip() if value is None else value


@pytest.mark.parametrize(
    ("name", "stubs"),
    [
        ("chat/23-alias-and-useModelName", ("named", "plain", "lab/remote", "lab/a/b")),
        ("chat/24-filters", ("stub",)),
        ("media/91-images", ("painter", "painter2")),
    ],
)
def test_children_and_peers_are_asked_what_the_recorded_ones_were(
    name: str, stubs: tuple[str, ...]
) -> None:
    with SERVERS[name]() as sim:
        for exchange in TRANSCRIPTS[name].exchanges:
            send(sim, exchange)
        asked = [_asked(f) for f in sim.forwarded if f.to in stubs]

    wanted = _got_by_children(name)
    assert len(wanted) >= 2
    assert list(map(_comparable, asked)) == list(map(_comparable, wanted))


# events


def _watch_a_life(world: World) -> None:
    """What recording 60 saw: a streamed chat, then unload."""
    world.wait(lambda: world.sim.listeners == 1)
    world.chat("tiny", stream=True)
    world.wait(lambda: world.sim.inflight == [])
    world.ask("POST", "/api/models/unload")


def test_events_come_in_the_recorded_order() -> None:
    name = "events/60-load-and-unload"
    listed = text_of(name).partition("# order of all 38 frames")[2].split("\n")[1:]
    wanted = [line.removeprefix("#   ") for line in listed if line]
    with SERVERS[name]() as sim:
        events = Pending(sim, replace(TRANSCRIPTS[name].exchanges[0], answer=ALL))
        _watch_a_life(World(sim, TRANSCRIPTS[name]))
        sim.reload()  # ends the stream
        got = events.result()
    assert got is not None
    order = _order(got.body)

    assert _apart_from_the_child(order) == _apart_from_the_child(wanted)


def _order(body: str) -> list[str]:
    """Frames in the recording's words."""
    found: list[str] = []
    for line in body.split("\n"):
        if line.startswith("data:"):
            frame = json.loads(line[5:])
            found.append(frame["type"] + _detail(frame["type"], json.loads(frame["data"])))
    return found


def _detail(kind: str, data: object) -> str:
    match kind, data:
        case "logData", {"source": source}:
            return f":{source}"
        case "inflight", {"operation": operation}:
            return f":{operation}"
        case "modelStatus", list(models):
            return ":" + ", ".join(f"{m['id']} {m['state']}" for m in models if not m["peerID"])
        case _:
            return ""


def _apart_from_the_child(order: list[str]) -> list[str]:
    """Where a child writes its lines is the child's affair; the first frame of all is the log."""
    return order[:2] + [shown for shown in order[2:] if shown != "logData:upstream"]


def test_in_flight_frames_are_the_recorded_ones() -> None:
    """Apart from those that tell of growth, which a clock decides."""
    name = "manage/56-inflight-cancel"
    exchanges = TRANSCRIPTS[name].exchanges
    wanted = re.findall(r'\| (data:\{"type":"inflight.*)', text_of(name))
    with SERVERS[name]() as sim:
        listen = replace(exchanges[0], method="GET", target="/api/events", answer=ALL)
        events = Pending(sim, listen)
        sim.wait_until(lambda: sim.listeners == 1)
        stream = Pending(sim, exchanges[1])
        sim.wait_until(lambda: sim.holding == 1)
        send(sim, exchanges[0])
        stream.result()
        waiting = Pending(sim, exchanges[3])
        sim.wait_until(lambda: sim.inflight == ["2"])
        send(sim, exchanges[2])
        waiting.result()
        sim.reload()
        got = events.result()
    assert got is not None
    frames = [line for line in got.body.split("\n") if line.startswith('data:{"type":"inflight')]

    assert _steady_frames(frames) == _steady_frames(wanted)


def _steady_frames(frames: list[str]) -> list[object]:
    whole = [f for f in frames if r"resp_bytes\":0" in f or "resp_bytes" not in f]
    kind = {"content-type": "text/event-stream"}
    return pieces(replace(ALL, headers=kind, body="\n\n".join(whole)))


# routes and keys


@pytest.mark.parametrize(
    ("method", "path"),
    re.findall(
        r"^# (GET|POST) (/\S+): 404 Not Found text/plain; charset=utf-8 '404 page not found\\n'$",
        text_of("routes/70-unknown-and-methods"),
        re.MULTILINE,
    ),
)
def test_routes_that_the_recorded_server_lacks_are_not_there(method: str, path: str) -> None:
    with SERVERS["routes/70-unknown-and-methods"]() as sim:
        answer = send(sim, Recorded(method, path, {}, "", ALL, []))

    assert answer is not None
    assert (answer.status, answer.body) == (404, "404 page not found\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_without_a_key_the_recorded_routes_are_closed_and_open() -> None:
    text = text_of("auth/80-api-keys")
    closed = re.findall(r"#   401: (.*)", text)[0].split(", ")
    rest = re.findall(r"#   not checked: (.*)", text)[0].split(", ")
    wanted = {**dict.fromkeys(closed, 401), **{p.split()[0]: int(p.split()[1]) for p in rest}}
    got = {}
    with SERVERS["auth/80-api-keys"]() as sim:
        for path in wanted:
            answer = send(sim, Recorded("GET", path, {}, "", ALL, []))
            assert answer is not None
            got[path] = answer.status

    assert len(wanted) == 15
    assert got == wanted


# sums and texts


def test_histograms_are_the_recorded_ones() -> None:
    rows, stats = (TRANSCRIPTS["manage/55-activity"].exchanges[at].answer for at in (2, 6))
    assert rows is not None
    assert stats is not None
    listed, wanted = json.loads(rows.body)["data"], json.loads(stats.body)

    for name, field in (("prompt", "prompt_per_second"), ("gen", "tokens_per_second")):
        values = [row["tokens"][field] for row in listed if row["tokens"][field] > 0]
        got, told = histogram(values), wanted[f"{name}_histogram"]
        assert got is not None
        assert got.pop("bins") == told.pop("bins")
        assert got == pytest.approx(told)


def test_the_second_in_a_queue_reads_what_the_recorded_one_did() -> None:
    name = "loading/34-queued"
    said = re.findall(r"the loading text of the second: '(.*)'", text_of(name))[0]
    with SERVERS[name]() as sim:
        world = World(sim, TRANSCRIPTS[name])
        world.chat("slow", max_tokens=1)
        world.chat_beside("slow", max_tokens=26, stream=True)
        world.wait(lambda: sim.active == {"slow": 1})
        world.chat_beside("tiny", max_tokens=2, stream=True)
        world.wait(lambda: sim.waiting == 1)
        body = chat_body("tiny", max_tokens=2, stream=True)
        answer = world.ask("POST", "/v1/chat/completions", body)
        world.finish()
    assert answer is not None

    assert _without_time(_loading_text(answer.body)) == _without_time(said.replace("\\n", "\n"))


def _loading_text(body: str) -> str:
    frames = [json.loads(line[6:]) for line in body.split("\n") if '"choices"' in line]
    deltas = [frame["choices"][0]["delta"] for frame in frames if "id" not in frame]
    return "".join(delta["reasoning_content"] for delta in deltas)


def _without_time(text: str) -> str:
    """A dot is as good as two."""
    return re.sub(r"\.+\n", ".\n", re.sub(r"\d\.\d\ds", "Ns", text))


def test_after_sigterm_nobody_is_let_in() -> None:
    with SERVERS["process/95-reload-and-exit"]() as sim:
        sim.terminate()

        with pytest.raises(ConnectionRefusedError):
            send(sim, Recorded("GET", "/health", {}, "", ALL, []))
