"""What could come next on a command line: ``python -m modelbay_cli.completion SHELL ...``.

Somebody waits for the Tab key. So nothing is imported but parts of the interpreter, no plugin is
loaded and no server asked: models and providers come from the lists that earlier commands kept,
favourites and conversations from the state file. What the commands take is worked out once for each
version, by `modelbay_cli.grammar`, and kept beside the lists.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from zlib import crc32

from modelbay_cli import warm
from modelbay_cli.ready import VERSION

FILES = "\1files"  # the shell completes file names itself
KEPT = "completion.json"

_OLDEST_S = 7 * 24 * 3600.0  # as `modelbay.host.list_cache` has it
_LARGEST_BYTES = 16 * 1024 * 1024
_CONVERSATIONS = 50

Candidate = tuple[str, str]  # and what it is, in words

TYPE_CHECKING = False  # `typing` has one too, and takes time to import
if TYPE_CHECKING:
    from typing import TypedDict

    class Node(TypedDict):
        """What one command takes.

        Attributes:
            options: By name: the kind of value, empty for none, and a description.
            arguments: The kind of each; ``*`` after one that may come again.
            commands: By name: a description, and any word if it is shown.
        """

        options: dict[str, tuple[str, str]]
        arguments: list[str]
        commands: dict[str, tuple[str, str]]

    Grammar = dict[str, Node]


# --- what could come next -------------------------------------------------------------------------


def candidates(before: list[str], current: str, grammar: "Grammar") -> Iterator[Candidate]:
    """What may stand in place of the current word.

    Args:
        before: The words before it, without the program's own name.
    """
    path, place, waiting, is_open = _walked(before, grammar)
    node = grammar[path]
    options, arguments, commands = node["options"], node["arguments"], node["commands"]
    name, equals, value = current.partition("=")
    if waiting is not None:
        yield from _values(waiting, current)
    elif is_open and equals and name in options:
        yield from ((f"{name}={v}", t) for v, t in _values(options[name][0], value) if v != FILES)
    elif is_open and current.startswith("-"):
        yield from _starting(current, ((word, text) for word, (_, text) in options.items()))
    elif commands:
        shown = ((word, text) for word, (text, is_shown) in commands.items() if is_shown)
        yield from _starting(current, shown)
    elif place < len(arguments) or (arguments and arguments[-1].endswith("*")):
        kind = arguments[min(place, len(arguments) - 1)]
        yield from _values(kind.rstrip("*"), current)


def _walked(before: list[str], grammar: "Grammar") -> tuple[str, int, str | None, bool]:
    """Where these words lead: command, place among its arguments, the kind of value that an option
    waits for, and whether options may still follow."""
    path, place, waiting, is_open = "", 0, None, True
    for word in before:
        options, commands = grammar[path]["options"], grammar[path]["commands"]
        if waiting is not None:
            waiting = None
        elif is_open and word == "--":
            is_open = False
        elif is_open and word.startswith("-") and word != "-":
            waiting = options[word][0] or None if word in options else None
        elif commands:
            inner = f"{path} {word}".strip()
            if inner not in grammar:
                return "?", 0, None, False
            path = inner
        else:
            place += 1
    return path, place, waiting, is_open


def _starting(current: str, offered: Iterator[Candidate]) -> Iterator[Candidate]:
    return ((word, text) for word, text in offered if word.startswith(current))


def _values(kind: str, current: str) -> Iterator[Candidate]:
    if kind == "file":
        return iter([(FILES, "")])
    if kind.startswith("="):
        return _starting(current, ((word, "") for word in kind[1:].split("|")))
    source = _SOURCES.get(kind)
    return iter(()) if source is None else _starting(current, source(current))


# --- what earlier commands left -------------------------------------------------------------------


def _refs(current: str) -> Iterator[Candidate]:
    seen = set()
    for ref, text in _favorites(current):
        seen.add(ref)
        yield ref, text
    prefix, slash, _ = current.partition("/")
    for provider_id, path in _lists():
        if provider_id.startswith(prefix) and (not slash or provider_id == prefix):
            for wire_id in _wire_ids(path):
                ref = f"{provider_id}/{wire_id}"
                if ref not in seen:
                    yield ref, ""


def _filters(current: str) -> Iterator[Candidate]:
    yield from _providers(current)
    yield from _refs(current)


def _providers(current: str) -> Iterator[Candidate]:
    return ((provider_id, "provider") for provider_id, _ in _lists())


def _lists() -> Iterator[tuple[str, str]]:
    folder = f"{_folders()[1]}/models"
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return
    for name in names:
        provider_id, dot, ending = name.rpartition(".")
        if dot and ending == "json" and not name.startswith("."):
            yield provider_id, f"{folder}/{name}"


def _wire_ids(path: str) -> list[str]:
    try:
        if os.stat(path).st_size > _LARGEST_BYTES:  # noqa: PTH116
            return []
        with open(path, "rb") as file:  # noqa: PTH123
            kept = json.load(file)
        if not 0 <= time.time() - kept["read_at"] <= _OLDEST_S:
            return []
        return [model["wire_id"] for model in kept["models"]]
    except (OSError, ValueError, LookupError, TypeError):
        return []  # a damaged list says nothing


def _favorites(current: str) -> Iterator[Candidate]:
    for (value,) in _rows("SELECT value FROM settings WHERE name = 'favorite_models'"):
        try:
            found = json.loads(value)
        except (ValueError, TypeError, RecursionError):
            return  # a damaged list says nothing
        for ref in found if isinstance(found, list) else ():
            if isinstance(ref, str):
                yield ref, "favourite"


def _conversations(current: str) -> Iterator[Candidate]:
    query = f"SELECT id, title FROM conversations ORDER BY updated_at DESC LIMIT {_CONVERSATIONS}"  # noqa: S608
    for row in _rows(query):
        yield row[0], row[1]


def _rows(query: str) -> list[tuple[str, ...]]:
    path = os.path.realpath(f"{_folders()[0]}/state.db")
    if not os.path.exists(path):  # noqa: PTH110
        return []
    import sqlite3
    from contextlib import closing
    from urllib.parse import quote

    try:
        is_logged = os.stat(f"{path}-wal").st_size > 0  # noqa: PTH116
    except OSError:
        is_logged = False
    # Even a reader would leave a log beside the file, and a Tab key should leave nothing.
    how = "mode=ro" if is_logged else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?{how}", uri=True, timeout=0)) as found:
            return found.execute(query).fetchall()
    except sqlite3.Error:
        return []


def _folders() -> tuple[str, str]:
    """The folders of data and cache."""
    found = warm.folders()
    if found is not None:
        return found[1:]
    import platformdirs

    dirs = platformdirs.PlatformDirs("modelbay", appauthor=False)
    data, cache = (os.environ.get(f"XDG_{kind}_HOME") for kind in ("DATA", "CACHE"))
    return (
        f"{data}/modelbay" if data else dirs.user_data_dir,
        f"{cache}/modelbay" if cache else dirs.user_cache_dir,
    )


_SOURCES: dict[str, Callable[[str], Iterator[Candidate]]] = {
    "ref": _refs,
    "filter": _filters,
    "provider": _providers,
    "favorite": _favorites,
    "conversation": _conversations,
}


# --- what the commands take -----------------------------------------------------------------------


def grammar() -> "Grammar":
    """What every command takes, as `modelbay_cli.grammar` worked it out for these sources."""
    stamp = _sources_stamp()
    path = f"{_folders()[1]}/{KEPT}"
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            kept = json.load(file)
        if kept["stamp"] == stamp:
            found: Grammar = kept["grammar"]
            return found
    except (OSError, ValueError, LookupError, TypeError):
        pass  # the first time, or after an upgrade
    from modelbay_cli.grammar import work_out

    made = work_out()
    temporary = f"{path}-{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
        with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump({"stamp": stamp, "grammar": made}, file)
        os.replace(temporary, path)  # noqa: PTH105
    except OSError:
        pass  # it only saves time
    return made


def _sources_stamp() -> str:
    """Changes whenever a command may have changed."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    parts = [VERSION]
    for folder in (here, f"{here}/commands"):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.endswith(".py"):
                status = entry.stat()
                parts.append(f"{entry.path} {status.st_mtime_ns} {status.st_size}")
    return f"{crc32(chr(10).join(parts).encode('utf-8', 'surrogateescape')):08x}"


