"""What a running model tells about itself: list entry, properties, slots, metrics."""

import time
from collections.abc import Mapping

from modelbay_llamacpp.simulator.answer import ApiError, Call, text_of
from modelbay_llamacpp.simulator.engine import BUILD, Engine, Slot
from modelbay_llamacpp.simulator.model import CHAT_TEMPLATE, SimulatedModel
from modelbay_llamacpp.simulator.sampling import settings

Fields = dict[str, object]
MEDIA_MARKER = "<__media_simulated__>"
_CELL_BYTES = 275


def single_list(model: SimulatedModel) -> Fields:
    """``GET /v1/models`` in single-model mode; of several names the first by alphabet is the id."""
    names = sorted(model.names)
    capabilities = ["completion", "multimodal"] if model.shown.vision else ["completion"]
    dummy = {
        "name": names[0],
        "model": names[0],
        "modified_at": "",
        "size": "",
        "digest": "",
        "type": "model",
        "description": "",
        "tags": [""],
        "capabilities": capabilities,
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
    return {"models": [dummy], "object": "list", "data": [child_entry(model)]}


def child_entry(model: SimulatedModel) -> Fields:
    """The entry that the process of a model gives of itself."""
    names = sorted(model.names)
    return {
        "id": names[0],
        "aliases": names,
        "tags": list(model.tags),
        "object": "model",
        "created": int(time.time()),
        "owned_by": "llamacpp",
        "meta": model.shown.meta(),
    }


async def props(engine: Engine, call: Call) -> None:
    """``GET /props``"""
    model, flags = engine.model.shown, engine.flags
    params = settings({}, chat_format="Content-only", full=False)
    await call.json(
        {
            "default_generation_settings": {"params": params, "n_ctx": model.n_ctx},
            "total_slots": len(engine.slots),
            "model_alias": model.id,
            "model_ftype": model.ftype,
            "model_path": model.file,
            "modalities": {"vision": model.vision, "video": model.vision, "audio": model.audio},
            "media_marker": MEDIA_MARKER,
            "endpoint_slots": flags.slots_endpoint,
            "endpoint_props": flags.props,
            "endpoint_metrics": flags.metrics,
            "ui": False,
            "ui_settings": {},
            "chat_template": CHAT_TEMPLATE,
            "chat_template_caps": model.template_caps(),
            "bos_token": "<s>",
            "eos_token": "<|im_end|>",
            "build_info": BUILD,
            "is_sleeping": engine.asleep,
            "cors_proxy_enabled": False,
        }
    )


async def set_props(engine: Engine, call: Call) -> None:
    """``POST /props``, which changes nothing."""
    if not engine.flags.props:
        raise _not_started_with("changing global properties", "--props")
    await call.json({"success": True})


async def slots(engine: Engine, call: Call) -> None:
    """``GET /slots``"""
    if not engine.flags.slots_endpoint:
        raise _not_started_with("slots endpoint", "--slots")
    if call.exchange.request.query.get("fail_on_no_slot") and all(s.busy for s in engine.slots):
        raise ApiError(503, "no slot available")
    await call.json([_slot(engine, slot) for slot in engine.slots])


def _slot(engine: Engine, slot: Slot) -> Fields:
    shown: Fields = {
        "id": slot.id,
        "n_ctx": engine.model.n_ctx,
        "speculative": False,
        "is_processing": slot.busy,
    }
    if slot.task is not None:
        shown |= {
            "id_task": slot.task,
            "n_prompt_tokens": len(slot.cache),
            "n_prompt_tokens_processed": len(slot.cache) - slot.cached,
            "n_prompt_tokens_cache": slot.cached,
            "params": settings({}, chat_format="peg-native", full=False),
            "next_token": [
                {
                    "has_next_token": slot.busy,
                    "has_new_line": False,
                    "n_remain": -1,
                    "n_decoded": max(0, slot.cells - len(slot.cache)),
                }
            ],
        }
    return shown


async def slot_action(engine: Engine, call: Call) -> None:
    """``POST /slots/{id}?action=save|restore|erase``; erase answers for any id."""
    if not engine.flags.slot_save:
        raise _not_started_with("slots action", "--slot-save-path")
    number = int(call.exchange.params["id"])
    slot = engine.slots[number % len(engine.slots)]
    name = text_of(call.body, "filename")
    match call.exchange.request.query.get("action"):
        case "save":
            engine.saved[name] = list(slot.cache)
            answer: Mapping[str, object] = {
                "n_saved": len(slot.cache),
                "n_written": len(slot.cache) * _CELL_BYTES,
                "timings": {"save_ms": 1.0},
            }
        case "restore":
            if name not in engine.saved:
                raise ApiError(
                    400,
                    "Unable to restore slot: No available space in KV cache or invalid slot save "
                    "file",
                )
            slot.cache = list(engine.saved[name])
            answer = {
                "n_restored": len(slot.cache),
                "n_read": len(slot.cache) * _CELL_BYTES,
                "timings": {"restore_ms": 1.0},
            }
        case "erase":
            erased, slot.cache = len(slot.cache), []
            await call.json({"id_slot": number, "n_erased": erased})
            return
        case _:
            raise ApiError(400, "Invalid action")
    await call.json({"id_slot": number, "filename": name, **answer})


async def lora(engine: Engine, call: Call) -> None:
    """``GET /lora-adapters``: none"""
    await call.json([])


async def metrics(engine: Engine, call: Call) -> None:
    """``GET /metrics``, Prometheus text"""
    if not engine.flags.metrics:
        raise _not_started_with("metrics endpoint", "--metrics")
    count = engine.counters
    lines: list[str] = []
    for kind, name, text, value in (
        ("counter", "prompt_tokens_total", "Number of prompt tokens processed", count["prompt"]),
        ("counter", "prompt_tokens_cached_total", "Prompt tokens from the cache", count["cached"]),
        ("counter", "prompt_seconds_total", "Time spent on prompts", count["prompt"] / 1e4),
        ("counter", "tokens_predicted_total", "Generation tokens", count["predicted"]),
        (
            "counter",
            "tokens_predicted_seconds_total",
            "Time spent on them",
            count["predicted"] / 2e3,
        ),
        ("counter", "n_decode_total", "Calls of llama_decode()", count["decodes"]),
        ("counter", "n_tokens_max", "Longest sequence", count["longest"]),
        ("counter", "spec_decode_num_draft_tokens_total", "Draft tokens", 0),
        ("counter", "spec_decode_num_accepted_tokens_total", "Accepted draft tokens", 0),
        ("counter", "spec_decode_num_drafts_total", "Verification steps", 0),
        ("gauge", "prompt_tokens_seconds", "Prompt tokens/s", 1e4 if count["prompt"] else 0),
        (
            "gauge",
            "predicted_tokens_seconds",
            "Generated tokens/s",
            2e3 if count["predicted"] else 0,
        ),
        ("gauge", "requests_processing", "Requests processing", engine.busy_slots),
        ("gauge", "requests_deferred", "Requests deferred", engine.queued),
        ("gauge", "n_busy_slots_per_decode", "Busy slots per decode", int(count["decodes"] > 0)),
    ):
        lines += [
            f"# HELP llamacpp:{name} {text}",
            f"# TYPE llamacpp:{name} {kind}",
            f"llamacpp:{name} {value:g}",
        ]
    await call.exchange.send(
        ("\n".join(lines) + "\n").encode(),
        200,
        "text/plain; version=0.0.4",
        [("Process-Start-Time-Unix", str(int(time.time()))), *call.proxy_headers],
        chunked=call.proxied,
    )


async def infill(engine: Engine, call: Call) -> None:
    """``POST /infill``: no simulated model has the tokens for it."""
    parts = "".join(f"{name} token is missing. " for name in ("prefix", "suffix", "middle"))
    raise ApiError(501, f"Infill is not supported by this model: {parts}")


async def transcription(engine: Engine, call: Call) -> None:
    """``POST /v1/audio/transcriptions``: no simulated model does it."""
    raise ApiError(501, "The current model does not support audio input.")


def _not_started_with(what: str, flag: str) -> ApiError:
    return ApiError(501, f"This server does not support {what}. Start it with `{flag}`")
