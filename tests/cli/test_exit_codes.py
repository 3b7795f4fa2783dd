"""Exit codes of the commands that keep things, and of those that ask about a model.

As docs/errors.md has them: 2 what was typed or configured, 3 nobody answers, 4 no such model.
"""

import pytest

from cli.conftest import Installation, Invoke

KEEPING = ("fav", "conversations", "history", "default", "config")


@pytest.mark.parametrize(
    "arguments",
    [
        ("default", "nosuch"),
        ("default", "desk/nosuch"),
        ("default", "nowhere/echo"),
        ("explain", "desk/nosuch"),
        ("fav", "add", "nosuch"),
        ("verify", "desk/nosuch"),
        ("verify", "nosuch"),
    ],
    ids=" ".join,
)
def test_a_model_that_is_unknown_is_4(
    installation: Installation, invoke: Invoke, arguments: tuple[str, ...]
) -> None:
    result = invoke(*arguments)

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("error: ")
    assert "\nhint: " in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        *((name, "--nosuch") for name in KEEPING),
        *((name, "nosuch", "and", "more") for name in KEEPING),
        ("conversations", "model"),
        ("conversations", "model", "trip", "desk/echo", "--clear"),
        ("conversations", "list", "-n", "0"),
        ("conversations", "normalise"),
        ("default", "desk/echo", "--unset"),
        ("fav", "add"),
        ("fav", "rm"),
        ("fav", "move"),
        ("history", "rm", "trip"),
        ("history", "list", "-n", "no-number"),
        ("config", "set", "defaultModel"),
        ("explain", "desk/echo", "nosuch"),
        ("verify", "desk/echo", "--only", "nosuch"),
    ],
    ids=" ".join,
)
def test_what_is_typed_wrong_is_2(
    installation: Installation, invoke: Invoke, arguments: tuple[str, ...]
) -> None:
    result = invoke(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert installation.notes == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("fav", "list"), 2),
        (("fav", "add", "desk/echo"), 2),
        (("conversations", "list"), 2),
        (("conversations", "model", "trip"), 2),
        (("default",), 2),
        (("config", "show"), 2),
        (("config", "check"), 2),
        (("verify", "desk/echo"), 2),
        (("explain", "desk/echo"), 2),
        (("history", "list"), 0),  # what was said can be read all the same
        (("config", "path"), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_configuration_that_cannot_be_read_is_2_and_its_place_is_told(
    installation: Installation, invoke: Invoke, arguments: tuple[str, ...], code: int
) -> None:
    installation.file.write_text('{"providers": [{"id": "desk"}]}')

    result = invoke(*arguments)

    assert result.exit_code == code, result.stderr
    told = f"{result.stdout}{result.stderr}".replace("\n", "")
    assert str(installation.file) in told or code == 0


@pytest.mark.parametrize("arguments", [("verify", "lab/x"), ("explain", "lab/x")], ids=" ".join)
def test_a_server_that_does_not_answer_is_3(
    installation: Installation, invoke: Invoke, arguments: tuple[str, ...]
) -> None:
    installation.configure({"id": "lab", "mode": "down"})

    assert invoke(*arguments).exit_code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("fav", "rm", "desk/echo"),
        ("fav", "move", "desk/echo"),
        ("history", "show", "trip"),
        ("history", "rm", "-y", "trip"),
    ],
    ids=" ".join,
)
def test_what_was_never_kept_is_1(
    installation: Installation, invoke: Invoke, arguments: tuple[str, ...]
) -> None:
    result = invoke(*arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "\nhint: modelbay " in result.stderr


def test_to_remember_a_model_asks_nobody_whether_it_is_there(
    installation: Installation, invoke: Invoke
) -> None:
    """S2-21: a turn with it is what fails, and with 4."""
    assert invoke("conversations", "model", "trip", "desk/nosuch").exit_code == 0
    assert invoke("chat", "--conversation", "trip", "hi").exit_code == 4
