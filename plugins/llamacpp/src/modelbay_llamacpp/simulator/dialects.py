"""The same chat in two other dialects: ``/v1/messages`` (Anthropic) and ``/v1/responses``."""

import json
import time
from collections.abc import Mapping

from modelbay_llamacpp.simulator.answer import ApiError, Call, items_of, object_of, text_of
from modelbay_llamacpp.simulator.chat import finish_quietly, message_of, ping_interval, running
from modelbay_llamacpp.simulator.engine import Engine, Patience, Run
from modelbay_llamacpp.simulator.script import Delta
from modelbay_llamacpp.simulator.turn import Turn, prompt_of, read_turn

Fields = dict[str, object]


# Anthropic


async def messages(engine: Engine, call: Call) -> None:
    """``POST /v1/messages``"""
    turn = read_turn(engine.model, _from_anthropic(call.body), len(engine.slots))
    key = f"chatcmpl-{engine.random_id()}"
    async with running(engine, call, turn, key) as (run, *_):
        if turn.stream:
            with engine.streaming():
                await _stream_messages(engine, call, turn, run, key)
            return
        shown = await finish_quietly(engine, call, run)
    await call.json(
        {
            **_message_head(engine, run, key),
            "content": _content_blocks(message_of(engine, shown, turn.script.prefill)),
            "stop_reason": _stop_reason(run),
            "usage": {
                "cache_read_input_tokens": run.cached,
                "input_tokens": run.prompt_n - run.cached,
                "output_tokens": run.n,
            },
        }
    )


async def count_tokens(engine: Engine, call: Call) -> None:
    """``POST /v1/messages/count_tokens``"""
    _, ids = prompt_of(engine.model, _from_anthropic(call.body))
    await call.json({"input_tokens": len(ids)})


def _message_head(engine: Engine, run: Run, key: str) -> Fields:
    return {
        "id": key,
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": engine.model.id,
        "stop_reason": None,
        "stop_sequence": run.stopping_word or None,
        "usage": {
            "cache_read_input_tokens": run.cached,
            "input_tokens": run.prompt_n - run.cached,
            "output_tokens": 0,
        },
    }


