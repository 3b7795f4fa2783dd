"""What changes the store without a download: copy, delete, create, push, blobs."""

import asyncio
import hashlib
import re
from contextlib import aclosing
from dataclasses import replace

from modelbay.testing.simulator import ClientGone, Exchange
from modelbay_ollama.simulator.answer import ApiError, Body, Json, answer_json, read_body
from modelbay_ollama.simulator.downloads import Downloads
from modelbay_ollama.simulator.model import SimulatedModel
from modelbay_ollama.simulator.names import Name, known_name, stub_name
from modelbay_ollama.simulator.pull import Progress, deliver_progress, pulling
from modelbay_ollama.simulator.state import State

_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


async def copy(state: State, exchange: Exchange) -> None:
    """``POST /api/copy``: 200 with nothing in it."""
    body = read_body(exchange.request, "CopyRequest")
    source, destination = body.text("source"), body.text("destination")
    old = known_name(source, f'source "{source}" is invalid')
    new = known_name(destination, f'destination "{destination}" is invalid')
    entry = state.store.find(old)
    if entry is None:
        raise ApiError(404, f'model "{source}" not found')
    state.store.copy(entry, new, state.clock.now)
    await exchange.send(b"")


async def delete(state: State, exchange: Exchange) -> None:
    """``DELETE /api/delete``. A runner of the model goes on."""
    body = read_body(exchange.request, "DeleteRequest")
    name = known_name(stub_name(body.model, state.release), f'name "{body.model}" is invalid')
    entry = state.store.find(name)
    if entry is None:
        raise ApiError(404, f"model '{body.model}' not found")
    state.store.remove(entry)
    await exchange.send(b"")


async def create(state: State, downloads: Downloads, exchange: Exchange) -> None:
    """``POST /api/create``: over another model, or from files that were sent as blobs."""
    body = read_body(exchange.request, "CreateRequest")
    name = known_name(body.model)
    files, source = body.values.get("files"), body.text("from")
    if not source and files is None:
        raise ApiError(400, "neither 'from' or 'files' was specified")
    if not source and not body.record("files"):
        raise ApiError(400, "no files provided to convert")
    lines = _creating(state, downloads, exchange, body, name)
    async with aclosing(lines) as progress:
        await deliver_progress(state, exchange, progress, stream=body.flag("stream", True))


async def _creating(
    state: State, downloads: Downloads, exchange: Exchange, body: Body, name: Name
) -> Progress:
    source = body.text("from")
    if source:
        found = state.store.find(known_name(source))
        if found is None:
            async with aclosing(
                pulling(state, downloads, exchange, known_name(source))
            ) as progress:
                async for line in progress:
                    if line != {"status": "success"}:
                        yield line
            found = state.store.find(known_name(source))
        if found is None:
            raise ApiError(500, f"model '{source}' not found")
        model = replace(found.model, weights=found.model.weights_id, digest="")
        yield {"status": f"using existing layer sha256:{found.model.manifest_digest}"}
    else:
        for digest in map(str, body.record("files").values()):
            if digest.replace("-", ":") not in state.store.blobs:
                raise ApiError(400, f'blob "{digest}" does not exist')
        yield {"status": "parsing GGUF"}
        model = SimulatedModel(name.display)
    model = _described(model, body, name)
    yield {"status": f"creating new layer sha256:{model.manifest_digest}"}
    yield {"status": "writing manifest"}
    state.store.add(model, state.clock.now, name)
    yield {"status": "success"}


def _described(model: SimulatedModel, body: Body, name: Name) -> SimulatedModel:
    """The model with what the request says about it."""
    license_ = body.values.get("license") or model.license
    messages: list[dict[str, str]] = []
    for item in body.items("messages"):
        said = Body(item if isinstance(item, dict) else {}, "CreateRequest.messages")
        messages.append({"role": said.text("role"), "content": said.text("content")})
    return replace(
        model,
        name=name.display,
        parameters={**model.parameters, **body.record("parameters")},
        system=body.text("system") or model.system,
        template=body.text("template") or model.template,
        license="\n".join(map(str, license_)) if isinstance(license_, list) else str(license_),
        messages=messages or model.messages,
        requires=body.text("requires") or model.requires,
        modified_at=None,
    )


async def push(state: State, exchange: Exchange) -> None:
    """``POST /api/push``: to nowhere."""
    body = read_body(exchange.request, "PushRequest")
    if not body.model:
        raise ApiError(400, "model is required")
    async with aclosing(_pushing(state, exchange, body.model)) as progress:
        await deliver_progress(state, exchange, progress, stream=body.flag("stream", True))


async def _pushing(state: State, exchange: Exchange, sent: str) -> Progress:
    yield {"status": "retrieving manifest"}
    entry = state.store.find(known_name(sent))
    if entry is None:
        yield {"status": "couldn't retrieve manifest"}
        raise ApiError(500, "file does not exist")
    if exchange.disconnected.is_set():
        raise ClientGone
    digest, size = entry.model.manifest_digest, entry.model.size_bytes
    line: Json = {"status": f"pushing {digest[:12]}", "digest": f"sha256:{digest}", "total": size}
    yield line
    await asyncio.sleep(0)
    yield {**line, "completed": size}
    yield {"status": "pushing manifest"}
    yield {"status": "success"}


async def has_blob(state: State, exchange: Exchange) -> None:
    """``HEAD /api/blobs/:digest``: 200 or 404."""
    digest = _blob(exchange)
    await exchange.send(b"", 200 if digest in state.store.blobs else 404)


async def add_blob(state: State, exchange: Exchange) -> None:
    """``POST /api/blobs/:digest``: the bytes of a file."""
    digest = _blob(exchange)
    if digest in state.store.blobs:
        await exchange.send(b"")
        return
    got = f"sha256:{hashlib.sha256(exchange.request.body).hexdigest()}"
    if got != digest:
        await answer_json(
            exchange, {"error": f'digest mismatch, expected "{digest}", got "{got}"'}, 400
        )
        return
    state.store.blobs.add(digest)
    await exchange.send(b"", 201)


def _blob(exchange: Exchange) -> str:
    found = _DIGEST.fullmatch(exchange.params["digest"])
    if found is None:
        raise ApiError(400, "invalid digest format")
    return f"sha256:{found.group(1).lower()}"
