"""The kit for Ollama: servers of three ages, and two hundred turns with the newest."""

from collections.abc import Iterator

import pytest

from modelbay.testing.conformance import ProviderConformance, Target
from modelbay.testing.conformance.soak import SoakChecks
from modelbay_ollama.simulator.target import NEWEST, target


class _Of:
    """A server of one version."""

    version: str

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with target(self.version) as made:
            yield made


@pytest.mark.soak
class TestOld(_Of, ProviderConformance):
    """Before the list said what a model can do."""

    version = "0.12.11"


@pytest.mark.soak
class TestNative(_Of, ProviderConformance):
    """Two chat paths."""

    version = "0.30.1"


class TestNew(_Of, ProviderConformance, SoakChecks):
    """The newest one the notes on its wire were read from."""

    version = NEWEST
