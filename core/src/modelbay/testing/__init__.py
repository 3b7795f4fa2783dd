"""What plugin authors test with: a pretended server that goes wrong on demand, and the kit.

A server with a list of models and a chat that streams:

    sim = Simulator()

    @sim.route("GET", "/v1/models")
    async def models(exchange: Exchange) -> None:
        await exchange.json({"object": "list", "data": [{"id": "tiny", "object": "model"}]})

    @sim.route("POST", "/v1/chat/completions")
    async def chat(exchange: Exchange) -> None:
        await exchange.start_stream("text/event-stream")
        for delta, reason in (({"content": "Hi."}, None), ({}, "stop")):
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            await exchange.sse({"choices": [choice]})
        await exchange.sse("[DONE]")

``with sim:`` opens it at ``sim.base_url``; ``sim.inject(Fault(cut_after_bytes=40), after=1,
times=1)`` cuts the second answer short; ``exchange.ndjson(value)`` writes a line of NDJSON.

`Recorder` writes down what a real server says, and `Replay` serves it again.

The kit needs the extra ``modelbay-core[testing]``, so its names are imported when they are used.
"""

from typing import TYPE_CHECKING

from modelbay.testing.simulator import (
    ClientGone,
    Exchange,
    Fault,
    Request,
    Route,
    Simulator,
    SimulatorError,
)

if TYPE_CHECKING:
    from modelbay.testing.conformance import FaultProxy as FaultProxy
    from modelbay.testing.conformance import ProviderConformance as ProviderConformance
    from modelbay.testing.conformance import SimulatorTarget as SimulatorTarget
    from modelbay.testing.conformance import Target as Target
    from modelbay.testing.recording import Recorder as Recorder
    from modelbay.testing.recording import Redaction as Redaction
    from modelbay.testing.recording import Replay as Replay
    from modelbay.testing.recording import Replayer as Replayer

__all__ = [
    "ClientGone",
    "Exchange",
    "Fault",
    "FaultProxy",
    "ProviderConformance",
    "Recorder",
    "Redaction",
    "Replay",
    "Replayer",
    "Request",
    "Route",
    "Simulator",
    "SimulatorError",
    "SimulatorTarget",
    "Target",
]

_RECORDING = ("Recorder", "Redaction", "Replay", "Replayer")

if not TYPE_CHECKING:  # a visible one would make a type checker accept any name

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'modelbay.testing' has no attribute {name!r}")
        from importlib import import_module

        part = "recording" if name in _RECORDING else "conformance"
        return getattr(import_module(f"modelbay.testing.{part}"), name)
