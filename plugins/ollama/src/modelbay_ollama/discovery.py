"""The models of a server as modelbay lists them. Never loads one."""

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

import anyio

from modelbay.client.http import JSON_LIMIT
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, BackendUnreachableError, ModelbayError
from modelbay.models.capabilities import Capabilities, Facts, TableRow
from modelbay.models.catalog import DiscoveredModel, ModelInfo, ModelState
from modelbay.models.frozen import JsonObject
from modelbay.resolve import Resolver
from modelbay_ollama import config
from modelbay_ollama.answers import (
    Details,
    Listed,
    Loaded,
    Running,
    Shown,
    Tags,
    VersionBody,
    capability_facts,
    whole,
)
from modelbay_ollama.asking import ask, side_by_side
from modelbay_ollama.fingerprint import wrong_server
from modelbay_ollama.memory import Memory, memory
from modelbay_ollama.names import aliases, humanise, identity
from modelbay_ollama.residence import RUNNING_LIMIT, remember_window, wished
from modelbay_ollama.table import GUESS, TABLE, estimated_window, in_table, row_of
from modelbay_ollama.versions import parse_version, reaches
from modelbay_ollama.window import Windows, windows

T = TypeVar("T")

log = logging.getLogger("modelbay.ollama")

TAGS = "api/tags"
SMALL_ANSWER = 64 * 1024
SHOW_SHARE = 0.6  # of the time a look may take, for describing models one by one
ASKING = 0.8  # of that time, for all that is asked; the rest is for what was read


async def discover(provider: ProviderContext) -> Sequence[DiscoveredModel]:
    """List the models with what the server says of them.

    Three requests side by side; servers before 0.30 are asked for each model too, once for each
    digest, and only while the time for a look lasts. The next look goes on where this one ended.
    Only the list must come.

    Raises:
        WrongServerError: Something else answers.
        BackendError: It cannot be asked.
    """
    chosen = config.options(provider)  # a wrong key in the file should not wait for the first chat
    until = anyio.current_time() + provider.config.probe_timeout_s * ASKING
    tags, running = await look(provider, until=until)
    known = memory(provider)
    if provider.base_url.endswith("/v1"):
        log.warning("provider '%s': the native API has no /v1; it was taken off", provider.id)
    if chosen.api == "openai" and chosen.num_ctx is not None:
        log.warning('provider \'%s\': numCtx has no effect with "api": "openai"', provider.id)
    entries = {each.name: each for each in tags.models or [] if each.name}
    loaded = running.models or [] if running is not None else None
    found = list(entries.values())
    sharing = _may_share(found, loaded or [])
    undescribed = [e for e in found if _is_undescribed(e) or e.name in sharing]
    await _describe(provider, undescribed, until=until)
    models = [_model(provider, entry, loaded) for entry in found]
    for runner in loaded or []:
        remember_window(provider, runner.name, runner)
    # Also those not to be shown: whoever asks for one by its name must meet what is known of it.
    known.listed = {identity(model.wire_id): model for model in models}
    return tuple(each for each in models if chosen.allow_cloud or each.origin != "remote")


async def described(
    provider: ProviderContext, entry: Listed, loaded: Sequence[Loaded] | None
) -> Capabilities:
    """What is known of one installed model, as the registry would have it."""
    if _is_undescribed(entry):
        await _describe(provider, [entry])
    return _resolver(provider).capabilities(_model(provider, entry, loaded))


async def look(
    provider: ProviderContext, *, until: float | None = None
) -> tuple[Tags, Running | None]:
    """The installed models, and the loaded ones where the server says; its version is remembered.

    Args:
        until: From when on a list that was read waits for nothing else, as `anyio.current_time`
            counts.

    Raises:
        WrongServerError: Something else answers.
        BackendError: It cannot be asked.
    """
    try:
        return await _look(provider, until)
    except BackendUnreachableError:
        other = _other_loopback(provider)
        if other is None:
            raise
        memory(provider).base = other
        try:
            return await _look(provider, until)
        except BackendError:
            memory(provider).base = ""
            raise


