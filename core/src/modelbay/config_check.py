"""Everything that is wrong with a ``providers.json``, not only the first thing. Pure."""

import json
import re
from typing import cast

from modelbay.config import parse_providers_file
from modelbay.errors import ConfigError
from modelbay.models.frozen import JsonObject
from modelbay.models.provider import ProviderConfig

_MOST = 20  # of one entry; whoever has more mends those first


def load(text: str, where: str) -> JsonObject:
    """The document, if it is a JSON object in which no key stands twice.

    Raises:
        ConfigError: It is not, with what the reader of the file says.
    """
    try:
        parse_providers_file(text, where)
    except ConfigError as exc:
        if exc.pointer is None or exc.pointer == "":
            raise
    return cast("JsonObject", json.loads(text))


def problems(text: str, where: str) -> list[ConfigError]:
    """Every problem, in the order of the file; empty for a good one."""
    return examine(text, where)[1]


def examine(text: str, where: str) -> tuple[list[ProviderConfig], list[ConfigError]]:
    """The providers that can be read, and every problem of the file.

    Of two providers with one id the first is kept.
    """
    try:
        document = load(text, where)
    except ConfigError as exc:
        return [], [exc]
    found: list[ConfigError] = []
    kept: list[ProviderConfig] = []
    entries: object = []
    for key, value in document.items():
        if key == "providers" and isinstance(value, list):
            entries = value
            continue
        problem = _problem({key: value}, where)
        if problem is not None:
            found.append(problem)
    seen: dict[str, int] = {}
    for index, entry in enumerate(cast("list[object]", entries)):
        wrong, config = _of_entry(entry, where, index)
        found += wrong
        if config is None:
            continue
        if config.id in seen:
            found.append(
                ConfigError(
                    f"the id '{config.id}' is taken by /providers/{seen[config.id]}",
                    where=where,
                    pointer=f"/providers/{index}/id",
                    hint="give every provider an id of its own",
                )
            )
            continue
        seen[config.id] = index
        kept.append(config)
    return kept, found


def _of_entry(
    entry: object, where: str, index: int
) -> tuple[list[ConfigError], ProviderConfig | None]:
    """What is wrong with one provider: each wrong key is mended in thought to see the next."""
    found: list[ConfigError] = []
    for _ in range(_MOST):
        try:
            (config,) = parse_providers_file(json.dumps({"providers": [entry]}), where).providers
        except ConfigError as exc:
            found.append(_moved(exc, where, index))
            mended = _mended(entry, exc.pointer or "")
            if mended is None or mended == entry:
                return found, None
            entry = mended
            continue
        if "://" in config.kind:
            found.append(_dsn_as_kind(where, index))
        return found, None if found else config
    return found, None


def _dsn_as_kind(where: str, index: int) -> ConfigError:
    return ConfigError(
        "a kind is a name alone, and this is a whole address",
        where=where,
        pointer=f"/providers/{index}/kind",
        hint="write it as baseUrl and leave kind out",
    )


def _mended(entry: object, pointer: str) -> object | None:
    """The entry without what the pointer names; ``None`` if that cannot be taken out."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[3:]]
    if not steps or not isinstance(entry, dict):
        return None
    copy = json.loads(json.dumps(entry))
    holder = copy
    for step in steps[:-1]:
        holder = holder.get(step) if isinstance(holder, dict) else None
    if not isinstance(holder, dict):
        return None
    if steps[-1] in holder and steps[-1] not in ("id", "kind"):
        del holder[steps[-1]]
    elif holder.get(steps[-1]) != "x":
        holder[steps[-1]] = "x"  # a key that must be there
    else:
        return None
    return cast("object", copy)


def _moved(exc: ConfigError, where: str, index: int) -> ConfigError:
    """The problem of an only entry as that of entry ``index``."""
    pointer = re.sub(r"^/providers/0", f"/providers/{index}", exc.pointer or "")
    place = f"{where}#{exc.pointer}: "
    return ConfigError(exc.message.removeprefix(place), where=where, pointer=pointer, hint=exc.hint)


def _problem(document: JsonObject, where: str) -> ConfigError | None:
    try:
        parse_providers_file(json.dumps(document), where)
    except ConfigError as exc:
        return exc
    return None
