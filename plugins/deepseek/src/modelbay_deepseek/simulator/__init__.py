"""A simulated DeepSeek for tests: its refusals in its own words, every fault, and no model."""

from modelbay_deepseek.simulator.answer import Script
from modelbay_deepseek.simulator.demo import demo
from modelbay_deepseek.simulator.knobs import Knobs
from modelbay_deepseek.simulator.listing import Account
from modelbay_deepseek.simulator.server import KEY, DeepSeekSimulator, Logged

__all__ = ["KEY", "Account", "DeepSeekSimulator", "Knobs", "Logged", "Script", "demo"]
