"""Making an answer: the runner it needs, the prompt it sees, and frame after frame of output."""

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

from modelbay.testing.simulator import Exchange
from modelbay_ollama.simulator.answer import ApiError, Json
from modelbay_ollama.simulator.compose import compose, cut, effective_path, thinks, tokens_of
from modelbay_ollama.simulator.options import number_option, read_options
from modelbay_ollama.simulator.runners import Runner, Want
from modelbay_ollama.simulator.script import Broken, Done, Line, SilentEnd, ToolCall
from modelbay_ollama.simulator.state import State
from modelbay_ollama.simulator.store import Installed
from modelbay_ollama.simulator.tally import AnswerRecord
from modelbay_ollama.simulator.turn import Turn, check_abilities
from modelbay_ollama.simulator.window import Fitting, Prompt, Ratio, draw_ratio, effective_window

# Nanoseconds; the same every time, so that tests compare whole values.
_DURATIONS = {
    "total_duration": 1_200_000_000,
    "load_duration": 200_000_000,
    "prompt_eval_duration": 100_000_000,
    "eval_duration": 900_000_000,
}


@dataclass(slots=True)
class Frame:
    """What one line of an answer says, before it has the shape of an endpoint.

    Attributes:
        calls: As in ``tool_calls`` of a chat.
        metrics: Of the last one; zero counts are left out.
    """

    content: str = ""
    thinking: str = ""
    calls: list[Json] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)
    more: Json = field(default_factory=dict)
    done: bool = False
    reason: str = ""
    metrics: Json = field(default_factory=dict)


Frames = AsyncGenerator[Frame, None]


@asynccontextmanager
async def generating(
    state: State, exchange: Exchange, turn: Turn, entry: Installed, base: str
) -> AsyncIterator[Frames]:
    """The frames of an answer by a local model, with its runner held meanwhile.

    Raises:
        ApiError: Whatever goes wrong before generation begins; what goes wrong later comes from
            the frames.
    """
    check_abilities(turn, entry.model, base, state.release)
    turn = replace(turn, options=options_of(turn.options, entry))
    want = want_for(state, entry, turn.options, turn.keep_alive_s, turn.shift)
    async with state.runners.use(exchange, want) as (runner, began):
        if turn.empty:
            making = _only(Frame(done=True, reason="load"))
        else:
            work = _Work(state, exchange, turn, entry, want.window, want.shift, runner, began)
            making = work.frames()
        async with aclosing(making) as frames:
            yield frames


@asynccontextmanager
async def generating_remotely(
    state: State, exchange: Exchange, turn: Turn, entry: Installed, base: str
) -> AsyncIterator[Frames]:
    """The same by a cloud model: no runner, the full window, and no `format`."""
    check_abilities(turn, entry.model, base, state.release)
    turn = replace(turn, options=options_of(turn.options, entry), format=None)
    work = _Work(state, exchange, turn, entry, entry.model.trained_ctx, True, None, False)
    making = _only(Frame(done=True, reason="load")) if turn.empty else work.frames()
    async with aclosing(making) as frames:
        yield frames


def options_of(sent: Json, entry: Installed) -> Json:
    """The request's options over the Modelfile's.

    Raises:
        ApiError: 500 for a wrong type.
    """
    given = {name: value for name, value in sent.items() if value is not None}
    return read_options({**entry.model.parameters, **given})


def want_for(
    state: State, entry: Installed, options: Json, keep_alive_s: float | None, shift: bool | None
) -> Want:
    """What a request with these options needs."""
    window = effective_window(entry.model, options, state.knobs, state.release)
    default_shift = entry.model.family != "deepseek2"
    return Want(entry, window, options, default_shift if shift is None else shift, keep_alive_s)


async def _only(frame: Frame) -> Frames:
    yield frame


