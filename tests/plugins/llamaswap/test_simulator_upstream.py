"""What answers behind the simulated llama-swap: chats, vectors, pictures, sound."""

import base64
import json
import struct
import zlib
from typing import Any

import pytest

from modelbay_llamaswap.simulator import SimulatedModel, ToolCall
from modelbay_llamaswap.simulator.upstream.media import png, wav
from plugins.llamaswap.simulated import HI, A, chat, frames, said, serving, streamed

THINKER = SimulatedModel("a", reasoning="hm, well", answer="forty-two")
CALLER = SimulatedModel(
    "a",
    answer="It rains.",
    tool_calls=[ToolCall("weather", '{"city": "Oslo"}'), ToolCall("clock")],
)
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]


def test_a_chat_counts_its_tokens() -> None:
    with serving([A]) as (_, http):
        answer = chat(http).json()

    assert answer["usage"] == {
        "completion_tokens": 3,
        "prompt_tokens": 22,
        "total_tokens": 25,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert (answer["timings"]["prompt_n"], answer["timings"]["predicted_n"]) == (22, 3)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "n_predict"])
def test_a_limit_ends_it(field: str) -> None:
    with serving([A]) as (_, http):
        body = {"model": "a", "messages": HI, field: 1}
        (choice,) = http.post("/v1/chat/completions", json=body).json()["choices"]

    assert (choice["message"]["content"], choice["finish_reason"]) == ("I a", "length")


def test_reasoning_comes_apart_from_the_answer() -> None:
    with serving([THINKER]) as (_, http):
        whole, stream = chat(http).json()["choices"][0]["message"], chat(http, stream=True)
        plain = chat(http, chat_template_kwargs={"enable_thinking": False}).json()

    assert whole == {
        "role": "assistant",
        "content": "forty-two",
        "reasoning_content": "hm, well",
    }
    assert (streamed(stream, "reasoning_content"), streamed(stream)) == ("hm, well", "forty-two")
    assert "reasoning_content" not in plain["choices"][0]["message"]


def test_tools_are_called_when_they_are_offered() -> None:
    with serving([CALLER]) as (_, http):
        choice = chat(http, tools=TOOLS).json()["choices"][0]
        without = said(chat(http))
        one = chat(http, tools=TOOLS, parallel_tool_calls=False).json()["choices"][0]
        result = [*HI, {"role": "tool", "content": "rain", "tool_call_id": "1"}]
        after = said(
            http.post(
                "/v1/chat/completions", json={"model": "a", "messages": result, "tools": TOOLS}
            )
        )

    calls = [call["function"] for call in choice["message"]["tool_calls"]]
    assert choice["finish_reason"] == "tool_calls"
    assert calls == [
        {"name": "weather", "arguments": '{"city": "Oslo"}'},
        {"name": "clock", "arguments": "{}"},
    ]
    assert len(one["message"]["tool_calls"]) == 1
    assert without == after == "It rains."


def test_streamed_calls_add_up() -> None:
    with serving([CALLER]) as (_, http):
        deltas = [
            call
            for frame in frames(chat(http, tools=TOOLS, stream=True))
            if isinstance(frame, dict)
            for call in frame["choices"][0]["delta"].get("tool_calls", [])
        ]

    first = [d for d in deltas if d["index"] == 0]
    assert "".join(d["function"]["arguments"] for d in first) == '{"city": "Oslo"}'
    assert [d["function"].get("name") for d in deltas if "id" in d] == ["weather", "clock"]


def test_json_is_given_when_asked_for() -> None:
    with serving([SimulatedModel("a", json_answer='{"n":1}')]) as (_, http):
        assert said(chat(http, response_format={"type": "json_object"})) == '{"n":1}'


def test_pictures_in_a_chat_have_to_be_pictures() -> None:
    def shown(url: str) -> list[dict[str, Any]]:
        part = {"type": "image_url", "image_url": {"url": url}}
        return [{"role": "user", "content": [{"type": "text", "text": "what"}, part]}]

    good = "data:image/png;base64," + base64.b64encode(png("x", 2, 2)).decode()
    models = [SimulatedModel("a", vision=True), SimulatedModel("blind")]
    with serving(models) as (_, http):

        def status(model: str, url: str) -> int:
            body = {"model": model, "messages": shown(url)}
            return http.post("/v1/chat/completions", json=body).status_code

        assert status("a", good) == 200
        assert status("a", "data:image/png;base64,aGVsbG8=") == 400
        assert status("blind", good) == 500


def test_a_plain_server_sends_no_timings_and_no_cors() -> None:
    with serving([SimulatedModel("a", flavour="plain", answer="ok")]) as (_, http):
        answer = chat(http)

        assert "access-control-allow-origin" not in answer.headers
        assert "timings" not in answer.json()
        assert "timings" not in frames(chat(http, stream=True))[-2]


