"""Which model a request names, and what is changed in its body on the way."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

from modelbay.testing.simulator import Request
from modelbay_llamaswap.simulator.dialect import Release
from modelbay_llamaswap.simulator.forms import FormError, build_form, parse_form

_SPACE = re.compile(r"[ \t\r\n]*")
_JSON = json.JSONDecoder()


def model_of(release: Release, request: Request) -> str:
    """The model a request names; "" when none can be read.

    Since v218 the content type decides how a body is read: without ``application/json`` it is a
    form. Before, it did not matter.
    """
    kind = request.headers.get("content-type", "").lower()
    if request.method not in ("POST", "PUT", "PATCH"):
        return request.query.get("model", "")
    if kind.startswith("multipart/form-data"):
        try:
            parts = parse_form(request.body, request.headers["content-type"])
        except FormError:
            return ""
        return next((part.text for part in parts if part.name == "model"), "")
    if "application/json" in kind or not release.rewritten:
        return read_model(request.body)
    if not kind.startswith("application/x-www-form-urlencoded"):
        return ""
    return dict(parse_qsl(request.body.decode("utf-8", "replace"))).get("model", "")


def read_model(body: bytes) -> str:
    """`model` of a JSON object, which may be broken after it. A number is taken as its text."""
    text = body.decode("utf-8", "replace")
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        return ""
    at += 1
    try:
        while True:
            key, at = _JSON.raw_decode(text, _skip(text, at))
            at = _skip(text, at)
            if text[at : at + 1] != ":":
                return ""
            begin = _skip(text, at + 1)
            value, at = _JSON.raw_decode(text, begin)
            if key == "model":
                return _as_text(value, text[begin:at])
            at = _skip(text, at)
            if text[at : at + 1] != ",":
                return ""
            at += 1
    except (ValueError, IndexError, RecursionError):
        return ""


def _as_text(value: object, raw: str) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else raw


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def rewritten(
    request: Request,
    wire_name: str,
    strip: Sequence[str] = (),
    new_values: Mapping[str, object] | None = None,
) -> Request:
    """The request with another model name, and JSON with fields taken out and put in.

    JSON that is broken, and bodies where nothing changes, stay as they are, byte for byte.
    """
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith("multipart/form-data"):
        return _rewritten_form(request, wire_name)
    if "application/json" not in kind and not request.body.lstrip().startswith(b"{"):
        return request
    try:
        value: object = json.loads(request.body)
    except ValueError:
        return request
    if not isinstance(value, dict):
        return request
    before = json.dumps(value)
    value["model"] = wire_name
    for path in strip:
        if path != "model":
            drop(value, path.split("."))
    for path, new in (new_values or {}).items():
        if path != "model":
            put(value, path.split("."), new)
    if json.dumps(value) == before:
        return request
    return _with_body(request, json.dumps(value, ensure_ascii=False).encode())


def _rewritten_form(request: Request, wire_name: str) -> Request:
    try:
        parts = parse_form(request.body, request.headers["content-type"])
    except FormError:
        return request
    if all(part.text == wire_name for part in parts if part.name == "model"):
        return request
    data = wire_name.encode()
    body, kind = build_form(
        [replace(part, data=data) if part.name == "model" else part for part in parts]
    )
    return _with_body(request, body, kind)


def _with_body(request: Request, body: bytes, kind: str | None = None) -> Request:
    headers = {**request.headers, "content-length": str(len(body))}
    headers |= {} if kind is None else {"content-type": kind}
    return replace(request, body=body, headers=headers)


def drop(value: object, path: Sequence[str]) -> None:
    """Take out what stands at a path; numbers are places in lists."""
    *above, last = path
    for name in above:
        value = _within(value, name)
    if isinstance(value, dict):
        value.pop(last, None)
    elif isinstance(value, list) and last.isdigit() and int(last) < len(value):
        del value[int(last)]


def put(value: object, path: Sequence[str], new: object) -> None:
    """Set what stands at a path; objects on the way are made."""
    *above, last = path
    for name in above:
        if isinstance(value, dict):
            value.setdefault(name, {})
        value = _within(value, name)
    if isinstance(value, dict):
        value[last] = new
    elif isinstance(value, list) and last.isdigit() and int(last) < len(value):
        value[int(last)] = new


def _within(value: object, name: str) -> object:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list) and name.isdigit() and int(name) < len(value):
        return value[int(name)]
    return None
