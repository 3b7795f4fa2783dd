"""``POST /api/chat`` and ``POST /api/generate``."""

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from modelbay.errors import ModelbayError
from modelbay.host.streams import EventStream
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatResult
from modelbay.models.events import Notice, StreamEvent
from modelbay.models.manage import Load, Unload
from modelbay_gateway.answer import Answer, Failed
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.fields import made
from modelbay_gateway.ollama.decode import (
    KIND,
    Asked,
    ChatCall,
    decode_chat,
    decode_generate,
    fitted,
)
from modelbay_gateway.ollama.encode import Form, LineEncoder, Stopwatch, nothing_said, whole
from modelbay_gateway.ollama.names import find
from modelbay_gateway.openai.chat import flags, model_headers
from modelbay_gateway.own.reading import asked_conversation
from modelbay_gateway.own.turn import remembered
from modelbay_gateway.refusal import Refused, ended_badly, of_error
from modelbay_gateway.retention import allowed, allowed_fields


@dataclass(frozen=True, slots=True)
class _Turn:
    """One request on its way to its provider.

    Attributes:
        opened: Opens the provider's stream.
        result: Asks the provider for the whole answer.
    """

    asked: Asked
    model: ModelInfo
    form: Form
    is_streamed: bool
    notices: Sequence[Notice]
    opened: Callable[[], AbstractAsyncContextManager[EventStream[StreamEvent]]]
    result: Callable[[], Coroutine[Any, Any, ChatResult]]


async def chat(bay: Bay, call: Call) -> None:
    """Answer one chat turn; without messages load the model, or free it."""
    asked = decode_chat(await call.body(), routing=flags(call))
    await _chat(bay, call, asked, "chat")


async def generate(bay: Bay, call: Call) -> None:
    """Answer one prompt; an empty one loads the model, or frees it."""
    asked = decode_generate(await call.body(), routing=flags(call))
    if isinstance(asked, ChatCall):
        await _chat(bay, call, asked, "generate")
        return
    model = await _found(bay, call, asked.asked)
    extra, notices = fitted(asked.asked, model)
    request, left = allowed(call.caller, asked.request.model_copy(update={"extra": extra}))
    client = call.caller.name
    turn = _Turn(
        asked.asked,
        model,
        "generate",
        request.stream,
        (*notices, *left),
        lambda: bay.complete(model, request, client),
        lambda: bay.complete_result(model, request, client),
    )
    await _answer(bay, call, turn)


async def _chat(bay: Bay, call: Call, asked: ChatCall, form: Form) -> None:
    if not asked.request.messages:
        await _load(bay, call, asked.asked, await find(bay, asked.asked.model), form)
        return
    model = await _found(bay, call, asked.asked)
    effort = asked.request.reasoning_effort
    if effort is not None and model.capabilities.reasoning is False:
        if effort != "none":
            raise Refused(
                "unsupported_field",
                f'"{asked.asked.model}" does not support thinking',
                field="think",
            )
        effort = None  # there is nothing to switch off
    extra, notices = fitted(asked.asked, model)
    changes = {"extra": extra, "reasoning_effort": effort}
    request, left = allowed(call.caller, asked.request.model_copy(update=changes))
    client = call.caller.name
    turn = _Turn(
        asked.asked,
        model,
        form,
        request.stream,
        (*notices, *left),
        lambda: bay.chat(model, request, client),
        lambda: bay.chat_result(model, request, client),
    )
    await _answer(bay, call, turn)


async def _found(bay: Bay, call: Call, asked: Asked) -> ModelInfo:
    """The model of a turn, which its conversation remembers."""
    conversation_id = asked_conversation(call, asked.conversation_id)
    name = asked.model
    return await remembered(bay, conversation_id, name, find(bay, name), persist=asked.persist)


async def _answer(bay: Bay, call: Call, turn: _Turn) -> None:
    window = turn.model.capabilities.context_window
    name = turn.asked.model
    if turn.is_streamed:
        encoder = LineEncoder(
            model=name, form=turn.form, clock=bay.clock, wall_clock=bay.wall_clock
        )
        answer = Answer(bay, call, encoder)
        await answer.run(
            turn.opened(),
            lambda: model_headers(turn.model, (*turn.notices, *answer.notices)),
            context_window=window,
        )
        return
    watch = Stopwatch(bay.clock)
    try:
        result = await call.attended(turn.result())
    except ModelbayError as exc:
        raise Failed(of_error(exc, context_window=window)) from exc
    if result.finish_reason == "error":
        raise Failed(ended_badly())
    body = whole(result, model=name, form=turn.form, watch=watch, created_at=bay.wall_clock())
    await call.reply(body, headers=model_headers(turn.model, (*turn.notices, *result.notices)))


async def _load(bay: Bay, call: Call, asked: Asked, model: ModelInfo, form: Form) -> None:
    """Make the model ready, or free it.

    Where a provider has no loading there is nothing to wait for. Freeing is management: others may
    be using the model.

    Raises:
        Refused: The caller may not manage models.
        UnsupportedActionError: The provider cannot free models.
    """
    provider_id = model.ref.provider_id
    options, notices = allowed_fields(call.caller, {**asked.options, **asked.own})
    if asked.unloads:
        if "manage" not in call.caller.scopes:
            raise Refused(
                "missing_scope",
                "freeing a model needs a key that is good for 'manage'",
                hint="modelbay serve keys add NAME --scope manage",
            )
        await call.attended(_managed(bay, call, provider_id, Unload(model=model.wire_id)))
    else:
        table = bay.host.registry.handle(provider_id).table
        if table is not None and "load" in table.actions:
            load = made(Load, model=model.wire_id, options=options if model.kind == KIND else {})
            await call.attended(_managed(bay, call, provider_id, load))
    reason = "unload" if asked.unloads else "load"
    body = nothing_said(model=asked.model, form=form, reason=reason, created_at=bay.wall_clock())
    await call.reply(body, headers=model_headers(model, notices))


async def _managed(bay: Bay, call: Call, provider_id: str, action: Load | Unload) -> None:
    async with bay.manage(provider_id, action, call.caller.name) as events:
        async for _ in events:
            pass
