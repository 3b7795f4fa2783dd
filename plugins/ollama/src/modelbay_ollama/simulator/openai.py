"""The ``/v1`` layer: enough for a client that insists, with everything it loses."""

import base64
import json
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from modelbay.testing.simulator import Exchange
from modelbay_ollama.simulator import cloud
from modelbay_ollama.simulator.answer import ApiError, Body, Json, answer_json, read_body
from modelbay_ollama.simulator.delivery import merged
from modelbay_ollama.simulator.embed import openai_vectors
from modelbay_ollama.simulator.generation import Frame, Frames, generating
from modelbay_ollama.simulator.state import State
from modelbay_ollama.simulator.store import Installed
from modelbay_ollama.simulator.turn import Turn, read_chat

Answer = Callable[[State, Exchange], Awaitable[None]]

_KINDS = {400: "invalid_request_error", 404: "not_found_error"}
_OPTIONS = {
    "seed": "seed",
    "max_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
_EFFORTS: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}
_IDS = 999  # completion ids come from so few numbers that they collide


def in_openai_words(answer: Answer) -> Answer:
    """The route, with errors in the shape of this layer."""

    async def route(state: State, exchange: Exchange) -> None:
        try:
            await answer(state, exchange)
        except ApiError as error:
            kind = _KINDS.get(error.status, "api_error")
            inner = {"message": error.message, "type": kind, "param": None, "code": None}
            await answer_json(exchange, {"error": inner}, error.status)

    return route


# models


async def models(state: State, exchange: Exchange) -> None:
    """``GET /v1/models``; `data` is null when there is none."""
    data = [_listed(entry) for entry in state.store.newest_first()]
    await answer_json(exchange, {"object": "list", "data": data or None})


async def model(state: State, exchange: Exchange) -> None:
    """``GET /v1/models/:model``."""
    sent = exchange.params["model"]
    entry, _, _ = state.store.wanted(sent, state.release)
    if entry is None:
        raise ApiError(404, f"model '{sent}' not found")
    await answer_json(exchange, _listed(entry))


def _listed(entry: Installed) -> Json:
    return {
        "id": entry.display,
        "object": "model",
        "created": int(entry.modified_at),
        "owned_by": entry.name.namespace,
    }


# vectors


async def embeddings(state: State, exchange: Exchange) -> None:
    """``POST /v1/embeddings``."""
    body = read_body(exchange.request, "EmbedRequest")
    if not body.values.get("input"):
        raise ApiError(400, "invalid input")
    form = body.text("encoding_format", "float")
    if form not in ("float", "base64"):
        raise ApiError(400, "Invalid value for 'encoding_format'")
    vectors, tokens = await openai_vectors(
        state, exchange, body.model, body.values["input"], body.whole("dimensions")
    )
    data: list[Json] = []
    for index, vector in enumerate(vectors):
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        shown: object = packed if form == "base64" else vector
        data.append({"object": "embedding", "embedding": shown, "index": index})
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    await answer_json(
        exchange, {"object": "list", "data": data, "model": body.model, "usage": usage}
    )


# chat


async def chat_completions(state: State, exchange: Exchange) -> None:
    """``POST /v1/chat/completions``."""
    body = read_body(exchange.request, "ChatCompletionRequest")
    if not body.items("messages"):
        raise ApiError(400, "[] is too short - 'messages'")
    turn = read_chat(Body(_native(body), "ChatRequest"), state.release)
    async with _generating(state, exchange, turn) as frames:
        if turn.stream:
            usage = body.record("stream_options").get("include_usage") is True
            await _Stream(state, exchange, turn).send(frames, usage=usage)
        else:
            await answer_json(exchange, _completion(state, turn, await merged(frames, turn)))


def _generating(
    state: State, exchange: Exchange, turn: Turn
) -> AbstractAsyncContextManager[Frames]:
    entry, base, _ = state.store.wanted(turn.sent_model, state.release)
    if entry is None or entry.model.remote is not None:
        return cloud.inference_target(state, base, entry).generating(state, exchange, turn)
    return generating(state, exchange, turn, entry, base)


def _native(body: Body) -> Json:
    """The request as the native chat endpoint would have it; what has no place there is lost."""
    options: Json = {"temperature": 1.0, "top_p": 1.0}  # over the Modelfile's, when nothing is sent
    for theirs, ours in _OPTIONS.items():
        if body.values.get(theirs) is not None:
            options[ours] = body.values[theirs]
    stop = body.values.get("stop")
    if stop is not None:
        options["stop"] = [stop] if isinstance(stop, str) else stop
    native: Json = {
        "model": body.model,
        "messages": [m for item in body.items("messages") for m in _messages(item)],
        "tools": body.items("tools"),
        "stream": body.flag("stream"),
        "options": options,
        "format": _format(body.record("response_format")),
    }
    effort = body.text("reasoning_effort") or body.record("reasoning").get("effort")
    if effort:
        if effort not in _EFFORTS:
            raise ApiError(400, f"invalid reasoning value: '{effort}'")
        native["think"] = _EFFORTS[str(effort)]
    if body.flag("logprobs"):
        native |= {"logprobs": True, "top_logprobs": body.whole("top_logprobs")}
    return native


def _format(given: Json) -> object:
    if given.get("type") == "json_object":
        return "json"
    schema = given.get("json_schema")
    return schema.get("schema") if isinstance(schema, dict) else None


