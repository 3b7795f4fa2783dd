"""A simulated ``llama-server`` for tests: both modes, every knob, no model and no C++."""

from modelbay_llamacpp.simulator.demo import demo
from modelbay_llamacpp.simulator.model import SimulatedModel, ToolCall
from modelbay_llamacpp.simulator.server import LlamaCppSimulator

__all__ = ["LlamaCppSimulator", "SimulatedModel", "ToolCall", "demo"]
