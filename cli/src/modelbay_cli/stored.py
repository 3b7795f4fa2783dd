"""The state store, for commands that only look as well as for those that write."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from modelbay import Host, ModelbayError
from modelbay.config import locations
from modelbay.state import StateStore, open_store
from modelbay.state.rules import Listing

T = TypeVar("T")
U = TypeVar("U")

FILE = "state.db"


def existing(host: Host) -> StateStore | None:
    """The host's store if there is anything in it; looking makes no file."""
    return host.state if (host.locations.data / FILE).exists() else None


def read(work: Callable[[StateStore], Awaitable[T]], nothing: U) -> T | U:
    """Do this with the store and without any provider; ``nothing`` where there is no store yet.

    What was said must be readable and deletable also when providers.json is broken.
    """
    path = locations(os.environ).data / FILE
    return asyncio.run(_with(path, work)) if path.exists() else nothing


async def _with(path: Path, work: Callable[[StateStore], Awaitable[T]]) -> T:
    async with open_store(path) as store:
        return await work(store)


def listing(host: Host) -> Listing:
    """The catalogue as it is now, for questions about remembered ids."""
    asked = [h.id for h in host.providers if h.table is not None and h.table.server_checks_names]
    return Listing(host.catalog, asked)


async def default_model(host: Host) -> str | None:
    """The ref a turn without any model would go to; ``None`` if to none."""
    try:
        return (await host.resolve(None)).id
    except ModelbayError:
        return None
