"""Mirrors modelbay_cli/slash.py: what ends a command of a conversation, and must not end it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click
import importlib_metadata
import pytest

from cli.conftest import Installation
from cli.test_talk import PROMPT, Person
from modelbay.testing.conformance.ports import dead_url
from modelbay_cli.output import Screen
from modelbay_cli.session import Session
from modelbay_cli.slash import ProviderCommands
from modelbay_ollama.simulator import Knobs, Layer, OllamaSimulator, Pullable, SimulatedModel

NAME = "llama3.1:8b"
CODESTRAL = Pullable(SimulatedModel("codestral:22b"), (Layer(1_000_000_000, steps=1000),))


def with_ollama(installation: Installation, url: str | None) -> None:
    """A server of a real kind beside the fake one; ``None`` leaves it to the environment."""
    kinds = {entry.name for entry in importlib_metadata.entry_points(group="modelbay")}
    installation.setenv("MODELBAY_DISABLE", ",".join(sorted(kinds - {"fake", "ollama"})))
    configured = [] if url is None else [{"id": "ollama", "kind": "ollama", "baseUrl": url}]
    installation.configure({"id": "desk"}, *configured)


@contextmanager
def talking(installation: Installation, url: str | None) -> Iterator[Person]:
    """Somebody who talks with the fake one."""
    with_ollama(installation, url)
    person = Person(installation, "-m", "desk/echo")
    try:
        person.sees(PROMPT)
        yield person
    finally:
        person.leaves()


def goes_on(person: Person) -> bool:
    person.types("still here\n")
    person.sees("[user] still here\n")
    person.sees(PROMPT)
    return person.process.poll() is None


def test_ctrl_c_during_a_pull_calls_it_off_and_the_conversation_goes_on(
    installation: Installation,
) -> None:
    """S4-85: the server hears of it by the closed connection."""
    knobs = Knobs(pull_tick_s=0.05)
    with (
        OllamaSimulator([SimulatedModel(NAME)], registry=[CODESTRAL], knobs=knobs) as sim,
        talking(installation, sim.base_url) as person,
    ):
        person.types("/ollama pull codestral:22b\n")
        person.sees("/1.0 GB")
        person.process.send_signal(signal.SIGINT)
        person.sees("(stopped)")
        person.sees(PROMPT)
        sim.wait_until(lambda: sim.pulls_cancelled == {"codestral:22b": 1})

        assert goes_on(person)
        assert sim.installed == [NAME]


def test_ctrl_d_at_a_question_is_a_no_and_the_conversation_goes_on(
    installation: Installation,
) -> None:
    """S4-87."""
    with (
        OllamaSimulator([SimulatedModel(NAME)]) as sim,
        talking(installation, sim.base_url) as person,
    ):
        person.types(f"/ollama remove {NAME}\n")
        person.sees(f"Delete ollama/{NAME}? [y/N]: ")
        person.types("\x04")
        person.sees(PROMPT)

        assert goes_on(person)
        assert sim.installed == [NAME]


@pytest.mark.parametrize("end", [click.Abort, KeyboardInterrupt, EOFError])
def test_a_question_that_is_broken_off_in_any_way_is_a_no(
    installation: Installation, end: type[BaseException]
) -> None:
    asked = []

    def broken_off(question: str) -> bool:
        asked.append(question)
        raise end

    with OllamaSimulator([SimulatedModel(NAME)]) as sim:
        with_ollama(installation, sim.base_url)
        with Session() as session:
            ProviderCommands(session, Screen.stderr(), broken_off).run("ollama", ["rm", NAME])

        assert sim.installed == [NAME]
    assert asked == [f"Delete ollama/{NAME}?"]


def test_nobody_is_asked_about_a_model_that_is_not_there(installation: Installation) -> None:
    with (
        OllamaSimulator([SimulatedModel(NAME)]) as sim,
        talking(installation, sim.base_url) as person,
    ):
        person.types("/ollama rm nope\n")
        seen = person.sees(PROMPT)
        person.types("/ollama rm Llama3.1:8B\n")  # as the server would understand it
        person.sees("Delete ollama/Llama3.1:8B? [y/N]: ")
        person.types("y\n")
        person.sees("ollama/Llama3.1:8B is deleted\n")

        assert sim.installed == []
    assert "error: " in seen
    assert "not found" in seen
    assert "Delete" not in seen


@pytest.mark.parametrize("flag", ["-y", "--yes", "-f", "--force"])
def test_remove_does_not_ask_with_any_of_the_usual_words(
    installation: Installation, flag: str
) -> None:
    with (
        OllamaSimulator([SimulatedModel(NAME)]) as sim,
        talking(installation, sim.base_url) as person,
    ):
        person.types(f"/ollama remove {NAME} {flag}\n")
        person.sees(f"ollama/{NAME} is deleted\n")

        assert sim.installed == []


def test_commands_are_known_in_capitals_too(installation: Installation) -> None:
    with (
        OllamaSimulator([SimulatedModel(NAME)]) as sim,
        talking(installation, sim.base_url) as person,
    ):
        person.types("/OLLAMA List\n")
        person.sees(f"{NAME}  unloaded")
        person.types("/Model\n")
        person.sees("model: desk/echo")
        person.types("/EXIT\n")

        assert person.process.wait(30) == 0


@pytest.mark.parametrize("command", ["", " list", " ps", " pull codestral:22b", f" rm {NAME}"])
def test_every_command_to_a_server_that_is_not_there_says_how_to_start_it(
    installation: Installation, command: str
) -> None:
    """S4-109."""
    with talking(installation, dead_url()) as person:
        person.types(f"/ollama{command}\n")
        seen = person.sees(PROMPT)

    assert "ollama serve" in seen


def test_what_is_wrong_with_an_address_is_not_told_as_a_server_to_start(
    installation: Installation,
) -> None:
    installation.setenv("OLLAMA_HOST", ":0")
    with talking(installation, None) as person:
        person.types("/ollama\n")
        seen = person.sees(PROMPT)

    assert "ollama: misconfigured: OLLAMA_HOST: port 0" in seen
    assert "hint: export OLLAMA_HOST=http://127.0.0.1:11434\n" in seen
    assert "ollama serve" not in seen
