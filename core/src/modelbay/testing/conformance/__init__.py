"""The provider conformance kit: prove a plugin by writing one class.

    class TestAcme(ProviderConformance):
        @pytest.fixture
        def target(self) -> Iterator[Target]:
            with AcmeSimulator(answer="Hi.") as simulator:
                config = ProviderConfig(id="acme", kind="acme", base_url=simulator.base_url)
                yield SimulatorTarget(
                    plugin="modelbay_acme.plugin",
                    config=config,
                    model="tiny",
                    says="Hi.",
                    simulator=simulator,
                    cannot={"tools": "acme has no tools", ...},
                )

Needs the extra ``modelbay-core[testing]``. Nothing is skipped without a declaration.
"""

from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.provider import ProviderConformance
from modelbay.testing.conformance.proxy import FaultProxy
from modelbay.testing.conformance.target import (
    OPENAI_SSE,
    Ability,
    Calls,
    Peculiarity,
    SimulatorTarget,
    Target,
    Thinks,
    Wire,
)

__all__ = [
    "OPENAI_SSE",
    "Ability",
    "Calls",
    "FaultProxy",
    "Kit",
    "Peculiarity",
    "ProviderConformance",
    "SimulatorTarget",
    "Target",
    "Thinks",
    "Wire",
]
