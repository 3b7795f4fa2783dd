"""The kit for llama-swap: servers of three ages, and one that types while it loads."""

from collections.abc import Iterator

import pytest

from modelbay.testing.conformance import Ability, ProviderConformance, Target
from modelbay.testing.conformance.soak import SoakChecks
from modelbay_llamaswap.simulator import Dialect
from modelbay_llamaswap.simulator.target import target


class _Of:
    """A server of one version."""

    dialect: Dialect = "head"
    loading_state = False
    cannot: dict[Ability, str] = {}

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        made = target(self.dialect, loading_state=self.loading_state, cannot=self.cannot)
        with made as ready:
            yield ready


class TestHead(_Of, ProviderConformance, SoakChecks):
    """The newest: five changes after v250."""


@pytest.mark.soak
class TestTyping(_Of, ProviderConformance):
    """The same, with ``sendLoadingState``: every cold stream begins with its text."""

    loading_state = True


@pytest.mark.soak
class TestV217(_Of, ProviderConformance):
    """The last of the old server: errors are text, and what starts is not listed."""

    dialect = "v217"


@pytest.mark.soak
class TestV160(_Of, ProviderConformance):
    """Before one model could be unloaded, before images, and before keys."""

    dialect = "v160"
    cannot = {
        "images": "images since v180",
        "load": "unloads only all models at once",
    }
