"""One look at a server: which of the two modes it is in, or what else answers there."""

from collections.abc import Mapping
from dataclasses import dataclass

import anyio
import msgspec

from modelbay.client.http import fetch_json, open_stream, raise_for_status, read_body
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    ModelbayError,
    ModelNotFoundError,
    ProtocolError,
    StreamInterruptedError,
    WrongServerError,
)
from modelbay_llamacpp.config import at
from modelbay_llamacpp.failures import classify
from modelbay_llamacpp.memory import memory
from modelbay_llamacpp.wire import Entry, Mode, ModelsAnswer, Props, find, known_names, with_query

_FINGERPRINT_S = 0.5
_FINGERPRINT_BYTES = 64 * 1024

# `owned_by` in a model list gives most servers away.
_OWNERS: Mapping[str, str] = {
    "llama-swap": "llama-swap",
    "vllm": "vLLM",
    "sglang": "SGLang",
    "library": "Ollama",
    "organization_owner": "LM Studio",
}


@dataclass(frozen=True, slots=True)
class Server:
    """What a look has shown.

    Attributes:
        props: ``None`` on servers too old to have them; in a look with an end, also if they failed
            or came too late.
    """

    mode: Mode
    props: Props | None
    entries: tuple[Entry, ...]


async def look(
    provider: ProviderContext, *, rescan: bool = False, until: float | None = None
) -> Server:
    """Ask for ``/props`` and the model list; two requests, neither of which loads anything.

    They are asked side by side, so that a slow server is not waited for twice.

    The mode is read from ``role`` in ``/props``; the 404 of a management route would not tell
    (trap 1). Only where there are no props do the list's entries decide.

    Args:
        until: For a look with an end: from when on a list that says itself that it is llama.cpp's
            does not wait for the props any longer, as `anyio.current_time` counts.

    Raises:
        WrongServerError: Something else answers.
        BackendBusyError: A single-model server that is still loading.
        AuthenticationError: It wants a key.
        BackendError: It cannot be asked.
    """
    props, entries = await _props_and_list(provider, rescan, until)
    ours = props is not None or any(entry.owned_by == "llamacpp" for entry in entries)
    if not ours or any(entry.owned_by == "llama-swap" for entry in entries):
        raise await _wrong_server(provider, entries)
    memory(provider).saw(props.build_info if props is not None else None)
    if props is not None:
        mode: Mode = "router" if props.role == "router" else "single"
    else:
        mode = "router" if any(entry.status is not None for entry in entries) else "single"
    return Server(mode, props, entries)


async def _props_and_list(
    provider: ProviderContext, rescan: bool, until: float | None
) -> tuple[Props | None, tuple[Entry, ...]]:
    """Both answers. If both fail, it is the props that say why."""
    props: Props | None = None
    entries: tuple[Entry, ...] = ()
    is_ours = False
    failures: list[ModelbayError] = []  # out of the group, which would wrap them

    async def ask_props() -> None:
        nonlocal props
        try:
            props = await _server_props(provider)
        except ModelbayError as exc:
            failures.insert(0, exc)
            if not _is_ill(exc):
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_props)
        try:
            entries = await list_models(provider, rescan=rescan)
        except ModelbayError as exc:
            failures.append(exc)
        is_ours = any(entry.owned_by == "llamacpp" for entry in entries)
        if until is not None and is_ours:
            tasks.cancel_scope.deadline = until
    enough = until is not None and is_ours  # to do without props
    if failures and not (enough and _is_ill(failures[0])):
        raise failures[0]
    return props, entries


def _is_ill(exc: ModelbayError) -> bool:
    """Something failed; not that the server is loading, wants a key or is another one."""
    if isinstance(exc, BackendBusyError) or not isinstance(exc, BackendError):
        return False
    return isinstance(exc, StreamInterruptedError) or (exc.status or 0) >= 500


def entry_of(provider: ProviderContext, server: Server, name: str) -> Entry:
    """The entry with this id or alias.

    Raises:
        ModelNotFoundError: There is none; the hint has those there are.
    """
    entry = find(server.entries, name)
    if entry is None:
        raise ModelNotFoundError(
            f"there is no model '{name}' here",
            provider_id=provider.id,
            model=name,
            hint=f"this server knows: {known_names(server.entries)}",
        )
    return entry


