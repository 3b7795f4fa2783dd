"""A simulated Ollama server for tests: the versions that matter, every knob, no model and no Go."""

from modelbay_ollama.simulator.demo import demo
from modelbay_ollama.simulator.knobs import Knobs
from modelbay_ollama.simulator.model import Layer, Pullable, Remote, SimulatedModel, ToolCall
from modelbay_ollama.simulator.script import SCRIPTS, Broken, Done, Line, Script, SilentEnd, plain
from modelbay_ollama.simulator.server import OllamaSimulator
from modelbay_ollama.simulator.tally import AnswerRecord

__all__ = [
    "SCRIPTS",
    "AnswerRecord",
    "Broken",
    "Done",
    "Knobs",
    "Layer",
    "Line",
    "OllamaSimulator",
    "Pullable",
    "Remote",
    "Script",
    "SilentEnd",
    "SimulatedModel",
    "ToolCall",
    "demo",
    "plain",
]
