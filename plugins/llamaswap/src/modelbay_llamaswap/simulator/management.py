"""What llama-swap answers itself: lists, unload, versions, activity, profiles, the machine."""

import math
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs

from modelbay_llamaswap.simulator import machine
from modelbay_llamaswap.simulator.activity import SORTABLE, Row
from modelbay_llamaswap.simulator.call import Call
from modelbay_llamaswap.simulator.generation import Generation
from modelbay_llamaswap.simulator.gojson import parse_rfc3339
from modelbay_llamaswap.simulator.listing import model_list, running
from modelbay_llamaswap.simulator.refusal import Refusal

Params = Mapping[str, str]
OwnRoute = Callable[[Generation, Call, Params], Awaitable[None]]


# lists


async def models(generation: Generation, call: Call, params: Params) -> None:
    """``GET /v1/models``; the one answer that echoes an Origin."""
    origin = call.request.headers.get("origin")
    if origin:
        call.exchange.headers.append(("Access-Control-Allow-Origin", origin))
    await call.json(
        model_list(
            call.release,
            generation.processes,
            generation.directory,
            with_aliases=generation.settings.list_aliases,
        )
    )


async def running_models(generation: Generation, call: Call, params: Params) -> None:
    await call.json(running(call.release, generation.processes.values()))


# unload


async def unload_all(generation: Generation, call: Call, params: Params) -> None:
    await generation.router.unload(list(generation.processes.values()))
    await call.json({"msg": "ok"})


async def unload_all_old(generation: Generation, call: Call, params: Params) -> None:
    """``GET /unload``, which is a GET that changes something."""
    await generation.router.unload(list(generation.processes.values()))
    await call.text("OK")


async def unload_one(generation: Generation, call: Call, params: Params) -> None:
    """By id or alias; a success too for a model that is not running."""
    process = generation.directory.local(params["id"])
    if process is None:
        raise Refusal(404, "model not found", old=(404, "Model not found"))
    await generation.router.unload([process])
    await call.text("OK")


# versions and liveness


async def version(generation: Generation, call: Call, params: Params) -> None:
    stamp = generation.settings.version or call.release.stamp
    stamped = stamp != "0"
    await call.json(
        {
            "build_date": "2026-08-22T10:00:00Z" if stamped else "unknown",
            "commit": "0bdb3720" if stamped else "abcd1234",
            "version": stamp,
        }
    )


async def health(generation: Generation, call: Call, params: Params) -> None:
    await call.text("OK")


async def root(generation: Generation, call: Call, params: Params) -> None:
    await call.redirect("/ui", 302)


async def user_interface(generation: Generation, call: Call, params: Params) -> None:
    """A build without the embedded pages."""
    if call.request.raw_path == "/ui":
        await call.redirect("/ui/", 307)
    else:
        await call.not_found()


async def icon(generation: Generation, call: Call, params: Params) -> None:
    await call.not_found()


# activity


async def activity(generation: Generation, call: Call, params: Params) -> None:
    """``GET /api/metrics/activity``: rows in pages, newest first."""
    fields = parse_qs(call.request.target.partition("?")[2])

    def one(name: str, default: str) -> str:
        return fields.get(name, [default])[-1]

    limit, page = _whole(one("limit", "25")), _whole(one("page", "1"))
    if not 1 <= limit <= 999:
        raise Refusal(400, "limit must be between 1 and 999")
    if page < 1:
        raise Refusal(400, "page must be at least 1")
    column, order = one("sort", "id"), one("order", "desc")
    if column not in SORTABLE:
        raise Refusal(400, "invalid sort column")
    if order not in ("asc", "desc"):
        raise Refusal(400, "invalid sort order")
    rows = [row for row in generation.machine.activity.rows if _wanted(row, fields)]
    rows.sort(key=lambda row: (row.column(column), row.id), reverse=order == "desc")
    shown = rows[limit * (page - 1) : limit * page]
    await call.json(
        {
            "data": [row.entry() for row in shown],
            "page": page,
            "limit": limit,
            "total": len(rows),
            "total_pages": math.ceil(len(rows) / limit),
        }
    )


