"""A listing printed a moment ago, ready to be printed again before anything large is imported.

`modelbay models` leaves its text in the cache folder with everything that could change it: the
programs and packages there are (by the modification times of the folders on the path), the
configuration, the environment, the form it was printed in. While nothing of that is different, no
list has become too old and nobody answers at the usual addresses where nobody did, the text is the
answer. Reading it imports nothing but parts of the interpreter.
"""

import os
import sys
import time

COMMANDS = ("models", "list", "ls")
FOLDER = "ready"
_HEAD = "modelbay-ready 1"
# What differs from one terminal to the next and changes no listing.
_PASSING = frozenset(
    ("PWD", "OLDPWD", "SHLVL", "_", "COLUMNS", "LINES", "WINDOWID", "TERM_SESSION_ID", "TMUX_PANE")
)
_KNOCK_S = 0.05


def text(arguments: list[str]) -> str | None:
    """What to print for this command line; ``None`` if it has to be found out."""
    variant = _variant(arguments)
    cache = cache_folder() if variant is not None else None
    if variant is None or cache is None:
        return None
    try:
        with open(f"{cache}/{FOLDER}/{variant}", encoding="utf-8", newline="") as file:  # noqa: PTH123
            head, until, written, absent, stamp, body = file.read().split("\n", 5)
        now = time.time()
        fits = head == _HEAD and float(written) <= now < float(until) and stamp == _stamp()
    except (OSError, ValueError):
        return None
    if not fits or _somebody_answers(absent):
        return None
    return _aged(body, now - float(written))


def keep(arguments: list[str], printed: str, *, valid_s: float, absent: list[str]) -> None:
    """Leave a text that was printed.

    Args:
        printed: A number between two NULs is an age in seconds, which goes on growing; between two
            characters of code 1 a time left, which shrinks.
        valid_s: How long it is the answer.
        absent: Loopback addresses, ``host:port``, where nobody answered.
    """
    variant, cache = _variant(arguments), cache_folder()
    if variant is None or cache is None or valid_s <= 0:
        return
    now = time.time()
    parts = (_HEAD, str(now + valid_s), str(now), " ".join(absent), _stamp(), printed)
    folder = f"{cache}/{FOLDER}"
    temporary = f"{folder}/.{variant}-{os.getpid()}"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        with open(temporary, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
            file.write("\n".join(parts))
        os.replace(temporary, f"{folder}/{variant}")  # noqa: PTH105
    except (OSError, UnicodeError):
        return  # it only saves time


def cache_folder() -> str | None:
    """The cache folder as `modelbay.config.locations` has it; ``None`` where only that knows."""
    home, xdg = os.environ.get("MODELBAY_HOME"), os.environ.get("XDG_CACHE_HOME")
    if home:
        return os.path.expanduser(home) + "/cache"  # noqa: PTH111
    if xdg:
        return xdg + "/modelbay"
    if sys.platform.startswith("linux"):
        return os.path.expanduser("~/.cache/modelbay")  # noqa: PTH111
    return None


def _variant(arguments: list[str]) -> str | None:
    """The name of the form: what was asked for, and for whom it is laid out."""
    if not arguments or arguments[0] not in COMMANDS or arguments[1:] not in ([], ["--json"]):
        return None
    form = "json" if arguments[1:] else "table"
    try:
        isatty = sys.stdout.isatty()
    except (AttributeError, ValueError):
        return None
    look = "".join(
        "1" if found else "0"
        for found in (
            isatty,
            os.environ.get("FORCE_COLOR"),
            os.environ.get("NO_COLOR"),
            os.environ.get("TERM") == "dumb",
        )
    )
    return f"{form}-{look}"


def _stamp() -> str:
    """Changes with whatever could change the listing; holds nothing of what it is made of."""
    from zlib import crc32

    from modelbay_cli.ready import VERSION

    variables = sorted(item for item in os.environ.items() if item[0] not in _PASSING)
    parts = [VERSION, sys.version, repr(variables)]
    parts += [f"{folder} {_changed(folder)}" for folder in sys.path]
    home = os.environ.get("MODELBAY_HOME")
    expand = os.path.expanduser
    base = expand(home) if home else ""
    config = os.environ.get("XDG_CONFIG_HOME") or expand("~/.config")
    data = os.environ.get("XDG_DATA_HOME") or expand("~/.local/share")
    file = os.environ.get("LLAMA_PROVIDERS_PATH")
    own_data = f"{base}/data" if base else f"{data}/modelbay"
    watched = (
        expand(file) if file else f"{base or config + '/modelbay'}/providers.json",
        f"{own_data}/keys.json",
        f"{own_data}/measured",
        f"{own_data}/state.db",
        f"{own_data}/state.db-wal",
    )
    parts += [f"{path} {_changed(path)}" for path in watched]
    return f"{crc32(chr(10).join(parts).encode('utf-8', 'surrogateescape')):08x}"


def _changed(path: str) -> str:
    try:
        found = os.stat(path or ".")  # noqa: PTH116
    except OSError:
        return "-"
    return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"


def _somebody_answers(absent: str) -> bool:
    """Whether a server has been started since where there was none: one knock at each address."""
    if not absent:
        return False
    import _socket  # the interpreter's own part of `socket`, which costs ten times as much

    for address in absent.split():
        host, _, port = address.rpartition(":")
        family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
        knock = _socket.socket(family, _socket.SOCK_STREAM)
        try:
            knock.settimeout(_KNOCK_S)
            if knock.connect_ex((host.strip("[]"), int(port))) == 0:
                return True
        except (OSError, ValueError):
            return True  # what cannot be told is found out
        finally:
            knock.close()
    return False


def _aged(body: str, passed_s: float) -> str:
    """The text with its ages as they are now."""
    for mark, sign in (("\0", 1), ("\1", -1)):
        if mark in body:
            parts = body.split(mark)
            parts[1::2] = [
                f"{max(0.0, float(number) + sign * passed_s):.3f}" for number in parts[1::2]
            ]
            body = "".join(parts)
    return body
