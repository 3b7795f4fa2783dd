"""Changes to the text of ``providers.json`` that leave all else in it as it stands. Pure.

A file people write by hand has an order, an indentation and keys of its own, so nothing is decoded
and written anew: the edit finds the place in the text and changes that place alone.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from modelbay.config_check import load, problems
from modelbay.dsn import kind_of, parse_dsn
from modelbay.errors import ConfigError, UnknownProviderError
from modelbay.models.frozen import JsonObject

TEMPLATE = '{\n  "providers": []\n}\n'

_BLANK = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r"[^\s,\]}]+")  # a number, true, false, null


def add_provider(text: str, entry: JsonObject | str, where: str) -> str:
    """The text with one more provider at the end: an object, or a DSN.

    Raises:
        ConfigError: The file is malformed, or would be afterwards.
    """

    def edit(top: "_Node") -> str:
        providers = top.member("providers")
        if providers is None:
            return _with_member(text, top, "providers", [entry])
        return _with_child(text, providers, entry, None)

    return _checked(text, where, edit)


def remove_provider(text: str, provider_id: str, where: str) -> tuple[str, tuple[str, ...]]:
    """The text without this provider, and which defaults named it and went with it.

    Raises:
        UnknownProviderError: The file has none of that name.
        ConfigError: The file is malformed.
    """
    dropped: list[str] = []

    def edit(top: "_Node") -> str:
        providers = top.member("providers")
        assert providers is not None  # else the index would not have been found
        index = _index(text, provider_id, where)
        changed = _without(text, providers, providers.children[index].value)
        document = json.loads(text)
        for key in ("defaultProvider", "defaultModel"):
            named = document.get(key)
            if named == provider_id if key == "defaultProvider" else _is_of(named, provider_id):
                # A default that names nobody would keep the whole file from being used.
                top_now = _scan(changed)
                held = top_now.member(key)
                assert held is not None  # it has just been read from there
                changed = _without(changed, top_now, held)
                dropped.append(key)
        return changed

    return _checked(text, where, edit), tuple(dropped)


def set_value(
    text: str, key: str, value: object, where: str, *, provider_id: str | None = None
) -> str:
    """The text with a value set: at the top, or in one provider; ``None`` removes the key.

    Raises:
        UnknownProviderError: The file has no such provider.
        ConfigError: The file is malformed, or would be afterwards; or the default provider would
            be none any more, with which the whole file could not be used.
    """

    def edit(top: "_Node") -> str:
        is_gone = value != provider_id if key == "id" else key == "enabled" and value is False
        default = None if provider_id is None else json.loads(text).get("defaultProvider")
        if is_gone and default is not None and default == provider_id:
            raise ConfigError(
                f"'{provider_id}' is the default provider, and would be none any more",
                where=where,
                pointer="/defaultProvider",
                hint="modelbay config unset defaultProvider",
            )
        node, inner = (top, "") if provider_id is None else _entry(text, top, provider_id, where)
        if inner:  # a provider in one line: it becomes an object that holds the line
            config = parse_dsn(inner, where=where)
            whole: JsonObject = {"id": config.id, "kind": config.kind, "baseUrl": inner}
            column = node.column if "\n" in text else None
            return edit_inside(text[: node.start] + _spelt(whole, text, column) + text[node.end :])
        return edit_inside(text)

    def edit_inside(text: str) -> str:
        top = _scan(text)
        node = top if provider_id is None else _entry(text, top, provider_id, where)[0]
        held = node.member(key)
        if key == "baseUrl" and held is not None:
            token = _token(json.loads(text[held.start : held.end]), value)
            if token and node.member("apiKey") is None:
                text = _with_member(text, node, "apiKey", token)
        if value is None:
            return text if held is None else _without(text, node, held)
        if held is None:
            return _with_member(text, node, key, value)
        return text[: held.start] + _spelt(value, text, held.column) + text[held.end :]

    return _checked(text, where, edit)


def _is_of(model: object, provider_id: str) -> bool:
    return isinstance(model, str) and model.startswith(f"{provider_id}/")


def _checked(text: str, where: str, edit: "Callable[[_Node], str]") -> str:
    """The edited text, if the edit makes nothing wrong that was right before.

    What is no JSON is never touched. What is JSON and wrong elsewhere may be mended step by step.
    """
    before = {_essence(problem) for problem in problems(text, where)}
    load(text, where)
    changed = edit(_scan(text))
    for problem in problems(changed, where):
        if _essence(problem) not in before:
            raise problem
    return changed


def _essence(problem: ConfigError) -> str:
    """A problem without the position that an edit before it would change."""
    return re.sub(r"/providers/\d+", "/providers", problem.message)


# --- providers ------------------------------------------------------------------------------------


def provider_ids(text: str, where: str) -> tuple[str | None, ...]:
    """The id of every entry, in order; ``None`` for an entry without one.

    Raises:
        ConfigError: The text is no JSON object.
    """
    providers = load(text, where).get("providers", [])
    if not isinstance(providers, list):
        return ()
    return tuple(_id_of(entry) for entry in providers)


def _id_of(entry: object) -> str | None:
    held = entry.get("id") if isinstance(entry, dict) else None
    if isinstance(held, str):
        return held
    line = entry.get("baseUrl") if isinstance(entry, dict) else entry
    if not isinstance(line, str) or kind_of(line) is None:
        return None
    try:
        return parse_dsn(line, where="").id
    except ConfigError:
        return None


def _index(text: str, provider_id: str, where: str) -> int:
    ids = provider_ids(text, where)
    if provider_id not in ids:
        known = ", ".join(one for one in ids if one) or "none"
        raise UnknownProviderError(
            f"{where} has no provider '{provider_id}' (it has: {known})",
            hint="modelbay providers list",
        )
    return ids.index(provider_id)


def _entry(text: str, top: "_Node", provider_id: str, where: str) -> tuple["_Node", str]:
    """A provider's place, and its DSN if it is one."""
    providers = top.member("providers")
    index = _index(text, provider_id, where)
    assert providers is not None  # it has this index
    node = providers.children[index].value
    held = json.loads(text[node.start : node.end])
    return node, held if isinstance(held, str) else ""


