"""Load and unload. A load's answer comes when it is done; an unload's before (trap 26)."""

from collections.abc import AsyncIterator

import anyio
import msgspec

from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendBusyError,
    BackendTimeoutError,
    InvalidRequestError,
    ModelNotFoundError,
    UnsupportedFeatureError,
)
from modelbay.models.capabilities import Capabilities
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import Done, Load, ManageEvent, Progress, Unload
from modelbay_ollama import config
from modelbay_ollama.answers import Loaded, find_listed
from modelbay_ollama.asking import ask
from modelbay_ollama.discovery import described, look
from modelbay_ollama.memory import memory
from modelbay_ollama.names import identity, is_cloud, require_name
from modelbay_ollama.options import OPTIONS, RENAMED, is_load_time, option, request_keep_alive
from modelbay_ollama.requests import refuse_cloud
from modelbay_ollama.residence import remember_window, running, wished
from modelbay_ollama.window import asked_window, granted_window

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5


class _Warm(msgspec.Struct):
    """Any answer; what it says is not needed."""

    done: bool = True


async def load(provider: ProviderContext, action: Load) -> AsyncIterator[ManageEvent]:
    """Make a model ready, by a request without messages.

    With options that are fixed at load, a model that runs with others is loaded anew.

    Raises:
        ModelNotFoundError: It is not installed.
        BackendTimeoutError: It was not ready within `load_deadline_s`.
        BackendError: It could not be loaded; the message has the engine's words.
    """
    require_name(provider, action.model)
    chosen = config.options(provider)
    tags, loaded = await look(provider)
    entry = find_listed(tags.models or [], action.model)
    refuse_cloud(provider, action.model, remote=entry is not None and entry.is_remote)
    runners = (loaded.models or []) if loaded else []
    model = Capabilities() if entry is None else await described(provider, entry, runners)
    wanted = _wanted(action.options)
    body = _body(provider, action.model, wanted, model)
    digest = None if entry is None else entry.digest
    before = memory(provider).runner(runners, action.model, digest)
    if before is not None and not action.options and _has(before, body, model):
        yield Done(message=_words(action.model, before), changed=False)
        return
    yield Progress(status="loading")
    await _warm(provider, body, action.model, chosen.load_deadline_s)
    known = memory(provider)
    fixed = {name: value for name, value in wanted.items() if is_load_time(name)}
    if fixed and chosen.api == "native":
        known.held[identity(action.model)] = fixed
    after = known.runner(await running(provider), action.model, digest)
    remember_window(provider, action.model, after)
    yield Done(message=_words(action.model, after))


def _wanted(given: JsonObject) -> JsonObject:
    """The options of a load by Ollama's names, and ``keep_alive``; beside or inside ``options``.

    Raises:
        InvalidRequestError: There is none of that name, or it is of the wrong type.
    """
    inner = given.get("options")
    beside = {name: value for name, value in given.items() if name != "options"}
    found: JsonObject = {}
    for key, value in {**(inner if isinstance(inner, dict) else {}), **beside}.items():
        name = RENAMED.get(key, key)
        if name == "keep_alive":
            found[name] = request_keep_alive(value)
        elif name not in OPTIONS:
            raise InvalidRequestError(
                f"a load has no option '{key}'",
                hint=f"known: keep_alive, {', '.join(OPTIONS)}",
                stage="encode",
            )
        elif value is not None:
            found[name] = option(name, value)
    return found


def _body(
    provider: ProviderContext, name: str, wanted: JsonObject, model: Capabilities
) -> JsonObject:
    """The body of a load: what goes with every request to the model, and what is wanted now."""
    chosen = config.options(provider)
    body: JsonObject = {"model": name}
    lifetime = wanted.get("keep_alive", chosen.keep_alive)
    if lifetime is not None:
        body["keep_alive"] = lifetime
    fixed: JsonObject = dict(memory(provider).held.get(identity(name), {}))
    fixed |= {key: value for key, value in wanted.items() if key != "keep_alive"}
    window = fixed.get("num_ctx", wished(provider, name, model)[0])
    if isinstance(window, int):
        fixed["num_ctx"] = asked_window(window, model)
    if fixed:
        body["options"] = fixed
    return body


