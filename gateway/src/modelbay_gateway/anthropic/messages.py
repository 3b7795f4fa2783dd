"""``POST /v1/messages`` and ``POST /v1/messages/count_tokens``."""

from modelbay.errors import ModelbayError
from modelbay_gateway.answer import Answer, Failed
from modelbay_gateway.anthropic.decode import decode_request, fitted
from modelbay_gateway.anthropic.encode import MessageEncoder, whole_message
from modelbay_gateway.anthropic.estimate import estimate
from modelbay_gateway.anthropic.models import find
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.json_line import to_json
from modelbay_gateway.openai.chat import flags, model_headers
from modelbay_gateway.openai.encode import new_id
from modelbay_gateway.own.reading import asked_conversation
from modelbay_gateway.own.turn import remembered
from modelbay_gateway.refusal import ended_badly, of_error


async def messages(bay: Bay, call: Call) -> None:
    """Answer one turn, streamed or at once."""
    asked = decode_request(await call.body(), routing=flags(call))
    conversation_id = asked_conversation(call, asked.conversation_id)
    model = await remembered(
        bay, conversation_id, asked.name, find(bay, asked.name), persist=asked.persist
    )
    input_tokens = estimate(asked.request)
    asked = fitted(asked, model, input_tokens)
    id = new_id("msg_")
    window = model.capabilities.context_window
    if asked.request.stream:
        encoder = MessageEncoder(
            id=id,
            model=asked.model,
            input_tokens=input_tokens,
            thinks=asked.thinks,
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
    body = whole_message(
        result,
        id=id,
        model=asked.model,
        input_tokens=input_tokens,
        thinks=asked.thinks,
        notices=asked.notices,
    )
    await call.reply(body, headers=model_headers(model, (*asked.notices, *result.notices)))


async def count_tokens(bay: Bay, call: Call) -> None:
    """An estimate of the prompt's tokens, and says so: backends are asked for no counts."""
    asked = decode_request(await call.body(), counts=True)
    model = await find(bay, asked.name)
    await call.reply(
        to_json({"input_tokens": estimate(asked.request), "estimated": True}),
        headers=model_headers(model, asked.notices),
    )
