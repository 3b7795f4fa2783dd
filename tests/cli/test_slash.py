"""Mirrors modelbay_cli/slash.py: what a conversation can do about its providers."""

from collections.abc import Iterator

import pytest

from cli.conftest import Installation
from cli.test_talk import PROMPT, Person


@pytest.fixture
def person(installation: Installation) -> Iterator[Person]:
    found = Person(installation, "-m", "desk/echo")
    yield found
    found.leaves()


def test_it_opens_with_a_line_for_each_provider_that_was_found(person: Person) -> None:
    """S4-27."""
    assert "Sam's desk: 9 models\n" in person.sees(PROMPT)


def test_a_providers_name_alone_tells_its_status(person: Person) -> None:
    """S4-84: the server, what is loaded, what is available."""
    person.sees(PROMPT)
    person.types("/desk\n")
    seen = person.sees(PROMPT)

    assert "desk: fake server" in seen
    assert seen.index("Loaded\n") < seen.index("Available\n")


def test_pull_ends_with_a_tick(person: Person) -> None:
    """S4-85, S4-92."""
    person.sees(PROMPT)
    person.types("/desk pull new:q4\n")
    assert "✓ new:q4 ready\n" in person.sees(PROMPT)


def test_remove_asks_first_and_a_no_keeps_the_model(
    person: Person, installation: Installation
) -> None:
    """S4-87."""
    person.sees(PROMPT)
    person.types("/desk remove echo\n")
    person.sees("Delete desk/echo? [y/N]: ")
    person.types("n\n")
    person.sees(PROMPT)
    person.types("/desk remove echo -y\n")
    assert "desk/echo is deleted\n" in person.sees(PROMPT)


def test_model_says_what_it_switched_to(person: Person) -> None:
    """S4-93."""
    person.sees(PROMPT)
    person.types("/model desk/slow\n")
    assert "Switched to slow (local, Sam's desk)\n" in person.sees(PROMPT)


def test_an_unknown_word_lists_what_there_is(person: Person) -> None:
    person.sees(PROMPT)
    person.types("/desk dance\n")
    assert "/desk pull NAME" in person.sees(PROMPT)
    person.types("/nobody\n")
    assert "there is no /nobody; /help lists what there is" in person.sees(PROMPT)
