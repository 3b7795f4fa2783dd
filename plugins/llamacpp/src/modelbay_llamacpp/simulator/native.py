"""Text completion, OpenAI style and native, and the small routes around tokens and templates."""

import time
from collections.abc import Mapping

from modelbay_llamacpp.simulator.answer import ApiError, Call, flag_of, items_of, object_of, text_of
from modelbay_llamacpp.simulator.chat import (
    finish_quietly,
    ping_interval,
    running,
    token_logprob,
)
from modelbay_llamacpp.simulator.engine import BUILD, Engine, Patience, Run
from modelbay_llamacpp.simulator.model import detokenize, token_piece, tokenize
from modelbay_llamacpp.simulator.sampling import (
    Field,
    boolean,
    number,
    settings,
    stop_strings,
    token_limit,
)
from modelbay_llamacpp.simulator.script import text_script
from modelbay_llamacpp.simulator.turn import Turn, prompt_of

Fields = dict[str, object]

_BAD_PROMPT = (
    '"prompt" elements must be a string, a list of tokens, a JSON object containing a prompt '
    "string, or a list of mixed strings & tokens."
)


async def text_completion(engine: Engine, call: Call) -> None:
    """``POST /v1/completions``"""
    prompt = _prompts(call.body)[0]
    turn = _turn(engine, call.body, prompt)
    key = f"chatcmpl-{engine.random_id()}"
    base: Fields = {
        "created": int(time.time()),
        "model": engine.model.id,
        "system_fingerprint": BUILD,
        "object": "text_completion",
        "id": key,
    }

    def choice(text: str, finish: str | None) -> list[Fields]:
        return [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}]

    async with running(engine, call, turn, key) as (run, *_):
        if not turn.stream:
            text = "".join(d.text for d in await finish_quietly(engine, call, run))
            done: Fields = {"choices": choice(text, run.finish), **base}
            await call.json({**done, "usage": run.usage(), "timings": run.timings()})
            return
        await call.start_stream()
        patience = _patience(engine, call, turn)
        while not run.done:
            for delta in await run.step(patience.pause):
                await call.exchange.sse({"choices": choice(delta.text, None), **base})
        last: Fields = {"choices": choice("", run.finish), **base}
        await call.exchange.sse({**last, "usage": run.usage(), "timings": run.timings()})
        await call.exchange.sse("[DONE]")


async def completion(engine: Engine, call: Call) -> None:
    """``POST /completion``; several prompts give a list. The stream has no [DONE]."""
    if boolean(call.body, "stream"):
        await _native_stream(engine, call)
        return
    prompts = _prompts(call.body)
    answers: list[Fields] = []
    for index, prompt in enumerate(prompts):
        turn = _turn(engine, call.body, prompt)
        async with running(engine, call, turn, engine.random_id()) as (run, *_):
            texts = [d.text for d in await finish_quietly(engine, call, run)]
            answers.append(_native_result(engine, call.body, turn, run, "".join(texts), index))
            if turn.logprobs:
                answers[-1]["completion_probabilities"] = [
                    token_logprob(text, turn.logprobs) for text in texts
                ]
    wanted = [f for f in items_of(call.body, "response_fields") if isinstance(f, str)]
    if wanted:
        answers = [{name: _dig(answer, name) for name in wanted} for answer in answers]
    await call.json(answers if len(prompts) > 1 else answers[0])


async def _native_stream(engine: Engine, call: Call) -> None:
    turn = _turn(engine, call.body, _prompts(call.body)[0])
    async with running(engine, call, turn, engine.random_id()) as (run, *_):
        await call.start_stream()
        patience = _patience(engine, call, turn)
        while not run.done:
            for delta in await run.step(patience.pause):
                await call.exchange.sse(
                    {
                        "index": 0,
                        "content": delta.text,
                        "tokens": [run.n],
                        "stop": False,
                        "id_slot": -1,
                        "tokens_predicted": run.n,
                        "tokens_evaluated": run.prompt_n,
                    }
                )
        await call.exchange.sse(_native_result(engine, call.body, turn, run, "", 0))


