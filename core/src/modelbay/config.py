"""`providers.json` and the environment, as data. Pure: the host reads the file."""

import difflib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from modelbay.dsn import kind_of, parse_dsn
from modelbay.errors import ConfigError
from modelbay.models.frozen import JsonObject
from modelbay.models.provider import ProviderConfig

EXAMPLE = '{"providers": [{"id": "desk", "kind": "...", "baseUrl": "http://127.0.0.1:8080"}]}'
TOP_LEVEL = ("$schema", "defaultProvider", "defaultModel", "providers", "wrappers")


@dataclass(frozen=True, slots=True)
class ProvidersFile:
    """The one configuration file, read.

    Attributes:
        where: Its path; ``None`` if there is none, which is normal (S0-70).
        wrappers: Names of the wrappers that are switched on.
    """

    where: str | None = None
    providers: tuple[ProviderConfig, ...] = ()
    default_provider: str | None = None
    default_model: str | None = None
    wrappers: tuple[str, ...] = ()


def parse_providers_file(text: str, where: str) -> ProvidersFile:
    """Read the text of a ``providers.json`` (S0-21, S0-22).

    Raises:
        ConfigError: With the file, a JSON pointer and what was expected.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as exc:
        raise ConfigError(
            f"not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}",
            where=where,
            hint=f"modelbay config path   # then mend line {exc.lineno}",
        ) from exc
    except _DuplicateKeyError as exc:
        raise ConfigError(f"the key '{exc}' stands twice in one object", where=where) from exc
    except (RecursionError, ValueError) as exc:  # nested a thousand deep, a number of 5000 digits
        raise ConfigError(f"not JSON that can be read: {exc}", where=where) from None
    if not isinstance(document, dict):
        raise _expected(where, "", "an object", document, hint=f"for example {EXAMPLE}")
    for key in document:
        if key not in TOP_LEVEL:
            near = difflib.get_close_matches(key, TOP_LEVEL, 1)
            raise ConfigError(
                f"unknown key '{key}'",
                where=where,
                pointer=_pointer((key,)),
                hint=f"did you mean '{near[0]}'?" if near else f"known: {', '.join(TOP_LEVEL)}",
            )
    providers = document.get("providers", [])
    if not isinstance(providers, list):
        raise _expected(where, "/providers", "a list of objects", providers)
    parsed = tuple(_provider(entry, where, index) for index, entry in enumerate(providers))
    seen: dict[str, int] = {}
    for index, provider in enumerate(parsed):
        if provider.id in seen:
            raise ConfigError(
                f"the id '{provider.id}' is taken by /providers/{seen[provider.id]}",
                where=where,
                pointer=f"/providers/{index}/id",
                hint="give every provider an id of its own",
            )
        seen[provider.id] = index
    wrappers = document.get("wrappers", [])
    if not (isinstance(wrappers, list) and all(isinstance(name, str) for name in wrappers)):
        raise _expected(where, "/wrappers", "a list of names", wrappers)
    return ProvidersFile(
        where=where,
        providers=parsed,
        default_provider=_text(document, "defaultProvider", where),
        default_model=_text(document, "defaultModel", where),
        wrappers=tuple(wrappers),
    )


def config_error(exc: ValueError, *, where: str, prefix: tuple[str | int, ...] = ()) -> ConfigError:
    """The first complaint of Pydantic as file, JSON pointer and what was expected.

    The value itself is not repeated: it may be a key.
    """
    if not isinstance(exc, ValidationError):
        return ConfigError(str(exc), where=where)
    first = exc.errors(include_input=False, include_url=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "this key is not known here"
    return ConfigError(message, where=where, pointer=_pointer((*prefix, *first["loc"])))


def _provider(entry: object, where: str, index: int) -> ProviderConfig:
    pointer = f"/providers/{index}"
    if isinstance(entry, str) and kind_of(entry) is not None:
        return parse_dsn(entry, where=where, pointer=pointer)
    if not isinstance(entry, dict):
        raise _expected(where, pointer, "an object with id, kind and baseUrl", entry)
    for key in ("source", "implicit"):
        if key in entry:
            raise ConfigError(f"'{key}' cannot be set", where=where, pointer=f"{pointer}/{key}")
    snake = [key for key in entry if "_" in key]
    if snake:
        camel = re.sub(r"_(\w)", lambda found: found[1].upper(), snake[0])
        raise ConfigError(
            f"unknown key '{snake[0]}'",
            where=where,
            pointer=_pointer(("providers", index, snake[0])),
            hint=f"names are camelCase here: '{camel}'",
        )
    address = entry.get("baseUrl")
    try:
        kind = kind_of(address) if isinstance(address, str) else None
        if kind is not None and entry.get("kind", kind) == kind:
            given = parse_dsn(str(address), where=where, pointer=f"{pointer}/baseUrl")
            return _with_dsn(entry, kind, given)
        return ProviderConfig.model_validate(entry)
    except ValidationError as exc:
        raise config_error(exc, where=where, prefix=("providers", index)) from exc


def _with_dsn(entry: JsonObject, kind: str, given: ProviderConfig) -> ProviderConfig:
    """An entry whose ``baseUrl`` is a DSN: the entry's own keys win."""
    plain = {"id": given.id, "kind": kind, **entry, "baseUrl": given.base_url}
    config = ProviderConfig.model_validate(plain)
    dsn = given.model_copy(update={name: getattr(config, name) for name in config.model_fields_set})
    return dsn if config.api_key is not None else dsn.model_copy(update={"api_key": given.api_key})


