"""The models of a server as modelbay lists them. Never loads one."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio

from modelbay.context import ProviderContext
from modelbay.errors import BackendError, BackendUnreachableError, ModelbayError
from modelbay.models.capabilities import Facts
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
    find_loaded,
)
from modelbay_ollama.asking import ask, side_by_side
from modelbay_ollama.fingerprint import wrong_server
from modelbay_ollama.memory import Memory, memory
from modelbay_ollama.names import aliases, humanise, identity
from modelbay_ollama.residence import RUNNING_LIMIT, remember_window
from modelbay_ollama.table import GUESS, TABLE, estimated_window, in_table
from modelbay_ollama.versions import parse_version, reaches
from modelbay_ollama.window import Windows, windows

log = logging.getLogger("modelbay.ollama")

TAGS = "api/tags"
SMALL_ANSWER = 64 * 1024
SHOW_SHARE = 0.6  # of the time a look may take, for describing models one by one


async def discover(provider: ProviderContext) -> Sequence[DiscoveredModel]:
    """List the models with what the server says of them.

    Three requests side by side; servers before 0.30 are asked for each model too, once for each
    digest, and only while the time for a look lasts. The next look goes on where this one ended.

    Raises:
        WrongServerError: Something else answers.
        BackendError: It cannot be asked.
    """
    chosen = config.options(provider)  # a wrong key in the file should not wait for the first chat
    tags, running = await look(provider)
    known = memory(provider)
    if provider.base_url.endswith("/v1"):
        log.warning("provider '%s': the native API has no /v1; it was taken off", provider.id)
    entries = tags.models or []
    cloud = config.is_cloud_host(provider)
    await _describe(provider, [each for each in entries if _is_undescribed(each)])
    loaded = running.models or [] if running is not None else None
    found = [
        _model(
            entry,
            known.shown.get(_shown_key(entry)),
            find_loaded(loaded or [], entry.name, entry.digest),
            known,
            state_known=loaded is not None,
            asked=chosen.num_ctx,
            remote=cloud or entry.is_remote,
        )
        for entry in {each.name: each for each in entries if each.name}.values()
        if chosen.allow_cloud or not (cloud or entry.is_remote)
    ]
    for entry in loaded or []:
        remember_window(provider, entry.name, entry)
    known.listed = {identity(model.wire_id): model for model in found}
    return tuple(found)


async def look(provider: ProviderContext) -> tuple[Tags, Running | None]:
    """The installed models, and the loaded ones where the server says; its version is remembered.

    Raises:
        WrongServerError: Something else answers.
        BackendError: It cannot be asked.
    """
    try:
        return await _look(provider)
    except BackendUnreachableError:
        other = _other_loopback(provider)
        if other is None:
            raise
        memory(provider).base = other
        try:
            return await _look(provider)
        except BackendError:
            memory(provider).base = ""
            raise


async def _look(provider: ProviderContext) -> tuple[Tags, Running | None]:
    questions: list[Callable[[], Awaitable[object]]] = [
        partial(ask, provider, "GET", TAGS, into=Tags),
        partial(ask, provider, "GET", "api/version", into=VersionBody, limit=SMALL_ANSWER),
        partial(ask, provider, "GET", "api/ps", into=Running, limit=RUNNING_LIMIT),
    ]
    tags, version, running = await side_by_side(questions)
    if isinstance(version, VersionBody):
        memory(provider).saw(parse_version(version.version))
    if isinstance(tags, Tags) and isinstance(version, VersionBody):
        return tags, running if isinstance(running, Running) else None
    failure = tags if isinstance(tags, ModelbayError) else version
    assert isinstance(failure, ModelbayError)  # one of the two is no answer
    if isinstance(failure, BackendError) and (failure.status or 0) not in (401, 403, 429, 503):
        other = await wrong_server(provider, failure)
        if other is not None:
            raise other from failure
    if not isinstance(tags, Tags):
        raise failure
    return tags, running if isinstance(running, Running) else None


def _other_loopback(provider: ProviderContext) -> str | None:
    """The same port on ``::1``, where ``127.0.0.1`` was only our own proposal (U16)."""
    base = provider.base_url
    if provider.config.source != "loopback" or "//127.0.0.1" not in base:
        return None
    return base.replace("//127.0.0.1", "//[::1]", 1)


# --- describing one by one -----------------------------------------------------------------------


def _is_undescribed(entry: Listed) -> bool:
    """The list itself says what 0.30 and later know of a model."""
    return not entry.capabilities or entry.details is None or entry.details.context_length is None


def _shown_key(entry: Listed) -> str:
    return entry.digest or entry.name


async def _describe(provider: ProviderContext, entries: Sequence[Listed]) -> None:
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

    with anyio.move_on_after(provider.config.probe_timeout_s * SHOW_SHARE):
        results = await side_by_side([partial(one, key, entry) for key, entry in missing.items()])
        for result in results:
            if isinstance(result, ModelbayError):
                log.debug("provider '%s': a model is not described: %s", provider.id, result)


# --- one model -----------------------------------------------------------------------------------


def _model(
    entry: Listed,
    shown: Shown | None,
    loaded: Loaded | None,
    known: Memory,
    *,
    state_known: bool,
    asked: int | None,
    remote: bool,
) -> DiscoveredModel:
    details = entry.details or Details()
    sizes = _windows(entry, shown, loaded, asked=asked, remote=remote)
    facts, evidence = _facts(entry, shown, known)
    values: dict[str, object] = {
        **facts,
        "trained_context": sizes.trained,
        "configured_context": sizes.configured,
        "context_window": sizes.effective,
    }
    state: ModelState = "unknown"
    if state_known and not remote:
        state = "unloaded" if loaded is None else "loaded"
    return DiscoveredModel(
        wire_id=entry.name,
        name=humanise(entry.name),
        aliases=aliases(entry.name),
        facts=Facts.model_validate(values),
        evidence={**evidence, **sizes.evidence},
        origin="remote" if remote else "local",
        state=state,
        loaded_context=sizes.loaded,
        size_bytes=None if remote else entry.size,  # a stub's own few bytes say nothing
        digest=entry.digest or None,
        family=details.family or None,
        quantization=details.quantization_level or None,
        details=_details(entry, shown),
    )


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
    entry: Listed,
    shown: Shown | None,
    loaded: Loaded | None,
    *,
    asked: int | None,
    remote: bool,
) -> Windows:
    details = entry.details or Details()
    trained, why = details.context_length or None, "/api/tags details.context_length"
    if trained is None and shown is not None:
        trained = shown.length("context_length")
        why = "/api/show model_info: <architecture>.context_length"
    if trained is None and not in_table(entry.name):  # which would win over the table
        trained, why = estimated_window(details.parameter_size), GUESS
    return windows(
        trained=trained,
        trained_evidence=why,
        modelfile=None if shown is None else shown.configured_window,
        asked=asked,
        loaded=None if loaded is None else loaded.context_length or None,
        # A guess is no window a request could count on.
        remote=remote and why != GUESS,
    )


def _details(entry: Listed, shown: Shown | None) -> JsonObject:
    told = entry.details or Details()
    names = (shown.capabilities if shown is not None else None) or entry.capabilities
    found: JsonObject = {}
    for key, value in (
        ("parameter_size", told.parameter_size),
        ("format", told.format),
        ("families", list(told.families or ()) or None),
        ("capabilities", sorted(names) if names else None),
        ("embedding_length", told.embedding_length),
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
    resolver = Resolver(provider.config, TABLE)
    return model.model_copy(
        update={
            "capabilities": resolver.capabilities(found),
            **{
                name: getattr(found, name)
                for name in ("state", "origin", "loaded_context", "digest", "family", "details")
            },
        }
    )
