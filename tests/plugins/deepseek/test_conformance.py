"""The kit for DeepSeek: the list in both of its shapes."""

from collections.abc import Iterator
from typing import Literal

import pytest

from modelbay.testing.conformance import ProviderConformance, Target
from modelbay.testing.conformance.soak import SoakChecks
from modelbay_deepseek.simulator.target import target


class _Of:
    """A list of one shape."""

    shape: Literal["classic", "extended"]

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with target(self.shape) as made:
            yield made


@pytest.mark.soak
class TestClassic(_Of, ProviderConformance):
    """The list of before September 2026: ids, and nothing else."""

    shape = "classic"


class TestExtended(_Of, ProviderConformance, SoakChecks):
    """The list of October 2026."""

    shape = "extended"
