"""The Messages format at ``/anthropic``: another dialect of the same model."""

import json
import uuid
from collections.abc import Iterator

from modelbay.testing.simulator import Exchange
from modelbay_deepseek.simulator.answer import Answer, Script, compose
from modelbay_deepseek.simulator.knobs import Knobs
from modelbay_deepseek.simulator.validation import Body

Json = dict[str, object]

_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_FLASH, _PRO = "deepseek-flash", "deepseek-v4-pro"


def model_of(name: object) -> str:
    """Every name is answered: opus means Pro, and all that is not known means Flash."""
    return _PRO if name == _PRO or str(name).startswith("claude-opus") else _FLASH


async def answer(exchange: Exchange, body: Body, script: Script, knobs: Knobs) -> None:
    """One message, or its events."""
    if not isinstance(body.get("max_tokens"), int) or not body.get("messages"):
        error = {"type": "invalid_request_error", "message": "max_tokens and messages are required"}
        await exchange.json({"type": "error", "error": error}, knobs.refusal_status)
        return
    said = compose(_as_chat(body), script, knobs)
    head: Json = {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": model_of(body.get("model")),
    }
    usage = {
        "input_tokens": len(json.dumps(body["messages"]).split()),
        "output_tokens": said.tokens,
    }
    stop: Json = {"stop_reason": _STOP[said.finish], "stop_sequence": None}
    blocks = list(_blocks(said))
    if body.get("stream") is not True:
        await exchange.json({**head, "content": blocks, **stop, "usage": usage})
        return
    await exchange.start_stream("text/event-stream; charset=utf-8")
    begun = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    await _event(exchange, "message_start", message=begun)
    for index, block in enumerate(blocks):
        await _event(exchange, "content_block_start", index=index, content_block=_empty(block))
        await _event(exchange, "content_block_delta", index=index, delta=_delta(block))
        await _event(exchange, "content_block_stop", index=index)
    await _event(exchange, "message_delta", delta=stop, usage=usage)
    await _event(exchange, "message_stop")


async def _event(exchange: Exchange, kind: str, **members: object) -> None:
    await exchange.sse({"type": kind, **members}, event=kind)


def _as_chat(body: Body) -> Body:
    """The request as the chat format has it, as far as the answer depends on it."""
    messages: list[Json] = []
    found = body["messages"]
    for message in found if isinstance(found, list) else ():
        content = message.get("content")
        results = [
            block
            for block in (content if isinstance(content, list) else ())
            if block.get("type") == "tool_result"
        ]
        messages += [{"role": "tool", "content": block.get("content")} for block in results]
        if not results:
            messages.append({"role": message.get("role"), "content": content})
    chat: Body = {"messages": messages, "max_tokens": body["max_tokens"]}
    if isinstance(body.get("thinking"), dict):
        chat["thinking"] = body["thinking"]
    tools = body.get("tools")
    if isinstance(tools, list):
        chat["tools"] = [
            {"function": {"name": tool["name"], "parameters": tool.get("input_schema")}}
            for tool in tools
        ]
    return chat


def _blocks(said: Answer) -> Iterator[Json]:
    if said.reasoning:
        yield {"type": "thinking", "thinking": "".join(said.reasoning), "signature": ""}
    if said.text:
        yield {"type": "text", "text": "".join(said.text)}
    for call in said.calls:
        yield {
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": json.loads(call.arguments),
        }


def _empty(block: Json) -> Json:
    return {
        **block,
        **{"thinking": {"thinking": ""}, "text": {"text": ""}}.get(
            str(block["type"]), {"input": {}}
        ),
    }


def _delta(block: Json) -> Json:
    match block["type"]:
        case "thinking":
            return {"type": "thinking_delta", "thinking": block["thinking"]}
        case "text":
            return {"type": "text_delta", "text": block["text"]}
        case _:
            return {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
