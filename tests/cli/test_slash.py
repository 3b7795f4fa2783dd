"""Mirrors modelbay_cli/slash.py: what a conversation can do about its providers."""

from collections.abc import Iterator

import pytest

from cli.conftest import Installation
from cli.test_talk import PROMPT, Person
from modelbay.models.capabilities import Capabilities
from modelbay.models.catalog import ModelInfo
from modelbay.refs import ModelRef
from modelbay_cli.slash import switched


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

    assert "desk: fake server 7 running\n" in seen
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


def test_list_looks_anew(person: Person, installation: Installation) -> None:
    """S4-86, S4-111: with sizes, and with what came and went since the conversation began."""
    person.sees(PROMPT)
    installation.put("echo", "newcomer")
    person.types("/desk list\n")
    assert "\n  echo      loaded    4.1 GB\n  newcomer  unloaded  ?\n" in person.sees(PROMPT)


def test_model_looks_anew(person: Person, installation: Installation) -> None:
    """S4-111: one cannot go on with a model that was deleted meanwhile."""
    person.sees(PROMPT)
    installation.put("echo")
    person.types("/model desk/slow\n")
    assert "error: unknown model 'desk/slow'; asked desk (1 model)" in person.sees(PROMPT)


def test_ps_tells_what_is_in_memory(person: Person) -> None:
    """S4-88."""
    person.sees(PROMPT)
    person.types("/desk ps\n")
    assert "echo  loaded    5.0 GB VRAM  8k context" in person.sees(PROMPT)


def test_a_provider_that_is_down_says_so_and_nothing_is_started(
    installation: Installation,
) -> None:
    """S4-109."""
    installation.configure({"id": "desk"}, {"id": "gone", "mode": "down"})
    person = Person(installation, "-m", "desk/echo")
    try:
        person.sees(PROMPT)
        person.types("/gone\n")
        seen = person.sees(PROMPT)
    finally:
        person.leaves()

    assert "gone: down: nothing answers at http://127.0.0.1:1\nhint: start the server\n" in seen
    assert installation.notes == []


def test_a_model_that_is_not_listed_is_not_called_local() -> None:
    """Some servers are asked for any name; where such a model would run nobody knows."""
    ref = ModelRef("desk", "new:1b")
    model = ModelInfo(ref=ref, name="new:1b", kind="fake", capabilities=Capabilities())
    remote = model.model_copy(update={"origin": "remote"})

    assert switched(model, "Ollama") == "Switched to new:1b (local, Ollama)"
    assert switched(remote, "Ollama") == "Switched to new:1b (remote, Ollama)"
    assert switched(model, "Ollama", is_listed=False) == (
        "Switched to new:1b (Ollama does not list it)"
    )


def test_an_unknown_word_lists_what_there_is(person: Person) -> None:
    person.sees(PROMPT)
    person.types("/desk dance\n")
    assert "/desk pull NAME" in person.sees(PROMPT)
    person.types("/nobody\n")
    assert "there is no /nobody; /help lists what there is" in person.sees(PROMPT)
