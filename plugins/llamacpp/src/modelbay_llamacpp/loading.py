"""Load and unload in a router. Its answers say only "begun" (trap 3); the list says when it is."""

from collections.abc import AsyncIterator

import anyio

from modelbay.client.http import fetch_json
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    ModelNotFoundError,
    UnsupportedActionError,
)
from modelbay.models.manage import Done, Load, ManageEvent, Progress, Unload
from modelbay_llamacpp import config
from modelbay_llamacpp.config import at
from modelbay_llamacpp.failures import ALREADY_RUNNING, classify
from modelbay_llamacpp.following import following
from modelbay_llamacpp.memory import memory
from modelbay_llamacpp.probe import Server, entry_of, list_models, look
from modelbay_llamacpp.waiting import Pauses
from modelbay_llamacpp.wire import ARRIVING, IN_MEMORY, RUNNING, Entry, find, known_names

GRACE_S = 5.0  # on top of the server's own stop time


async def load(provider: ProviderContext, action: Load) -> AsyncIterator[ManageEvent]:
    """Make a model ready. In a single-model server the one model is.

    The caller may go away: the router finishes the load all the same.

    Raises:
        ModelNotFoundError: The router does not know the name.
        UnsupportedActionError: This server serves another model, or options were given.
        BackendTimeoutError: It was not ready within `load_deadline_s`.
        BackendError: The process that should run the model ended; the message has its exit code.
    """
    limit_s = config.options(provider).load_deadline_s
    clock = provider.resources.monotonic
    until = clock() + limit_s
    server = await look(provider)
    if server.mode == "single":
        yield _served(provider, server, action.model)
        return
    if action.options:
        raise UnsupportedActionError(
            f"llama.cpp takes no options for a load ({', '.join(sorted(action.options))})",
            provider_id=provider.id,
            hint="set them in the router's --models-preset file",
        )
    entry = await _known(provider, server, action.model)
    wire_id = entry.id
    known = memory(provider)
    pauses = Pauses()
    while wire_id in known.leaving and clock() < until:
        await anyio.sleep(pauses.next_s())  # until it is gone the list calls it loaded (trap 6)
        entry = _still(provider, await list_models(provider), wire_id)
    if entry.state in IN_MEMORY:
        asleep = " and sleeps; the next request wakes it" if entry.state == "sleeping" else ""
        yield Done(message=f"{wire_id} is loaded{asleep}", changed=False)
        return
    if entry.state in ARRIVING:
        raise BackendBusyError(
            f"'{wire_id}' is still being downloaded",
            provider_id=provider.id,
            model=wire_id,
            hint=f"modelbay pull {provider.id}/{wire_id}   # shows how far it is",
        )
    known.stopped.discard(wire_id)
    unloads = known.unloads[wire_id]
    shown = 0.0
    async with following(provider, lambda name: name == wire_id) as events:
        waits = False
        while entry.state not in RUNNING and not await _begin(provider, wire_id):
            _check_time(provider, wire_id, clock() < until, limit_s)
            if not waits:
                yield Progress(status="waiting for a free place")
                waits = True
            await events.wait()
        yield Progress(status="loading")
        while True:
            news, due = await events.wait()
            for event in news:
                fraction = event.load_fraction
                if fraction is not None and fraction > shown:
                    shown = fraction
                    yield Progress(status="loading", fraction=fraction)
            if not due:
                continue
            entry = _still(provider, await list_models(provider), wire_id)
            if entry.state in IN_MEMORY:
                break
            if entry.state == "unloaded":
                raise _not_loaded(provider, entry, called_off=known.unloads[wire_id] != unloads)
            _check_time(provider, wire_id, clock() < until, limit_s)
    yield Done(message=f"{wire_id} is loaded")


async def unload(provider: ProviderContext, action: Unload) -> AsyncIterator[ManageEvent]:
    """Free a model, or all of them, and wait until the list says so.

    Raises:
        BackendBusyError: Requests of ours run on it; `force` breaks them, after a silence of up to
            the server's stop time (trap 7).
        BackendTimeoutError: Its process did not end in time.
        UnsupportedActionError: A single-model server cannot be without its model.
    """
    server = await look(provider)
    if server.mode == "single":
        raise UnsupportedActionError(
            "a single-model llama.cpp server cannot unload its model",
            provider_id=provider.id,
            hint="stop llama-server, or start it with --sleep-idle-seconds N",
        )
    entries = list(server.entries)
    if action.model is not None:
        entries = [entry_of(provider, server, action.model)]
    wanted = [entry.id for entry in entries if entry.state in RUNNING]
    if not wanted:
        message = "no model is loaded" if action.model is None else f"{entries[0].id} is not loaded"
        yield Done(message=message, changed=False)
        return
    known = memory(provider)
    for wire_id in wanted:
        if known.active[wire_id] and not action.force:
            raise BackendBusyError(
                f"{known.active[wire_id]} of our requests run on '{wire_id}' and would break",
                provider_id=provider.id,
                model=wire_id,
                hint=f"modelbay unload {provider.id}/{wire_id} --force",
            )
    known.leaving.update(wanted)
    try:
        for wire_id in wanted:
            await _end(provider, wire_id)
        yield Progress(status="unloading")
        await _until_gone(provider, wanted)
    finally:
        known.leaving.difference_update(wanted)
    yield Done(message=f"{', '.join(wanted)} unloaded")