def _whole(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _wanted(row: Row, fields: Mapping[str, list[str]]) -> bool:
    """Raises Refusal for a bound that cannot be read."""
    if "model" in fields and row.model not in fields["model"]:
        return False
    for name, sign in (("min_id", 1), ("max_id", -1)):
        if name in fields and sign * (row.id - _whole(fields[name][-1])) < 0:
            return False
    for name, sign in (("start", 1), ("end", -1)):
        if name not in fields:
            continue
        moment = parse_rfc3339(fields[name][-1])
        if moment is None:
            raise Refusal(400, f"invalid {name}")
        if sign * (row.moment - moment).total_seconds() < 0:
            return False
    return True


async def stats(generation: Generation, call: Call, params: Params) -> None:
    fields = parse_qs(call.request.target.partition("?")[2])
    await call.json(generation.machine.activity.stats(fields.get("model", [])))


async def old_metrics(generation: Generation, call: Call, params: Params) -> None:
    """``GET /api/metrics`` of v140 to v235: all rows, flat until v208."""
    rows = generation.machine.activity.rows
    nested = call.release.has(209)
    await call.json([row.nested() if nested else row.flat() for row in rows])


async def capture(generation: Generation, call: Call, params: Params) -> None:
    if not params["id"].isdigit():
        raise Refusal(400, "invalid capture ID")
    found = generation.capture(int(params["id"]))
    if found is None:
        raise Refusal(404, "capture not found")
    await call.json(found.entry(int(params["id"])))


async def cancel(generation: Generation, call: Call, params: Params) -> None:
    """``POST /api/inflight/{id}/cancel``"""
    if not generation.inflight.cancel(params["id"]):
        raise Refusal(404, "inflight request not found")
    await call.json({"msg": "ok"})


# profiles


async def profiles(generation: Generation, call: Call, params: Params) -> None:
    directory = generation.directory
    listed = [
        {
            "id": profile.id,
            "description": profile.description,
            "pins": {name: target or "" for name, target in profile.pins.items()},
        }
        for profile in directory.profiles.values()
    ]
    await call.json({"active": directory.active, "profiles": listed})


async def activate(generation: Generation, call: Call, params: Params) -> None:
    """``PUT /api/profiles/active``: for all callers."""
    try:
        body = call.request.json()
    except ValueError:
        body = None
    wrong = Refusal(400, "profile name must be a string or null")
    if not isinstance(body, dict) or "name" not in body:
        raise wrong
    name = body["name"]
    if name is not None and not isinstance(name, str):
        raise wrong
    if name is not None and name not in generation.directory.profiles:
        raise Refusal(404, f'profile "{name}" not found')
    generation.directory.active = name
    generation.hub.emit("profileChanged", {"active": name})
    await call.json({"active": name})


# the machine


async def performance(generation: Generation, call: Call, params: Params) -> None:
    settings = generation.settings
    after_text = call.request.query.get("after")
    after = None if after_text is None else parse_rfc3339(after_text)
    if after_text is not None and after is None:
        raise Refusal(400, "invalid after")
    if not settings.performance:
        await call.json({"enabled": False}, 503)
        return
    whole = generation.machine
    elapsed_s = generation.clock.now() - whole.began_s
    await call.json(machine.performance(whole.began, elapsed_s, after, gpu=settings.gpu))


async def prometheus(generation: Generation, call: Call, params: Params) -> None:
    if not generation.settings.performance:
        raise Refusal(503, "performance monitoring is disabled")
    text = machine.prometheus(gpu=generation.settings.gpu)
    await call.send(text.encode(), "text/plain; version=0.0.4; charset=utf-8")


async def hardware(generation: Generation, call: Call, params: Params) -> None:
    if not generation.settings.hardware:
        raise Refusal(503, "hardware detection failed")
    await call.json(machine.hardware(gpu=generation.settings.gpu))
