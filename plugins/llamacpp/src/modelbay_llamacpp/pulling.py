"""Download and delete, where a router offers them (llama.cpp of June 2026 and later)."""

from collections.abc import AsyncIterator
from contextlib import suppress

import anyio

from modelbay.client.http import fetch_json
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    ModelbayError,
    ModelNotFoundError,
    UnsupportedActionError,
)
from modelbay.models.manage import Delete, Done, ManageEvent, Progress, Pull
from modelbay_llamacpp import config
from modelbay_llamacpp.config import at
from modelbay_llamacpp.failures import classify
from modelbay_llamacpp.following import following
from modelbay_llamacpp.loading import GRACE_S
from modelbay_llamacpp.memory import memory
from modelbay_llamacpp.probe import entry_of, list_models, look
from modelbay_llamacpp.waiting import Pauses
from modelbay_llamacpp.wire import ARRIVING, Entry, find, was_pulled, with_query

_CALL_OFF_S = 5.0
_PULL_HINT = "start llama-server with -hf <repo>"


async def pull(provider: ProviderContext, action: Pull) -> AsyncIterator[ManageEvent]:
    """Download ``owner/repo[:TAG]`` into the router's cache, and wait until it is listed.

    A caller who goes away before the end calls the download off, if it was this call that began it:
    nobody would expect Ctrl-C to leave 40 GB coming in.

    Raises:
        ModelNotFoundError: There is no such repository or tag. The server says success to such a
            request and "finished" later; only the list knows (trap 31).
        UnsupportedActionError: This server cannot download by name.
    """
    name = action.model
    server = await look(provider)
    if server.mode == "single":
        raise UnsupportedActionError(
            "llama.cpp cannot pull by name", provider_id=provider.id, hint=_PULL_HINT
        )
    there = find(server.entries, name)
    if there is not None and there.state not in ARRIVING:
        yield Done(message=f"{there.id} is there", changed=False)
        return
    before = {entry.id for entry in server.entries if entry.state not in ARRIVING}
    async with following(provider, lambda model: _same(model, name)) as events:
        ours = there is None  # also while the order is on its way
        try:
            ours = ours and await _order(provider, name)
            yield Progress(status="downloading")
            files: dict[str, tuple[int, int]] = {}
            shown, failed = 0.0, False
            while True:
                news, due = await events.wait()
                for event in news:
                    failed = failed or event.event == "download_failed"
                    files |= event.downloaded
                    if event.downloaded and (step := _progress(files)).fraction is not None:
                        # Another file may join on the way; the fraction does not step back for it.
                        shown = max(shown, step.fraction)
                        yield step.model_copy(update={"fraction": shown})
                if not due:
                    continue
                mine = [entry for entry in await list_models(provider) if was_pulled(entry, name)]
                if not any(entry.state in ARRIVING for entry in mine):
                    break
            if not mine:  # the event that says why may come a moment after the list
                news, _ = await events.wait()
                failed = failed or any(event.event == "download_failed" for event in news)
        except ModelbayError:
            raise
        except BaseException:  # the caller has gone away: closed, or cancelled
            if ours:
                await _call_off(provider, name)
            raise
    yield _outcome(provider, name, mine, before, failed=failed)


