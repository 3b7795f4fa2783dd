"""``GET /v1/models`` as Anthropic's clients read it.

The path is the OpenAI surface's too; a request with an ``anthropic-version`` header is ours.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qs

from modelbay.models.catalog import ModelInfo
from modelbay.models.frozen import JsonObject
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.json_line import to_json
from modelbay_gateway.refusal import Refused

# Claude Code shows only models whose ids begin with one of its own words.
PREFIX = "claude-local-"

_PAGE, _LARGEST_PAGE = 20, 1000
_USER_AGENTS = ("claude-cli", "claude-code")


async def find(bay: Bay, name: str) -> ModelInfo:
    """The model of this id; also of one that was given to Claude Code.

    Raises:
        RoutingError: There is none.
        BackendError: Its provider could not be asked.
    """
    if name.startswith(PREFIX):
        await bay.catalog()
        if bay.listed(name) is None:
            name = name.removeprefix(PREFIX)
    return await bay.find(name)


async def list_models(bay: Bay, call: Call) -> None:
    """Every provider's models, page by page."""
    catalog = await bay.catalog()
    prefix = PREFIX if _is_claude_code(call) else ""
    models = [entry(model, bay.started_at, prefix) for model in catalog.models]
    query = parse_qs(call.scope.get("query_string", b"").decode("latin-1"))
    limit, after, before = (query.get(name, [""])[0] for name in ("limit", "after_id", "before_id"))
    await call.reply(page(models, limit=_limit(limit), after=after, before=before))


async def retrieve(bay: Bay, call: Call) -> None:
    """One model, under the id that was asked for."""
    asked = call.param("model_id")
    await bay.catalog()
    name = asked if bay.listed(asked) else asked.removeprefix(PREFIX)
    model = await bay.known(name)
    await call.reply(to_json({**entry(model, bay.started_at), "id": asked}))


def entry(model: ModelInfo, created: int, prefix: str = "") -> JsonObject:
    """One model of the list.

    Args:
        created: Seconds since 1970; models have no date of their own.
        prefix: Put before the id.
    """
    body: JsonObject = {
        "type": "model",
        "id": prefix + model.id,
        "display_name": f"{model.name} ({model.ref.provider_id})",
        "created_at": datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
        "max_tokens": model.capabilities.max_output_tokens,
    }
    if model.capabilities.context_window is not None:
        body["max_input_tokens"] = model.capabilities.context_window
    return body


def page(models: Sequence[JsonObject], *, limit: int, after: str = "", before: str = "") -> bytes:
    """A part of the list: the first ones, those after an id, or the last ones before one.

    Raises:
        Refused: An id is not in the list.
    """
    ids = [str(model["id"]) for model in models]
    if after:
        rest = models[_place(ids, after, "after_id") + 1 :]
        shown, has_more = rest[:limit], len(rest) > limit
    elif before:
        rest = models[: _place(ids, before, "before_id")]
        shown, has_more = rest[max(len(rest) - limit, 0) :], len(rest) > limit
    else:
        shown, has_more = models[:limit], len(models) > limit
    return to_json(
        {
            "data": [*shown],
            "has_more": has_more,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
        }
    )


def _place(ids: Sequence[str], wanted: str, field: str) -> int:
    if wanted not in ids:
        raise Refused("invalid_field", f"'{field}' is no id of the list", field=field)
    return ids.index(wanted)


def _limit(text: str) -> int:
    if not text:
        return _PAGE
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise Refused("invalid_field", "'limit' must be a whole number", field="limit")
    limit = int(text)
    if not 1 <= limit <= _LARGEST_PAGE:
        raise Refused("invalid_field", f"'limit' must be from 1 to {_LARGEST_PAGE}", field="limit")
    return limit


def _is_claude_code(call: Call) -> bool:
    return (call.header(b"user-agent") or "").lower().startswith(_USER_AGENTS)
