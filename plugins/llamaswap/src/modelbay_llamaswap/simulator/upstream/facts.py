"""What a child tells about itself."""

import time

from modelbay_llamaswap.simulator.upstream.completions import settings
from modelbay_llamaswap.simulator.upstream.engine import Engine
from modelbay_llamaswap.simulator.upstream.reply import BUILD, Reply
from modelbay_llamaswap.simulator.upstream.request import Fields, UpstreamRequest, text_of
from modelbay_llamaswap.simulator.upstream.tokens import tokenize

CHAT_TEMPLATE = (
    "{%- if tools -%}{{- '<|im_start|>system\\n' -}}...{%- endif -%}{%- for m in messages -%}..."
)
_CAPS = {
    "supports_object_arguments": True,
    "supports_parallel_tool_calls": True,
    "supports_preserve_reasoning": True,
    "supports_reasoning_effort": False,
    "supports_string_content": True,
    "supports_system_role": True,
    "supports_tool_calls": True,
    "supports_tools": True,
    "supports_typed_content": False,
}
_SAMPLERS = [
    *("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc"),
    "temperature",
]


async def health(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    await reply.json({"status": "ok"})


async def models(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """The child's own list, in both shapes that llama-server sends at once."""
    model = engine.model
    old = {
        "name": model.model_file,
        "model": model.model_file,
        "modified_at": "",
        "size": "",
        "digest": "",
        "type": "model",
        "description": "",
        "tags": [""],
        "capabilities": ["completion", "multimodal"] if model.vision else ["completion"],
        "parameters": "",
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "",
            "families": [""],
            "parameter_size": "",
            "quantization_level": "",
        },
    }
    entry = {
        "id": model.model_file,
        "aliases": [model.model_file],
        "tags": [],
        "object": "model",
        "created": int(time.time()),
        "owned_by": "llamacpp",
        "meta": {
            "vocab_type": 1,
            "n_vocab": 365,
            "n_ctx": model.n_ctx,
            "n_ctx_train": 2048,
            "n_embd": model.n_embd,
            "n_params": 120_768,
            "size": 242_176,
            "ftype": "F16",
        },
    }
    await reply.json({"models": [old], "object": "list", "data": [entry]})


async def props(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``GET /props``"""
    model = engine.model
    await reply.json(
        {
            "default_generation_settings": {"params": _params(), "n_ctx": model.n_ctx},
            "total_slots": model.slots,
            "model_alias": model.model_file,
            "model_ftype": "F16",
            "model_path": model.model_file,
            "modalities": {"vision": model.vision, "video": model.vision, "audio": False},
            "media_marker": f"<__media_{engine.random_id()}__>",
            "endpoint_slots": True,
            "endpoint_props": False,
            "endpoint_metrics": False,
            "ui": False,
            "ui_settings": {},
            "chat_template": CHAT_TEMPLATE,
            "chat_template_caps": _CAPS,
            "bos_token": "<s>",
            "eos_token": "<|im_end|>",
            "build_info": BUILD,
            "is_sleeping": False,
            "cors_proxy_enabled": False,
        }
    )


def _params() -> Fields:
    used = settings({})
    tenth, nine_tenths = 0.10000000149011612, 0.8999999761581421
    return {
        "seed": used["seed"],
        "temperature": used["temperature"],
        "dynatemp_range": 0.0,
        "dynatemp_exponent": 1.0,
        "top_k": used["top_k"],
        "top_p": used["top_p"],
        "min_p": used["min_p"],
        "top_n_sigma": -1.0,
        "xtc_probability": 0.0,
        "xtc_threshold": tenth,
        "typical_p": 1.0,
        "repeat_last_n": 64,
        "repeat_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "dry_multiplier": 0.0,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_penalty_last_n": 64,
        "mirostat": 0,
        "mirostat_tau": 5.0,
        "mirostat_eta": tenth,
        "adaptive_target": -1.0,
        "adaptive_decay": nine_tenths,
        "max_tokens": -1,
        "n_predict": -1,
        "n_keep": 0,
        "n_discard": 0,
        "ignore_eos": False,
        "stream": False,
        "n_probs": 0,
        "min_keep": 0,
        "chat_format": "Content-only",
        "reasoning_format": "none",
        "reasoning_in_content": False,
        "generation_prompt": "",
        "samplers": _SAMPLERS,
        "speculative.types": "none",
        "timings_per_token": False,
        "post_sampling_probs": False,
        "backend_sampling": False,
        "lora": [],
    }


async def slots(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``GET /slots``"""
    await reply.json(
        [
            {
                "id": at,
                "n_ctx": engine.model.n_ctx,
                "speculative": False,
                "is_processing": at < engine.busy,
            }
            for at in range(engine.model.slots)
        ]
    )


async def metrics(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``GET /metrics``: not started with it, as usual."""
    error = {
        "code": 501,
        "message": "This server does not support metrics endpoint. Start it with `--metrics`",
        "type": "not_supported_error",
    }
    await reply.json({"error": error}, 501)


async def tokenized(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /tokenize``"""
    await reply.json({"tokens": tokenize(text_of(request.json(), "content"), bos=False)})
