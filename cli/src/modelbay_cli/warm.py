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
_TICK_S = 0.01  # file systems keep times in steps of the kernel's clock, up to 10 ms


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
        fits = head == _HEAD and float(written) <= now < float(until)
        fits = fits and stamp == _stamp(watched())
    except (OSError, ValueError):
        return None
    if not fits or _somebody_answers(absent):
        return None
    return _aged(body, now - float(written))


def keep(
    arguments: list[str], printed: str, *, valid_s: float, absent: list[str], watched: str
) -> None:
    """Leave a text that was printed.

    Args:
        printed: A number between two NULs is an age in seconds, which goes on growing; between two
            characters of code 1 a time left, which shrinks.
        valid_s: How long it is the answer.
        absent: Loopback addresses, ``host:port``, where nobody answered.
        watched: What `watched` said before the first of these files was read.
    """
    variant, cache = _variant(arguments), cache_folder()
    if variant is None or cache is None or valid_s <= 0 or not watched:
        return
    now = time.time()
    parts = (_HEAD, str(now + valid_s), str(now), " ".join(absent), _stamp(watched), printed)
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
    found = folders()
    return None if found is None else found[2]


def watched() -> str:
    """The state of the files that a listing is made of; empty if it cannot be told.

    Taken before they are read: what changes while the listing is made must show as a change.
    """
    found = folders()
    if found is None:
        return ""
    config, data, cache = found
    named = os.environ.get("LLAMA_PROVIDERS_PATH")
    file = os.path.expanduser(named) if named else f"{config}/providers.json"  # noqa: PTH111
    state = os.path.realpath(f"{data}/state.db")  # SQLite's log lies beside the file itself
    others = (file, f"{data}/keys.json", f"{data}/measured", f"{cache}/changed")
    both = (state, f"{state}-wal")
    if any(_is_fresh(path) for path in both):
        return ""
    return "\n".join(f"{path} {_changed(path)}" for path in (*others, *both))


def folders() -> tuple[str, str, str] | None:
    """The folders of configuration, data and cache; ``None`` where a platform has its own."""
    home = os.environ.get("MODELBAY_HOME")
    expand = os.path.expanduser
    if home:
        base = expand(home)
        return base, f"{base}/data", f"{base}/cache"
    xdg = [os.environ.get(f"XDG_{kind}_HOME") for kind in ("CONFIG", "DATA", "CACHE")]
    if not (all(xdg) or sys.platform.startswith("linux")):
        return None
    usual = ("~/.config", "~/.local/share", "~/.cache")
    config, data, cache = (named or expand(place) for named, place in zip(xdg, usual, strict=True))
    return f"{config}/modelbay", f"{data}/modelbay", f"{cache}/modelbay"


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


def _stamp(watched: str) -> str:
    """Changes with whatever could change the listing; holds nothing of what it is made of."""
    from zlib import crc32

    from modelbay_cli.ready import VERSION

    variables = sorted(item for item in os.environ.items() if item[0] not in _PASSING)
    parts = [VERSION, sys.version, repr(variables)]
    parts += [f"{folder} {_changed(folder)}" for folder in sys.path]
    parts.append(watched)
    return f"{crc32(chr(10).join(parts).encode('utf-8', 'surrogateescape')):08x}"


def _is_fresh(path: str) -> bool:
    """Written so short a time ago that one more write might leave the same time behind."""
    try:
        return os.stat(path).st_mtime > time.time() - _TICK_S  # noqa: PTH116
    except OSError:
        return False


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
