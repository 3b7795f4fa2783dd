"""What plugin authors test with: a pretended server that goes wrong on demand, and the kit.

The kit needs the extra ``modelbay-core[testing]``, so its names are imported when they are used.
"""

from typing import TYPE_CHECKING

from modelbay.testing.simulator import (
    ClientGone,
    Exchange,
    Fault,
    Request,
    Route,
    Simulator,
    SimulatorError,
)

if TYPE_CHECKING:
    from modelbay.testing.conformance import FaultProxy as FaultProxy
    from modelbay.testing.conformance import ProviderConformance as ProviderConformance
    from modelbay.testing.conformance import SimulatorTarget as SimulatorTarget
    from modelbay.testing.conformance import Target as Target

__all__ = [
    "ClientGone",
    "Exchange",
    "Fault",
    "FaultProxy",
    "ProviderConformance",
    "Request",
    "Route",
    "Simulator",
    "SimulatorError",
    "SimulatorTarget",
    "Target",
]

if not TYPE_CHECKING:  # a visible one would make a type checker accept any name

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'modelbay.testing' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module("modelbay.testing.conformance"), name)
