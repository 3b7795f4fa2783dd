"""A llama-swap with a few models, for `modelbay fake llama-swap`."""

from modelbay_llamaswap.simulator.model import Capabilities, SimulatedModel
from modelbay_llamaswap.simulator.server import LlamaSwapSimulator

PORT = 8080  # llama-swap's own default


def demo(port: int = PORT) -> LlamaSwapSimulator:
    """Two models to talk to, one of which thinks, one for vectors and one for pictures.

    They are swapped in one at a time, in real seconds.
    """
    return LlamaSwapSimulator(
        [
            SimulatedModel(
                "gemma-3-4b-it",
                name="Gemma 3 4B",
                aliases=("gemma",),
                answer="This is a pretended answer.",
                capabilities=Capabilities(("text",), ("text",), context=4096),
                load_s=2.0,
                token_s=0.05,
            ),
            SimulatedModel(
                "qwen3-8b",
                reasoning="Nobody thinks here.",
                answer="This is a pretended answer after a pretended thought.",
                capabilities=Capabilities(("text",), ("text",), tools=True, context=4096),
                load_s=4.0,
                token_s=0.05,
                ttl_s=60,
            ),
            SimulatedModel("nomic-embed-text", role="embedding", metadata={"task": "embedding"}),
            SimulatedModel(
                "stable-diffusion",
                role="image",
                capabilities=Capabilities(("text",), ("image",)),
                load_s=3.0,
            ),
        ],
        loading_state=True,
        second_s=1.0,
        port=port,
    )