@dataclass(slots=True)
class _Work:
    """One answer in the making."""

    state: State
    exchange: Exchange
    turn: Turn
    entry: Installed
    window: int
    shift: bool
    runner: Runner | None
    began: bool
    tokens: int = 0
    lines: int = 0
    calls: int = 0

    async def frames(self) -> Frames:
        state, model, turn = self.state, self.entry.model, self.turn
        given = state.script_for(self.entry)
        messages = self._with_modelfile()
        ratio = draw_ratio(state.knobs, state.seed, turn.messages)
        path = effective_path(model, state.release)
        keep = number_option(turn.options, "num_keep")
        rules = Fitting(
            model, state.release, path, self.window, turn.truncate, self.shift,
            4 if keep is None else keep,
        )  # fmt: skip
        prompt = rules.fit(messages, turn.tools, ratio)
        record = state.tally.begin(self._record(prompt, ratio))
        if turn.render_only:
            rendered = "\n".join(f"[{m.get('role')}] {m.get('content')}" for m in prompt.messages)
            with state.tally.changing():
                record.outcome = "done"
            yield Frame(more={"_debug_info": {"rendered_template": rendered}})
            return
        try:
            saying = compose(model, turn, state.release, self.window, given)
            script = cut(saying.script, saying.limit)
            if saying.endless and script.lines:
                while self.tokens + len(script.lines) <= saying.limit:
                    for line in script.lines:
                        yield await self._line(line, path)
                script = cut(saying.script, saying.limit - self.tokens)
            for line in script.lines:
                yield await self._line(line, path)
            await self._pause()
            match script.end:
                case Broken(error, status):
                    self._end(record, "error")
                    raise ApiError(status, error)
                case SilentEnd():
                    self._end(record, "silent")
                case Done() as end:
                    last = self._done(end, path, record, prompt)
                    self._end(record, "done")
                    yield last
        except ApiError:
            self._end(record, "error")
            raise
        finally:
            if not record.outcome:
                state.tally.add("cancelled_answers", self.entry.display)
                self._end(record, "cancelled")

    def _end(self, record: AnswerRecord, outcome: str) -> None:
        with self.state.tally.changing():
            record.eval_tokens = self.tokens
            match outcome:
                case "done" | "error" | "silent" | "cancelled":
                    record.outcome = outcome

    def _with_modelfile(self) -> list[Json]:
        model, sent = self.entry.model, list(self.turn.messages)
        if self.turn.raw:
            return sent
        first = sent[0].get("role") if sent else None
        system: list[Json] = [{"role": "system", "content": model.system}] if model.system else []
        turns: list[Json] = [dict(message) for message in model.messages]
        return [*([] if first == "system" else system), *turns, *sent]

    def _record(self, prompt: Prompt, ratio: Ratio) -> AnswerRecord:
        cached = 0
        if self.runner is not None:
            cached = prompt.cached(self.runner.cache)
            self.runner.cache = prompt.parts
        return AnswerRecord(
            path=self.exchange.request.path,
            model=self.entry.display,
            window=self.window,
            full_tokens=prompt.full_tokens,
            prompt_tokens=prompt.tokens,
            cached_tokens=cached,
            dropped_messages=prompt.dropped,
            bytes_per_token=ratio.bytes_per_token,
            think=thinks(self.turn, self.entry.model),
            seen_tools=self.turn.tools,
            options=self.turn.options,
            loaded=self.began,
        )

    # lines

    async def _pause(self) -> None:
        model, knobs = self.entry.model, self.state.knobs
        seconds = knobs.token_delay_s if model.token_delay_s is None else model.token_delay_s
        if model.hold_after == self.lines:
            seconds = math.inf
        await self.state.gates.wait("token", self.entry.display, seconds, self.exchange)

    async def _line(self, line: Line, path: str) -> Frame:
        await self._pause()
        self.lines += 1
        self.tokens += tokens_of(line)
        calls = [self._call(call, path) for call in line.calls]
        frame = Frame(line.content, line.thinking, calls, more=dict(line.more))
        text = line.logprobs or line.content or line.thinking
        if line.logprobs or (self.turn.logprobs is not None and text):
            frame.logprobs = [_logprob(text, self.turn.logprobs or 0)]
        return frame

    def _done(self, end: Done, path: str, record: AnswerRecord, prompt: Prompt) -> Frame:
        self.tokens += tokens_of(end)
        calls = [self._call(call, path) for call in end.calls]
        metrics: Json = {}
        if end.metrics:
            metrics = self._metrics(record, prompt)
        return Frame(
            end.content, end.thinking, calls, [], dict(end.more), True, end.reason, metrics
        )

    def _metrics(self, record: AnswerRecord, prompt: Prompt) -> Json:
        release = self.state.release
        evaluated = prompt.tokens
        if release.is_exactly("0.30.0"):  # the one version that left cached tokens out
            evaluated -= record.cached_tokens
        counts = {
            "total_duration": _DURATIONS["total_duration"],
            "load_duration": _DURATIONS["load_duration"],
            "prompt_eval_count": evaluated,
            "prompt_eval_cached_count": record.cached_tokens if release.since("0.35.0") else 0,
            "prompt_eval_duration": _DURATIONS["prompt_eval_duration"],
            "eval_count": self.tokens,
            "eval_duration": _DURATIONS["eval_duration"],
        }
        return {name: value for name, value in counts.items() if value}

    def _call(self, call: ToolCall, path: str) -> Json:
        release = self.state.release
        function: Json = {"name": call.name, "arguments": dict(call.arguments)}
        if release.since("0.12.6"):
            function = {"index": 0 if path == "harmony" else self.calls, **function}
        self.calls += 1
        if not release.since("0.12.10"):
            return {"function": function}
        made = self.state.word(32) if path == "native" else f"call_{self.state.word(8)}"
        return {"id": call.id or made, "function": function}


def _logprob(text: str, alternatives: int) -> Json:
    def entry(shown: str, value: float) -> Json:
        return {"token": shown, "logprob": value, "bytes": list(shown.encode())}

    others = [entry(chr(ord("a") + at), -3.0 - at) for at in range(alternatives - 1)]
    found = entry(text, -0.21)
    return {**found, "top_logprobs": [entry(text, -0.21), *others]} if alternatives else found
