"""Router mode: one known model and what it is doing."""

import asyncio
from typing import Literal

from modelbay_llamacpp.simulator.engine import Engine
from modelbay_llamacpp.simulator.model import SimulatedModel

State = Literal["unloaded", "loading", "loaded", "sleeping", "downloading", "downloaded"]


class Entry:
    """One known model and its state.

    Attributes:
        engine: There while it is loaded or asleep.
        stopping: Unload has been asked for; the state still says loaded.
        busy: Requests in progress.
        wanted: Requests that wait for it to be loaded. It is not evicted before it has served them:
            two models would throw each other out for ever.
        last_post: When it was last POSTed to; a count, not a time.
        listening: The child accepts connections.
    """

    def __init__(self, model: SimulatedModel, state: State = "unloaded") -> None:
        self.model = model
        self.state: State = state
        self.engine: Engine | None = None
        self.exit_code: int | None = None
        self.stopping = False
        self.listening = False
        self.busy = 0
        self.wanted = 0
        self.last_post = 0
        self.port = 0
        self.load: asyncio.Task[None] | None = None
        self.gate = asyncio.Event()
        self.real = True  # False: a download of something that is not on the hub

    @property
    def running(self) -> bool:
        return self.state in ("loading", "loaded", "sleeping")

    @property
    def down(self) -> bool:
        return self.state == "unloaded"