async def delete(provider: ProviderContext, action: Delete) -> AsyncIterator[ManageEvent]:
    """Remove a downloaded model from the router's cache; one in memory is stopped first.

    Raises:
        UnsupportedActionError: Only downloaded models can be removed over HTTP.
        BackendBusyError: Requests of ours run on it.
    """
    server = await look(provider)
    if server.mode == "single":
        raise UnsupportedActionError(
            "a single-model llama.cpp server cannot delete its model",
            provider_id=provider.id,
            hint="stop llama-server and remove the file",
        )
    entry = entry_of(provider, server, action.model)
    if entry.can_remove is False:
        raise _not_removable(provider, entry)
    if running := memory(provider).active[entry.id]:
        raise BackendBusyError(
            f"{running} of our requests run on '{entry.id}' and would break",
            provider_id=provider.id,
            model=entry.id,
            hint="wait for them, or end them",
        )
    limit_s = config.options(provider).stop_timeout_s + GRACE_S
    try:
        await fetch_json(
            provider,
            "DELETE",
            at(provider, with_query("models", model=entry.id)),
            into=dict[str, object],
            model=entry.id,
            deadline_s=limit_s,
            classify=classify,
        )
    except BackendError as exc:
        if exc.status == 404:
            raise _too_old(provider, "delete", "remove the file on the server") from exc
        if "is not removable" in exc.message:
            raise _not_removable(provider, entry) from exc
        raise
    clock = provider.resources.monotonic
    until = clock() + limit_s
    pauses = Pauses()
    while find(await list_models(provider), entry.id) is not None:
        if clock() >= until:
            raise BackendTimeoutError(
                f"'{entry.id}' is still listed {limit_s:g} s after its removal",
                provider_id=provider.id,
                model=entry.id,
                hint=f"modelbay show {provider.id}/{entry.id}",
            )
        await anyio.sleep(pauses.next_s())
    yield Done(message=f"{entry.id} removed")


def _same(model: str, name: str) -> bool:
    return was_pulled(Entry(model), name)


def _progress(files: dict[str, tuple[int, int]]) -> Progress:
    done = sum(part for part, _ in files.values())
    total = sum(whole for _, whole in files.values())
    return Progress(
        status="downloading",
        fraction=min(1.0, done / total) if total > 0 else None,
        done_bytes=done,
        total_bytes=total,
    )


def _outcome(
    provider: ProviderContext, name: str, mine: list[Entry], before: set[str], *, failed: bool
) -> Done:
    if mine:
        fresh = [entry.id for entry in mine if entry.id not in before]
        return Done(message=f"{', '.join(fresh) or mine[0].id} is there", changed=bool(fresh))
    if failed:
        raise BackendError(
            f"the download of '{name}' failed or was called off",
            provider_id=provider.id,
            model=name,
            hint="read the router's log",
        )
    raise ModelNotFoundError(
        f"nothing came of '{name}': no such repository, or no GGUF file with that tag in it",
        provider_id=provider.id,
        model=name,
        hint="check the spelling of owner/repo:TAG; capitals count",
    )


async def _order(provider: ProviderContext, name: str) -> bool:
    """Ask for the download; false if it is under way already."""
    try:
        await fetch_json(
            provider,
            "POST",
            at(provider, "models"),
            into=dict[str, object],
            json={"model": name},
            model=name,
            classify=classify,
        )
    except BackendError as exc:
        if exc.status == 404:
            raise _too_old(provider, "pull by name", _PULL_HINT) from exc
        if exc.status == 400 and "already exists" in exc.message:
            return False
        raise
    return True


async def _call_off(provider: ProviderContext, name: str) -> None:
    # An error means that it has just ended, or the server has; there is nobody left to tell.
    with anyio.move_on_after(_CALL_OFF_S, shield=True), suppress(BackendError):
        await fetch_json(
            provider,
            "POST",
            at(provider, "models/unload"),
            into=dict[str, object],
            json={"model": name},
            classify=classify,
        )


def _not_removable(provider: ProviderContext, entry: Entry) -> UnsupportedActionError:
    hints = {
        "models_dir": "remove the file from the router's --models-dir",
        "preset": "remove its section from the router's --models-preset file",
    }
    return UnsupportedActionError(
        f"'{entry.id}' was not downloaded by the router, so it cannot remove it",
        provider_id=provider.id,
        model=entry.id,
        hint=hints.get(entry.source or "", "remove the file on the server"),
    )


def _too_old(provider: ProviderContext, what: str, instead: str) -> UnsupportedActionError:
    return UnsupportedActionError(
        f"this router is too old to {what}",
        provider_id=provider.id,
        hint=f"update llama-server, or {instead}",
    )
