"""Which store a URL or a path names."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modelbay.errors import ConfigError
from modelbay.state.store import StateStore

MEMORY = ":memory:"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open_store(place: Path | str, *, clock: Callable[[], float] = time.time) -> StateStore:
    """The store of this URL or file. No file is opened and no server asked before its first call.

    ``sqlite:///var/lib/state.db`` and a plain path name a file, ``:memory:`` none at all. Any other
    scheme is looked up among the entry points of `modelbay.state.schemes.GROUP`.

    Args:
        clock: Seconds since 1970.

    Raises:
        ConfigError: The URL names nothing that can be opened.
        PluginLoadError: The plugin that brings the scheme is broken.
    """
    from modelbay.state.sqlite.store import SqliteStore

    found = None if isinstance(place, Path) else _URL.match(place)
    if found is None:
        if not str(place):
            raise ConfigError("the place of the state is empty", hint=f"a path, or {MEMORY}")
        if str(place) == MEMORY:
            return SqliteStore(None, clock=clock)
        try:
            path = Path(place).expanduser().absolute()
        except RuntimeError:  # ~nobody
            raise ConfigError(f"'{place}' names the folder of a user there is not") from None
        return SqliteStore(path, clock=clock)
    scheme = found[1].lower()
    if scheme == "sqlite":
        return SqliteStore(_file(str(place)), clock=clock)
    from modelbay.state import schemes

    return schemes.opener(scheme)(str(place), clock=clock)


def _file(url: str) -> Path | None:
    """The file of a ``sqlite:`` URL; ``None`` for memory."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("not a URL", where="the state's URL", hint="sqlite:///PATH") from None
    if parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            "a sqlite URL is sqlite:// and an absolute path, with no host and no options",
            where="the state's URL",
            hint="sqlite:///var/lib/modelbay/state.db   # three slashes; write ? as %3F, # as %23",
        )
    path = unquote(parts.path)
    if path.strip("/") in ("", MEMORY):
        return None
    if re.match(r"/+[A-Za-z]:/", path):  # a drive
        return Path(path.lstrip("/"))
    return Path("/" + path.lstrip("/"))
