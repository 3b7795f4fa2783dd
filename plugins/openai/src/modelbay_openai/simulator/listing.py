"""The model list of each server, and what else it tells about its models."""

from collections.abc import Callable, Mapping

from modelbay_openai.simulator.errors import Json
from modelbay_openai.simulator.model import SimulatedModel
from modelbay_openai.simulator.personalities import Personality

CREATED = 1_763_600_000


def listed(personality: Personality, model: SimulatedModel) -> Json:
    """A model's entry in the list."""
    model = model.shown
    entry: Json = {
        "id": model.id,
        "object": "model",
        "created": CREATED,
        "owned_by": personality.owner,
    }
    more = _MORE.get(personality.name)
    return entry if more is None else more(entry, model)


def _vllm(entry: Json, model: SimulatedModel) -> Json:
    permission = {"id": "modelperm-1", "object": "model_permission", "allow_sampling": True}
    return {
        **entry,
        "root": f"/models/{model.id}",
        "parent": None,
        "max_model_len": model.context,
        "permission": [permission],
    }


def _sglang(entry: Json, model: SimulatedModel) -> Json:
    return {**entry, "root": model.id, "parent": None, "max_model_len": model.context}


def _lm_studio(entry: Json, model: SimulatedModel) -> Json:
    del entry["created"]
    return entry


def _tabby(entry: Json, model: SimulatedModel) -> Json:
    return {**entry, "logging": None, "parameters": None}


def _kobold(entry: Json, model: SimulatedModel) -> Json:
    return {**entry, "permission": [], "root": "koboldcpp"}


def _openrouter(entry: Json, model: SimulatedModel) -> Json:
    inputs = ["text", "image"] if model.vision else ["text"]
    outputs = ["embeddings"] if model.embeddings else ["rerank"] if model.rerank else ["text"]
    parameters = ["max_tokens", "temperature", "stop"]
    if model.calls:
        parameters += ["tools", "tool_choice"]
    if model.thinking:
        parameters += ["reasoning", "include_reasoning"]
    if not model.embeddings:
        parameters += ["response_format", "structured_outputs"]
    return {
        "id": model.id,
        "canonical_slug": model.id,
        "name": f"Simulated: {model.id}",
        "created": CREATED,
        "description": "A simulated model.",
        "context_length": model.trained,
        "architecture": {
            "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
            "input_modalities": inputs,
            "output_modalities": outputs,
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": {
            "prompt": model.prompt_price,
            "completion": model.completion_price,
            "request": "0",
            "image": "0",
        },
        "top_provider": {
            "context_length": model.context,
            "max_completion_tokens": 4096,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": parameters,
    }


_MORE: Mapping[str, Callable[[Json, SimulatedModel], Json]] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "lmstudio": _lm_studio,
    "tabbyapi": _tabby,
    "koboldcpp": _kobold,
    "openrouter": _openrouter,
}


def lm_studio_v1(model: SimulatedModel, *, loaded: bool) -> Json:
    """An entry of LM Studio's ``GET /api/v1/models``."""
    model = model.shown
    instance = {"id": model.id, "config": {"context_length": model.context}}
    entry: Json = {
        "type": "embedding" if model.embeddings else "llm",
        "publisher": "simulated",
        "key": model.id,
        "display_name": model.id.title(),
        "architecture": "llama",
        "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
        "size_bytes": 4_000_000_000,
        "params_string": "8B",
        "loaded_instances": [instance] if loaded else [],
        "max_context_length": model.trained,
        "format": "gguf",
    }
    if not model.embeddings:
        entry["capabilities"] = {
            "vision": model.vision,
            "trained_for_tool_use": bool(model.calls),
        }
    return entry


def lm_studio_v0(model: SimulatedModel, *, loaded: bool) -> Json:
    """An entry of LM Studio's ``GET /api/v0/models``."""
    model = model.shown
    kind = "embeddings" if model.embeddings else "vlm" if model.vision else "llm"
    entry: Json = {
        "id": model.id,
        "object": "model",
        "type": kind,
        "publisher": "simulated",
        "arch": "llama",
        "compatibility_type": "gguf",
        "quantization": "Q4_K_M",
        "state": "loaded" if loaded else "not-loaded",
        "max_context_length": model.trained,
    }
    if loaded:
        entry["loaded_context_length"] = model.context
    if model.calls:
        entry["capabilities"] = ["tool_use"]
    return entry
