"""A server with a few models, for `modelbay fake openai`."""

from modelbay_openai.simulator.knobs import Knobs
from modelbay_openai.simulator.model import SimulatedModel, ToolCall
from modelbay_openai.simulator.server import OpenAISimulator

PORT = 8000  # vLLM's own


def demo(port: int = PORT) -> OpenAISimulator:
    """A vLLM with a model that thinks and calls tools, and one that makes vectors."""
    return OpenAISimulator(
        [
            SimulatedModel(
                "qwen3-8b",
                thinking="Nobody thinks here.",
                answer="This is a pretended answer after a pretended thought.",
                calls=[ToolCall("get_weather", '{"city": "Oslo"}')],
                context=40960,
            ),
            SimulatedModel("nomic-embed", embeddings=True, context=2048),
        ],
        personality="vllm",
        knobs=Knobs(token_delay_s=0.05),
        port=port,
    )
