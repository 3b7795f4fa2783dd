"""``/upstream/{id}/...``: everything a child has, also what llama-swap does not know."""

import re
from urllib.parse import unquote

from modelbay_llamaswap.simulator.call import Call
from modelbay_llamaswap.simulator.forwarding import Task, forward
from modelbay_llamaswap.simulator.generation import Generation
from modelbay_llamaswap.simulator.management import Params
from modelbay_llamaswap.simulator.naming import Destination
from modelbay_llamaswap.simulator.refusal import Refusal
from modelbay_llamaswap.simulator.routes import TABLE

_ASSET = re.compile(r".*\.(js|json|css|png|gif|jpg|jpeg|ico|txt)$")
_INFERENCE = frozenset(e.path for e in TABLE if e.kind == "model" and e.method == "POST")
COMFY = "comfyui_auto"


async def start_page(generation: Generation, call: Call, params: Params) -> None:
    """``GET /upstream``"""
    await call.redirect("/ui/models", 302)


async def passthrough(generation: Generation, call: Call, params: Params) -> None:
    """The longest run of path parts that is a name counts; the rest is for the child.

    It loads a model that is not running, except for what looks like part of a page.
    """
    parts = call.request.raw_path.removeprefix("/upstream/").split("/")
    for count in range(len(parts), 0, -1):
        name = "/".join(unquote(part) for part in parts[:count])
        destination = generation.directory.passthrough(name) if name else None
        if destination is None:
            continue
        if count == len(parts):
            permanent = 301 if call.request.method in ("GET", "HEAD") else 308
            await call.redirect(f"{call.request.raw_path}/", permanent)
            return
        await _pass(generation, call, destination, "/" + "/".join(parts[count:]))
        return
    raise Refusal(404, "model not found")


async def _pass(
    generation: Generation, call: Call, destination: Destination, raw_path: str
) -> None:
    process = destination.process
    cold = process is not None and process.state != "ready"
    if cold and generation.release.has(229) and _ASSET.fullmatch(unquote(raw_path)):
        name = destination.model_id
        message = f"model {name} is not loaded; path matches upstream.ignorePaths"
        raise Refusal(409, message)
    metered = call.request.method == "POST" and unquote(raw_path) in _INFERENCE
    task = Task(destination, raw_path, metered, False, destination.wire_name)
    await forward(generation, call, task)


async def comfyui(generation: Generation, call: Call, params: Params) -> None:
    """``/comfyui/...``: one fixed model, which only the start page may start."""
    if generation.directory.local(COMFY) is None:
        raise Refusal(404, "model not found")
    if "rest" not in params:
        await call.redirect("/comfyui/", 301 if call.request.method == "GET" else 308)
        return
    process = generation.directory.local(COMFY)
    raw_path = call.request.raw_path.removeprefix("/comfyui")
    if process is not None and process.state != "ready" and raw_path != "/":
        raise Refusal(409, f"model {COMFY} is not loaded")
    destination = Destination(process, None, COMFY)
    await forward(generation, call, Task(destination, raw_path, False, False, COMFY))