def _stop_reason(run: Run) -> str:
    if run.stop_type == "word":
        return "stop_sequence"
    return {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[
        run.finish or "stop"
    ]


def _content_blocks(message: Mapping[str, object]) -> list[Fields]:
    blocks: list[Fields] = []
    thought, text = text_of(message, "reasoning_content"), text_of(message, "content")
    if thought:
        blocks.append({"type": "thinking", "thinking": thought, "signature": ""})
    if text:
        blocks.append({"type": "text", "text": text})
    for tool_call in items_of(message, "tool_calls"):
        if isinstance(tool_call, dict):
            function = object_of(tool_call, "function")
            blocks.append(
                {
                    "type": "tool_use",
                    "id": tool_call["id"],
                    "name": function["name"],
                    "input": json.loads(text_of(function, "arguments") or "{}"),
                }
            )
    return blocks


async def _stream_messages(engine: Engine, call: Call, turn: Turn, run: Run, key: str) -> None:
    """Blocks open as they come; all of them close at the very end."""
    exchange = call.exchange

    async def event(name: str, **data: object) -> None:
        await exchange.sse({"type": name, **data}, event=name)

    await call.start_stream()
    patience = _patience(engine, call, turn)
    open_blocks: dict[tuple[str, int], int] = {}
    started = False
    try:
        while not run.done:
            shown = await run.step(patience.pause)
            if not started:
                started = True
                await event("message_start", message=_message_head(engine, run, key))
            for delta in shown:
                block = (delta.part, delta.call)
                if block not in open_blocks:
                    open_blocks[block] = len(open_blocks)
                    await event(
                        "content_block_start",
                        index=open_blocks[block],
                        content_block=_empty_block(engine, delta),
                    )
                await event(
                    "content_block_delta", index=open_blocks[block], delta=_block_delta(delta)
                )
    except ApiError as error:
        await exchange.sse(error.body, event="error")
        return
    for (part, _), index in open_blocks.items():
        if part == "reasoning":
            signature = {"type": "signature_delta", "signature": ""}
            await event("content_block_delta", index=index, delta=signature)
    for index in open_blocks.values():
        await event("content_block_stop", index=index)
    stop = {"stop_reason": _stop_reason(run), "stop_sequence": run.stopping_word or None}
    await event("message_delta", delta=stop, usage={"output_tokens": run.n})
    await event("message_stop")


def _empty_block(engine: Engine, delta: Delta) -> Fields:
    match delta.part:
        case "reasoning":
            return {"type": "thinking", "thinking": ""}
        case "call":
            return {"type": "tool_use", "id": engine.random_id(), "name": delta.name}
        case "content":
            return {"type": "text", "text": ""}


def _block_delta(delta: Delta) -> Fields:
    match delta.part:
        case "reasoning":
            return {"type": "thinking_delta", "thinking": delta.text}
        case "call":
            return {"type": "input_json_delta", "partial_json": delta.text}
        case "content":
            return {"type": "text_delta", "text": delta.text}


def _from_anthropic(body: Mapping[str, object]) -> Fields:
    """The chat request that this one means.

    Raises:
        ApiError: 500 without messages (source: recorded; in the OpenAI dialect it is 400).
    """
    if "messages" not in body:
        raise ApiError(500, "'messages' is required")
    converted: list[Fields] = []
    system = body.get("system")
    if isinstance(system, str) and system:
        converted.append({"role": "system", "content": system})
    for message in items_of(body, "messages"):
        if isinstance(message, dict):
            converted += _from_anthropic_message(message)
    choice = object_of(body, "tool_choice").get("type")
    return {
        "messages": converted,
        "max_tokens": body.get("max_tokens", 4096),
        "stream": body.get("stream"),
        "stop": body.get("stop_sequences"),
        "temperature": body.get("temperature"),
        "top_p": body.get("top_p"),
        "top_k": body.get("top_k"),
        "chat_template_kwargs": body.get("chat_template_kwargs"),
        "tool_choice": "required" if choice in ("any", "tool") else choice,
        "tools": [
            _function(tool, "input_schema")
            for tool in items_of(body, "tools")
            if isinstance(tool, dict)
        ]
        or None,
    }


def _from_anthropic_message(message: Mapping[str, object]) -> list[Fields]:
    content = message.get("content")
    if not isinstance(content, list):
        return [dict(message)]
    parts: list[Fields] = []
    calls: list[Fields] = []
    results: list[Fields] = []
    for part in content:
        if not isinstance(part, dict):
            continue
        match part.get("type"):
            case "image":
                source = object_of(part, "source")
                url = f"data:{source.get('media_type')};base64,{source.get('data')}"
                parts.append({"type": "image_url", "image_url": {"url": url}})
            case "tool_use":
                function = {"name": part.get("name"), "arguments": json.dumps(part.get("input"))}
                calls.append({"type": "function", "id": part.get("id"), "function": function})
            case "tool_result":
                results.append(
                    {
                        "role": "tool",
                        "tool_call_id": part.get("tool_use_id"),
                        "content": part.get("content", ""),
                    }
                )
            case _:
                parts.append(part)
    said: Fields = {"role": message.get("role"), "content": parts}
    if calls:
        said["tool_calls"] = calls
    return [*results, *([said] if parts or calls else [])]


def _function(tool: Mapping[str, object], schema: str) -> Fields:
    function = {"name": tool.get("name"), "parameters": tool.get(schema)}
    if "description" in tool:
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


# Responses


async def responses(engine: Engine, call: Call) -> None:
    """``POST /v1/responses``; its status is always "completed", even when cut."""
    turn = read_turn(engine.model, _from_responses(call.body), len(engine.slots))
    key = f"resp_{engine.random_id()}"
    async with running(engine, call, turn, key) as (run, *_):
        if turn.stream:
            with engine.streaming():
                await _stream_responses(engine, call, turn, run, key)
            return
        shown = await finish_quietly(engine, call, run)
    now = int(time.time())
    items = _Items(engine)
    for delta in shown:
        items.add(delta)
    await call.json(
        {
            "completed_at": now,
            "created_at": now,
            "id": key,
            "model": engine.model.id,
            "object": "response",
            "output": items.done(with_status=True),
            "status": "completed",
            "usage": _responses_usage(run),
        }
    )


async def responses_input_tokens(engine: Engine, call: Call) -> None:
    """``POST /v1/responses/input_tokens``"""
    _, ids = prompt_of(engine.model, _from_responses(call.body))
    await call.json({"input_tokens": len(ids), "object": "response.input_tokens"})


def _responses_usage(run: Run) -> Fields:
    return {
        "input_tokens": run.prompt_n,
        "output_tokens": run.n,
        "total_tokens": run.prompt_n + run.n,
        "input_tokens_details": {"cached_tokens": run.cached},
    }


class _Item:
    """One output item in the making: a thought, a message, or a function call."""

    def __init__(self, engine: Engine, delta: Delta) -> None:
        self.part = delta.part
        self.name = delta.name
        self.text = ""
        self._key = engine.random_id()
        self.id = {"reasoning": "rs_", "content": "msg_", "call": "fc_"}[delta.part] + self._key

    def opened(self) -> Fields:
        match self.part:
            case "reasoning":
                return {**self._thought([]), "status": "in_progress"}
            case "call":
                return {**self._call(""), "status": "in_progress"}
            case "content":
                return {
                    "content": [],
                    "id": self.id,
                    "role": "assistant",
                    "status": "in_progress",
                    "type": "message",
                }

    def done(self, *, with_status: bool) -> Fields:
        """The finished item. A streamed thought has no status, a whole one has (recorded)."""
        match self.part:
            case "reasoning":
                thought = self._thought([{"text": self.text, "type": "reasoning_text"}])
                return {**thought, "status": "completed"} if with_status else thought
            case "call":
                return {**self._call(self.text), "status": "completed"}
            case "content":
                return {
                    "type": "message",
                    "status": "completed",
                    "id": self.id,
                    "content": [self.text_part()],
                    "role": "assistant",
                }

    def text_part(self) -> Fields:
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": self.text}

    def _thought(self, content: list[Fields]) -> Fields:
        return {
            "id": self.id,
            "summary": [],
            "type": "reasoning",
            "content": content,
            "encrypted_content": "",
        }

    def _call(self, arguments: str) -> Fields:
        return {
            "id": self.id,
            "type": "function_call",
            "arguments": arguments,
            "call_id": f"call_{self._key}",
            "name": self.name,
        }


class _Items:
    """All output items of one answer, in order."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.all: dict[tuple[str, int], _Item] = {}

    def add(self, delta: Delta) -> tuple[_Item, bool]:
        """Put a delta where it belongs. Also says whether its item is new."""
        key = (delta.part, delta.call)
        fresh = key not in self.all
        item = self.all.setdefault(key, _Item(self._engine, delta))
        item.text += delta.text
        return item, fresh

    def done(self, *, with_status: bool) -> list[Fields]:
        return [item.done(with_status=with_status) for item in self.all.values()]


_DELTA_EVENTS = {
    "reasoning": "response.reasoning_text.delta",
    "content": "response.output_text.delta",
    "call": "response.function_call_arguments.delta",
}


async def _stream_responses(engine: Engine, call: Call, turn: Turn, run: Run, key: str) -> None:
    exchange = call.exchange

    async def event(name: str, **data: object) -> None:
        await exchange.sse({"type": name, **data}, event=name)

    await call.start_stream()
    patience = _patience(engine, call, turn)
    head = {"id": key, "object": "response", "status": "in_progress"}
    items, started = _Items(engine), False
    try:
        while not run.done:
            shown = await run.step(patience.pause)
            if not started:
                started = True
                await event("response.created", response=head)
                await event("response.in_progress", response=head)
            for delta in shown:
                item, fresh = items.add(delta)
                if fresh:
                    await event("response.output_item.added", item=item.opened())
                    if item.part == "content":
                        part = {"type": "output_text", "text": ""}
                        await event("response.content_part.added", item_id=item.id, part=part)
                await event(_DELTA_EVENTS[delta.part], item_id=item.id, delta=delta.text)
    except ApiError as error:
        await exchange.sse(error.body, event="error")
        return
    for item in items.all.values():
        if item.part == "content":
            await event("response.output_text.done", item_id=item.id, text=item.text)
            await event("response.content_part.done", item_id=item.id, part=item.text_part())
        await event("response.output_item.done", item=item.done(with_status=False))
    whole = {
        **head,
        "created_at": int(time.time()),
        "status": "completed",
        "model": engine.model.id,
        "output": items.done(with_status=False),
        "usage": _responses_usage(run),
    }
    await event("response.completed", response=whole, timings=run.timings())


def _from_responses(body: Mapping[str, object]) -> Fields:
    """The chat request that this one means.

    Raises:
        ApiError: 400 for `previous_response_id`: the server keeps no state.
    """
    if body.get("previous_response_id") is not None:
        raise ApiError(400, "llama.cpp does not support 'previous_response_id'.")
    converted: list[Fields] = []
    instructions, given = body.get("instructions"), body.get("input")
    if isinstance(instructions, str):
        converted.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        converted.append({"role": "user", "content": given})
    elif isinstance(given, list):
        converted += [_from_responses_item(item) for item in given if isinstance(item, dict)]
    else:
        raise ApiError(400, "'input' is required")
    tools = [t for t in items_of(body, "tools") if isinstance(t, dict)]
    return {
        **{k: body[k] for k in ("stream", "temperature", "top_p", "response_format") if k in body},
        "messages": converted,
        "max_tokens": body.get("max_output_tokens"),
        "reasoning_effort": object_of(body, "reasoning").get("effort"),
        "tool_choice": body.get("tool_choice"),
        "tools": [_function(t, "parameters") for t in tools if t.get("type") == "function"] or None,
    }


def _from_responses_item(item: Mapping[str, object]) -> Fields:
    match item.get("type", "message"):
        case "function_call_output":
            return {
                "role": "tool",
                "tool_call_id": item.get("call_id"),
                "content": item.get("output"),
            }
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"type": "function", "id": item.get("call_id"), "function": function}
            return {"role": "assistant", "content": "", "tool_calls": [call]}
        case _:
            parts = "".join(
                text_of(part, "text")
                for part in items_of(item, "content")
                if isinstance(part, dict)
            )
            return {"role": item.get("role", "user"), "content": text_of(item, "content") or parts}


def _patience(engine: Engine, call: Call, turn: Turn) -> Patience:
    interval_s = ping_interval(engine, turn.ping_s)
    return Patience(engine, call.exchange, call.exchange.sse_comment, interval_s)
