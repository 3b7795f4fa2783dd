"""A simulated llama-swap for tests: old and new versions, every knob, no Go and no model."""

from modelbay_llamaswap.simulator.clock import ManualClock, ScaledClock
from modelbay_llamaswap.simulator.demo import demo
from modelbay_llamaswap.simulator.dialect import Dialect
from modelbay_llamaswap.simulator.model import (
    Capabilities,
    Filters,
    Group,
    Peer,
    Profile,
    Selector,
    SimulatedModel,
    ToolCall,
)
from modelbay_llamaswap.simulator.server import LlamaSwapSimulator

__all__ = [
    "Capabilities",
    "Dialect",
    "Filters",
    "Group",
    "LlamaSwapSimulator",
    "ManualClock",
    "Peer",
    "Profile",
    "ScaledClock",
    "Selector",
    "SimulatedModel",
    "ToolCall",
    "demo",
]