def _served(provider: ProviderContext, server: Server, name: str) -> Done:
    """The answer to a load where there is nothing to load."""
    entry = find(server.entries, name)
    if entry is None:
        raise UnsupportedActionError(
            f"this llama.cpp server has one model and cannot load '{name}'",
            provider_id=provider.id,
            hint=f"it serves only {known_names(server.entries)};"
            " start llama-server with --models-dir DIR to load others",
        )
    return Done(message=f"{entry.id} is loaded", changed=False)


async def _known(provider: ProviderContext, server: Server, name: str) -> Entry:
    """The entry of a model; before giving up the router may look at its files again."""
    if find(server.entries, name) is None and config.options(provider).rescan:
        server = Server(server.mode, server.props, await list_models(provider, rescan=True))
    return entry_of(provider, server, name)


async def _begin(provider: ProviderContext, wire_id: str, *, again: bool = True) -> bool:
    """Ask for a load; false if there is no place for it now.

    The call itself may take the time another model needs to stop.
    """
    try:
        await _post(provider, "models/load", wire_id)
    except BackendBusyError:
        return False
    except BackendError as exc:
        if ALREADY_RUNNING in exc.message:
            return True  # somebody else was quicker
        if exc.status != 404:
            raise
        # A 404 says "no such model" and "no such route" in the same words (trap 1): look again.
        server = await look(provider)
        if server.mode == "single":
            _served(provider, server, wire_id)
            return True
        entry_of(provider, server, wire_id)
        if not again:
            raise
        return await _begin(provider, wire_id, again=False)
    return True


async def _end(provider: ProviderContext, wire_id: str) -> None:
    """Ask for an unload, and remember that it was us."""
    known = memory(provider)
    known.unloads[wire_id] += 1
    known.stopped.add(wire_id)
    try:
        await _post(provider, "models/unload", wire_id)
    except BackendError as exc:
        # Gone by itself, or another unload was quicker.
        if exc.status != 400 or isinstance(exc, ModelNotFoundError):
            raise


async def _post(provider: ProviderContext, path: str, wire_id: str) -> None:
    await fetch_json(
        provider,
        "POST",
        at(provider, path),
        into=dict[str, object],
        json={"model": wire_id},
        model=wire_id,
        deadline_s=config.options(provider).stop_timeout_s + GRACE_S,
        classify=classify,
    )


async def _until_gone(provider: ProviderContext, wanted: list[str]) -> None:
    limit_s = config.options(provider).stop_timeout_s + GRACE_S
    clock = provider.resources.monotonic
    until = clock() + limit_s
    pauses = Pauses()
    while True:
        entries = await list_models(provider)
        running = [entry.id for entry in entries if entry.id in wanted and entry.state in RUNNING]
        if not running:
            return
        if clock() >= until:
            raise BackendTimeoutError(
                f"{', '.join(running)} did not stop within {limit_s:g} s",
                provider_id=provider.id,
                model=running[0],
                hint="raise stopTimeoutS if the router's own stop-timeout is longer",
            )
        await anyio.sleep(pauses.next_s())


def _still(provider: ProviderContext, entries: tuple[Entry, ...], wire_id: str) -> Entry:
    entry = find(entries, wire_id)
    if entry is None:
        raise ModelNotFoundError(
            f"'{wire_id}' was removed while it was loading",
            provider_id=provider.id,
            model=wire_id,
            hint=f"modelbay models {provider.id} --refresh",
        )
    return entry


def _not_loaded(provider: ProviderContext, entry: Entry, *, called_off: bool) -> BackendError:
    """Why a load ended without the model in memory. An unload looks like a failure (trap 5)."""
    if called_off:
        message, hint = f"'{entry.id}' was unloaded while it was loading", None
    elif entry.failed:
        message = (
            f"'{entry.id}' could not be loaded: its process ended with exit code {entry.exit_code}"
        )
        hint = "read the router's log: a broken file, too little memory, or somebody's unload"
    else:
        message, hint = f"'{entry.id}' left memory before it was seen ready", None
    return BackendError(message, provider_id=provider.id, model=entry.id, hint=hint)


def _check_time(provider: ProviderContext, wire_id: str, in_time: bool, limit_s: float) -> None:
    if not in_time:
        raise BackendTimeoutError(
            f"'{wire_id}' was not loaded within {limit_s:g} s",
            provider_id=provider.id,
            model=wire_id,
            hint="raise loadDeadlineS",
        )
