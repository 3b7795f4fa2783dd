"""The kit for a plugin that is installed; pytest collects this file. See `running`."""

from collections.abc import Iterator

import pytest

from modelbay.testing.conformance.provider import ProviderConformance
from modelbay.testing.conformance.recorder import load
from modelbay.testing.conformance.soak import SoakChecks
from modelbay.testing.conformance.target import Target


class TestInstalled(ProviderConformance, SoakChecks):
    """Everything the highest level asks for."""

    @pytest.fixture
    def target(self, request: pytest.FixtureRequest) -> Iterator[Target]:
        with load(request.config.getoption("modelbay_target"))() as target:
            if not isinstance(target, Target):
                pytest.fail(f"the target is {type(target).__name__}, no Target", pytrace=False)
            yield target
