"""A pretended server in a process of its own: ``upstream.py KIND DELAY_S`` prints its address.

Its model ``echo`` says the question's mark, of three characters, `PIECES` times with a number each;
``endless`` never ends, and never begins where it is not to be streamed. ``GET /counts`` tells what
it holds open.
"""

import math
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from modelbay.testing.simulator import Exchange, Simulator
from modelbay_ollama import simulator as ollama
from modelbay_openai import simulator as openai

PIECES = 60
Messages = Sequence[Mapping[str, object]]


def marked(messages: Messages) -> str:
    return "".join(pieces_of(str(messages[-1]["content"])))


def pieces_of(mark: str) -> list[str]:
    """Five characters each, as a simulated OpenAI-style server streams them."""
    return [f"{mark}{number:02}" for number in range(PIECES)]


class Unwilling(openai.OpenAISimulator):
    """Holds requests for whole answers of its endless model, as a real one would."""

    async def admit(self, exchange: Exchange) -> bool:
        if exchange.request.method == "POST":
            body: Any = exchange.request.json()
            if body["model"] == "endless" and not body["stream"]:
                await exchange.sleep(math.inf)
        return await super().admit(exchange)


def server(kind: str, delay_s: float) -> Simulator:
    made: Simulator
    if kind == "ollama":
        made = ollama.OllamaSimulator(
            [ollama.SimulatedModel("echo", says=marked)],
            knobs=ollama.Knobs(token_delay_s=delay_s, num_parallel=100),
        )
    else:
        made = Unwilling(
            [
                openai.SimulatedModel("echo", says=marked),
                openai.SimulatedModel("endless", endless=True),
            ],
            "vllm",
            knobs=openai.Knobs(token_delay_s=delay_s),
        )

    @made.route("GET", "/counts")
    async def counts(exchange: Exchange) -> None:
        count = made.ledger.count
        held = {"connections": count("open_connections") - 1, "streams": count("open_streams")}
        await exchange.json({**held, "opened": count("streams_opened")})

    return made


if __name__ == "__main__":
    with server(sys.argv[1], float(sys.argv[2])) as simulator:
        print(simulator.base_url, flush=True)
        threading.Event().wait()
