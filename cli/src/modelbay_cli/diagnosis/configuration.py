"""What is wrong with the configuration: the file's text first, then what it names."""

import difflib
import json
import os
import re
import shlex
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from modelbay import ModelbayError, ProviderConfig
from modelbay.config_check import examine
from modelbay.config_edit import provider_ids
from modelbay.dsn import kind_of
from modelbay.errors import BackendError, ConfigError
from modelbay_cli import providers_file
from modelbay_cli.diagnosis.finding import Finding
from modelbay_cli.output import shown_url

SUBJECT = "configuration"

# By what the reader of the file says; the first that fits counts.
_BY_WORDS = (
    (r"cannot be read: ", "file_unreadable"),
    (r"not JSON|not UTF-8|expected an object, got (?!.*#/)", "file_malformed"),
    (r"stands twice", "duplicate_key"),
    (r"unknown key|is not known here", "unknown_key"),
    (r"Field required", "missing_key"),
    (r"is taken by /providers", "duplicate_id"),
    (r"starts with http://", "scheme_missing"),
    (r"this is no KIND://", "dsn_malformed"),
    (r"is none of the providers", "default_provider_unknown"),
)


@dataclass(frozen=True, slots=True)
class FileLook:
    """What the file says and what is wrong with it.

    Attributes:
        text: ``None`` if it is not there or cannot be read.
        providers: Those that can be used.
    """

    path: Path
    text: str | None
    providers: tuple[ProviderConfig, ...]
    findings: tuple[Finding, ...]

    def top(self, key: str) -> str | None:
        """A text at the top of the file, if the file can be read that far."""
        try:
            document = json.loads(self.text or "{}")
        except (ValueError, RecursionError):
            return None
        value = document.get(key) if isinstance(document, dict) else None
        return value if isinstance(value, str) and value else None


def look_at_file(path: Path) -> FileLook:
    """Every problem of the file, and the providers that are left without it."""
    try:
        there = path.exists() or path.is_symlink()
        text = providers_file.read(path) if there else None
    except OSError as exc:
        problem = ConfigError(f"cannot be read: {os.strerror(exc.errno or 0)}", where=str(path))
        return FileLook(path, None, (), (finding_of(problem, path, None),))
    except ConfigError as exc:
        return FileLook(path, None, (), (finding_of(exc, path, None),))
    if text is None:
        return FileLook(path, None, (), ())
    providers, problems = examine(text, str(path))
    found = [finding_of(problem, path, text) for problem in problems]
    found += _exposed(path, text)
    return FileLook(path, text, tuple(providers), tuple(found))


def finding_of(exc: ConfigError, path: Path, text: str | None) -> Finding:
    """A problem of the file as a diagnosis with something to type."""
    code = next((code for words, code in _BY_WORDS if re.search(words, exc.message)), "wrong_value")
    if code == "file_unreadable":
        kind = "mv" if path.is_dir() else "chmod u+r"
        more = f" {_quoted(path)}.old" if kind == "mv" else ""
        return Finding.of("error", code, SUBJECT, exc, f"{kind} {_quoted(path)}{more}")
    return Finding.of("error", code, SUBJECT, exc, _fix(code, exc, text))


def _fix(code: str, exc: ConfigError, text: str | None) -> str:
    pointer = exc.pointer or ""
    hint = f": {exc.hint}" if exc.hint and not exc.hint.startswith("modelbay ") else ""
    edit = f"modelbay config edit   # {pointer or 'the file'}{hint}"
    steps = pointer.split("/")[1:]
    if code == "unknown_key" and len(steps) == 1 and "did you mean" not in hint:
        return f"modelbay config unset {shlex.quote(steps[0])}"
    if len(steps) != 3 or text is None:
        return edit
    index, key = int(steps[1]), steps[2]
    owner = _owner(text, index)
    if owner is None:
        return edit
    if code == "scheme_missing" and key == "baseUrl":
        address = _with_scheme(text, index)
        return f"modelbay providers set {owner} baseUrl {address}" if address else edit
    if code == "unknown_key":
        return f"modelbay providers unset {owner} {shlex.quote(key)}   # {(exc.hint or '')}"
    if code == "wrong_value" and key not in ("id", "kind"):
        return f"modelbay providers unset {owner} {shlex.quote(key)}   # or set it to what is asked"
    return edit


