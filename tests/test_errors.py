"""Mirrors modelbay/errors.py."""

import pickle
import re
from pathlib import Path

import pytest

from modelbay import errors
from modelbay.errors import (
    CODES,
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    ConfigError,
    ModelbayError,
    ProtocolError,
    StreamInterruptedError,
    UnknownModelError,
    WrongServerError,
    exit_code,
    from_code,
    http_status,
)


def everything(root: type[ModelbayError] = ModelbayError) -> list[type[ModelbayError]]:
    # Plugins may refine an error; the tree is the core's.
    children = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    return [root, *(each for child in children for each in everything(child))]


def made(kind: type[ModelbayError]) -> ModelbayError:
    if kind is WrongServerError:
        return WrongServerError("it happened", found="something else")
    return kind("it happened")


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    assert errors.__doc__ is not None
    drawn = []
    above: list[str] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"([│├└─ ]*)(\w+Error)\b", line)
        if found:
            above[len(found[1]) // 4 :] = [found[2]]
            drawn.append(tuple(above[-2:]))

    classes = [
        (kind.__name__,) if kind is ModelbayError else (kind.__bases__[0].__name__, kind.__name__)
        for kind in everything()
    ]

    assert drawn == classes


def test_every_class_has_a_code_of_its_own_and_every_code_a_place_in_the_table() -> None:
    assert [kind.code for kind in everything()] == list(CODES)


def test_codes_are_snake_case() -> None:
    assert [code for code in CODES if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []


def test_only_what_may_pass_by_waiting_is_retryable() -> None:
    assert {kind.code for kind in everything() if kind.retryable} == {
        "backend_unreachable",
        "backend_timeout",
        "rate_limited",
        "backend_busy",
        "stream_interrupted",
    }


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (AuthenticationError("no key", status=401), 502, 5),  # our caller's key was fine
        (BackendTimeoutError("too slow"), 504, 124),
        (UnknownModelError("no such model"), 404, 4),
        (ConfigError("wrong"), 500, 2),
        (BackendError("failed", status=500), 502, 1),
    ],
)
def test_an_error_has_an_http_status_and_an_exit_code(
    error: ModelbayError, status: int, code: int
) -> None:
    assert (http_status(error), exit_code(error)) == (status, code)


def test_no_exit_code_is_zero_and_no_status_is_a_success() -> None:
    assert [code for code, (status, leave) in CODES.items() if status < 400 or leave == 0] == []


@pytest.mark.parametrize("kind", everything())
def test_an_error_reads_as_its_message(kind: type[ModelbayError]) -> None:
    assert str(made(kind)) == "it happened"


@pytest.mark.parametrize("kind", everything())
def test_an_error_survives_the_way_to_another_process(kind: type[ModelbayError]) -> None:
    error = made(kind)
    error.provider_id, error.hint = "desk", "do something"

    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), vars(copy)) == (kind, "it happened", vars(error))


@pytest.mark.parametrize(
    ("where", "pointer", "text"),
    [
        (None, None, "wrong"),
        ("f.json", None, "f.json: wrong"),
        ("f.json", "/providers/0", "f.json#/providers/0: wrong"),
        ("f.json", "", "f.json#: wrong"),
        (None, "/id", "#/id: wrong"),
    ],
)
def test_a_config_error_names_the_place(where: str | None, pointer: str | None, text: str) -> None:
    assert str(ConfigError("wrong", where=where, pointer=pointer)) == text


def test_an_interrupted_stream_holds_what_came() -> None:
    error = StreamInterruptedError("broke off", partial="so f", provider_id="desk", model="m")

    assert vars(error) == {
        "message": "broke off",
        "provider_id": "desk",
        "model": "m",
        "hint": None,
        "stage": "decode",
        "status": None,
        "retry_after_s": None,
        "partial": "so f",
    }


def test_the_page_of_errors_has_a_row_for_every_code_as_it_is() -> None:
    page = (Path(__file__).parents[1] / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = [
        tuple(cell.strip().strip("`") for cell in line.strip("|").split("|"))
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    kinds = {
        kind.code: kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ModelbayError)
    }

    assert [(row[0], row[1], row[3], row[4], row[5]) for row in rows] == [
        (code, kinds[code].__name__, "yes" if kinds[code].retryable else "no", str(http), str(end))
        for code, (http, end) in errors.CODES.items()
    ]
    assert all(row[2] for row in rows)


def test_an_error_is_made_anew_as_the_class_that_brought_its_code() -> None:
    """Not as one that a plugin derived from it, which may take other arguments."""

    class DerivedError(ProtocolError):
        def __init__(self, message: str, found: str) -> None:
            super().__init__(message)

    made = from_code("protocol_error", "odd", provider_id="desk", hint="look")

    assert (type(made), made.message, made.provider_id, made.hint) == (
        ProtocolError,
        "odd",
        "desk",
        "look",
    )
    assert DerivedError("a", "b").code == "protocol_error"
