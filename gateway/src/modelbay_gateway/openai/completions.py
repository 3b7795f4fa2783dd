"""``POST /v1/completions``: raw prompts, and filling in the middle."""

from dataclasses import dataclass

from modelbay.errors import ModelbayError
from modelbay.models.chat import ChatResult
from modelbay.models.events import (
    Finish,
    Notice,
    RefusalDelta,
    Status,
    StreamEvent,
    TextDelta,
    Timings,
    Usage,
)
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest
from modelbay_gateway.answer import Answer, Encoder, Failed
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.fields import Fields, made, parse, unsupported, wrong
from modelbay_gateway.json_line import to_json
from modelbay_gateway.openai.chat import model_headers
from modelbay_gateway.openai.decode import asks_for_usage, dropped, own_fields, refuse_several
from modelbay_gateway.openai.encode import (
    DONE,
    EVENT_STREAM,
    KEEP_ALIVE,
    finish_word,
    new_id,
    own_of,
    refuse,
    status_comment,
    usage_of,
)
from modelbay_gateway.own.reading import asked_conversation
from modelbay_gateway.own.turn import resolve_turn
from modelbay_gateway.refusal import Refusal, ended_badly, of_error
from modelbay_gateway.retention import allowed


@dataclass(frozen=True, slots=True)
class CompletionCall:
    """A completion request, and what belongs to the answer's form.

    Attributes:
        echo: The prompt stands before the text.
        conversation_id: The conversation the turn belongs to.
        persist: The model is remembered for the conversation.
        notices: What the request holds and no provider will see.
    """

    request: CompleteRequest
    model: str | None
    include_usage: bool
    echo: bool
    conversation_id: str | None = None
    persist: bool = True
    notices: tuple[Notice, ...] = ()


def decode_completion(body: bytes) -> CompletionCall:
    """The request in a body of ``POST /v1/completions``.

    Raises:
        Refused: It is no such request; the field is named.
    """
    fields = parse(body)
    model = fields.text("model") or None
    prompt = _prompt(fields)
    ignored: list[str] = []
    include_usage = asks_for_usage(fields, ignored)
    for name in ("n", "best_of"):
        refuse_several(fields, name)
    if fields.whole("logprobs"):
        raise unsupported("logprobs", "log probabilities are not passed on", "leave logprobs out")
    echo = fields.flag("echo") or False
    max_tokens = fields.whole("max_tokens")
    conversation_id, persist = own_fields(fields)
    request = made(
        CompleteRequest,
        model=model,
        prompt=prompt,
        suffix=fields.text("suffix"),
        max_tokens=None if max_tokens == -1 else max_tokens,
        temperature=fields.number("temperature"),
        stop=fields.texts("stop") or [],
        stream=fields.flag("stream") or False,
        extra=fields.rest(),
    )
    notices = tuple(dropped(path) for path in ignored)
    return CompletionCall(request, model, include_usage, echo, conversation_id, persist, notices)


def _prompt(fields: Fields) -> str:
    raw = fields.any("prompt")
    if isinstance(raw, str):
        return raw
    if raw is None:
        raise fields.missing("prompt")
    if not isinstance(raw, list):
        raise wrong("prompt", "a string", raw)
    if any(isinstance(each, int | list) for each in raw):
        raise unsupported(
            "prompt", "token ids mean nothing to another model's vocabulary", "send the text"
        )
    if len(raw) != 1 or not isinstance(raw[0], str):
        raise unsupported("prompt", "one request continues one prompt", "send one string")
    return raw[0]


class CompletionEncoder(Encoder):
    """Events to chunks of a text completion."""

    content_type = EVENT_STREAM
    heartbeat = KEEP_ALIVE

    def __init__(
        self, *, id: str, model: str, created: int, include_usage: bool, echoed: str = ""
    ) -> None:
        self._stamp: JsonObject = {
            "id": id,
            "object": "text_completion",
            "created": created,
            "model": model,
        }
        self._include_usage = include_usage
        self._echoed = echoed
        self._notices: list[Notice] = []
        self._usage: Usage | None = None
        self._timings: Timings | None = None

    def begin(self) -> bytes:
        return self._chunk(self._echoed, None) if self._echoed else b""

    def encode(self, event: StreamEvent) -> bytes:
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                return self._chunk(text, None) if text else b""
            case Status():
                return status_comment(event)
            case Notice():
                self._notices.append(event)
            case Usage():
                self._usage = event
            case Timings():
                self._timings = event
            case Finish(reason="error"):
                return self.fail(ended_badly())
            case Finish(reason=reason):
                return self._end(finish_word(reason, has_calls=False))
            case _:
                pass  # thinking and tool calls are no part of a continued prompt
        return b""

    def fail(self, refusal: Refusal) -> bytes:
        return b"data: " + refuse(refusal) + b"\n\n" + DONE

    def _end(self, word: str) -> bytes:
        data = self._chunk("", word)
        if self._include_usage and self._usage is not None:
            counts = {**self._stamp, "choices": [], "usage": usage_of(self._usage)}
            data += b"data: " + to_json(counts) + b"\n\n"
        return data + DONE

    def _chunk(self, text: str, finish: str | None) -> bytes:
        body: JsonObject = {
            **self._stamp,
            "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}],
        }
        if self._include_usage:
            body["usage"] = None
        own = own_of(self._notices, self._timings) if finish else {}
        if own:
            body["modelbay"] = own
        return b"data: " + to_json(body) + b"\n\n"


def whole_completion(
    result: ChatResult, *, id: str, model: str, created: int, echoed: str = ""
) -> bytes:
    """The body of an answer that is not streamed."""
    body: JsonObject = {
        "id": id,
        "object": "text_completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "text": echoed + result.text + result.refusal,
                "index": 0,
                "logprobs": None,
                "finish_reason": finish_word(result.finish_reason, has_calls=False),
            }
        ],
    }
    if result.usage is not None:
        body["usage"] = usage_of(result.usage)
    own = own_of(result.notices, result.timings)
    if own:
        body["modelbay"] = own
    return to_json(body)


async def completions(bay: Bay, call: Call) -> None:
    """Continue one prompt, streamed or at once."""
    asked = decode_completion(await call.body())
    request, left = allowed(call.caller, asked.request)
    notices = (*asked.notices, *left)
    conversation_id = asked_conversation(call, asked.conversation_id)
    turn = await resolve_turn(bay, conversation_id, asked.model, persist=asked.persist)
    model, name = turn.model, turn.name
    id, created = new_id("cmpl-"), int(bay.wall_clock())
    window = model.capabilities.context_window
    echoed = asked.request.prompt if asked.echo else ""
    if asked.request.stream:
        encoder = CompletionEncoder(
            id=id, model=name, created=created, include_usage=asked.include_usage, echoed=echoed
        )
        answer = Answer(bay, call, encoder)
        await answer.run(
            bay.complete(model, request, call.caller.name),
            lambda: model_headers(model, (*notices, *answer.notices)),
            context_window=window,
        )
        return
    try:
        result = await call.attended(bay.complete_result(model, request, call.caller.name))
    except ModelbayError as exc:
        raise Failed(of_error(exc, context_window=window)) from exc
    if result.finish_reason == "error":
        raise Failed(ended_badly())
    await call.reply(
        whole_completion(result, id=id, model=name, created=created, echoed=echoed),
        headers=model_headers(model, (*notices, *result.notices)),
    )