async def _look(provider: ProviderContext, until: float | None) -> tuple[Tags, Running | None]:
    tags: object = None
    version: object = None  # stays so if it came too late
    running: object = None

    async with anyio.create_task_group() as tasks:

        async def ask_version() -> None:
            nonlocal version
            version = await _heard(provider, "api/version", VersionBody, SMALL_ANSWER)

        async def ask_running() -> None:
            nonlocal running
            running = await _heard(provider, "api/ps", Running, RUNNING_LIMIT)

        tasks.start_soon(ask_version)
        tasks.start_soon(ask_running)
        tags = await _heard(provider, TAGS, Tags, JSON_LIMIT)
        if until is not None and isinstance(tags, Tags):
            tasks.cancel_scope.deadline = until
    if isinstance(version, VersionBody):
        memory(provider).saw(parse_version(version.version))
    if isinstance(tags, Tags) and (version is None or isinstance(version, VersionBody)):
        return tags, running if isinstance(running, Running) else None
    failure = tags if isinstance(tags, ModelbayError) else version
    assert isinstance(failure, ModelbayError)  # one of the two is no answer
    if isinstance(failure, BackendError) and (failure.status or 0) not in (401, 403, 429, 503):
        other = None
        ends = until if until is not None and isinstance(tags, Tags) else math.inf
        with anyio.CancelScope(deadline=ends):
            other = await wrong_server(provider, failure)
        if other is not None:
            raise other from failure
    if not isinstance(tags, Tags):
        raise failure
    return tags, running if isinstance(running, Running) else None


async def _heard(
    provider: ProviderContext, path: str, into: type[T], limit: int
) -> T | ModelbayError:
    """An answer, or why there is none."""
    try:
        return await ask(provider, "GET", path, into=into, limit=limit)
    except ModelbayError as exc:
        return exc


def _other_loopback(provider: ProviderContext) -> str | None:
    """The same port on ``::1``, where ``127.0.0.1`` was only our own proposal (U16)."""
    base = provider.base_url
    if provider.config.source != "loopback" or "//127.0.0.1" not in base:
        return None
    return base.replace("//127.0.0.1", "//[::1]", 1)


# --- describing one by one -----------------------------------------------------------------------


def _is_undescribed(entry: Listed) -> bool:
    """The list itself says what 0.30 and later know of a model."""
    told = entry.details
    return not entry.capabilities or told is None or whole(told.context_length) is None


def _may_share(entries: Sequence[Listed], loaded: Sequence[Loaded]) -> set[str]:
    """Names of models that may run on the weights of one in memory, and of those in memory.

    Only a description names the weights, so it is asked for where the list leaves it open.
    """
    found: set[str] = set()
    for runner in loaded:
        kind = _kind(runner.details)
        alike = [each for each in entries if kind is not None and _kind(each.details) == kind]
        digests = {each.digest for each in alike}
        if runner.digest in digests and len(digests) > 1:
            found |= {each.name for each in alike}
    return found


def _kind(details: Details | None) -> tuple[str | None, ...] | None:
    if details is None:
        return None
    return (
        details.format,
        details.family,
        details.parameter_size,
        details.quantization_level,
    )


def _shown_key(entry: Listed) -> str:
    return entry.digest or entry.name


async def _describe(
    provider: ProviderContext, entries: Sequence[Listed], *, until: float = math.inf
) -> None:
    """Ask for each model not asked for before, until the time is up; what came is remembered."""
    known = memory(provider)
    missing = {
        _shown_key(entry): entry for entry in entries if _shown_key(entry) not in known.shown
    }

    async def one(key: str, entry: Listed) -> None:
        shown = await ask(
            provider,
            "POST",
            "api/show",
            into=Shown,
            json={"model": entry.name, "name": entry.name},  # older servers know `name` alone
            model=entry.name,
        )
        known.keep_shown(key, shown)

    share_s = provider.config.probe_timeout_s * SHOW_SHARE
    with anyio.CancelScope(deadline=min(until, anyio.current_time() + share_s)):
        results = await side_by_side([partial(one, key, entry) for key, entry in missing.items()])
        for result in results:
            if isinstance(result, ModelbayError):
                log.debug("provider '%s': a model is not described: %s", provider.id, result)


# --- one model -----------------------------------------------------------------------------------


def _model(
    provider: ProviderContext, entry: Listed, loaded: Sequence[Loaded] | None
) -> DiscoveredModel:
    """One entry of the list. ``loaded``: all runners; ``None`` if the server does not say."""
    known = memory(provider)
    shown = known.shown.get(_shown_key(entry))
    runner = known.runner(loaded or [], entry.name, entry.digest)
    remote = config.is_cloud_host(provider) or entry.is_remote
    details = entry.details or Details()
    sizes = _windows(provider, entry, shown, runner, remote=remote)
    facts, evidence = _facts(entry, shown, known)
    if not facts and (row := _unwritten_row(entry)) is not None:
        said = row.facts.model_dump(exclude_none=True, exclude={"trained_context"})
        facts, evidence = said, dict.fromkeys(said, f"table: {row.evidence}")
    values: dict[str, object] = {
        **facts,
        "trained_context": sizes.trained,
        "configured_context": sizes.configured,
        "context_window": sizes.effective,
    }
    state: ModelState = "unknown"
    if loaded is not None and not remote:
        state = "unloaded" if runner is None else "loaded"
    return DiscoveredModel(
        wire_id=entry.name,
        name=humanise(entry.name),
        aliases=aliases(entry.name),
        facts=Facts.model_validate(values),
        evidence={**evidence, **sizes.evidence},
        origin="remote" if remote else "local",
        state=state,
        loaded_context=sizes.loaded,
        size_bytes=None if remote else whole(entry.size),  # a stub's own few bytes say nothing
        digest=entry.digest or None,
        family=details.family or None,
        quantization=details.quantization_level or None,
        details=_details(entry, shown) | _loaded_as(entry, runner),
    )