# --- the shells -----------------------------------------------------------------------------------


def split(line: str) -> tuple[list[str], str, list[int], str]:
    """A command line as bash reads it, which may end in the middle of a word.

    Returns:
        The finished words; the current one, unquoted; the places in it of the characters that were
        neither quoted nor escaped; the quotation mark it stands behind, if that is open.
    """
    words: list[str] = []
    current: list[tuple[str, bool]] = []  # characters, and whether each stood for itself
    quote, is_word, escaped = "", False, False
    for char in line:
        if escaped:
            current.append((char, False))
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = is_word = True
        elif quote:
            if char == quote:
                quote = ""
            else:
                current.append((char, False))
        elif char in "'\"":
            quote, is_word = char, True
        elif char.isspace():
            if is_word:
                words.append("".join(char for char, _ in current))
            current, is_word = [], False
        else:
            current.append((char, True))
            is_word = True
    plain = [index for index, (_, itself) in enumerate(current) if itself]
    return words, "".join(char for char, _ in current), plain, quote


_SAFE = frozenset("_./:=@%+,-")
_QUOTED = frozenset('"\\$`')


def escaped(text: str, quote: str = "") -> str:
    """The text for bash, whatever a server may have called its models; empty if it cannot be said.

    Args:
        quote: The quotation mark it comes behind.
    """
    if quote == "'":
        return "" if "'" in text else text
    if quote and "!" in text:  # history; a backslash would stay there
        return ""
    if quote:
        return "".join(f"\\{char}" if char in _QUOTED else char for char in text)
    return "".join(char if char.isalnum() or char in _SAFE else f"\\{char}" for char in text)


def bash(breaks: str, line: str) -> Iterator[str]:
    """Replacements for what bash takes for the current word.

    It breaks words at characters of ``COMP_WORDBREAKS`` too, ``:`` and ``=`` among them, and
    replaces only what comes after the last of them.

    Args:
        line: The command line up to the cursor.
    """
    words, current, plain, quote = split(line)
    cut = max((index + 1 for index in plain if current[index] in breaks), default=0)
    for word, _ in candidates(words[1:], current, grammar()):
        if word == FILES:
            yield word
        elif word.isprintable() and (said := escaped(word[0 if quote else cut :], quote)):
            yield said


def described(words: list[str]) -> Iterator[str]:
    """Whole words for zsh and fish, which quote them themselves: word, tab, what it is.

    Args:
        words: The program, its words, and the current one, which may be empty.
    """
    for word, text in candidates(words[1:-1], words[-1], grammar()):
        if word == FILES:
            yield word
        elif word.isprintable():
            clean = "".join(char if char.isprintable() else " " for char in text)
            yield f"{word}\t{clean}"


def main(arguments: list[str]) -> None:
    """Print what could come next, a line each."""
    shell, *rest = arguments
    found = bash(*rest) if shell == "bash" else described(rest)
    sys.stdout.write("".join(f"{line}\n" for line in found))


if __name__ == "__main__":
    main(sys.argv[1:])