def _messages(item: object) -> list[Json]:
    """One message of the request: several natively, one for each part of its content.

    Raises:
        ApiError: 400.
    """
    if not isinstance(item, dict):
        raise ApiError(400, "invalid message format")
    content = item.get("content")
    base = {name: item[name] for name in ("role", "tool_call_id") if item.get(name)}
    if isinstance(item.get("reasoning"), str):
        base["thinking"] = item["reasoning"]
    calls = item.get("tool_calls")
    if isinstance(calls, list) and calls:
        base["tool_calls"] = [_call(call) for call in calls]
    if isinstance(content, str) or (content is None and calls):
        return [{**base, "content": content or ""}]
    if not isinstance(content, list):
        raise ApiError(400, f"invalid message content type: {type(content).__name__}")
    return [{**base, **_part(part)} for part in content]


def _part(part: object) -> Json:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"content": text}
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            head, mark, data = url.partition(";base64,")
            kind = head.removeprefix("data:")
            known = kind in ("", "image/jpeg", "image/jpg", "image/png", "image/webp")
            if not mark or not head.startswith("data:") or not known:
                raise ApiError(400, "invalid image input")
            return {"content": "", "images": [data]}
    raise ApiError(400, "invalid message format")


def _call(call: object) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise ApiError(400, "invalid tool call")
    try:
        arguments = json.loads(str(function.get("arguments") or "{}"))
    except ValueError as exc:
        raise ApiError(400, "invalid tool call arguments") from exc
    return {"id": call.get("id", ""), "function": {**function, "arguments": arguments}}


# answers


def _tool_calls(frame: Frame) -> list[Json]:
    """Calls of a frame; arguments are a string here."""
    found: list[Json] = []
    for index, call in enumerate(frame.calls):
        function = call["function"]
        if isinstance(function, dict):
            arguments = json.dumps(function["arguments"], separators=(",", ":"))
            shown = {"name": function["name"], "arguments": arguments}
            at = function.get("index", index)
            found.append(
                {"id": call.get("id", ""), "index": at, "type": "function", "function": shown}
            )
    return found


def _usage(frame: Frame) -> Json:
    counts = [frame.metrics.get(name, 0) for name in ("prompt_eval_count", "eval_count")]
    prompt, answer = (count if isinstance(count, int) else 0 for count in counts)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
    }


def _head(state: State, turn: Turn, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{state.chance.randrange(_IDS)}",
        "object": kind,
        "created": int(time.time()),
        "model": turn.sent_model,
        "system_fingerprint": "fp_ollama",
    }


def _completion(state: State, turn: Turn, frame: Frame) -> Json:
    message: Json = {"role": "assistant", "content": frame.content}
    message |= {"reasoning": frame.thinking} if frame.thinking else {}
    message |= {"tool_calls": _tool_calls(frame)} if frame.calls else {}
    reason = "tool_calls" if frame.calls else frame.reason or None
    choice: Json = {"index": 0, "message": message, "finish_reason": reason}
    choices = {"choices": [choice], "usage": _usage(frame)}
    return {**_head(state, turn, "chat.completion"), **choices}


class _Stream:
    """Chunks of one completion."""

    def __init__(self, state: State, exchange: Exchange, turn: Turn) -> None:
        self._state = state
        self._exchange = exchange
        self._turn = turn
        self._head = _head(state, turn, "chat.completion.chunk")
        self._first = True

    async def send(self, frames: Frames, *, usage: bool) -> None:
        """All of them; an error after the first is lost, as on a real server.

        Raises:
            ApiError: Before the first.
        """
        late_finish = self._state.release.since("0.32.6")
        called = False
        last: Frame | None = None
        self._state.tally.add("active_streams", self._turn.sent_model)
        try:
            async for frame in frames:
                called = called or bool(frame.calls)
                deltas = self._deltas(frame)
                if frame.done:
                    last = frame
                    if not late_finish:
                        break
                for delta in deltas:
                    await self._chunk([_choice(delta)])
        except ApiError:
            if not self._exchange.head_sent:
                raise
            # The error was decoded as an empty reply: a chunk without a name, and the end.
            self._head["model"] = ""
            await self._chunk([_choice({"role": "assistant", "content": ""})])
            return
        finally:
            self._state.tally.add("active_streams", self._turn.sent_model, -1)
        if last is None:
            if not self._exchange.head_sent:
                await self._exchange.start_stream("text/event-stream")
            return
        reason = "tool_calls" if called else last.reason or "stop"
        if late_finish:
            await self._chunk([_choice({}, reason)])
        else:
            deltas = self._deltas(last) or [{"role": "assistant", "content": ""}]
            for delta in deltas[:-1]:
                await self._chunk([_choice(delta)])
            await self._chunk([_choice(deltas[-1], reason)])
        if usage:
            await self._chunk([], {"usage": _usage(last)})
        await self._exchange.sse("[DONE]")

    def _deltas(self, frame: Frame) -> list[Json]:
        """Thinking, content and calls apart; the first chunk has the role."""
        found: list[Json] = []
        if self._first and self._state.release.since("0.32.6"):
            found.append({"role": "assistant", "content": ""})
        self._first = False
        if frame.thinking:
            found.append({"reasoning": frame.thinking})
        if frame.content:
            found.append({"content": frame.content})
        if frame.calls:
            found.append({"tool_calls": _tool_calls(frame)})
        return found

    async def _chunk(self, choices: list[Json], more: Json | None = None) -> None:
        if not self._exchange.head_sent:
            await self._exchange.start_stream("text/event-stream")
        await self._exchange.sse({**self._head, "choices": choices, **(more or {})})


def _choice(delta: Json, reason: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "finish_reason": reason}