def _loaded_as(entry: Listed, runner: Loaded | None) -> JsonObject:
    """Under which other name it is in memory (trap 24)."""
    if runner is None or identity(runner.name) == identity(entry.name):
        return {}
    return {"loaded_as": runner.name}


def _facts(
    entry: Listed, shown: Shown | None, known: Memory
) -> tuple[dict[str, bool], dict[str, str]]:
    """What a model can do, from the fuller of the two answers (`show` wins where both are)."""
    where, names = "/api/tags capabilities", entry.capabilities
    if shown is not None and shown.capabilities:
        where, names = "/api/show capabilities", shown.capabilities
    facts = dict(capability_facts(names))
    evidence = dict.fromkeys(facts, where)
    if entry.details is not None and entry.details.format == "safetensors":
        facts |= {"json_mode": False, "json_schema": False}
        why = "details.format is safetensors: its engine never sees a format (ollama#17183)"
        evidence |= {"json_mode": why, "json_schema": why}
    elif names and "completion" in names and not entry.is_remote:
        schemas = reaches(known.version, 0, 5, 0)
        facts |= {"json_mode": True, "json_schema": schemas}
        evidence |= {"json_mode": "format", "json_schema": "format takes schemas since 0.5.0"}
    return facts, evidence


def _windows(
    provider: ProviderContext,
    entry: Listed,
    shown: Shown | None,
    loaded: Loaded | None,
    *,
    remote: bool,
) -> Windows:
    details = entry.details or Details()
    trained, why = whole(details.context_length), "/api/tags details.context_length"
    if trained is None and shown is not None:
        trained = shown.length("context_length")
        why = "/api/show model_info: <architecture>.context_length"
    if trained is None and (row := _unwritten_row(entry)) is not None:
        trained, why = row.facts.trained_context, f"table: {row.evidence}"
    if trained is None and not in_table(entry.name):  # which would win over the table
        trained, why = estimated_window(details.parameter_size), GUESS
    asked, asked_by = asked_for(provider, entry.name)
    return windows(
        trained=trained,
        trained_evidence=why,
        modelfile=None if shown is None else shown.configured_window,
        asked=asked,
        asked_by=asked_by,
        loaded=None if loaded is None else whole(loaded.context_length),
        # A guess is no window a request could count on.
        remote=remote and why != GUESS,
    )


def _unwritten_row(entry: Listed) -> TableRow | None:
    """The row of a model whose name it does not match as written: in a namespace, in capitals."""
    return None if in_table(entry.name) else row_of(entry.name)


def asked_for(provider: ProviderContext, name: str) -> tuple[int | None, str]:
    """The window our requests want for a model of this name, by what the user says of it."""
    users = _resolver(provider).capabilities(DiscoveredModel(wire_id=name))
    return wished(provider, name, users)


def _details(entry: Listed, shown: Shown | None) -> JsonObject:
    told = entry.details or Details()
    names = (shown.capabilities if shown is not None else None) or entry.capabilities
    found: JsonObject = {}
    for key, value in (
        ("parameter_size", told.parameter_size),
        ("format", told.format),
        ("families", list(told.families or ()) or None),
        ("capabilities", sorted(names) if names else None),
        ("embedding_length", whole(told.embedding_length)),
        ("remote_model", entry.remote_model),
        ("remote_host", entry.remote_host),
        ("modified_at", entry.modified_at),
        ("requires", None if shown is None else shown.requires),
    ):
        if value:
            found[key] = value  # type: ignore[assignment] # a list of str is JSON
    return found


def as_listed(provider: ProviderContext, model: ModelInfo) -> ModelInfo:
    """What is known of a model that was asked for under another spelling of its name.

    The server takes any case and leaves defaults out (trap 23). The registry finds a name only as
    it is listed, and hands over all others with nothing but the name. The wire keeps the spelling.
    """
    if model.details or model.digest:
        return model
    found = memory(provider).listed.get(identity(model.wire_id))
    if found is None:
        return model
    return model.model_copy(
        update={
            "capabilities": _resolver(provider).capabilities(found),
            **{
                name: getattr(found, name)
                for name in ("state", "origin", "loaded_context", "digest", "family", "details")
            },
        }
    )


def _resolver(provider: ProviderContext) -> Resolver:
    """Made once: it compiles a pattern for every row of the table."""
    known = memory(provider)
    if known.resolver is None:
        known.resolver = Resolver(provider.config, TABLE)
    return known.resolver
