"""Mirrors modelbay_cli/commands/fav.py: the models one comes back to."""

import json
import sqlite3

import pytest

from cli.conftest import Installation, Invoke


def kept(installation: Installation) -> list[str]:
    """The favourites as they are in the file."""
    with sqlite3.connect(installation.home / "data" / "state.db") as file:
        row = file.execute("SELECT value FROM settings WHERE name = 'favorite_models'").fetchone()
    file.close()
    return [] if row is None else list(json.loads(row[0]))


def left(installation: Installation, *texts: str) -> None:
    """Favourites as an old version may have left them."""
    file = sqlite3.connect(installation.home / "data" / "state.db")
    with file:
        file.execute(
            "INSERT OR REPLACE INTO settings VALUES ('favorite_models', ?)", (json.dumps(texts),)
        )
    file.close()


def listed(invoke: Invoke, *more: str) -> list[str]:
    return [line.split()[0] for line in invoke("fav", "list", *more).stdout.splitlines()[1:]]


@pytest.fixture
def two(installation: Installation) -> Installation:
    installation.configure({"id": "desk", "label": "Sam's desk"}, {"id": "lab", "mode": "bare"})
    return installation


def test_favourites_are_kept_in_the_order_they_came(two: Installation, invoke: Invoke) -> None:
    """S0-48, S0-74: the default order is that of insertion."""
    result = invoke("fav", "add", "desk/slow", "lab/user/one:q4")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "desk/slow is a favourite\nlab/user/one:q4 is a favourite\n"
    assert invoke("fav", "add", "desk/echo", "desk/slow").stdout == (
        "desk/echo is a favourite\ndesk/slow was already a favourite\n"
    )

    assert kept(two) == ["desk/slow", "lab/user/one:q4", "desk/echo"]
    assert listed(invoke) == ["desk/slow", "lab/user/one:q4", "desk/echo"]


def test_a_bare_name_is_written_with_its_provider(two: Installation, invoke: Invoke) -> None:
    """S0-49: composite ids only."""
    assert invoke("fav", "add", "echo").stdout == "desk/echo is a favourite\n"
    assert kept(two) == ["desk/echo"]


def test_a_bare_name_that_the_default_provider_does_not_list_is_refused(
    two: Installation, invoke: Invoke
) -> None:
    """S0-49, S0-51: giving it that provider would be a guess."""
    result = invoke("fav", "add", "desk/slow", "one:q4")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        "error: unknown model 'one:q4'; asked desk (9 models), lab (1 model)\n"
        "hint: did you mean lab/user/one:q4?\n"
    )
    assert not (two.home / "data").exists()


def test_without_any_provider_a_bare_name_is_refused(
    installation: Installation, invoke: Invoke
) -> None:
    """S0-49."""
    installation.configure()
    result = invoke("fav", "add", "echo")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: a favourite is written PROVIDER/MODEL, not 'echo'\nhint: modelbay models\n"
    )


def test_a_model_that_is_not_there_can_be_one_and_the_likely_one_is_named(
    two: Installation, invoke: Invoke
) -> None:
    """S0-50: it is hidden until it is there."""
    result = invoke("fav", "add", "desk/ech")
    assert (result.exit_code, result.stdout) == (0, "desk/ech is a favourite\n")
    assert result.stderr.startswith(
        "'desk/ech' is not listed at present, and hidden until it is; did you mean desk/echo"
    )
    result = invoke("fav", "list")
    assert (result.stdout, result.stderr) == ("", "1 hidden (offline)\n")


def test_of_a_provider_that_is_none_nothing_can_be_a_favourite(
    two: Installation, invoke: Invoke
) -> None:
    result = invoke("fav", "add", "dekc/echo")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("error: unknown model 'dekc/echo'")
    assert not (two.home / "data").exists()


