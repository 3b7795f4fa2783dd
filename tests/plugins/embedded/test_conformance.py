"""The kit for the embedded engine: real children behind every check."""

from collections.abc import Iterator

import pytest

from modelbay.testing.conformance import ProviderConformance, Target
from modelbay.testing.conformance.soak import SoakChecks
from modelbay_embedded.testing.target import target

pytestmark = pytest.mark.real


class TestEmbedded(ProviderConformance, SoakChecks):
    """Files, run by real engines."""

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with target() as made:
            yield made
