"""What a llama-swap has and runs: two lists, neither of which starts anything."""

from collections.abc import Mapping

import msgspec

from modelbay.client.http import fetch_json, open_stream, raise_for_status, read_body
from modelbay.context import ProviderContext
from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    ProtocolError,
)
from modelbay.models.frozen import JsonObject
from modelbay_llamaswap.config import JSON, at
from modelbay_llamaswap.fingerprint import is_ours, wrong_server
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.wire import (
    NO_ROUTE,
    OWNER,
    VIRTUAL,
    Entry,
    ModelsAnswer,
    ProfilesAnswer,
    RunningAnswer,
    RunningEntry,
    Version,
    classify,
    running_entry,
)

RUNNING = "running"
PROFILES = "api/profiles"


class Running:
    """The processes of one moment.

    Attributes:
        entries: By real id.
        raw: The same as the server wrote them.
        known: False where the server has no such route (before v94).
    """

    __slots__ = ("entries", "known", "raw")

    def __init__(self, raw: list[JsonObject], *, known: bool = True) -> None:
        listed = [running_entry(entry) for entry in raw]
        self.entries: dict[str, RunningEntry] = {entry.model: entry for entry in listed}
        self.raw = {entry.model: shape for entry, shape in zip(listed, raw, strict=True)}
        self.known = known


async def list_models(provider: ProviderContext) -> tuple[Entry, ...]:
    """``GET /v1/models``, each id once. It is made from the config and never starts anything.

    Raises:
        WrongServerError: Something else answers.
        AuthenticationError: It wants a key.
        BackendError: It cannot be asked.
    """
    try:
        answer = await fetch_json(
            provider,
            "GET",
            at(provider, "v1/models"),
            into=ModelsAnswer,
            headers=JSON,
            classify=classify,
        )
    except (AuthenticationError, BackendBusyError):
        raise
    except BackendError as exc:
        other = await wrong_server(provider, (), exc)
        if other is None:
            raise
        raise other from exc
    entries = tuple({entry.id: entry for entry in reversed(answer.data or [])}.values())[::-1]
    if not any(entry.owned_by == OWNER for entry in entries) and not await is_ours(provider):
        other = await wrong_server(provider, entries, None)
        if other is not None:
            raise other
    memory(provider).saw_names(_real_ids(entries), _targets(entries))
    return entries


async def list_running(provider: ProviderContext, *, deadline_s: float = 15.0) -> Running:
    """``GET /running``; it answers also while the router waits for an unload (trap 11)."""
    async with open_stream(
        provider, "GET", at(provider, RUNNING), headers=JSON, deadline_s=deadline_s
    ) as response:
        try:
            await raise_for_status(provider, response, classify=classify)
            body = await read_body(response)
            answer = msgspec.json.decode(body, type=RunningAnswer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise ProtocolError(
                f"GET /{RUNNING} answered something unexpected",
                status=response.status,
                provider_id=provider.id,
                stage="decode",
            ) from exc
        except BackendError as exc:
            if exc.status in (404, 405) or exc.message.startswith(NO_ROUTE):
                return Running([], known=False)
            raise
    running = Running(answer.running or [])  # type: ignore[arg-type] # JSON, decoded
    memory(provider).saw_running(running.entries.values())
    return running


async def read_version(provider: ProviderContext) -> Version:
    """``GET /api/version`` (v173); empty where there is none, and ``0`` in an unstamped build."""
    try:
        return await fetch_json(
            provider,
            "GET",
            at(provider, "api/version"),
            into=Version,
            headers=JSON,
            classify=classify,
        )
    except BackendError:
        return Version()


async def read_pins(provider: ProviderContext) -> Mapping[str, str]:
    """What the active profile makes of names (v241); empty where there is none."""
    known = memory(provider)
    if PROFILES in known.lacking:
        return {}
    try:
        answer = await fetch_json(
            provider,
            "GET",
            at(provider, PROFILES),
            into=ProfilesAnswer,
            headers=JSON,
            classify=classify,
        )
    except BackendError as exc:
        if exc.status in (404, 405):
            known.lacking.add(PROFILES)
        return {}
    return answer.pins


def _targets(entries: tuple[Entry, ...]) -> dict[str, tuple[str, ...] | None]:
    """What names without a process may stand for: up to v245 a selector does not say."""
    found: dict[str, tuple[str, ...] | None] = {}
    for entry in entries:
        if entry.type in VIRTUAL:
            found[entry.id] = () if entry.type == "peer" else entry.targets or None
    return found


def _real_ids(entries: tuple[Entry, ...]) -> dict[str, str]:
    """Every name a request may use, and the id that `/running` has for it."""
    names = {alias: entry.id for entry in entries for alias in entry.aliases}
    for entry in entries:
        names[entry.id] = (entry.alias_of if entry.type == "alias" else None) or entry.id
    return names