def _owner(text: str, index: int) -> str | None:
    """The id by which `modelbay providers set` finds this entry."""
    try:
        ids = provider_ids(text, "")
    except ConfigError:
        return None
    name = ids[index] if index < len(ids) else None
    return shlex.quote(name) if name is not None and ids.index(name) == index else None


def _with_scheme(text: str, index: int) -> str:
    """The address as one of http, in place of what scheme it has; empty if it names no host."""
    address = str(json.loads(text)["providers"][index].get("baseUrl", ""))
    # All of the userinfo goes: a '/' or '#' in it would end the host there.
    place = re.sub(r"^([A-Za-z][\w+.-]*:)?/*", "", address) if "//" in address else address
    found = shown_url(f"http://{place.rpartition('@')[2]}")
    return shlex.quote(found) if urlsplit(found).hostname else ""


def _exposed(path: Path, text: str) -> Iterator[Finding]:
    if os.name != "posix" or not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return
    if _holds_a_key(text):
        yield Finding(
            "warning",
            "file_exposed",
            SUBJECT,
            f"{path} holds a key, and others on this machine may read it",
            f"chmod 600 {_quoted(path)}",
        )


def _holds_a_key(text: str) -> bool:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    entries = document.get("providers") if isinstance(document, dict) else None
    return any(_has_key(entry) for entry in entries) if isinstance(entries, list) else False


def _has_key(entry: object) -> bool:
    if isinstance(entry, dict):
        return bool(entry.get("apiKey") or entry.get("headers")) or _has_key(entry.get("baseUrl"))
    if not isinstance(entry, str):
        return False
    try:
        return urlsplit(entry).username is not None or urlsplit(entry).password is not None
    except ValueError:
        return kind_of(entry) is not None and "@" in entry


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


# --- what it names --------------------------------------------------------------------------------


def default_provider(file: FileLook, ids: Sequence[str]) -> Iterator[Finding]:
    """Whether ``defaultProvider`` names one of them."""
    wanted = file.top("defaultProvider")
    if wanted is None or wanted in ids:
        return
    near = difflib.get_close_matches(wanted, ids, 1)
    yield Finding(
        "error",
        "default_provider_unknown",
        SUBJECT,
        f"defaultProvider is '{wanted}', and that is none of the providers"
        f" ({', '.join(ids) or 'none'})",
        f"modelbay config set defaultProvider {shlex.quote(near[0])}"
        if near
        else "modelbay config unset defaultProvider",
    )


def provider_of_default_model(file: FileLook, ids: Sequence[str]) -> Iterator[Finding]:
    """Whether anybody can have ``defaultModel``; whether he does, only a server can say."""
    wanted = file.top("defaultModel")
    if wanted is None:
        return
    prefix, slash, name = wanted.partition("/")
    if ids and (not slash or prefix in ids):
        return
    near = difflib.get_close_matches(prefix, ids, 1)
    yield Finding(
        "warning" if ids else "error",
        "default_model_unknown",
        "default model",
        f"defaultModel is '{wanted}', and there is no provider '{prefix}' ({', '.join(ids)});"
        " it is looked for at the default provider"
        if ids
        else f"defaultModel is '{wanted}', and there is no provider",
        f"modelbay default {shlex.quote(f'{near[0]}/{name}')}"
        if near
        else "modelbay default --unset",
    )


def default_model(
    exc: ModelbayError, named: str | None, variable: bool, ids: Sequence[str]
) -> Finding:
    """Why no model answers where none is named.

    Args:
        named: The model somebody chose.
        variable: He chose it with ``DEFAULT_MODEL``.
        ids: The models there are.
    """
    subject = "default model"
    if named is None:
        return Finding.of("warning", "no_model", subject, exc, "modelbay providers add")
    near = difflib.get_close_matches(named, ids, 1, 0.5)
    ref = shlex.quote(near[0]) if near else None
    if variable:
        fix = f"export DEFAULT_MODEL={ref}" if ref else "unset DEFAULT_MODEL"
    else:
        fix = f"modelbay default {ref}" if ref else "modelbay default --unset"
    if isinstance(exc, BackendError):
        return Finding.of("warning", "default_model_unreachable", subject, exc, fix)
    return Finding.of("error", "default_model_unknown", subject, exc, fix)
