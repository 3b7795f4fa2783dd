"""A server that speaks slowly enough to watch, for `modelbay fake deepseek`."""

from modelbay_deepseek.simulator.answer import Script
from modelbay_deepseek.simulator.knobs import Knobs
from modelbay_deepseek.simulator.server import DeepSeekSimulator

PORT = 8808  # the real one has a name instead


def demo(port: int = PORT) -> DeepSeekSimulator:
    """Takes the key ``sk-test``: DEEPSEEK_API_KEY=sk-test, DEEPSEEK_BASE_URL its address."""
    script = Script(
        thought="Nobody thinks here.",
        text="This is a pretended answer after a pretended thought.",
    )
    return DeepSeekSimulator(script, Knobs(slow_ms=50.0), port=port)
