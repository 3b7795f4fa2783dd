"""Chat and raw completion as chunks and as whole answers."""

from modelbay.testing.simulator import Exchange
from modelbay_openai.simulator.errors import ApiError, Json, in_stream
from modelbay_openai.simulator.knobs import Knobs
from modelbay_openai.simulator.listing import CREATED
from modelbay_openai.simulator.model import count
from modelbay_openai.simulator.personalities import Personality
from modelbay_openai.simulator.turn import Turn


async def answer(
    exchange: Exchange, personality: Personality, knobs: Knobs, turn: Turn, *, raw: bool = False
) -> None:
    """The answer to a turn.

    Args:
        raw: It is a raw completion and no chat.
    """
    if turn.stream:
        await _stream(exchange, personality, knobs, turn, raw)
    else:
        await exchange.json(_whole(personality, knobs, turn, raw))


def _whole(personality: Personality, knobs: Knobs, turn: Turn, raw: bool) -> Json:
    said = list(turn.said())
    text = "".join(piece for kind, piece in said if kind == "text")
    thought = "".join(piece for kind, piece in said if kind == "thinking")
    reason = _reason(knobs, turn)
    if raw:
        choice: Json = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
    else:
        message: Json = {"role": "assistant", "content": text or None}
        if thought:
            message[personality.reasoning] = thought
        if turn.calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{at}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for at, call in enumerate(turn.calls)
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    kind = "text_completion" if raw else "chat.completion"
    return {**_head(turn, kind), "choices": [choice], "usage": _usage(turn)}


async def _stream(
    exchange: Exchange, personality: Personality, knobs: Knobs, turn: Turn, raw: bool
) -> None:
    head = _head(turn, "text_completion" if raw else "chat.completion.chunk")
    await exchange.start_stream("text/event-stream; charset=utf-8")
    for _ in range(knobs.pings):
        await exchange.sse_comment(personality.ping or " ping")
    if not raw:
        await exchange.sse({**head, "choices": [_choice({"role": "assistant", "content": ""})]})
    for at, (kind, piece) in enumerate(turn.said()):
        if at == knobs.cut_after:
            exchange.abort()
            return
        if at == knobs.fail_after:
            error = ApiError(502, "the model went away in the middle of the answer")
            await exchange.sse(in_stream(personality, error, head))
            return
        await exchange.sleep(knobs.token_delay_s)
        name = "content" if kind == "text" else personality.reasoning
        choice = _raw(piece) if raw else _choice({name: piece})
        await exchange.sse({**head, "choices": [choice]})
    if knobs.silent_end:
        return
    for delta in _calls(turn):
        await exchange.sse({**head, "choices": [_choice(delta)]})
    reason = _reason(knobs, turn)
    await exchange.sse({**head, "choices": [_raw("", reason) if raw else _choice({}, reason)]})
    if turn.usage:
        await exchange.sse({**head, "choices": [], "usage": _usage(turn)})
    await exchange.sse("[DONE]")


def _calls(turn: Turn) -> list[Json]:
    """A call's head, then its arguments in two pieces."""
    deltas: list[Json] = []
    for at, call in enumerate(turn.calls):
        middle = len(call.arguments) // 2
        first = {"name": call.name, "arguments": ""}
        deltas.append(
            {
                "tool_calls": [
                    {"index": at, "id": f"call_{at}", "type": "function", "function": first}
                ]
            }
        )
        deltas += [
            {"tool_calls": [{"index": at, "function": {"arguments": part}}]}
            for part in (call.arguments[:middle], call.arguments[middle:])
        ]
    return deltas


def _reason(knobs: Knobs, turn: Turn) -> str:
    if turn.calls:
        return "stop" if knobs.stop_under_calls else "tool_calls"
    return "length" if turn.cut else "stop"


def _head(turn: Turn, kind: str) -> Json:
    return {
        "id": "chatcmpl-simulated",
        "object": kind,
        "created": CREATED,
        "model": turn.model.id,
        "system_fingerprint": None,
    }


def _choice(delta: Json, reason: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def _raw(text: str, reason: str | None = None) -> Json:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}


def _usage(turn: Turn) -> Json:
    thought, text = count(turn.thinking), count(turn.text)
    return {
        "prompt_tokens": turn.prompt_tokens,
        "completion_tokens": thought + text,
        "total_tokens": turn.prompt_tokens + thought + text,
        "prompt_tokens_details": None,
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
