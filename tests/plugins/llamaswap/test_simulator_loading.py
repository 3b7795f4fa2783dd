"""The loading text of the simulated llama-swap, piece by piece on a clock moved by hand."""

import json
import math

import httpx2 as httpx
import pytest

from modelbay_llamaswap.simulator import Dialect, LlamaSwapSimulator, Peer, SimulatedModel
from modelbay_llamaswap.simulator.loading import REMARKS
from plugins.llamaswap.simulated import A, Asked, asking, by_hand, chat, frames, serving, streamed

BARS = "\u2501" * 5


def _typed(response: httpx.Response) -> list[str]:
    return [
        frame["choices"][0]["delta"]["reasoning_content"]
        for frame in frames(response)
        if isinstance(frame, dict) and "id" not in frame
    ]


def _stream(sim: LlamaSwapSimulator, http: httpx.Client, model: str = "a") -> Asked:
    request = asking(http, model, stream=True)
    sim.wait_until(lambda: sim.open_streams == 1)
    return request


def _pieces(text: str) -> list[str]:
    return [text[at : at + 5] for at in range(0, len(text), 5)]


def test_the_bytes_are_those_of_the_server() -> None:
    with by_hand([A], loading_state=True) as (sim, http):
        request = _stream(sim, http)
        sim.advance(2)
        answer = request.answer()

    head = answer.content[: answer.content.index(b'data: {"choices":[{"finish_reason"')]
    pieces = [
        *(BARS, "\n", "llama", "-swap", " load", "ing m", "odel:", " a", "\n"),
        *("\n", "Done!", " (0.3", "3s)", "\n", BARS, "\n", " ", "\n"),
    ]
    wanted = "".join(
        'data: {"choices":[{"delta":{"reasoning_content":"' + piece + '"}}]}\n\n'
        for piece in (text.replace("\n", "\\n") for text in pieces)
    )
    assert head.decode() == wanted
    assert dict(answer.headers) == {
        "content-type": "text/event-stream",
        "cache-control": "no-cache",
        "connection": "keep-alive",
        "transfer-encoding": "chunked",
    }
    assert streamed(answer) == "I am a."
    assert answer.text.endswith("data: [DONE]\n\n")


def test_a_long_load_is_told_with_a_remark_and_dots() -> None:
    with by_hand([SimulatedModel("a", load_s=4)], loading_state=True) as (sim, http):
        request = _stream(sim, http)
        sim.advance(10)
        typed = _typed(request.answer())

    # Ticks at 1.08, 1.83, 2.58, 3.33 and 4.08 s; the remark takes the first; ready at 4.25 s.
    remark = ["\n", *_pieces(REMARKS[0]), " "]
    closing = ["\n", "Done!", " (4.2", "5s)", "\n", BARS, "\n", " ", "\n"]
    assert typed[9:] == [*remark, ".", ".", ".", ".", *closing]


def test_the_text_ends_in_done_also_when_the_load_failed() -> None:
    with by_hand([SimulatedModel("a", fail="exit")], loading_state=True) as (sim, http):
        request = _stream(sim, http)
        sim.advance(2)
        answer = request.answer()
    *_, last = frames(answer)

    assert answer.status_code == 200
    assert "Done!" in _typed(answer)
    assert json.loads(last)["error"]["message"] == (
        "unspecific error: upstream command exited prematurely"
    )
    assert "\n\n" + last == answer.text[answer.text.rindex("\n\n") :]  # bare, and nothing follows


def test_what_the_child_refuses_after_a_load_is_bare_json_under_200() -> None:
    with serving([SimulatedModel("a", n_ctx=8)], loading_state=True) as (_, http):
        cold, warm = chat(http, stream=True), chat(http, stream=True)

    assert (cold.status_code, warm.status_code) == (200, 400)
    assert json.loads(frames(cold)[-1]) == warm.json()


@pytest.mark.parametrize("dialect", ["v185", "v217"])
def test_up_to_v217_whole_lines_are_typed_and_errors_are_reasoning(dialect: Dialect) -> None:
    with serving([SimulatedModel("a", fail="exit")], dialect, loading_state=True) as (_, http):
        typed = _typed(chat(http, stream=True))

    assert typed[:2] == [f"{BARS}\n", "llama-swap loading model: a\n"]
    assert typed[-1] == (
        "Unable to swap model err: unable to start process: upstream command exited prematurely"
    )


def test_a_queued_request_is_told_its_place_once() -> None:
    models = [SimulatedModel("a", hold_after=0), SimulatedModel("b", loading_state=True)]
    with by_hand(models) as (sim, http):
        busy = asking(http, "a")
        sim.wait_until(lambda: sim.states["a"] == "starting")
        sim.advance(0.25)
        sim.wait_until(lambda: sim.holding == 1)
        request = _stream(sim, http, "b")
        sim.advance(3)
        sim.release_held()
        busy.answer()
        sim.advance(3)
        typed = _typed(request.answer())

    place = ["\n", *_pieces("Queue position: #1"), " ", "."]
    assert typed[9 : 9 + len(place)] == place
    assert "".join(typed).count("Queue") == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"stream": False}),
        ("/v/chat/completions", {"stream": True}),
        ("/upstream/a/v1/chat/completions", {"stream": True}),
    ],
)
def test_only_streamed_chats_get_it(path: str, body: dict[str, object]) -> None:
    with serving([A], loading_state=True) as (_, http):
        request = {"model": "a", "messages": [{"role": "user", "content": "hi"}], **body}
        answer = http.post(path, json=request)

    assert (answer.status_code, "Done!" in answer.text) == (200, False)


def test_peers_and_warm_models_get_none() -> None:
    with serving([A], loading_state=True, peers=[Peer("lab", [A])]) as (_, http):
        chat(http)
        for model in ("a", "lab/a"):
            assert _typed(chat(http, model, stream=True)) == []


def test_a_client_that_leaves_during_the_text_is_forgotten() -> None:
    models = [SimulatedModel("a", load_s=math.inf)]
    with serving(models, loading_state=True) as (sim, http):
        body = {"model": "a", "stream": True, "messages": []}
        with http.stream("POST", "/v1/chat/completions", json=body) as response:
            next(response.iter_bytes())
        sim.wait_until(lambda: sim.waiting == 0)

        assert (sim.open_streams, sim.states) == (0, {"a": "starting"})


def test_an_unload_during_the_text_is_told_after_it() -> None:
    models = [SimulatedModel("a", load_s=math.inf)]
    with serving(models, loading_state=True) as (sim, http):
        request = _stream(sim, http)
        http.post("/api/models/unload/a")
        last = json.loads(frames(request.answer())[-1])

    assert last["error"]["message"] == "unspecific error: group: model unloaded"