@pytest.mark.parametrize("text", ["", " ", "desk/echo ", "\tdesk/echo"])
def test_blanks_are_no_part_of_a_favourite(two: Installation, invoke: Invoke, text: str) -> None:
    result = invoke("fav", "add", text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {text!r} is no model")
    assert not (two.home / "data").exists()


def test_of_several_all_are_looked_at_before_one_is_written(
    two: Installation, invoke: Invoke
) -> None:
    assert invoke("fav", "add", "desk/echo", "lab/").exit_code != 0
    assert not (two.home / "data" / "state.db").exists()


def test_an_offline_favourite_is_hidden_and_counted_and_comes_back(
    two: Installation, invoke: Invoke
) -> None:
    """S0-50: missing and offline ones are hidden, never deleted by looking."""
    invoke("fav", "add", "lab/user/one:q4", "desk/echo", "desk/nosuch")
    two.configure({"id": "desk", "label": "Sam's desk"}, {"id": "lab", "mode": "down"})

    result = invoke("fav", "list")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["MODEL", "desk/echo"]
    assert result.stderr == "2 hidden (offline)\n"
    rows = invoke("fav", "list", "--all").stdout.splitlines()[1:]
    assert [" ".join(row.split()[:2]) for row in rows] == [
        "lab/user/one:q4 hidden",
        "desk/echo loaded",
        "desk/nosuch hidden",
    ]
    assert rows[0].endswith("'lab' is down")
    assert rows[2].endswith("'desk' does not list it")
    two.configure()
    invoke("fav", "list")
    invoke("models")
    two.configure({"id": "desk", "label": "Sam's desk"}, {"id": "lab", "mode": "bare"})

    assert kept(two) == ["lab/user/one:q4", "desk/echo", "desk/nosuch"]
    assert listed(invoke) == ["lab/user/one:q4", "desk/echo"]


def test_json_has_the_shown_and_the_hidden(two: Installation, invoke: Invoke) -> None:
    invoke("fav", "add", "desk/nosuch", "desk/echo")
    document = json.loads(invoke("fav", "list", "--json").stdout)
    [shown] = document.pop("favorites")
    assert (shown["id"], shown["state"]) == ("desk/echo", "loaded")
    assert document == {"hidden": [{"id": "desk/nosuch", "reason": "'desk' does not list it"}]}


def test_without_a_word_they_are_listed(two: Installation, invoke: Invoke) -> None:
    invoke("fav", "add", "desk/echo")
    assert invoke("fav").stdout == invoke("fav", "list").stdout


def test_looking_makes_no_file(installation: Installation, invoke: Invoke) -> None:
    result = invoke("fav", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "there are no favourites: modelbay fav add REF\n"
    assert not (installation.home / "data").exists()
    assert installation.notes == []


def test_one_is_removed_and_the_model_stays(two: Installation, invoke: Invoke) -> None:
    invoke("fav", "add", "desk/echo", "desk/slow", "lab/user/one:q4")
    assert invoke("fav", "rm", "echo", "desk/slow").stdout == (
        "echo is no favourite any more\ndesk/slow is no favourite any more\n"
    )
    assert kept(two) == ["lab/user/one:q4"]
    assert "desk/echo" in invoke("models").stdout


@pytest.mark.parametrize("arguments", [("rm", "desk/slow"), ("move", "desk/slow"),
                                       ("move", "desk/echo", "--before", "desk/slow")])  # fmt: skip
def test_what_is_no_favourite_can_be_neither_removed_nor_moved(
    two: Installation, invoke: Invoke, arguments: tuple[str, ...]
) -> None:
    invoke("fav", "add", "desk/echo")
    result = invoke("fav", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: 'desk/slow' is no favourite\nhint: modelbay fav list --all\n"
    assert kept(two) == ["desk/echo"]


def test_one_is_moved_before_another_or_to_the_end(two: Installation, invoke: Invoke) -> None:
    """S0-74: an order of one's own."""
    invoke("fav", "add", "desk/echo", "desk/slow", "lab/user/one:q4")
    assert invoke("fav", "move", "lab/user/one:q4", "--before", "desk/echo").stdout == (
        "lab/user/one:q4 is before desk/echo now\n"
    )
    assert kept(two) == ["lab/user/one:q4", "desk/echo", "desk/slow"]
    assert invoke("fav", "move", "echo").stdout == "echo is at the end now\n"
    assert kept(two) == ["lab/user/one:q4", "desk/slow", "desk/echo"]


def test_a_bare_favourite_of_old_is_shown_only_without_a_doubt(
    two: Installation, invoke: Invoke
) -> None:
    """S0-51: and never rewritten by looking."""
    invoke("fav", "add", "desk/busy")
    left(two, "echo", "nosuch", "desk/busy")
    assert listed(invoke) == ["desk/echo", "desk/busy"]
    two.configure({"id": "desk"}, {"id": "twin"})  # which lists an `echo` too

    assert listed(invoke) == ["desk/busy"]
    rows = invoke("fav", "list", "--all").stdout.splitlines()
    assert rows[1].endswith("'twin' lists it too")
    assert rows[2].endswith("the default provider 'desk' does not list it")
    assert kept(two) == ["echo", "nosuch", "desk/busy"]


def test_a_bare_favourite_of_old_goes_with_the_ref_it_means(
    two: Installation, invoke: Invoke
) -> None:
    """S0-51."""
    invoke("fav", "add", "desk/busy")
    left(two, "echo", "desk/echo", "desk/busy")
    invoke("models")
    assert invoke("fav", "rm", "desk/echo").exit_code == 0
    assert kept(two) == ["desk/busy"]


def test_a_bare_favourite_in_doubt_is_removed_by_its_own_name_alone(
    two: Installation, invoke: Invoke
) -> None:
    """S0-51."""
    invoke("fav", "add", "desk/busy")
    left(two, "echo", "desk/echo")
    two.configure({"id": "desk"}, {"id": "twin"})
    invoke("models")
    assert invoke("fav", "rm", "echo").exit_code == 0
    assert kept(two) == ["desk/echo"]


def test_without_a_command_json_is_that_of_the_list(
    installation: Installation, invoke: Invoke
) -> None:
    listed = invoke("fav", "list", "--json")

    assert invoke("fav", "--json").stdout == listed.stdout
    assert json.loads(listed.stdout)
    assert invoke("fav", "--json", "list").exit_code == 2


# --- a damaged list -------------------------------------------------------------------------------


@pytest.fixture(params=["{not json", '[1,null,"desk/echo"]'])
def damaged(two: Installation, invoke: Invoke, request: pytest.FixtureRequest) -> Installation:
    invoke("fav", "add", "desk/echo")
    file = sqlite3.connect(two.home / "data" / "state.db")
    with file:
        file.execute(
            "UPDATE settings SET value = ? WHERE name = 'favorite_models'", [request.param]
        )
    file.close()
    return two


@pytest.mark.parametrize(
    "arguments",
    [
        ("fav",),
        ("fav", "list"),
        ("fav", "list", "--json"),
        ("fav", "add", "desk/slow"),
        ("fav", "rm", "desk/echo"),
        ("fav", "move", "desk/echo"),
    ],
)
def test_a_damaged_list_is_an_error_with_the_file_and_what_to_type(
    damaged: Installation, invoke: Invoke, arguments: tuple[str, ...]
) -> None:
    result = invoke(*arguments)

    state = damaged.home / "data" / "state.db"
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: {state}: the list of favourites cannot be read, and has been left as it is\n"
        "hint: modelbay fav rm --all   # forgets the list; there is no other way to mend it\n"
    )


def test_models_are_listed_without_a_damaged_list_and_this_is_said(
    damaged: Installation, invoke: Invoke
) -> None:
    for arguments in (("models",), ("models", "echo"), ("models", "--json")):
        result = invoke(*arguments)
        assert (result.exit_code, "desk/echo" in result.stdout) == (0, True)
        assert result.stderr.startswith("warning: favourites cannot be read: ")


def test_doctor_names_a_damaged_list_and_its_fix_mends_it(
    damaged: Installation, invoke: Invoke
) -> None:
    [found] = json.loads(invoke("doctor", "--json").stdout)["findings"]
    assert (found["level"], found["code"]) == ("error", "state_damaged")
    state = damaged.home / "data" / "state.db"
    assert found["message"] == f"{state} is damaged (the list of favourites cannot be read)"
    assert found["fix"].startswith("modelbay fav rm --all ")

    mended = invoke("fav", "rm", "--all")

    assert (mended.exit_code, mended.stdout) == (0, "there are no favourites any more\n")
    assert json.loads(invoke("doctor", "--json").stdout)["findings"] == []
    assert invoke("fav", "add", "desk/slow").exit_code == 0


def test_all_are_removed_or_those_that_are_named(two: Installation, invoke: Invoke) -> None:
    assert invoke("fav", "rm", "--all").stdout == "there are no favourites any more\n"
    assert not (two.home / "data").exists()
    assert invoke("fav", "rm").exit_code == 2
    assert invoke("fav", "rm", "--all", "desk/echo").exit_code == 2
