"""Messages requests: the JSON of a body to a `ChatRequest`. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from modelbay.models.capabilities import Capabilities
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import (
    ChatRequest,
    ContentPart,
    JsonSchema,
    Message,
    NamedTool,
    TextPart,
    Tool,
)
from modelbay.models.events import Notice
from modelbay.models.frozen import JsonObject
from modelbay_gateway.anthropic.blocks import decode_messages, plain, text_block
from modelbay_gateway.fields import Fields, made, parse, unsupported, wrong
from modelbay_gateway.openai.decode import own_fields
from modelbay_gateway.refusal import Refused

# A budget of thinking tokens, by the effort that comes near it; more is high.
_BUDGETS: tuple[tuple[int, str], ...] = ((4096, "low"), (16384, "medium"))
_MARGIN = 64  # tokens; with a quarter of the prompt, what an estimate may be wrong by
_MARK = "[1m]"  # Claude Code's own, for a long context; it may reach the wire
_CHOICES: dict[str, Literal["auto", "required", "none"]] = {
    "auto": "auto",
    "any": "required",
    "none": "none",
}

Choice = Literal["auto", "none", "required"] | NamedTool | None


@dataclass(frozen=True, slots=True)
class MessagesCall:
    """A messages request, and what belongs to the answer's form.

    Attributes:
        model: The id as it was asked for; it stands in the answer too.
        thinks: Thinking was asked for. Who did not ask gets none: programs of this protocol take
            the first block of an answer for its text.
        notices: What the request holds and no provider will see.
        conversation_id: The conversation the turn belongs to.
        persist: The model is remembered for the conversation.
    """

    request: ChatRequest
    model: str
    thinks: bool = False
    notices: tuple[Notice, ...] = ()
    conversation_id: str | None = None
    persist: bool = True

    @property
    def name(self) -> str:
        """The id without the client's own mark."""
        return self.model.removesuffix(_MARK) or self.model


def decode_request(
    body: bytes, *, routing: frozenset[str] = frozenset(), counts: bool = False
) -> MessagesCall:
    """The request in a body of ``POST /v1/messages``.

    Fields that are not known here are left out, each with a notice: Claude Code sends new ones with
    every release, and strict servers refuse what they do not know.

    Args:
        routing: Flags that a provider may route by (S0-03).
        counts: The tokens alone are wanted: then there is no ``max_tokens``.

    Raises:
        Refused: It is no such request; the field is named.
    """
    fields = parse(body)
    ignored: list[str] = []
    model = fields.text("model")
    if not model:
        raise fields.missing("model")
    limit = fields.whole("max_tokens")
    if limit is None and not counts:
        raise fields.missing("max_tokens")
    messages = [*_system(fields, ignored), *decode_messages(fields, ignored)]
    tools, choice, extra = _tools(fields, ignored)
    effort, thinks, schema = _thinking_and_format(fields, ignored)
    request = made(
        ChatRequest,
        model=model,
        messages=messages,
        tools=tools,
        tool_choice=choice,
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.whole("top_k"),
        max_tokens=limit,
        stop=fields.texts("stop_sequences") or [],
        response_format=schema,
        reasoning_effort=effort,
        routing=routing,
        stream=fields.flag("stream") or False,
        extra=extra,
    )
    conversation_id, persist = own_fields(fields)
    ignored += fields.unread()
    notices = tuple(_notices(ignored))
    return MessagesCall(request, model, thinks, notices, conversation_id, persist)


def fitted(call: MessagesCall, model: ModelInfo, input_tokens: int) -> MessagesCall:
    """The same for this model.

    Thinking is switched off only where the model is known to think: elsewhere there is nothing to
    switch, and servers refuse the field. A model that is known not to think gets no effort either.

    In this protocol every request has a limit, and programs send the largest of Anthropic's own
    models. One that is more than this model gives or its window holds is lowered, as some servers
    refuse it.

    Args:
        input_tokens: The prompt's, estimated.
    """
    request, notices = call.request, list(call.notices)
    effort, limit = request.reasoning_effort, request.max_tokens
    facts = model.capabilities
    if facts.reasoning is False or (facts.reasoning is None and effort == "none"):
        if effort not in (None, "none"):
            notices.append(
                Notice("dropped_field", f"thinking was left out: {model.id} does not think")
            )
        effort = None
    if limit is not None:
        most = _most(facts, limit, input_tokens)
        if most < limit:
            notices.append(
                Notice(
                    "lowered_field",
                    f"max_tokens was lowered to {most}, the most that {model.id} can give",
                )
            )
        limit = most
    request = request.model_copy(update={"reasoning_effort": effort, "max_tokens": limit})
    return replace(call, request=request, notices=tuple(notices))


def _most(facts: Capabilities, limit: int, input_tokens: int) -> int:
    """The limit, or what of it a model can give, as far as that is known."""
    known = facts.provenance.get("max_output_tokens")
    most = limit
    if known is not None and known.layer != "default":
        most = min(most, facts.max_output_tokens)
    window = facts.context_window
    if window is not None and input_tokens + most > window:
        room = window - input_tokens - input_tokens // 4 - _MARGIN
        if room > 0:  # else the prompt alone is too long, which the server says best
            most = min(most, room)
    return most


