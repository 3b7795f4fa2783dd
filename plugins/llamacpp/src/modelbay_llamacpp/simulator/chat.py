"""``POST /v1/chat/completions``: the answer in one piece, and the stream."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from modelbay_llamacpp.simulator.answer import ApiError, Call, text_of
from modelbay_llamacpp.simulator.conversation import Conversation, Conversations
from modelbay_llamacpp.simulator.engine import BUILD, Engine, Patience, Run
from modelbay_llamacpp.simulator.model import tokenize
from modelbay_llamacpp.simulator.script import Delta
from modelbay_llamacpp.simulator.turn import Turn, read_turn

Fields = dict[str, object]


async def chat(engine: Engine, call: Call, conversations: Conversations) -> None:
    """Answer a chat request.

    Raises:
        ApiError: Before the head; after it the error goes into the stream.
    """
    turn = read_turn(engine.model, call.body, len(engine.slots))
    conversation_id = call.exchange.request.headers.get("x-conversation-id", "")
    if not turn.stream:
        await _whole(engine, call, turn)
    elif conversation_id:
        conversation = conversations.begin(conversation_id)
        conversations.spawn(_produce(engine, turn, conversation))
        await call.start_stream()
        await conversation.follow(call.exchange, 0)
    else:
        await _streamed(engine, call, turn)


@asynccontextmanager
async def running(
    engine: Engine, call: Call | None, turn: Turn, key: str
) -> AsyncIterator[list[Run]]:
    """The runs of a turn, one for each choice, with their slots held meanwhile."""
    slots = await engine.acquire(turn.n, turn.pin, None if call is None else call.exchange)
    try:
        runs = []
        for slot in slots:
            engine.prepare(slot, turn.tokens, turn.settings)
            runs.append(
                Run(
                    engine,
                    slot,
                    turn.script,
                    limit=turn.limit,
                    stop=turn.stop,
                    endless=turn.endless,
                    reasoning_control=turn.reasoning_control,
                )
            )
        engine.runs[key] = runs
        yield runs
    finally:
        engine.runs.pop(key, None)
        engine.release(slots)


async def finish_quietly(engine: Engine, call: Call, run: Run) -> list[Delta]:
    """Everything a run has to say, for answers in one piece."""
    patience = Patience(engine, call.exchange, None, -1)
    shown: list[Delta] = []
    while not run.done:
        shown += await run.step(patience.pause)
    return shown


def ping_interval(engine: Engine, asked_s: float | None) -> float:
    """Real seconds of silence before a comment line."""
    seconds = engine.flags.ping_interval_s if asked_s is None else asked_s * engine.flags.second_s
    return seconds if seconds > 0 else -1


# not streamed


async def _whole(engine: Engine, call: Call, turn: Turn) -> None:
    key = f"chatcmpl-{engine.random_id()}"
    async with running(engine, call, turn, key) as runs:
        choices = []
        for index, run in enumerate(runs):
            shown = await finish_quietly(engine, call, run)
            choices.append(_choice(engine, turn, run, shown, index))
    await call.json(
        {
            "choices": choices,
            "created": int(time.time()),
            "model": engine.model.id,
            "system_fingerprint": BUILD,
            "object": "chat.completion",
            "usage": runs[0].usage(),
            "id": key,
            "timings": runs[0].timings(),
        }
    )


def message_of(engine: Engine, shown: list[Delta], prefill: str = "") -> dict[str, object]:
    """The message that deltas add up to."""
    joined = {
        part: "".join(d.text for d in shown if d.part == part) for part in ("content", "reasoning")
    }
    message: dict[str, object] = {"role": "assistant", "content": prefill + joined["content"]}
    if joined["reasoning"]:
        message["reasoning_content"] = joined["reasoning"]
    calls: dict[int, dict[str, str]] = {}
    for delta in shown:
        if delta.part == "call":
            known = calls.setdefault(delta.call, {"name": delta.name, "arguments": ""})
            known["arguments"] += delta.text
    if calls:
        message["tool_calls"] = [
            {"type": "function", "function": function, "id": engine.random_id()}
            for function in calls.values()
        ]
    return message


def _choice(
    engine: Engine, turn: Turn, run: Run, shown: list[Delta], index: int
) -> dict[str, object]:
    choice: dict[str, object] = {
        "finish_reason": run.finish,
        "index": index,
        "message": message_of(engine, shown, turn.script.prefill),
    }
    if turn.logprobs:
        texts = [d.text for d in shown if d.part == "content"]
        choice["logprobs"] = {"content": [token_logprob(t, turn.logprobs) for t in texts]}
    return choice


def token_logprob(text: str, top: int) -> dict[str, object]:
    """A certain token, and unlikely alternatives."""

    def entry(shown: str, logprob: float) -> dict[str, object]:
        return {
            "id": (tokenize(shown, bos=False, tags=False) or [0])[0],
            "token": shown,
            "bytes": list(shown.encode()),
            "logprob": logprob,
        }

    others = [entry(chr(ord("a") + at), -32.0 - at) for at in range(max(0, top - 1))]
    return {**entry(text, 0.0), "top_logprobs": [entry(text, 0.0), *others]}


# streamed


class ChunkWriter:
    """Chat chunks of one completion, into a connection or into a conversation's memory."""

    def __init__(self, engine: Engine, turn: Turn, call: Call | None, memory: Conversation | None):
        self._engine = engine
        self._turn = turn
        self._call = call
        self._memory = memory
        self.id = f"chatcmpl-{engine.random_id()}"
        self.patience = Patience(
            engine,
            None if call is None else call.exchange,
            self._ping,
            ping_interval(engine, turn.ping_s),
        )
        self._call_ids: dict[tuple[int, int], str] = {}

    async def begin(self) -> None:
        if self._call is not None:
            await self._call.start_stream()
        self.patience.spoke()

    async def event(self, data: object) -> None:
        if self._call is not None:
            await self._call.exchange.sse(data)
        elif self._memory is not None:
            self._memory.sse(data)
        self.patience.spoke()

    async def _ping(self) -> None:
        if self._call is not None:
            await self._call.exchange.sse_comment()

    async def chunk(
        self, index: int, delta: object, finish: str | None = None, *, more: Fields | None = None
    ) -> None:
        """Send one chunk; `more`: fields beside `choices`, only `logprobs` goes into it."""
        beside = dict(more or {})
        choice: Fields = {"finish_reason": finish, "index": index, "delta": delta}
        if "logprobs" in beside:
            choice["logprobs"] = beside.pop("logprobs")
        await self.event({"choices": [choice], **self._base(), **beside})

    async def usage(self, run: Run) -> None:
        await self.event(
            {"choices": [], **self._base(), "usage": run.usage(), "timings": run.timings()}
        )

    def _base(self) -> dict[str, object]:
        return {
            "created": int(time.time()),
            "id": self.id,
            "model": self._engine.model.id,
            "system_fingerprint": BUILD,
            "object": "chat.completion.chunk",
        }

    def delta(self, index: int, delta: Delta, prefix: str = "") -> dict[str, object]:
        if delta.part != "call":
            name = "content" if delta.part == "content" else "reasoning_content"
            return {name: prefix + delta.text}
        if not delta.name:
            return {"tool_calls": [{"index": delta.call, "function": {"arguments": delta.text}}]}
        return {
            "tool_calls": [
                {
                    "index": delta.call,
                    "id": self._engine.random_id(),
                    "type": "function",
                    "function": {"name": delta.name, "arguments": delta.text},
                }
            ]
        }


