"""One chat turn: what was asked, and what the model says to it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelbay.testing.simulator import Request
from modelbay_openai.simulator.errors import ApiError, Json, too_long
from modelbay_openai.simulator.model import SimulatedModel, ToolCall, count, pieces
from modelbay_openai.simulator.personalities import Personality


@dataclass(frozen=True, slots=True)
class Turn:
    """A request that was accepted.

    Attributes:
        limit: Tokens of the answer; ``None`` without limit.
        calls: What the model will call.
    """

    model: SimulatedModel
    text: str
    thinking: str
    calls: tuple[ToolCall, ...]
    limit: int | None
    stream: bool
    usage: bool
    prompt_tokens: int

    def said(self) -> Iterator[tuple[str, str]]:
        """Pieces of thought and text, as ``("thinking" | "text", piece)``, up to the limit."""
        left = self.limit
        parts = [("thinking", piece) for piece in pieces(self.thinking)]
        parts += [("text", piece) for piece in pieces(self.text)]
        while True:
            for part in parts:
                if left is not None:
                    if left == 0:
                        return
                    left -= 1
                yield part
            if not self.model.endless or not parts:
                return

    @property
    def cut(self) -> bool:
        """The limit ends the answer."""
        whole = len(pieces(self.thinking)) + len(pieces(self.text))
        return self.limit is not None and (self.model.endless or self.limit < whole)


def read_body(request: Request) -> Json:
    """The body of a request.

    Raises:
        ApiError: It is no JSON object.
    """
    try:
        body = request.json()
    except ValueError as exc:
        raise ApiError(400, f"the body is not JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise ApiError(400, "the body is no object")
    return body


def read_turn(personality: Personality, model: SimulatedModel, body: Json) -> Turn:
    """What a chat request asks for.

    Raises:
        ApiError: The server refuses it.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ApiError(422 if personality.errors == "detail" else 400, "Field required: messages")
    for name in sorted(personality.refuses & body.keys()):
        raise ApiError(400, f"Unrecognized request argument supplied: {name}")
    if personality.thinkers_refuse_max_tokens and model.thinking and "max_tokens" in body:
        raise ApiError(
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
            " 'max_completion_tokens' instead.",
            "unsupported_parameter",
        )
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and not personality.tool_choice_object:
        raise ApiError(
            400,
            "Invalid tool_choice type: 'object'. Supported string values: none, auto, required",
        )
    wanted = _format(body)
    if wanted == "json_object" and not personality.json_object:
        raise ApiError(400, "'response_format.type' must be 'json_schema' or 'text'")
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    limit = limit if isinstance(limit, int) else None
    used = count(json.dumps(messages))
    if used + (limit or 0) > model.context:
        raise too_long(personality, used + (limit or 0), model.context)
    options = body.get("stream_options")
    answered = isinstance(messages[-1], dict) and messages[-1].get("role") == "tool"
    calls = () if answered or choice == "none" or not body.get("tools") else tuple(model.calls)
    said = model.answer if model.says is None else model.says(messages)
    text = "" if calls else said
    if wanted in ("json_object", "json_schema"):
        text = model.json_answer or json.dumps(_smallest(_schema(body)))
    return Turn(
        model=model,
        text=text,
        thinking=model.thinking,
        calls=calls,
        limit=limit,
        stream=body.get("stream") is True,
        usage=isinstance(options, dict) and options.get("include_usage") is True,
        prompt_tokens=used,
    )


def _format(body: Json) -> str:
    wanted = body.get("response_format")
    return str(wanted.get("type", "")) if isinstance(wanted, dict) else ""


def _schema(body: Json) -> Mapping[str, object]:
    wanted = body.get("response_format")
    inner = wanted.get("json_schema") if isinstance(wanted, dict) else None
    schema = inner.get("schema") if isinstance(inner, dict) else None
    return schema if isinstance(schema, dict) else {"type": "object"}


def _smallest(schema: object) -> object:
    """A value that the schema allows, for the few words tests use."""
    if not isinstance(schema, dict):
        return None
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    match schema.get("type"):
        case "object":
            inner = schema.get("properties")
            return {
                name: _smallest(one)
                for name, one in (inner.items() if isinstance(inner, dict) else ())
            }
        case "array":
            return []
        case "string":
            return ""
        case "integer" | "number":
            return 0
        case "boolean":
            return False
    return None
