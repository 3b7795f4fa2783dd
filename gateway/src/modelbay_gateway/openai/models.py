"""``GET /v1/models`` and ``GET /v1/models/{id}``, from the registry."""

from modelbay.models.catalog import ModelInfo
from modelbay.models.frozen import JsonObject
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.json_line import to_json

_CAPABILITIES = (
    "tools",
    "parallel_tools",
    "vision",
    "audio",
    "reasoning",
    "json_mode",
    "json_schema",
    "embeddings",
    "rerank",
    "image_generation",
)


async def list_models(bay: Bay, call: Call) -> None:
    """Every provider's models, by their composite ids."""
    catalog = await bay.catalog()
    labels = {provider.id: provider.label for provider in catalog.providers}
    data = [entry(model, labels[model.ref.provider_id], bay.started_at) for model in catalog.models]
    ids = [model.id for model in catalog.models]
    body: JsonObject = {
        "object": "list",
        "data": [*data],
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": False,
    }
    if b"client_version=" in call.scope.get("query_string", b""):
        body["models"] = []  # a client that asks so wants its own list here, and takes an empty one
    await call.reply(to_json(body))


async def retrieve(bay: Bay, call: Call) -> None:
    """One model, under the id that was asked for."""
    asked = call.param("model_id")
    model = await bay.known(asked)
    provider = bay.host.registry.handle(model.ref.provider_id).config
    await call.reply(to_json({**entry(model, provider.name, bay.started_at), "id": asked}))


def entry(model: ModelInfo, label: str, created: int) -> JsonObject:
    """One model of the list.

    Args:
        created: Seconds since 1970; models have no date of their own.
    """
    facts = model.capabilities
    known: JsonObject = {
        name: value for name in _CAPABILITIES if (value := getattr(facts, name)) is not None
    }
    body: JsonObject = {
        "id": model.id,
        "object": "model",
        "created": created,
        "owned_by": model.ref.provider_id,
        "name": model.name,
        "display_name": f"{model.name} ({label})",
        "type": "model",
        "state": model.state,
        "max_output_tokens": facts.max_output_tokens,
        "capabilities": known,
    }
    if facts.context_window is not None:
        body["context_length"] = facts.context_window
    return body
