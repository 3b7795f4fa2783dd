"""A server with a few models and a small registry, for `modelbay fake ollama`."""

from modelbay_ollama.simulator.knobs import Knobs
from modelbay_ollama.simulator.model import Layer, Pullable, SimulatedModel
from modelbay_ollama.simulator.server import OllamaSimulator

PORT = 11434  # Ollama's own


def demo(port: int = PORT) -> OllamaSimulator:
    """Three installed models, one of which thinks, and one that can be pulled."""
    codestral = SimulatedModel(
        "codestral:22b",
        answer="def answer(): return 42",
        capabilities=("completion", "insert"),
        parameter_size="22.2B",
        size_bytes=12_569_170_041,
        trained_ctx=32768,
    )
    return OllamaSimulator(
        [
            SimulatedModel(
                "llama3.1:8b",
                answer="This is a pretended answer.",
                capabilities=("completion", "tools"),
            ),
            SimulatedModel(
                "qwen3:8b",
                thinking="Nobody thinks here.",
                answer="This is a pretended answer after a pretended thought.",
                capabilities=("completion", "tools", "thinking"),
                family="qwen3",
                parameter_size="8.2B",
                trained_ctx=40960,
            ),
            SimulatedModel(
                "nomic-embed-text",
                capabilities=("embedding",),
                family="nomic-bert",
                parameter_size="137M",
                size_bytes=274_302_450,
                trained_ctx=2048,
            ),
        ],
        registry=[
            Pullable(codestral, (Layer(12_569_155_968, steps=60), Layer(11_000), Layer(487)))
        ],
        knobs=Knobs(load_delay_s=1.0, token_delay_s=0.05, pull_tick_s=0.06),
        port=port,
    )
