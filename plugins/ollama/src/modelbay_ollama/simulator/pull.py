"""``POST /api/pull``: progress lines, layer by layer."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from modelbay.testing.simulator import ClientGone, Exchange
from modelbay_ollama.simulator import cloud
from modelbay_ollama.simulator.answer import ApiError, Json, LineWriter, answer_json, read_body
from modelbay_ollama.simulator.downloads import Downloads
from modelbay_ollama.simulator.model import Layer, Pullable
from modelbay_ollama.simulator.names import Name, known_name, parse_name, stub_name
from modelbay_ollama.simulator.state import State

Progress = AsyncGenerator[Json, None]

_UNKNOWN = "pull model manifest: file does not exist"


async def pull(state: State, downloads: Downloads, exchange: Exchange) -> None:
    """The route."""
    body = read_body(exchange.request, "PullRequest")
    name = known_name(stub_name(body.model, state.release))
    if name.scheme == "http" and not body.flag("insecure"):
        raise ApiError(500, "insecure protocol http")
    state.tally.add("pulls_begun", name.display)
    try:
        async with aclosing(pulling(state, downloads, exchange, name)) as progress:
            await deliver_progress(state, exchange, progress, stream=body.flag("stream", True))
    except ClientGone:
        state.tally.add("pulls_cancelled", name.display)
        raise


async def deliver_progress(
    state: State, exchange: Exchange, progress: Progress, *, stream: bool
) -> None:
    """Send lines as they come, or the last one alone.

    Raises:
        ApiError: Not streamed, and it failed.
        ClientGone: The client left.
    """
    if not stream:
        last: Json = {}
        async for line in progress:
            last = line
        await answer_json(exchange, last)
        return
    writer = LineWriter(exchange, 1, final_newline=True)
    try:
        async for line in progress:
            await writer.line(line)
    except ApiError as error:
        await writer.fail(error, state.release)


async def pulling(state: State, downloads: Downloads, exchange: Exchange, name: Name) -> Progress:
    """The lines of one pull; the model is installed before the last of them.

    Raises:
        ApiError: 500, which in a stream becomes a line.
    """
    yield {"status": "pulling manifest"}
    item = _find(state, name)
    if item is None:
        raise ApiError(500, _UNKNOWN)
    sent = 0
    series = _tensors if item.tensors else _layers
    async with aclosing(series(state, downloads, exchange, item, name)) as lines:
        async for line in lines:
            if item.error and sent == item.error_after:
                raise ApiError(500, item.error)
            sent += 1
            yield line
    if item.error:
        raise ApiError(500, item.error)
    if not item.tensors:
        yield {"status": "verifying sha256 digest"}
    yield {"status": "writing manifest"}
    if item.prunes:
        unused = "unused layers" if state.release.since("0.30.0") else "any unused layers"
        yield {"status": f"removing {unused}"}
    state.store.add(replace(item.model, name=name.display), state.clock.now, name)
    state.tally.add("pulls_done", name.display)
    yield {"status": "success"}


async def _layers(
    state: State, downloads: Downloads, exchange: Exchange, item: Pullable, name: Name
) -> Progress:
    for at, layer in enumerate(item.layers):
        digest = item.digest_of(at)
        status = f"pulling {digest.partition(':')[2][:12]}"
        if layer.cached or digest in downloads.done:
            yield _line(status, digest, layer.size_bytes, layer.size_bytes)
            continue
        following = downloads.follow(exchange, digest, layer, name.display)
        async with aclosing(following) as amounts:
            async for completed in amounts:
                if not layer.silent and not (layer.ends_short and completed >= layer.size_bytes):
                    yield _line(status, digest, layer.size_bytes, completed)


async def _tensors(
    state: State, downloads: Downloads, exchange: Exchange, item: Pullable, name: Name
) -> Progress:
    total, before = sum(layer.size_bytes for layer in item.layers), 0
    for at, layer in enumerate(item.layers):
        digest = item.digest_of(at)
        if not (layer.cached or digest in downloads.done):
            following = downloads.follow(exchange, digest, layer, name.display)
            async with aclosing(following) as amounts:
                async for completed in amounts:
                    yield _line("pulling model", "sha256:model", total, before + completed)
        before += layer.size_bytes


def _line(status: str, digest: str, total: int, completed: int) -> Json:
    line: Json = {"status": status, "digest": digest, "total": total, "completed": completed}
    return {name: value for name, value in line.items() if value != 0}  # Go leaves zeros out


def _find(state: State, name: Name) -> Pullable | None:
    for item in state.registry:
        known = parse_name(item.model.name)
        if known is not None and known.key == name.key:
            return item
    base = name.tag.casefold().removesuffix("cloud").removesuffix("-")
    if base != name.tag.casefold():
        entry = state.in_cloud(f"{name.model}:{base}" if base else name.model)
        if entry is not None:
            stub = cloud.stub_of(entry.model, name.display)
            return Pullable(stub, [Layer(384, steps=1)])
    return None