async def _streamed(engine: Engine, call: Call, turn: Turn) -> None:
    writer = ChunkWriter(engine, turn, call, None)
    await _stream(engine, turn, writer, call)


async def _produce(engine: Engine, turn: Turn, memory: Conversation) -> None:
    """A stream that outlives its connection."""
    try:
        await _stream(engine, turn, ChunkWriter(engine, turn, None, memory), None)
    finally:
        memory.finish()


async def _stream(engine: Engine, turn: Turn, writer: ChunkWriter, call: Call | None) -> None:
    async with running(engine, call, turn, writer.id) as runs:
        await writer.begin()
        with engine.streaming():
            try:
                await _progress(turn, runs[0], writer)
                await _interleave(turn, runs, writer)
            except ApiError as error:
                await writer.event(error.body)  # after HTTP 200, and no [DONE]
                return
    if turn.include_usage:
        await writer.usage(runs[0])
    await writer.event("[DONE]")


async def _progress(turn: Turn, run: Run, writer: ChunkWriter) -> None:
    if not turn.return_progress:
        return
    for processed in (run.cached, run.prompt_n):
        more: Fields = {"timings": _no_timings(run)} if turn.timings_per_token else {}
        more["prompt_progress"] = {
            "total": run.prompt_n,
            "cache": run.cached,
            "processed": processed,
            "time_ms": 0,
        }
        await writer.chunk(0, _ROLE, more=more)


_ROLE = {"role": "assistant", "content": None}


def _no_timings(run: Run) -> dict[str, object]:
    """Timings before the first token."""
    zeros: dict[str, object] = dict.fromkeys(run.timings() if run.n else _TIMING_NAMES, 0.0)
    return {**zeros, "cache_n": run.cached, "prompt_n": 0, "predicted_n": 0}


_TIMING_NAMES = (
    "cache_n",
    "prompt_n",
    "prompt_ms",
    "prompt_per_token_ms",
    "prompt_per_second",
    "predicted_n",
    "predicted_ms",
    "predicted_per_token_ms",
    "predicted_per_second",
)


async def _interleave(turn: Turn, runs: list[Run], writer: ChunkWriter) -> None:
    """Token by token in turns; the last choice comes first, as recorded."""
    prefix = turn.script.prefill if turn.script.prefill_streamed else ""
    begun: set[int] = set()
    prefixed: set[int] = set()
    while not all(run.done for run in runs):
        for index in range(len(runs) - 1, -1, -1):
            run = runs[index]
            if run.done:
                continue
            shown = await run.step(writer.patience.pause)
            if index not in begun:
                begun.add(index)
                await writer.chunk(index, _ROLE)
            for delta in shown:
                more: Fields = {}
                if turn.timings_per_token or run.stop_type == "word":
                    more["timings"] = run.timings()
                if turn.logprobs and delta.part == "content":
                    more["logprobs"] = {"content": [token_logprob(delta.text, turn.logprobs)]}
                first = prefix if delta.part == "content" and index not in prefixed else ""
                prefixed.add(index)
                await writer.chunk(index, writer.delta(index, delta, first), more=more)
            if run.done:
                timings: Fields = {} if turn.include_usage else {"timings": run.timings()}
                await writer.chunk(index, {}, run.finish, more=timings)


async def control(engine: Engine, call: Call) -> None:
    """``POST /v1/chat/completions/control``: end the thought of a running completion."""
    key = text_of(call.body, "id")
    if not key:
        raise ApiError(400, "missing completion id")
    if text_of(call.body, "action") != "reasoning_end":
        raise ApiError(400, "unknown control action")
    runs = engine.runs.get(key)
    if runs is None:
        answer: object = {"success": False, "message": "no active completion for this id"}
    elif not runs[0].reasoning_control:
        answer = {
            "success": False,
            "message": "reasoning control not enabled for this completion",
        }
    else:
        for run in runs:
            run.end_reasoning()
        answer = {"success": True}
    await call.json(answer)
