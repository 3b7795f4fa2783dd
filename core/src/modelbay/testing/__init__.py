"""What plugin authors test with: a pretended server that goes wrong on demand."""

from modelbay.testing.simulator import (
    ClientGone,
    Exchange,
    Fault,
    Request,
    Route,
    Simulator,
    SimulatorError,
)

__all__ = [
    "ClientGone",
    "Exchange",
    "Fault",
    "Request",
    "Route",
    "Simulator",
    "SimulatorError",
]