def _notices(paths: Iterable[str]) -> Iterable[Notice]:
    """One for every field, however often it stands there."""
    for name, count in Counter(path.rpartition(".")[2] for path in paths).items():
        places = "" if count == 1 else f" ({count} places)"
        why = (
            "providers decide themselves what they cache"
            if name == "cache_control"
            else "no provider here knows it"
        )
        yield Notice("dropped_field", f"{name} was left out{places}: {why}")


def _system(fields: Fields, ignored: list[str]) -> list[Message]:
    raw = fields.any("system")
    if raw is None:
        return []
    if isinstance(raw, str):
        return [Message(role="system", content=raw)] if raw else []
    if not isinstance(raw, list):
        raise wrong("system", "a string or a list of text blocks", raw)
    parts: list[ContentPart] = []
    for index, value in enumerate(raw):
        block = Fields(value, f"system[{index}]")
        kind = block.needed_text("type")
        if kind != "text":
            raise unsupported(block.where("type"), "a system prompt is text alone")
        parts.append(TextPart(text=text_block(block, ignored)))
    return [Message(role="system", content=plain(parts))] if parts else []


# --- tools ----------------------------------------------------------------------------------------


def _tools(fields: Fields, ignored: list[str]) -> tuple[list[Tool], Choice, JsonObject]:
    tools: list[Tool] = []
    left_out: set[str] = set()
    for each in fields.objects("tools"):
        kind = each.text("type") or "custom"
        name = each.needed_text("name")
        if kind != "custom" and not each.has("input_schema"):
            # It runs on Anthropic's servers, or its schema is known to Claude alone.
            left_out.add(name)
            ignored.append(f"tools.{kind[:40]}")
            continue
        tools.append(
            made(
                Tool,
                name=name,
                description=each.text("description") or "",
                parameters=each.json("input_schema") or {},
                strict=each.flag("strict"),
            )
        )
        ignored += each.unread()
    choice = fields.object("tool_choice")
    if choice is None:
        return tools, None, {}
    chosen, extra = _choice(choice, ignored)
    if isinstance(chosen, NamedTool) and chosen.name in left_out:
        raise unsupported(
            "tool_choice.name", f"'{chosen.name[:60]}' runs on Anthropic's servers alone"
        )
    if chosen == "required" and left_out and not tools:
        raise unsupported("tool_choice", "the tools run on Anthropic's servers alone")
    if tools:
        return tools, chosen, extra
    if chosen not in ("auto", "none"):
        ignored.append("tool_choice")
    return [], None, {}  # a choice between no tools is an error at some servers


def _choice(choice: Fields, ignored: list[str]) -> tuple[Choice, JsonObject]:
    kind = choice.needed_text("type")
    extra: JsonObject = {}
    if choice.flag("disable_parallel_tool_use"):
        extra["parallel_tool_calls"] = False
    chosen: Choice
    if kind == "tool":
        chosen = NamedTool(name=choice.needed_text("name"))
    elif kind in _CHOICES:
        chosen = _CHOICES[kind]
    else:
        raise Refused(
            "invalid_field",
            "'tool_choice.type' is none of auto, any, tool and none",
            field="tool_choice.type",
        )
    ignored += choice.unread()
    return chosen, extra


# --- thinking and formats -------------------------------------------------------------------------


def _thinking_and_format(
    fields: Fields, ignored: list[str]
) -> tuple[str | None, bool, JsonSchema | None]:
    """How hard to think, whether thoughts are shown, and what the answer has to hold to.

    In this protocol a request that does not speak of thinking gets none.
    """
    config = fields.object("output_config")
    effort = None if config is None else config.text("effort")
    form = fields.object("output_format")  # its older place
    if config is not None:
        form = config.object("format") or form
        ignored += config.unread()
    schema = None if form is None else _schema(form, ignored)
    thinking = fields.object("thinking")
    if thinking is None:
        return "none", False, schema
    kind = thinking.needed_text("type")
    budget = thinking.whole("budget_tokens")
    ignored += thinking.unread()
    match kind:
        case "disabled":
            return "none", False, schema
        case "adaptive":
            return effort, True, schema
        case "enabled":
            return effort or _effort_of(budget), True, schema
        case _:
            raise Refused(
                "invalid_field",
                "'thinking.type' is none of enabled, adaptive and disabled",
                field="thinking.type",
            )


def _effort_of(budget: int | None) -> str:
    if budget is None:
        return "medium"
    return next((effort for most, effort in _BUDGETS if budget <= most), "high")


def _schema(form: Fields, ignored: list[str]) -> JsonSchema:
    if form.needed_text("type") != "json_schema":
        raise unsupported(form.where("type"), "answers are held to a json_schema alone")
    schema = form.json("schema")
    if schema is None:
        raise form.missing("schema")
    ignored += form.unread()
    return made(JsonSchema, schema=schema)