def _text(document: JsonObject, key: str, where: str) -> str | None:
    value = document.get(key)
    if value is None or isinstance(value, str):
        return value or None
    raise _expected(where, f"/{key}", "a string", value)


def _expected(
    where: str, pointer: str, wanted: str, got: object, hint: str | None = None
) -> ConfigError:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    found = "null" if got is None else names.get(type(got), "a number")
    return ConfigError(f"expected {wanted}, got {found}", where=where, pointer=pointer, hint=hint)


def _pointer(path: tuple[str | int, ...]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


class _DuplicateKeyError(Exception):
    pass


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateKeyError(next(name for name in names if names.count(name) > 1))
    return found


# --- where things lie -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Locations:
    """Every place on disk, and what decided it: a variable's name, or ``default``."""

    providers_file: Path
    providers_file_from: str
    data: Path
    data_from: str
    cache: Path
    cache_from: str


def locations(env: Mapping[str, str]) -> Locations:
    """Where the file, the data and the cache lie.

    ``LLAMA_PROVIDERS_PATH`` names the file itself; ``MODELBAY_HOME`` holds all three; ``XDG_*`` is
    honoured on every system; else the platform's own folders.
    """
    (config, config_from), (data, data_from), (cache, cache_from) = (
        _decide(env, kind) for kind in ("config", "data", "cache")
    )
    file = config / "providers.json"
    named = env.get("LLAMA_PROVIDERS_PATH")
    if named:
        file, config_from = Path(named).expanduser(), "LLAMA_PROVIDERS_PATH"
    return Locations(file, config_from, data, data_from, cache, cache_from)


def _decide(env: Mapping[str, str], kind: str) -> tuple[Path, str]:
    """A folder, and what decided it."""
    home, xdg = env.get("MODELBAY_HOME"), env.get(f"XDG_{kind.upper()}_HOME")
    if home:
        folder = Path(home).expanduser()
        return (folder if kind == "config" else folder / kind), "MODELBAY_HOME"
    if xdg:
        return Path(xdg) / "modelbay", f"XDG_{kind.upper()}_HOME"
    return _platform_folder(kind), "default"


def _platform_folder(kind: str) -> Path:
    import platformdirs

    dirs = platformdirs.PlatformDirs("modelbay", appauthor=False)
    return {
        "config": dirs.user_config_path,
        "data": dirs.user_data_path,
        "cache": dirs.user_cache_path,
    }[kind]


def unreadable(path: Path, exc: OSError) -> NoReturn:
    """The error for a file that is there and cannot be read."""
    raise ConfigError(
        f"cannot be read: {os.strerror(exc.errno or 0)}",
        where=str(path),
        hint=f"check the permissions of {path}",
    ) from exc
