"""The models of a server: its list, what the server tells besides, and which server it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from modelbay.client.http import (
    MANAGEMENT_DEADLINE_S,
    open_stream,
    raise_for_status,
    read_body,
)
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, ProtocolError, WrongServerError
from modelbay.models.capabilities import FACT_NAMES
from modelbay.models.catalog import DiscoveredModel, DiscoveredModels, Origin
from modelbay.models.frozen import JsonObject
from modelbay_openai.address import at, by_host, is_local
from modelbay_openai.config import OpenAIOptions, options
from modelbay_openai.dialects import BY_NAME, Server
from modelbay_openai.failures import classify, explain
from modelbay_openai.fingerprint import recognise
from modelbay_openai.listing import Description, Entry, Listed, decode_list, same_in_all
from modelbay_openai.looks import Look, look
from modelbay_openai.memory import memory

_GLOB = frozenset("*?[")
_ASKING = 0.8  # of the time a look may take; the rest is for what was read


@dataclass(frozen=True, slots=True)
class _Listed:
    told: Listed
    headers: Mapping[str, str]


async def discover(provider: ProviderContext) -> Sequence[DiscoveredModel]:
    """List the models with all that is told about them; one request, and for some servers two more.

    Only the list must come. What else is asked ends while there is still time to hand it over.

    Raises:
        WrongServerError: There is no model list at this address, or a server that was only
            guessed at is another one.
        BackendError: It cannot be asked.
    """
    chosen = options(provider)
    origin = _origin(provider, chosen)
    if not chosen.discover:
        memory(provider).saw(_told(provider, chosen), None)
        return [
            DiscoveredModel(wire_id=name, origin=origin)
            for name in provider.config.models
            if not _GLOB.intersection(name)
        ]
    until = provider.resources.monotonic() + provider.config.probe_timeout_s * _ASKING
    listed = await _list(provider)
    if chosen.server is not None and not provider.config.implicit:
        server = BY_NAME[chosen.server]
    else:
        server = await recognise(provider, listed.told.owners, listed.headers, until)
        if provider.config.implicit and chosen.server not in (None, server.name):
            raise _wrong(provider, server.title)
    seen = await look(provider, server, until)
    known = memory(provider)
    known.saw(server, seen.version)
    more = known.details()
    names = listed.told.names
    if listed.told.entries is None and not seen.entries and seen.only_loaded is None:
        said = _model({"id": names[0]}, server, seen, origin, more)
        return DiscoveredModels(names, [said] * len(names))
    return models_of(listed.told.of_all(), server, seen, origin, more)


def models_of(
    entries: Sequence[Entry], server: Server, seen: Look, origin: Origin, more: JsonObject
) -> DiscoveredModels:
    """All of them. Of those of whom a list says the same, only the first is read."""
    names = [str(entry["id"]) for entry in entries]
    found: list[DiscoveredModel] = []
    described: dict[bytes, DiscoveredModel] = {}
    for name, entry in zip(names, entries, strict=True):
        if name in seen.entries or name == seen.only_loaded:
            found.append(_model(entry, server, seen, origin, more))
            continue
        said = same_in_all(entry)
        known = described.get(said)
        if known is None:
            known = described[said] = _model(entry, server, seen, origin, more)
        found.append(known)
    return DiscoveredModels(names, found)


def _model(
    entry: Entry, server: Server, seen: Look, origin: Origin, more: JsonObject
) -> DiscoveredModel:
    name = str(entry["id"])
    found = Description(name)
    if name in seen.entries:
        found.read(seen.entries[name], seen.where)
    found.read(entry)
    for fact, value, evidence in seen.common:
        found.fact(fact, value, evidence)
    for fact in FACT_NAMES:
        if (value := getattr(server.facts, fact)) is not None:
            found.fact(fact, value, f"true of {server.title}")
    if seen.only_loaded is not None:
        found.state = "loaded" if name == seen.only_loaded else "unloaded"
    elif server.listed_is_loaded and found.state == "unknown":
        found.state = "loaded"
    return found.model(origin, more)


def _told(provider: ProviderContext, chosen: OpenAIOptions) -> Server:
    """The server by the user's word or by its host name, without asking."""
    return by_host(provider.base_url) if chosen.server is None else BY_NAME[chosen.server]


def _origin(provider: ProviderContext, chosen: OpenAIOptions) -> Origin:
    local = is_local(provider.base_url) if chosen.local is None else chosen.local
    return "local" if local else "remote"


async def _list(provider: ProviderContext) -> _Listed:
    """The list: under ``/v1`` or without it, whatever the address says, or where the user says."""
    path = at(provider, "models")
    try:
        listed = await _ask(provider, path)
    except _NoListError as exc:
        if path == "models" or options(provider).api_prefix is not None:
            raise _wrong(provider, exc.found, status=exc.status) from exc
        try:
            listed = await _ask(provider, "models")
        except _NoListError:
            raise _wrong(provider, exc.found, status=exc.status) from exc
        memory(provider).prefix = ""
        return listed
    return listed


class _NoListError(ProtocolError):
    """What answers has no model list there.

    Args:
        found: What it has instead, in words.
    """

    def __init__(self, message: str, found: str, status: int | None) -> None:
        super().__init__(message, status=status, stage="decode")
        self.found = found


async def _ask(provider: ProviderContext, path: str) -> _Listed:
    async with open_stream(provider, "GET", path, deadline_s=MANAGEMENT_DEADLINE_S) as response:
        if response.status in (404, 405):
            raise _NoListError(
                f"HTTP {response.status}", "a server without a model list", response.status
            )
        try:
            await raise_for_status(provider, response, classify=classify)
            body = await read_body(response)
        except BackendError as exc:
            provider.sign(exc)
            explain(provider, exc)
            raise
        headers = response.headers
    try:
        return _Listed(decode_list(body), headers)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        page = b"<html" in body[:2000].lower() or b"<!doctype html" in body[:200].lower()
        found = "a web page" if page else "something that answers no JSON"
        raise _NoListError(str(exc), found, response.status) from exc
    except ProtocolError as exc:  # its words may be the server's own, and these may echo the key
        message = provider.redact(exc.message)
        raise _NoListError(message, "something else", response.status) from None


def _wrong(provider: ProviderContext, found: str, *, status: int | None = None) -> WrongServerError:
    return WrongServerError(
        f"{provider.base_url} is not the OpenAI-compatible server that was expected but {found}",
        found=found,
        status=status,
        provider_id=provider.id,
        hint=f'correct "baseUrl" of provider "{provider.id}" in providers.json'
        ' (it often ends in "/v1"), or list names in "models" with "discover": false, and with'
        ' "apiPrefix": "" if its routes are not below /v1',
    )
