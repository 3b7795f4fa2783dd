"""Streams without end: events and logs."""

import asyncio

from modelbay.testing.simulator import ClientGone
from modelbay_llamaswap.simulator.call import NOSNIFF, Call
from modelbay_llamaswap.simulator.events import frame
from modelbay_llamaswap.simulator.generation import Generation
from modelbay_llamaswap.simulator.logs import Follower, Log
from modelbay_llamaswap.simulator.management import Params
from modelbay_llamaswap.simulator.refusal import Refusal, error_body

_NO_BUFFER = ("X-Accel-Buffering", "no")
_UI = {"activity": {"session_id": ["X-Session-ID", "X-Litellm-Session-Id"]}}


# events


def opening(generation: Generation) -> list[tuple[str, object]]:
    """What a new listener is told first, in order."""
    release, whole = generation.release, generation.machine
    messages: list[tuple[str, object]] = [
        ("logData", {"data": whole.proxy_log.history, "source": "proxy"}),
        ("logData", {"data": whole.upstream_log.history, "source": "upstream"}),
        ("modelStatus", generation.status()),
    ]
    if release.has(140) and not release.has(236):
        rows = whole.activity.rows
        nested = release.has(209)
        messages.append(("metrics", [r.nested() if nested else r.flat() for r in rows]))
    if release.has(240):
        messages.append(("uiConfig", _UI))
    if release.has(241):
        messages.append(("profileChanged", {"active": generation.directory.active}))
    return [*messages, *generation.inflight.opening()]


async def events(generation: Generation, call: Call, params: Params) -> None:
    """``GET /api/events``: no heartbeat, and an end only when the configuration is replaced."""
    queue = generation.hub.listen()
    first = b"".join(frame(kind, data) for kind, data in opening(generation))
    headers = [("Cache-Control", "no-cache"), ("Content-Type", "text/event-stream")]
    if not call.request.wants_close:
        headers.append(("Connection", "keep-alive"))
    gone = asyncio.ensure_future(call.exchange.disconnected.wait())
    try:
        await call.start_stream(200, [*headers, _NO_BUFFER, NOSNIFF])
        await call.exchange.raw(first)
        generation.machine.changed()
        while True:
            fresh = asyncio.ensure_future(queue.get())
            await asyncio.wait({fresh, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not fresh.done():
                fresh.cancel()
                raise ClientGone
            message = fresh.result()
            if message is None:
                return
            await call.exchange.raw(message)
    finally:
        gone.cancel()
        generation.hub.unlisten(queue)
        generation.machine.changed()


# logs


async def logs(generation: Generation, call: Call, params: Params) -> None:
    """``GET /logs``: the combined log, which by default has no lines of children."""
    if "text/html" in call.request.headers.get("accept", ""):
        await call.redirect("/ui/", 302)
        return
    text = generation.machine.combined_log.history
    await call.send(text.encode(), "text/plain")


async def log_stream(generation: Generation, call: Call, params: Params) -> None:
    """``GET /logs/stream`` and below: history, then live. The head comes with the first text."""
    headers = [_NO_BUFFER, NOSNIFF]
    log = _log(generation, params.get("id", ""))
    if log is None:
        message = "invalid logger. Use 'proxy', 'upstream' or a model's ID"
        refusal = Refusal(400, message)
        status, text = refusal.seen(call.release)
        body = error_body(call.release, status, text, call.request.headers.get("accept", ""))
        await call.send(body.data, body.content_type, status, headers, chunked=True)
        return
    follower = log.follow()
    try:
        if log.history and "no-history" not in call.request.query:
            await _show(call, log.history)
        while True:
            await call.exchange.wait_for(follower.arrived)
            await _flush(call, follower)
    finally:
        log.unfollow(follower)


async def _flush(call: Call, follower: Follower) -> None:
    text = follower.take()
    if text:
        await _show(call, text)


async def _show(call: Call, text: str) -> None:
    if not call.streaming:
        await call.start_stream(200, [("Content-Type", "text/plain"), _NO_BUFFER, NOSNIFF])
    await call.write(text.encode())


def _log(generation: Generation, name: str) -> Log | None:
    whole = generation.machine
    known = {
        "": whole.combined_log,
        "proxy": whole.proxy_log,
        "upstream": whole.upstream_log,
    }
    if name in known:
        return known[name]
    process = generation.directory.local(name)
    if process is None or not generation.release.has(177):
        return None
    return generation.model_logs[process.model.id]
