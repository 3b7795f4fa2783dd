"""``POST /v1/chat/completions``."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from urllib.parse import quote

from modelbay.errors import ModelbayError
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Notice
from modelbay_gateway.answer import Answer, Failed
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call, Header
from modelbay_gateway.openai.decode import decode_chat
from modelbay_gateway.openai.encode import ChatEncoder, new_id, whole_chat
from modelbay_gateway.openai.functions import FunctionEncoder, as_function_call
from modelbay_gateway.own.reading import asked_conversation
from modelbay_gateway.own.turn import resolve_turn
from modelbay_gateway.refusal import Refused, ended_badly, of_error
from modelbay_gateway.retention import allowed

FLAGS = 32
FLAG_LENGTH = 64


async def chat(bay: Bay, call: Call) -> None:
    """Answer one chat turn, streamed or at once."""
    asked = decode_chat(await call.body(), routing=flags(call))
    request, notices = allowed(call.caller, asked.request)
    if notices:
        asked = replace(asked, request=request, notices=(*asked.notices, *notices))
    conversation_id = asked_conversation(call, asked.conversation_id)
    turn = await resolve_turn(bay, conversation_id, asked.model, persist=asked.persist)
    model, name = turn.model, turn.name
    id, created = new_id("chatcmpl-"), int(bay.wall_clock())
    window = model.capabilities.context_window
    if asked.request.stream:
        encoder = (FunctionEncoder if asked.has_functions else ChatEncoder)(
            id=id,
            model=name,
            created=created,
            include_usage=asked.include_usage,
            reasoning_field=bay.style.reasoning_field,
            notices=asked.notices,
        )
        answer = Answer(bay, call, encoder)
        await answer.run(
            bay.chat(model, asked.request, call.caller.name),
            lambda: model_headers(model, (*asked.notices, *answer.notices)),
            context_window=window,
        )
        return
    try:
        result = await call.attended(bay.chat_result(model, asked.request, call.caller.name))
    except ModelbayError as exc:
        raise Failed(of_error(exc, context_window=window)) from exc
    if result.finish_reason == "error":
        raise Failed(ended_badly())
    body = whole_chat(
        result,
        id=id,
        model=name,
        created=created,
        reasoning_field=bay.style.reasoning_field,
        notices=asked.notices,
    )
    await call.reply(
        as_function_call(body) if asked.has_functions else body,
        headers=model_headers(model, (*asked.notices, *result.notices)),
    )


def flags(call: Call) -> frozenset[str]:
    """The names in ``x-agent-flags: a,b`` (S0-03).

    Raises:
        Refused: There are too many, or one is too long.
    """
    told = call.header(b"x-agent-flags")
    if not told:
        return frozenset()
    names = [name.strip() for name in told.split(",")]
    found = frozenset(name for name in names if name)
    if len(found) > FLAGS or any(len(name) > FLAG_LENGTH for name in found):
        raise Refused(
            "invalid_field",
            f"x-agent-flags holds at most {FLAGS} names of {FLAG_LENGTH} characters",
            field="x-agent-flags",
        )
    return found


def model_headers(model: ModelInfo, notices: Iterable[Notice] = ()) -> Sequence[Header]:
    """Who answers, under its own name, and what the answer's client should know."""
    headers = [(b"x-modelbay-model", _in_header(model.id))]
    told = "; ".join(f"{notice.code}: {notice.message}" for notice in notices)
    if told:
        plain = "".join(c if " " <= c <= "~" else "?" for c in told[:2000])
        headers.append((b"x-modelbay-notices", plain.encode("ascii")))
    return headers


@lru_cache(maxsize=1024)
def _in_header(model_id: str) -> bytes:
    return quote(model_id, safe="/:@.-_~+ ").encode("ascii")