def _token(line: object, value: object) -> str:
    """The key that a DSN holds and the address that replaces it does not."""
    if not isinstance(line, str) or kind_of(line) is None:
        return ""
    if isinstance(value, str) and kind_of(value) is not None:
        return ""
    key = parse_dsn(line, where="").api_key
    return "" if key is None else key.get_secret_value()


# --- places in the text ---------------------------------------------------------------------------


@dataclass(slots=True)
class _Node:
    """A value's place in the text.

    Attributes:
        column: The indentation of the line it begins in.
        children: Of a list or an object.
    """

    start: int
    column: str
    end: int = 0
    children: "list[_Child]" = field(default_factory=list)

    def member(self, key: str) -> "_Node | None":
        return next((child.value for child in self.children if child.key == key), None)


@dataclass(slots=True)
class _Child:
    """A member of an object, or an item of a list with ``None`` as its key."""

    start: int
    key: str | None
    value: _Node


def _scan(text: str) -> _Node:
    """The places of everything in a text that is known to be JSON."""
    node, _ = _value(text, _skip(text, 0))
    return node


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None  # it matches nothing too
    return found.end()


def _value(text: str, at: int) -> tuple[_Node, int]:
    node = _Node(at, _indentation(text, at))
    if text[at] == '"':
        node.end = _string_end(text, at)
    elif text[at] in "{[":
        node.end = _container(text, node)
    else:
        found = _PLAIN.match(text, at)
        assert found is not None  # the text is JSON
        node.end = found.end()
    return node, node.end


def _container(text: str, node: _Node) -> int:
    closing = "}" if text[node.start] == "{" else "]"
    at = _skip(text, node.start + 1)
    while text[at] != closing:
        start, key = at, None
        if closing == "}":
            end = _string_end(text, at)
            key = json.loads(text[at:end])
            at = _skip(text, _skip(text, end) + 1)  # past the colon
        value, at = _value(text, at)
        node.children.append(_Child(start, key, value))
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return at + 1


def _string_end(text: str, at: int) -> int:
    at += 1
    while text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at + 1


def _indentation(text: str, at: int) -> str:
    line = text.rfind("\n", 0, at) + 1
    found = re.match(r"[ \t]*", text[line:at])
    return found[0] if found else ""


# --- changes --------------------------------------------------------------------------------------


def _with_member(text: str, node: _Node, key: str, value: object) -> str:
    return _with_child(text, node, value, key)


def _with_child(text: str, node: _Node, value: object, key: str | None) -> str:
    """One more member or item, at the end, laid out as its neighbours are."""
    newline, step = _layout(text)
    name = "" if key is None else f"{json.dumps(key, ensure_ascii=False)}: "
    if not node.children:
        inside = node.column + step
        spelt = f"{newline}{inside}{name}{_spelt(value, text, inside)}{newline}{node.column}"
        return f"{text[: node.start + 1]}{spelt}{text[node.end - 1 :]}"
    last = node.children[-1]
    gap = text[_gap_start(text, node, len(node.children) - 1) : last.start]
    if len(node.children) == 1 and "\n" not in gap:
        gap = gap or " "  # `[1]` has no gap before its only item
    in_a_line = "\n" not in gap or (key is None and _is_one_line(text, last.value))
    spelt = _spelt(value, text, None if in_a_line else last.value.column)
    return f"{text[: last.value.end]},{gap}{name}{spelt}{text[last.value.end :]}"


def _without(text: str, node: _Node, gone: _Node) -> str:
    """One member or item less, with the comma and the blanks that belonged to it."""
    place = next(i for i, child in enumerate(node.children) if child.value is gone)
    if len(node.children) == 1:
        return text[: node.start + 1] + text[node.end - 1 :]
    if place == 0:
        return text[: node.children[0].start] + text[node.children[1].start :]
    return text[: node.children[place - 1].value.end] + text[gone.end :]


def _gap_start(text: str, node: _Node, place: int) -> int:
    """Where the blanks before a child begin."""
    if place == 0:
        return node.start + 1
    return text.index(",", node.children[place - 1].value.end) + 1


def _is_one_line(text: str, node: _Node) -> bool:
    return text[node.start] == "{" and "\n" not in text[node.start : node.end]


def _layout(text: str) -> tuple[str, str]:
    """The file's line end, and one step of its indentation."""
    newline = "\r\n" if "\r\n" in text else "\n"
    step = next(_steps(text), "  ")
    return newline, step


def _steps(text: str) -> Iterator[str]:
    for line in text.splitlines():
        found = re.match(r"([ \t]+)\S", line)
        if found:
            yield found[1]


def _spelt(value: object, text: str, column: str | None) -> str:
    """A value as JSON: in one line where its neighbours are, else indented as the file is."""
    if column is None or not isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    newline, step = _layout(text)
    lines = json.dumps(value, ensure_ascii=False, indent=step).split("\n")
    return f"{newline}{column}".join(lines)