async def list_models(provider: ProviderContext, *, rescan: bool = False) -> tuple[Entry, ...]:
    """``GET /v1/models``, each id once.

    Args:
        rescan: Let a router look at its folder, cache and presets first. Any value would do that,
            ``0`` too (trap 28), so the field is left out otherwise.
    """
    path = with_query("v1/models", reload="1") if rescan else "v1/models"
    try:
        answer = await fetch_json(
            provider, "GET", at(provider, path), into=ModelsAnswer, classify=classify
        )
    except BackendError as exc:
        if exc.status in (404, 405) or isinstance(exc, ProtocolError):
            raise await _wrong_server(provider, (), because=exc) from exc
        _explain(exc)
        raise
    return tuple({entry.id: entry for entry in reversed(answer.data or [])}.values())[::-1]


async def model_props(provider: ProviderContext, wire_id: str, *, load: bool = False) -> Props:
    """The properties of one model of a router, or of the model of a single-model server.

    Args:
        load: Let the server's own policy decide whether the look loads the model. Otherwise
            ``autoload=false`` says no: a bare look would load it and maybe push another one out
            (trap 2).

    Raises:
        BackendError: Among others because it is not loaded.
    """
    query = {"model": wire_id} if load else {"model": wire_id, "autoload": "false"}
    return await fetch_json(
        provider,
        "GET",
        at(provider, with_query("props", **query)),
        into=Props,
        model=wire_id,
        deadline_s=None if load else 15.0,
        classify=classify,
    )


async def _server_props(provider: ProviderContext) -> Props | None:
    """``GET /props``; ``None`` if there is no such route."""
    async with open_stream(provider, "GET", at(provider, "props"), deadline_s=15.0) as response:
        if response.status == 404:
            return None
        if response.status == 401 and "llama-swap" in response.headers.get("www-authenticate", ""):
            raise _wrong(provider, "llama-swap")
        try:
            await raise_for_status(provider, response, classify=classify)
        except BackendError as exc:
            _explain(exc)
            raise
        body = await read_body(response)
    try:
        props = msgspec.json.decode(body, type=Props)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise await _wrong_server(provider, ()) from exc
    if not props.is_llama_cpp:
        raise await _wrong_server(provider, ())
    return props


def _explain(exc: BackendError) -> None:
    if isinstance(exc, BackendBusyError):
        exc.hint = exc.hint or "llama-server is still loading its model; ask again in a moment"


# --- fingerprints --------------------------------------------------------------------------------


async def _wrong_server(
    provider: ProviderContext, entries: tuple[Entry, ...], *, because: BackendError | None = None
) -> WrongServerError:
    """What the server is instead, from signs that cost little to ask for."""
    owners = [entry.owned_by or "" for entry in entries]
    found = next((_OWNERS[owner] for owner in owners if owner in _OWNERS), None)
    if found is None:
        found = await _fingerprint(provider)
    if found is None:
        found = "an OpenAI-style server that is not llama.cpp" if entries else "something else"
    return _wrong(provider, found, status=None if because is None else because.status)


async def _fingerprint(provider: ProviderContext) -> str | None:
    # llama-swap first: it answers /api/version as Ollama does.
    running = await _peek(provider, "running")
    if isinstance(_json(running), dict) and b'"running"' in running:
        return "llama-swap"
    root = await _peek(provider, "")
    if root.startswith(b"Ollama is running"):
        return "Ollama"
    if b"<html" in root[:2000].lower() or b"<!doctype html" in root[:200].lower():
        return "a web page"
    if b"Unexpected endpoint or method" in root:
        return "LM Studio"
    models = _json(await _peek(provider, "v1/models"))
    data = models.get("data") if isinstance(models, dict) else None
    for entry in data if isinstance(data, list) else []:
        owner = entry.get("owned_by") if isinstance(entry, dict) else None
        if isinstance(owner, str) and owner in _OWNERS:
            return _OWNERS[owner]
    version = _json(await _peek(provider, "api/version"))
    if isinstance(version, dict) and "version" in version:
        return "Ollama"
    return None


async def _peek(provider: ProviderContext, path: str) -> bytes:
    """The beginning of an answer, whatever its status; empty if there is none."""
    head = bytearray()
    try:
        async with (
            open_stream(provider, "GET", at(provider, path), deadline_s=_FINGERPRINT_S) as response,
            closing(response.blocks()) as blocks,
        ):
            async for block in blocks:
                head += block
                if len(head) >= _FINGERPRINT_BYTES:
                    break
    except BackendError:
        return b""  # a sign that is missing; the others decide
    return bytes(head)


def _json(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _wrong(provider: ProviderContext, found: str, *, status: int | None = None) -> WrongServerError:
    return WrongServerError(
        f"{provider.base_url} is not a llama.cpp server but {found}",
        found=found,
        status=status,
        provider_id=provider.id,
        hint=f'correct "baseUrl" or "kind" of provider "{provider.id}" in providers.json',
    )