def test_props_say_how_large_the_context_is() -> None:
    with serving([SimulatedModel("a", n_ctx=2048, slots=2)]) as (_, http):
        props = http.get("/props?model=a").json()
        assert http.get("/upstream/a/props").json()["total_slots"] == 2
        assert len(http.get("/upstream/a/slots").json()) == 2

    assert props["default_generation_settings"]["n_ctx"] == 2048


def test_streams_of_other_kinds_end_properly() -> None:
    with serving([A]) as (_, http):
        text = http.post("/v1/completions", json={"model": "a", "prompt": "x", "stream": True})
        body = {"model": "a", "messages": HI, "stream": True, "max_tokens": 9}
        message = http.post("/v1/messages", json=body)

    assert "".join(f["choices"][0]["text"] for f in frames(text)[:-1]) == "I am a."
    assert frames(text)[-1] == "[DONE]"
    names = [line[7:] for line in message.text.split("\n") if line.startswith("event: ")]
    assert (names[0], names[-1]) == ("message_start", "message_stop")


# vectors


def test_equal_texts_have_equal_vectors_of_unit_length() -> None:
    with serving([SimulatedModel("a", role="embedding", n_embd=8)]) as (_, http):
        body = {"model": "a", "input": ["one", "two", "one"]}
        vectors = [d["embedding"] for d in http.post("/v1/embeddings", json=body).json()["data"]]
        packed = http.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()

    assert vectors[0] == vectors[2] != vectors[1]
    assert [sum(x * x for x in vector) for vector in vectors] == pytest.approx([1, 1, 1])
    unpacked = struct.unpack("<8f", base64.b64decode(packed["data"][0]["embedding"]))
    assert unpacked == pytest.approx(vectors[0])


def test_the_best_documents_come_first_and_no_more_than_asked() -> None:
    with serving([SimulatedModel("a", role="rerank")]) as (_, http):
        body = {"model": "a", "query": "red fox", "documents": ["hen", "red fox", "fox"]}
        whole = http.post("/v1/rerank", json=body).json()["results"]
        best = http.post("/v1/rerank", json={**body, "top_n": 1}).json()["results"]

    assert [result["index"] for result in whole] == [1, 2, 0]
    assert best == whole[:1]


# pictures and sound


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG, their checksums verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size) == (zlib.crc32(kind + body),)
        found.append((kind, body))
        at += 12 + size
    return found


def test_a_picture_is_a_valid_png_of_its_size() -> None:
    with serving([SimulatedModel("a", role="image")]) as (_, http):
        body = {"model": "a", "prompt": "a dot", "n": 2, "size": "32x16"}
        data = http.post("/v1/images/generations", json=body).json()["data"]
    pictures = [base64.b64decode(one["b64_json"]) for one in data]

    assert pictures[0] != pictures[1]
    for picture in pictures:
        (_, head), (_, pixels), (last, _) = _chunks(picture)
        assert (struct.unpack(">II", head[:8]), last) == ((32, 16), b"IEND")
        assert len(zlib.decompress(pixels)) == 16 * (1 + 32 * 3)


def test_an_edit_takes_a_form_with_a_picture() -> None:
    picture = ("x.png", png("x", 2, 2), "image/png")
    with serving([SimulatedModel("a", role="image", use_model_name="real")]) as (sim, http):
        form = {"model": "a", "prompt": "blue"}
        good = http.post("/v1/images/edits", data=form, files={"image[]": picture})
        bad = http.post("/v1/images/edits", data=form, files={"other": picture})
        got = sim.forwarded[0].request.body

    assert (good.status_code, bad.status_code) == (200, 400)
    assert bad.json() == {"error": "no image given"}
    assert b'name="model"\r\n\r\nreal\r\n' in got
    assert picture[1] in got


def test_speech_is_a_wav_and_can_be_sent_back() -> None:
    with serving([SimulatedModel("a", role="audio", answer="hello")]) as (_, http):
        sound = http.post("/v1/audio/speech", json={"model": "a", "input": "hello"})
        files = {"file": ("x.wav", sound.content, "audio/wav")}
        heard = http.post("/v1/audio/transcriptions", data={"model": "a"}, files=files)
        voices = http.get("/v1/audio/voices?model=a").json()

    assert (sound.headers["content-type"], sound.content) == ("audio/wav", wav("hello"))
    assert struct.unpack_from("<4sI4s", sound.content) == (b"RIFF", len(sound.content) - 8, b"WAVE")
    assert (heard.json(), voices) == ({"text": "hello"}, {"voices": ["alto", "bass"]})


def test_a_model_does_only_what_it_is_for() -> None:
    models = [A, SimulatedModel("p", role="image")]
    with serving(models) as (_, http):
        assert http.post("/v1/embeddings", json={"model": "a", "input": "x"}).status_code == 501
        body = {"model": "a", "prompt": "x"}
        assert http.post("/v1/images/generations", json=body).status_code == 404
        assert json.loads(chat(http, "p").text)["error"]["type"] == "not_found_error"
