"""A router with a few models, for `modelbay fake llamacpp`."""

from modelbay_llamacpp.simulator.model import SimulatedModel
from modelbay_llamacpp.simulator.server import LlamaCppSimulator

PORT = 8080  # llama-server's own default


def demo(port: int = PORT) -> LlamaCppSimulator:
    """Three models, one of which thinks, and one that can be downloaded."""
    return LlamaCppSimulator(
        [
            SimulatedModel("gemma-3-4b-it", answer="This is a pretended answer.", load_s=1.0),
            SimulatedModel(
                "qwen3-8b",
                reasoning="Nobody thinks here.",
                answer="This is a pretended answer after a pretended thought.",
                load_s=2.0,
                token_s=0.05,
            ),
            SimulatedModel("nomic-embed-text", embeddings=True, args=("--embeddings",)),
        ],
        mode="router",
        hub=[SimulatedModel("ggml-org/tiny-GGUF:Q8_0", source="cache", download_s=3.0)],
        models_max=1,
        port=port,
    )
