"""Load and unload. There is no call for a load: any routed request is one."""

from collections.abc import AsyncIterator

from modelbay.client.http import HttpResponse, open_stream, raise_for_status, read_body
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    ModelNotFoundError,
    UnsupportedActionError,
)
from modelbay.models.manage import Done, Load, LogLine, ManageEvent, Progress, Unload
from modelbay.wire.errors import error_class, parse_error_body
from modelbay_llamaswap import config
from modelbay_llamaswap.config import JSON, at
from modelbay_llamaswap.explaining import raise_explained
from modelbay_llamaswap.following import following, requests_in_flight
from modelbay_llamaswap.inventory import (
    Running,
    list_models,
    list_running,
    read_pins,
    read_version,
)
from modelbay_llamaswap.logs import tail
from modelbay_llamaswap.measuring import measure
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.opening import Opening
from modelbay_llamaswap.wire import (
    EMPTY,
    NO_ROUTE,
    REWRITE,
    VIRTUAL,
    classify,
    in_path,
    upstream,
    version_number,
)

QUICK_S = 0.2  # a refusal, and a small model, take less: nothing to be watched
GRACE_S = 10.0  # on top of the server's own stop time
_PHASES = {"starting": "loading", "stopping": "waiting until its old process has stopped"}


async def load(provider: ProviderContext, action: Load) -> AsyncIterator[ManageEvent]:
    """Make a model ready: ask its own server for its health, and wait until `/running` agrees.

    The request is held until it is answered: a load that nobody waits for is undone a second
    after it is ready, where the model has a ``ttl`` (trap 29). Should the caller go away, the
    load goes on (trap 12).

    Raises:
        ModelNotFoundError: llama-swap does not know the name.
        UnsupportedActionError: It is a peer's model or another name without a process, or options
            were given.
        BackendTimeoutError: It was not ready within `load_deadline_s`.
        BackendError: It could not be started; the end of its log comes before.
    """
    if action.options:
        raise UnsupportedActionError(
            f"llama-swap takes no options for a load ({', '.join(sorted(action.options))})",
            provider_id=provider.id,
            hint="put them into the model's cmd in llama-swap's config.yaml",
        )
    wire_id = await _with_process(provider, action.model, "load")
    running = await list_running(provider)
    if _is_ready(running, wire_id):
        yield Done(message=f"{wire_id} is loaded", changed=False)
        return
    options = config.options(provider)
    limit_s, poll_s = options.load_deadline_s, options.poll_s
    request = open_stream(
        provider,
        "GET",
        at(provider, upstream(wire_id, "health")),
        headers=JSON,
        deadline_s=limit_s,
    )
    shown = "loading"
    yield Progress(status=shown)
    try:
        async with Opening(provider, request) as opening:
            if not await opening.ready(min(QUICK_S, poll_s)):
                async with following(provider, wire_id, opening.nudge):
                    while not await opening.ready(poll_s):
                        phase = await _phase(provider, wire_id) or shown
                        if phase != shown:
                            shown = phase
                            yield Progress(status=phase)
            response = opening.result()
            failure = await _failure(response)
        # A model's server may answer anything, 404 and 503 too: it is there if `/running` says so.
        running = await list_running(provider)
        if not _is_ready(running, wire_id) and (running.known or failure is not None):
            raise failure or BackendError(f"'{wire_id}' left memory before it was seen ready")
    except BackendTimeoutError as exc:
        raise BackendTimeoutError(
            f"'{wire_id}' was not loaded within {limit_s:g} s",
            provider_id=provider.id,
            model=wire_id,
            hint=f"raise loadDeadlineS; modelbay unload {provider.id}/{wire_id} stops the load",
        ) from exc
    except BackendError as exc:
        if not isinstance(exc, ModelNotFoundError):
            for line in await tail(provider, wire_id):
                yield LogLine(text=line)
        provider.sign(exc, wire_id)
        raise_explained(provider, exc, wire_id)
    await measure(provider, wire_id, running)
    yield Done(message=f"{wire_id} is loaded")


