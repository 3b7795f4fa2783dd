"""An answer on its way out: ``/api/chat`` and ``/api/generate``, streamed or in one piece."""

from collections.abc import Callable
from typing import TypeAlias

from modelbay.testing.simulator import Exchange
from modelbay_ollama.simulator import cloud
from modelbay_ollama.simulator.answer import ApiError, Json, LineWriter, answer_json, read_body
from modelbay_ollama.simulator.generation import Frame, Frames, generating
from modelbay_ollama.simulator.state import State
from modelbay_ollama.simulator.turn import Turn, read_chat, read_generate

Shape: TypeAlias = Callable[[Frame], Json]


async def chat(state: State, exchange: Exchange) -> None:
    """``POST /api/chat``."""
    turn = read_chat(read_body(exchange.request, "ChatRequest"), state.release)
    await _answer(state, exchange, turn)


async def generate(state: State, exchange: Exchange) -> None:
    """``POST /api/generate``."""
    turn = read_generate(read_body(exchange.request, "GenerateRequest"), state.release)
    await _answer(state, exchange, turn)


async def _answer(state: State, exchange: Exchange, turn: Turn) -> None:
    entry, base, _ = state.store.wanted(turn.sent_model, state.release)
    if entry is None or entry.model.remote is not None:
        target = cloud.inference_target(state, base, entry)
        async with target.generating(state, exchange, turn) as frames:
            model = turn.sent_model if target.stub else target.entry.name.short
            shape = _shape(state, turn, model, target.marks)
            await _deliver(
                state, exchange, turn, frames, shape, escape=target.stub, cut_error=target.stub
            )
        return
    shape = _shape(state, turn, turn.sent_model, {})
    if turn.unloads:
        state.runners.unload(entry)
        await answer_json(exchange, shape(Frame(done=True, reason="unload")))
        return
    async with generating(state, exchange, turn, entry, base) as frames:
        await _deliver(state, exchange, turn, frames, shape)


async def _deliver(
    state: State,
    exchange: Exchange,
    turn: Turn,
    frames: Frames,
    shape: Shape,
    *,
    escape: bool = True,
    cut_error: bool = False,
) -> None:
    if not turn.stream or turn.empty or turn.render_only:
        await answer_json(exchange, shape(await merged(frames, turn)))
        return
    knobs = state.knobs
    writer = LineWriter(
        exchange, knobs.lines_per_write, final_newline=knobs.final_newline, escape=escape
    )
    state.tally.add("active_streams", turn.sent_model)
    try:
        async for frame in frames:
            await writer.line(shape(frame), last=frame.done)
        await writer.flush()
        if not exchange.head_sent:
            await exchange.start_stream("application/x-ndjson")
    except ApiError as error:
        if cut_error:
            writer.final_newline = False
        await writer.fail(error, state.release)
    finally:
        state.tally.add("active_streams", turn.sent_model, -1)


async def merged(frames: Frames, turn: Turn) -> Frame:
    """All frames in one, as an answer that is not streamed has them.

    Calls of earlier lines are only collected when tools were sent. Without a last line nothing but
    the text comes together.
    """
    whole = Frame()
    async for frame in frames:
        whole.content += frame.content
        whole.thinking += frame.thinking
        whole.logprobs += frame.logprobs
        whole.calls = [*whole.calls, *frame.calls] if turn.tools else frame.calls
        whole.more |= frame.more
        whole.done, whole.reason, whole.metrics = frame.done, frame.reason, frame.metrics
    return whole


def _shape(state: State, turn: Turn, model: str, marks: Json) -> Shape:
    """How a frame looks on the wire; `marks`: fields every line of a stub has."""
    held: list[Json] = []

    def line(frame: Frame) -> Json:
        said: Json
        if turn.kind == "chat":
            message: Json = {"role": "assistant", "content": frame.content}
            message |= {"thinking": frame.thinking} if frame.thinking else {}
            message |= {"tool_calls": frame.calls} if frame.calls else {}
            said = {"message": message}
        else:
            said = {"response": frame.content}
            said |= {"thinking": frame.thinking} if frame.thinking else {}
            # This endpoint shows calls on its last line only, and without ids.
            held.extend({"function": call["function"]} for call in frame.calls)
            said |= {"tool_calls": held} if held and frame.done else {}
        end: Json = {"done": frame.done}
        end |= {"done_reason": frame.reason} if frame.reason else {}
        if turn.kind == "generate" and frame.metrics and not turn.raw:
            end["context"] = list(range(_count(frame, "prompt_eval_count")))
        end |= frame.metrics
        end |= {"logprobs": frame.logprobs} if frame.logprobs else {}
        head: Json = {"model": model, "created_at": state.created_at(), **marks}
        return {**head, **said, **end, **frame.more}

    return line


def _count(frame: Frame, name: str) -> int:
    value = frame.metrics.get(name)
    return value if isinstance(value, int) else 0