def _has(entry: Loaded, body: JsonObject, model: Capabilities) -> bool:
    """Whether a model in memory has the window a load would give it."""
    found = body.get("options")
    asked = found.get("num_ctx") if isinstance(found, dict) else None
    if not isinstance(asked, int) or entry.context_length is None:
        return True
    return entry.context_length == granted_window(asked, model)


def _words(name: str, entry: Loaded | None) -> str:
    if entry is None or not entry.context_length:
        return f"{name} is loaded"
    also = "" if identity(entry.name) == identity(name) else f" as {entry.name}"
    return f"{name} is loaded{also}, with a window of {entry.context_length} tokens"


async def _warm(
    provider: ProviderContext, body: JsonObject, model: str, deadline_s: float | None
) -> None:
    """The empty request that loads or unloads: for chat models, or else for embedding ones."""
    tries = config.options(provider).busy_tries
    try:
        await ask(
            provider,
            "POST",
            "api/chat",
            into=_Warm,
            json={**body, "messages": []},
            model=model,
            deadline_s=deadline_s,
            busy_tries=tries,
        )
    except UnsupportedFeatureError:  # "does not support chat"
        await ask(
            provider,
            "POST",
            "api/embed",
            into=_Warm,
            json={**body, "input": ""},
            model=model,
            deadline_s=deadline_s,
            busy_tries=tries,
        )


async def unload(provider: ProviderContext, action: Unload) -> AsyncIterator[ManageEvent]:
    """Free a model, or all of them, and wait until the server no longer lists it as running.

    The server lets requests end that run on it. So `force` frees nothing sooner; it only says that
    requests of ours are no reason not to begin.

    Raises:
        ModelNotFoundError: It is neither installed nor in memory.
        BackendBusyError: Requests of ours run on it.
        BackendTimeoutError: It was still there after `unload_deadline_s`.
    """
    known = memory(provider)
    tags, loaded = await look(provider)
    entries = (loaded.models or []) if loaded else []
    if action.model is not None:
        entry = find_listed(tags.models or [], action.model)
        one = known.runner(entries, action.model, None if entry is None else entry.digest)
        entries = [] if one is None else [one]
        if one is None and entry is None and not is_cloud(action.model):
            require_name(provider, action.model)
            raise ModelNotFoundError(
                f"there is no model '{action.model}'",
                provider_id=provider.id,
                model=action.model,
                hint=f"modelbay models {provider.id}",
            )
    if not entries:
        what = "no model" if action.model is None else action.model
        yield Done(
            message=f"{what} is {'' if action.model is None else 'not '}loaded", changed=False
        )
        return
    for runner in entries:
        # Ours count under the name they used, which need not be the one it was loaded under.
        names = {identity(runner.name), identity(action.model or runner.name)}
        active = sum(known.active[name] for name in names)
        if active and not action.force:
            raise BackendBusyError(
                f"{active} of our requests run on '{runner.name}'; it would wait for them",
                provider_id=provider.id,
                model=runner.name,
                hint=f"modelbay unload {provider.id}/{runner.name} --force",
            )
    for runner in entries:
        await _warm(provider, {"model": runner.name, "keep_alive": 0}, runner.name, 15.0)
        known.gone(runner.name)
        if action.model is not None:
            known.gone(action.model)
    yield Progress(status="unloading")
    await _until_gone(provider, [runner.name for runner in entries])
    yield Done(message=f"{', '.join(runner.name for runner in entries)} unloaded")


async def _until_gone(provider: ProviderContext, names: list[str]) -> None:
    limit_s = config.options(provider).unload_deadline_s
    clock = provider.resources.monotonic
    until = clock() + limit_s
    pause_s = FIRST_PAUSE_S
    while True:
        there = {identity(entry.name) for entry in await running(provider)}
        left = [name for name in names if identity(name) in there]
        if not left:
            return
        if clock() >= until:
            raise BackendTimeoutError(
                f"{', '.join(left)} was still in memory after {limit_s:g} s; a request runs on it",
                provider_id=provider.id,
                model=left[0],
                hint="raise unloadDeadlineS, or end the requests that run on it",
            )
        await anyio.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