def _native_result(
    engine: Engine, body: Mapping[str, object], turn: Turn, run: Run, text: str, index: int
) -> Fields:
    return {
        "index": index,
        "content": text,
        "tokens": list(range(run.n)) if flag_of(body, "return_tokens") else [],
        "id_slot": run.slot.id,
        "stop": True,
        "model": engine.model.id,
        "tokens_predicted": run.n,
        "tokens_evaluated": run.prompt_n,
        "generation_settings": turn.settings,
        "prompt": turn.prompt,
        "has_new_line": "\n" in run.raw,
        "truncated": run.truncated,
        "stop_type": run.stop_type,
        "stopping_word": run.stopping_word,
        "tokens_cached": run.prompt_n + run.n - 1,
        "timings": run.timings(),
    }


def _dig(answer: Fields, name: str) -> object:
    value: object = answer
    for part in name.split("/"):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _patience(engine: Engine, call: Call, turn: Turn) -> Patience:
    interval_s = ping_interval(engine, turn.ping_s)
    return Patience(engine, call.exchange, call.exchange.sse_comment, interval_s)


def _prompts(body: Mapping[str, object]) -> list[object]:
    if "prompt" not in body:
        raise ApiError(400, "[json.exception.out_of_range.403] key 'prompt' not found")
    prompt = body["prompt"]
    if isinstance(prompt, list):
        several = any(isinstance(item, list) for item in prompt) or all(
            isinstance(item, str) for item in prompt
        )
        return prompt if several and prompt else [prompt]
    return [prompt]


def prompt_tokens(prompt: object) -> list[int]:
    """Tokens of a prompt in one of its forms.

    Raises:
        ApiError: 400 for another form.
    """
    if isinstance(prompt, str):
        return tokenize(prompt)
    if isinstance(prompt, dict) and "prompt_string" in prompt:
        return tokenize(str(prompt["prompt_string"]))
    if isinstance(prompt, list):
        tokens: list[int] = []
        for item in prompt:
            tokens += [item] if isinstance(item, int) else tokenize(str(item), bos=False)
        return tokens
    raise ApiError(400, _BAD_PROMPT)


def _turn(engine: Engine, body: Mapping[str, object], prompt: object) -> Turn:
    tokens = prompt_tokens(prompt)
    asked = body.get("sse_ping_interval")
    return Turn(
        prompt=f"<s>{prompt}" if isinstance(prompt, str) else detokenize(tokens),
        tokens=tokens,
        script=text_script(engine.model.answer, ends=not engine.model.endless),
        settings=settings(body, chat_format="Content-only", full=True),
        limit=token_limit(body),
        stop=stop_strings(body),
        n=1,
        endless=engine.model.endless or flag_of(body, "ignore_eos"),
        logprobs=int(number(body, "n_probs", Field(0), whole=True)),
        stream=boolean(body, "stream"),
        include_usage=flag_of(object_of(body, "stream_options"), "include_usage"),
        timings_per_token=False,
        return_progress=False,
        ping_s=None if asked is None else number(body, "sse_ping_interval", Field(0)),
        reasoning_control=False,
        pin=int(number(body, "id_slot", Field(-1), whole=True)),
    )


# tokens and templates


async def tokens(engine: Engine, call: Call) -> None:
    """``POST /tokenize``; without `content` an empty list."""
    text, tags = text_of(call.body, "content"), flag_of(call.body, "parse_special")
    bos = flag_of(call.body, "add_special")
    ids = tokenize(text, bos=bos, tags=tags) if "content" in call.body else []
    if flag_of(call.body, "with_pieces"):
        await call.json({"tokens": [{"id": t, "piece": token_piece(t)} for t in ids]})
    else:
        await call.json({"tokens": ids})


async def text(engine: Engine, call: Call) -> None:
    """``POST /detokenize``"""
    ids = [t for t in items_of(call.body, "tokens") if isinstance(t, int)]
    await call.json({"content": detokenize(ids)})


async def template(engine: Engine, call: Call) -> None:
    """``POST /apply-template``"""
    prompt, _ = prompt_of(engine.model, call.body)
    await call.json({"prompt": prompt})


async def input_tokens(engine: Engine, call: Call) -> None:
    """``POST /v1/chat/completions/input_tokens``"""
    _, ids = prompt_of(engine.model, call.body)
    await call.json({"input_tokens": len(ids), "object": "response.input_tokens"})
