"""From an admitted request to the child's answer: queue, loading text, proxy, activity row."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from modelbay.testing.simulator import ClientGone, Request
from modelbay_llamaswap.simulator.activity import Capture
from modelbay_llamaswap.simulator.bodies import model_of, rewritten
from modelbay_llamaswap.simulator.call import Call
from modelbay_llamaswap.simulator.generation import Forwarded, Generation
from modelbay_llamaswap.simulator.inflight import InFlight, shown_headers
from modelbay_llamaswap.simulator.loading import LoadingText
from modelbay_llamaswap.simulator.model import Peer, SimulatedModel
from modelbay_llamaswap.simulator.naming import Destination, no_model
from modelbay_llamaswap.simulator.process import Process
from modelbay_llamaswap.simulator.refusal import Refusal
from modelbay_llamaswap.simulator.router import Cancelled, Ticket
from modelbay_llamaswap.simulator.upstream import Upstream, UpstreamRequest

_HOP_BY_HOP = ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
_CREDENTIALS = ("authorization", "x-api-key")
_NO_ANSWER_KEPT = re.compile(r"/v1/audio/speech|/v1/images/.*|/sdapi/.*")
_NO_REQUEST_KEPT = re.compile(r"/v1/audio/transcriptions|/v1/images/edits|/sdapi/v1/img2img")


@dataclass(frozen=True, slots=True)
class Task:
    """A request on its way.

    Attributes:
        raw_path: What the child is asked for.
        metered: It leaves a row of activity.
        edited: Model name and filters are applied to its body.
        asked: The model as the caller wrote it.
    """

    destination: Destination
    raw_path: str
    metered: bool
    edited: bool
    asked: str


async def routed(generation: Generation, call: Call, raw_path: str) -> None:
    """A request that names its model in body, form or query.

    Raises:
        Refusal: Nothing serves it.
    """
    asked = model_of(call.release, call.request)
    if not asked:
        raise no_model()
    metered = call.request.method == "POST"
    try:
        destination = generation.directory.resolve(asked)
    except Refusal as refusal:
        await call.refuse(refusal)
        if metered:
            _record(generation, call, asked, raw_path, generation.clock.now(), {})
        return
    await forward(generation, call, Task(destination, raw_path, metered, True, asked))


async def forward(generation: Generation, call: Call, task: Task) -> None:
    """Get an answer, whatever it takes."""
    began = generation.clock.now()
    entry = generation.inflight.add(task.destination.model_id, task.raw_path, call.request)
    generation.machine.changed()
    process = task.destination.process
    metadata = {"fifo_priority": str(process.model.priority)} if process is not None else {}
    if task.destination.selector:
        metadata["selector"] = task.destination.selector
    try:
        if process is not None:
            await _local(generation, call, task, process, entry)
        elif task.destination.peer is not None:
            await _remote(generation, call, task, *task.destination.peer, entry)
    except Cancelled:
        if not call.status:
            await call.send(b"", None)
    except Refusal as refusal:
        await call.refuse(refusal)
    finally:
        if task.metered and call.status:
            model_id = task.destination.model_id
            _record(generation, call, model_id, task.raw_path, began, metadata)
        generation.inflight.remove(entry)
        generation.machine.changed()


def _record(
    generation: Generation,
    call: Call,
    model_id: str,
    path: str,
    began: float,
    metadata: dict[str, str],
) -> None:
    body = bytes(call.body)
    keeps = generation.settings.capture_bytes > 0 and generation.release.has(190)
    row = generation.machine.activity.add(
        model=model_id,
        path=path,
        content_type=call.content_type,
        status=call.status,
        body=body,
        duration_ms=int((generation.clock.now() - began) * 1000),
        has_capture=keeps,
        metadata=metadata,
        error=call.error,
    )
    fields = [*call.fields]
    if not call.streaming:
        fields.append(("Content-Length", str(len(body))))
    lost = call.status >= 400 or _NO_ANSWER_KEPT.fullmatch(path)
    request_headers = [(n, v) for n, v in call.exchange.request.headers.items() if n != "host"]
    capture = Capture(
        path,
        shown_headers(request_headers),
        b"" if _NO_REQUEST_KEPT.fullmatch(path) else call.exchange.request.body,
        shown_headers(fields),
        b"" if lost else body,
    )
    generation.recorded(row, capture if keeps else None)


# a local child


async def _local(
    generation: Generation, call: Call, task: Task, process: Process, entry: InFlight
) -> None:
    router = generation.router
    router.admit(process)
    try:
        cold = process.state != "ready"
        ticket = router.ticket(process)
        if cold and _wants_loading_text(generation, call.request, task, process):
            await _with_loading_text(generation, call, ticket, entry)
        else:
            await router.wait(ticket, call.exchange, entry.cancel)
        try:
            await _to_child(generation, call, task, process, entry)
        finally:
            router.done(ticket)
    finally:
        router.leave(process)


def _wants_loading_text(
    generation: Generation, request: Request, task: Task, process: Process
) -> bool:
    own = process.model.loading_state
    if not generation.release.has(171) or not task.edited:
        return False
    if request.path != "/v1/chat/completions":
        return False
    if not (generation.settings.loading_state if own is None else own):
        return False
    try:
        body: object = json.loads(request.body)
    except ValueError:
        return False
    return isinstance(body, dict) and body.get("stream") is True


async def _with_loading_text(
    generation: Generation, call: Call, ticket: Ticket, entry: InFlight
) -> None:
    """Wait, and type meanwhile. The text ends in "Done!" also when the load failed."""
    router = generation.router
    headers = [("Cache-Control", "no-cache"), ("Content-Type", "text/event-stream")]
    if not call.request.wants_close:
        headers.append(("Connection", "keep-alive"))
    typing: asyncio.Future[None] | None = None
    waited = False
    try:
        await call.start_stream(200, headers)
        text = LoadingText(
            ticket.process.model.id,
            generation.clock,
            call.write,
            lambda: router.position(ticket),
            typed=generation.release.rewritten,
        )
        typing = asyncio.ensure_future(text.run())
        waited = True
        try:
            await router.wait(ticket, call.exchange, entry.cancel)
        except Refusal:
            await _finish(text, typing)
            raise
        try:
            await _finish(text, typing)
        except BaseException:
            router.done(ticket)
            raise
    finally:
        if not waited:
            router.abandon(ticket)
        if typing is not None:
            typing.cancel()
            await asyncio.gather(typing, return_exceptions=True)


async def _finish(text: LoadingText, typing: "asyncio.Future[None]") -> None:
    text.close()
    await typing


async def _to_child(
    generation: Generation, call: Call, task: Task, process: Process, entry: InFlight
) -> None:
    upstream = process.upstream
    if upstream is None or process.state != "ready":
        raise Refusal(
            503,
            f"[{process.model.id}] process is not ready",
            old=(503, f"Process can not ProxyRequest, state is {process.state}"),
        )
    request = _for_child(generation, call.request, task, process)
    generation.machine.forwarded.append(Forwarded(process.model.id, request))
    if process.refuses:
        if not call.status:
            await call.send(b"", None, 502)
        return
    await _answered(generation, call, upstream, request, process.dead, entry)


def _for_child(
    generation: Generation, request: Request, task: Task, process: Process
) -> UpstreamRequest:
    filters = process.model.filters
    if task.edited:
        values = {**filters.set_params, **filters.set_params_by_id.get(task.asked, {})}
        request = rewritten(request, task.destination.wire_name, filters.strip_params, values)
    headers = {**_without(request, _HOP_BY_HOP)}
    # With keys of its own, v179 to v224 kept the caller's to itself.
    if generation.settings.keys and not generation.release.has(225):
        headers = {n: v for n, v in headers.items() if n not in _CREDENTIALS}
    passed = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{passed}, 127.0.0.1" if passed else "127.0.0.1"
    headers.setdefault("accept-encoding", "gzip")
    return _asked(request, task.raw_path, headers)


def _without(request: Request, names: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name not in names}


def _asked(request: Request, raw_path: str, headers: dict[str, str]) -> UpstreamRequest:
    query = request.target.partition("?")[2]
    return UpstreamRequest(request.method, raw_path, query, headers, request.body)


async def _answered(
    generation: Generation,
    call: Call,
    upstream: Upstream,
    request: UpstreamRequest,
    dead: asyncio.Event,
    entry: InFlight,
) -> None:
    """Pass the child's answer on until it ends, dies or nobody wants it any more.

    A stream that breaks off ends like a complete one; without a head yet it is an empty 502.
    """
    outlet = _CallOutlet(generation, call, entry)
    work = asyncio.ensure_future(upstream.answer(request, outlet))
    ends = [
        asyncio.ensure_future(event.wait())
        for event in (dead, entry.cancel, call.exchange.disconnected)
    ]
    try:
        await asyncio.wait([work, *ends], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
            return
    finally:
        for future in (work, *ends):
            future.cancel()
        await asyncio.gather(work, *ends, return_exceptions=True)
    if call.exchange.disconnected.is_set():
        raise ClientGone
    if not call.status:
        await call.send(b"", None, 502)


class _CallOutlet:
    """Writes a child's answer to the caller."""

    def __init__(self, generation: Generation, call: Call, entry: InFlight) -> None:
        self._generation = generation
        self._call = call
        self._entry = entry

    async def whole(self, status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
        shown = [*headers, ("Content-Length", str(len(body)))]
        self._generation.inflight.answered(self._entry, shown)
        self._generation.inflight.grew(self._entry, len(body))
        if self._call.streaming:  # loading text came first: the status is lost
            await self._call.write(body)
        else:
            await self._call.send(body, None, status, headers, chunked=False)

    async def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        fields = [*headers, ("X-Accel-Buffering", "no")]
        self._generation.inflight.answered(self._entry, fields)
        if not self._call.streaming:
            await self._call.start_stream(status, fields)

    async def write(self, data: bytes) -> None:
        self._generation.inflight.grew(self._entry, len(data))
        await self._call.write(data)


# a peer


async def _remote(
    generation: Generation,
    call: Call,
    task: Task,
    peer: Peer,
    model: SimulatedModel,
    entry: InFlight,
) -> None:
    request = call.request
    if task.edited:
        request = rewritten(request, task.destination.wire_name)
    headers = _without(request, _HOP_BY_HOP)
    headers.setdefault("accept-encoding", "gzip")
    if peer.key:
        headers |= {"authorization": f"Bearer {peer.key}", "x-api-key": peer.key}
    asked = _asked(request, task.raw_path, headers)
    generation.machine.forwarded.append(Forwarded(f"{peer.id}/{model.id}", asked))
    if not peer.up:
        await _peer_error(generation, call)
        return
    upstream = generation.peer_upstream(peer, model)
    await _answered(generation, call, upstream, asked, asyncio.Event(), entry)


async def _peer_error(generation: Generation, call: Call) -> None:
    message = "peer proxy error: dial tcp 127.0.0.1:9: connect: connection refused"
    if generation.release.rewritten and not generation.release.object_errors:
        call.error = message
        await call.send(message.encode(), "text/plain; charset=utf-8", 502)
        return
    raise Refusal(502, message)
