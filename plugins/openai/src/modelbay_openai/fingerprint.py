"""Which server answers: read from the list that is fetched anyway, and from little more."""

from collections.abc import Mapping, Set

import msgspec

from modelbay.client.http import open_stream
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import BackendError
from modelbay_openai.address import by_host, is_local, native
from modelbay_openai.dialects import BY_NAME, BY_OWNER, SERVERS, UNKNOWN, Server
from modelbay_openai.memory import memory

PEEK_S = 0.5
_PEEK_BYTES = 256 * 1024
_LM_STUDIO_ROOT = b"Unexpected endpoint or method"  # its 200 for any path it does not have


async def recognise(
    provider: ProviderContext,
    owners: Set[str],
    headers: Mapping[str, str],
    until: float | None = None,
) -> Server:
    """The server behind a list, by host name, by a header of its own, or by its owner.

    Only a local server whose list names no owner, an empty one at most, is asked one thing more,
    its root. A root that is silent is no sign that the server is another one than it was.

    Args:
        owners: Whose the list says its models are, in lower case.
        until: When nothing more may be asked, on the host's clock.
    """
    hosted = by_host(provider.base_url)
    if hosted is not UNKNOWN:
        return hosted
    for server in SERVERS:
        if server.header is not None:
            name, text = server.header
            if text in headers.get(name, ""):
                return server
    if len(owners) == 1:  # one that gathers many has many
        found = BY_OWNER.get(next(iter(owners)))
        if found is not None:
            return found
    if owners <= {""} and is_local(provider.base_url):
        lm_studio = BY_NAME["lmstudio"]
        root = await peek(provider, "", until)
        if root is None:
            return lm_studio if memory(provider).server is lm_studio else UNKNOWN
        if _LM_STUDIO_ROOT in root:
            return lm_studio
    return UNKNOWN


async def peek(provider: ProviderContext, path: str, until: float | None = None) -> bytes | None:
    """The beginning of an answer outside of the API, empty unless it is a good one.

    ``None`` if no answer has come; never an error.

    Args:
        until: When it must have come, on the host's clock; `PEEK_S` at most.
    """
    limit_s = PEEK_S
    if until is not None:
        limit_s = min(limit_s, until - provider.resources.monotonic())
        if limit_s <= 0:
            return None
    head = bytearray()
    try:
        async with open_stream(
            provider, "GET", native(provider, path), deadline_s=limit_s
        ) as response:
            if response.status != 200:
                return b""
            async with closing(response.blocks()) as blocks:
                async for block in blocks:
                    head += block
                    if len(head) >= _PEEK_BYTES:
                        break
    except BackendError:
        return None  # a sign that is missing; the others decide
    return bytes(head)


async def peek_json(
    provider: ProviderContext, path: str, until: float | None = None
) -> Mapping[str, object]:
    """The same for a JSON object; empty if it is none."""
    body = await peek(provider, path, until) or b""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
