"""The caller's own fields of a request, `extra`: checked, and put where the server looks. Pure.

A wrong type is answered in the words of a parser, if at all, and a field the server does not know
is passed over without a word.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from pydantic import JsonValue

from modelbay.errors import InvalidRequestError, UnsupportedFeatureError
from modelbay.models.events import Notice
from modelbay.models.frozen import JsonObject
from modelbay_ollama.options import (
    OPTIONS,
    REMOVED,
    RENAMED,
    is_load_time,
    option,
    request_keep_alive,
)

FieldType: TypeAlias = Literal["true or false", "text", "a list", "a whole number from 0 to 20"]

# Fields of the native API beside the options, by what they take. No others are sent: the server
# passes over what it does not know, and reads names without regard to case, so that ``Model`` would
# name another model.
_FIELDS: Mapping[str, FieldType] = {
    **dict.fromkeys(
        ("truncate", "shift", "stream", "raw", "logprobs", "_debug_render_only"), "true or false"
    ),
    **dict.fromkeys(("system", "template", "suffix"), "text"),
    **dict.fromkeys(("context", "images", "tools"), "a list"),
    "top_logprobs": "a whole number from 0 to 20",
}
_REQUEST = frozenset({"model", "name", "messages", "prompt", "input"})
_THINK = ("low", "medium", "high", "max")


def take_extra(
    extra: Mapping[str, object],
    chosen: JsonObject,
    body: JsonObject,
    notices: list[Notice],
    *,
    thinks: bool,
    fixed: Mapping[str, object],
) -> None:
    """Put options among the options, ``chosen``, and the rest into the body.

    Args:
        thinks: The model is known to think; to others ``think`` is not sent (trap 11).
        fixed: The load-time options that go with every request to the model.

    Raises:
        InvalidRequestError: A field is of the wrong type, or is the request's own.
        UnsupportedFeatureError: More than one answer is asked for.
    """
    given = dict(extra)
    inner = given.pop("options", None)
    if inner is not None and not isinstance(inner, dict):
        raise InvalidRequestError(
            f"options must be an object, not {type(inner).__name__}",
            hint='for example {"options": {"num_ctx": 8192}}',
            stage="encode",
        )
    for name, value in {**(inner or {}), **given}.items():
        name = RENAMED.get(name, name)
        if value is None:
            continue
        if name == "n":
            if value != 1:
                raise UnsupportedFeatureError(
                    "one request gives one answer; n cannot be set with Ollama",
                    hint="send the request n times",
                    stage="encode",
                )
        elif name == "keep_alive" and name in given:
            body["keep_alive"] = request_keep_alive(value)
        elif name == "keep_alive":
            notices.append(dropped(name, "it is no option; Ollama reads it beside them"))
        elif name in _REQUEST:
            raise InvalidRequestError(
                f"{name} is a field of the request itself",
                hint=f"set it there, and take {name} out of extra",
                stage="encode",
            )
        elif name in REMOVED:
            notices.append(dropped(name, "Ollama no longer has this option"))
        elif name == "think" and not thinks:
            notices.append(dropped(name, "this model is not known to think"))
        elif name in OPTIONS or (inner is not None and name in inner):
            chosen[name] = option(name, value)
            if name not in OPTIONS:
                notices.append(
                    Notice("unknown_field", f"{name} is not known to be an option of Ollama's")
                )
            if is_load_time(name) and chosen[name] != fixed.get(name):
                notices.append(_reloads(name))
        elif name not in _FIELDS and name not in ("think", "format"):
            notices.append(dropped(name, "Ollama does not know it"))
        else:
            body[name] = _field(name, value)
            if name == "shift":
                notices.append(_reloads(name))


def dropped(name: str, why: str) -> Notice:
    return Notice("dropped_field", f"{name} was left out: {why}")


def _reloads(name: str) -> Notice:
    return Notice(
        "reload",
        f"{name} is fixed when a model is loaded; each time it changes the server loads the model"
        " anew",
    )


def _field(name: str, value: object) -> JsonValue:
    if name == "think":
        if not isinstance(value, bool) and value not in _THINK:
            raise _wrong(name, f"true, false, or one of {', '.join(_THINK)}")
    elif name == "format":
        if value not in ("", "json") and not isinstance(value, dict):
            raise _wrong(name, '"json" or a JSON Schema')
    elif name in _FIELDS and not _is(value, _FIELDS[name]):
        raise _wrong(name, _FIELDS[name])
    return option(name, value)


def _is(value: object, wanted: FieldType) -> bool:
    match wanted:
        case "true or false":
            return isinstance(value, bool)
        case "text":
            return isinstance(value, str)
        case "a list":
            return isinstance(value, list)
        case _:
            return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 20


def _wrong(name: str, wanted: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{name} must be {wanted}", hint=f"give {name} as {wanted}", stage="encode"
    )