async def unload(provider: ProviderContext, action: Unload) -> AsyncIterator[ManageEvent]:
    """Stop a model's process, or all, and wait until it is gone.

    While it stops, the router does nothing else: requests for other models wait too (trap 11).

    Raises:
        BackendBusyError: Requests of ours run on it; `force` breaks them, after a silence of up to
            the server's ``unloadTimeout``.
        BackendTimeoutError: It was not gone in time.
        UnsupportedActionError: It has no process, or this version can only unload all.
    """
    known = memory(provider)
    wire_id = None
    if action.model is not None:
        wire_id = await _with_process(provider, action.model, "unload")
    elif known.active:
        await list_models(provider)  # whose the names are that our requests were sent to
    running = await list_running(provider)
    wanted = [name for name in running.entries if wire_id in (None, name)]
    if running.known and not wanted and await _is_idle(provider, wire_id):
        yield _nothing_to_unload(wire_id)
        return
    subject = f"'{wire_id}'" if wire_id is not None else "these models"
    all_on_it = await requests_in_flight(provider, wire_id)
    ours, perhaps = known.ours(wire_id, await read_pins(provider) if known.active else {})
    if all_on_it is not None:
        perhaps = max(0, min(perhaps, all_on_it - ours))
    if (ours or perhaps) and not action.force:
        ref = provider.id if wire_id is None else f"{provider.id}/{wire_id}"
        raise BackendBusyError(
            f"{ours + perhaps} of our requests {'may run' if perhaps else 'run'} on {subject} and"
            " would break",
            provider_id=provider.id,
            model=wire_id,
            hint=f"modelbay unload {ref} --force"
            if wire_id is not None
            else f"modelbay unload --provider {provider.id} --all --force",
        )
    others = (all_on_it or 0) - ours - perhaps
    yield Progress(
        status="unloading"
        if others <= 0
        else f"unloading; requests of others that run on {subject} and break off: {others}"
    )
    if wire_id is None:
        await _unload_all(provider)
    else:
        await _unload_one(provider, wire_id)
    known.forget(wire_id)
    if running.known and not wanted:
        yield _nothing_to_unload(wire_id)
    else:
        yield Done(message=f"{', '.join(wanted) or wire_id or 'everything'} unloaded")


async def _is_idle(provider: ProviderContext, wire_id: str | None) -> bool:
    """Whether nothing is to be done for what `/running` does not list.

    Up to v217 a model that is starting is not listed, and an unload is the only way to call that
    off. And whether a name that is in no list is known to it, only the server can say.
    """
    if wire_id is not None and wire_id not in memory(provider).real_ids.values():
        return False
    number = version_number((await read_version(provider)).version)
    return number is not None and number >= REWRITE


def _nothing_to_unload(wire_id: str | None) -> Done:
    message = "no model is loaded" if wire_id is None else f"{wire_id} is not loaded"
    return Done(message=message, changed=False)


async def _with_process(provider: ProviderContext, name: str, verb: str) -> str:
    """The real id of a model; one that is not listed may be there all the same.

    Raises:
        UnsupportedActionError: No process goes by this name.
    """
    entries = {entry.id: entry for entry in await list_models(provider)}
    entry = entries.get(name)
    if entry is None or entry.type not in VIRTUAL:
        return memory(provider).real_id(name)
    hint = f"chat with {provider.id}/{name}: that loads what it stands for"
    what = {
        "peer": f"runs at the peer '{entry.peer}', and only that can {verb} it",
        "selector": f"stands for {', '.join(entry.targets)}",
        "profile": "is a name that the active profile gives to another model",
    }[entry.type]
    if entry.targets:
        hint = f"modelbay {verb} {provider.id}/{entry.targets[0]}"
    raise UnsupportedActionError(f"'{name}' {what}", provider_id=provider.id, hint=hint)


def _is_ready(running: Running, wire_id: str) -> bool:
    entry = running.entries.get(wire_id)
    return entry is not None and entry.is_ready


async def _phase(provider: ProviderContext, wire_id: str) -> str | None:
    """What the load waits for; ``None`` if that cannot be learnt now."""
    try:
        running = await list_running(provider)
    except BackendError:
        return None  # the load itself will meet the same server
    entry = running.entries.get(wire_id)
    if entry is not None:
        return _PHASES.get(entry.state or "", "loading")
    others = [other.model for other in running.entries.values() if not other.is_ready]
    return f"waiting for {', '.join(others)}" if others else None


async def _failure(response: HttpResponse) -> BackendError | None:
    """The error an answer stands for, if it is one."""
    if response.status < 300:
        return None
    body = parse_error_body(await read_body(response))
    return error_class(response.status, body, classify)(
        f"{body.message or EMPTY} (HTTP {response.status})", status=response.status
    )


async def _unload_one(provider: ProviderContext, wire_id: str) -> None:
    path = f"api/models/unload/{in_path(wire_id)}"
    try:
        await _post(provider, path, wire_id)
    except BackendError as exc:
        if exc.message.startswith(NO_ROUTE) or exc.status == 405:
            raise UnsupportedActionError(
                "this llama-swap (before v161) can only unload all models at once",
                provider_id=provider.id,
                hint=f"modelbay unload --provider {provider.id} --all",
            ) from exc
        raise_explained(provider, exc, wire_id)


async def _unload_all(provider: ProviderContext) -> None:
    try:
        await _post(provider, "api/models/unload", None)
    except BackendError as exc:
        if not exc.message.startswith(NO_ROUTE) and exc.status != 405:
            raise
        await _post(provider, "unload", None, method="GET")  # before v126


async def _post(
    provider: ProviderContext, path: str, wire_id: str | None, *, method: str = "POST"
) -> None:
    """The answer is text in one version and JSON in another; only its status counts."""
    async with open_stream(
        provider,
        "GET" if method == "GET" else "POST",
        at(provider, path),
        headers=JSON,
        deadline_s=config.options(provider).unload_timeout_s + GRACE_S,
    ) as response:
        try:
            await raise_for_status(provider, response, model=wire_id, classify=classify)
        except BackendError as exc:
            provider.sign(exc, wire_id)
            raise
