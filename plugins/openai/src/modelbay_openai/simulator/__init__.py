"""A simulated OpenAI-compatible server for tests: one server, several personalities as data."""

from modelbay_openai.simulator.demo import demo
from modelbay_openai.simulator.knobs import Knobs
from modelbay_openai.simulator.model import SimulatedModel, ToolCall
from modelbay_openai.simulator.personalities import PERSONALITIES, Personality
from modelbay_openai.simulator.server import OpenAISimulator

__all__ = [
    "PERSONALITIES",
    "Knobs",
    "OpenAISimulator",
    "Personality",
    "SimulatedModel",
    "ToolCall",
    "demo",
]
