"""A child process from llama-swap's side: its state, its start, its stop."""

import asyncio
import math
from collections.abc import Callable
from typing import Literal

from modelbay_llamaswap.simulator.clock import Clock
from modelbay_llamaswap.simulator.gojson import go_seconds
from modelbay_llamaswap.simulator.model import SimulatedModel
from modelbay_llamaswap.simulator.refusal import Refusal
from modelbay_llamaswap.simulator.upstream import Upstream

State = Literal["stopped", "starting", "ready", "stopping", "shutdown"]

_FIRST_CHECK_S = 0.25  # after the command was executed; then once a second


class Aborted(Exception):  # noqa: N818 - an outcome, not a mistake
    """A start ended because somebody stopped it."""


class Process:
    """One model of the configuration and its child, if it has one.

    Attributes:
        starts: How often a start has begun.
        reserved: Requests admitted, waiting or running.
        running: Those that are being proxied.
        last_use: When the last one ended; None since the start if there was none.
        pending: It is about to start, when others have stopped.
        finished: Set by a test to end a load of `math.inf` seconds.
    """

    def __init__(
        self,
        model: SimulatedModel,
        port: int,
        clock: Clock,
        *,
        health_check_timeout_s: float,
        unload_timeout_s: float,
        ttl_s: int,
        log: Callable[[str], None],
        tell: Callable[[str], None],
        started: Callable[[], None],
        state_changed: Callable[[], None],
        changed: Callable[[], None],
        died: Callable[["Process"], None],
    ) -> None:
        self.model = model
        self.command = model.command(port)
        self.proxy = f"http://localhost:{port}"
        self.ttl_s = ttl_s if model.ttl_s is None else model.ttl_s
        self.unload_timeout_s = (
            unload_timeout_s if model.unload_timeout_s is None else model.unload_timeout_s
        )
        self.state: State = "stopped"
        self.starts = 0
        self.reserved = 0
        self.running = 0
        self.last_use: float | None = None
        self.pending = False
        self.finished = asyncio.Event()
        self.upstream: Upstream | None = None
        self.dead = asyncio.Event()  # of the present child
        self._clock = clock
        self._health_check_timeout_s = health_check_timeout_s
        self._write_log = log
        self._tell = tell
        self._started = started
        self._state_changed = state_changed
        self._changed = changed
        self._died = died
        self._listens_at = 0.0
        self._began = 0.0
        self._stopped = asyncio.Event()
        self._coming: asyncio.Future[None] | None = None

    @property
    def limit(self) -> int:
        return self.model.limit

    @property
    def refuses(self) -> bool:
        """Nobody listens behind it although it counts as ready."""
        return self.model.fail == "502" or self._clock.now() < self._listens_at

    def enter(self, state: State) -> None:
        if self.state != state:
            self.state = state
            self._state_changed()

    # start

    async def start(self) -> None:
        """Run the command until the child is healthy.

        Raises:
            Refusal: It did not come up; the state is ``stopped`` again.
            Aborted: It was stopped meanwhile.
        """
        self.starts += 1
        self._started()
        self._began = self._clock.now()
        self.last_use = None
        self.dead = asyncio.Event()
        self._stopped = asyncio.Event()
        self.finished = asyncio.Event()
        self.enter("starting")
        self._coming = asyncio.ensure_future(self._come_up())
        await asyncio.wait([self._coming])
        if self._coming.cancelled():
            raise Aborted
        try:
            self._coming.result()
        except Refusal:
            self._end()
            raise
        self.enter("ready")

    async def _come_up(self) -> None:
        model = self.model
        if model.fail == "nobin":
            program = self.command.split()[0]
            why = f'exec: "{program}": executable file not found in $PATH'
            raise failed(f"failed to start command '{self.command}': {why}", why)
        self._log("I srv  llama_server: initializing ...")
        self._log(f"I srv    load_model: loading model '{model.model_file}'")
        if model.fail == "exit":
            await self._clock.sleep(_FIRST_CHECK_S)
            self._log(f"E srv    load_model: failed to load model, '{model.model_file}'")
            self._log("E srv  llama_server: exiting due to model loading error")
            raise failed("upstream command exited prematurely")
        self.upstream = Upstream(
            model, self._clock, log=self._log, changed=self._changed, died=self._child_died
        )
        if not model.check:
            self._listens_at = self._clock.now() + model.load_s
            return
        await self._checked(model)
        self._log("I srv  llama_server: server is listening")
        self._tell(f"<{model.id}> Health check passed on {self.proxy}/health")

    async def _checked(self, model: SimulatedModel) -> None:
        bound = self._health_check_timeout_s
        if model.fail != "timeout" and model.load_s == math.inf:
            await self.finished.wait()
            return
        late = max(0.0, model.load_s - _FIRST_CHECK_S)
        needed = _FIRST_CHECK_S + math.ceil(late)
        if model.fail == "timeout" or needed > bound + _FIRST_CHECK_S:
            await self._clock.sleep(bound + _FIRST_CHECK_S)
            raise failed(f"health check timed out after {go_seconds(bound)}")
        await self._clock.sleep(needed)

    def _log(self, line: str) -> None:
        """A line of the child, with the time since its start as llama-server writes it."""
        micros = int((self._clock.now() - self._began) * 1e6)
        minutes, rest = divmod(micros, 60_000_000)
        stamp = f"{minutes}.{rest // 1_000_000:02}.{rest // 1000 % 1000:03}.{rest % 1000:03}"
        self._write_log(f"{stamp} {line}\n")

    # end

    async def stop(self, timeout_s: float) -> None:
        """End the child and wait for it; after `timeout_s` it is killed."""
        if self.state == "stopped":
            return
        if self.state == "stopping":
            await self._stopped.wait()
            return
        if self._coming is not None:
            self._coming.cancel()
        self.enter("stopping")
        upstream = self.upstream
        seconds = min(self.model.stop_s, timeout_s)
        if upstream is not None:
            upstream.engine.frozen = True
            upstream.engine.wake()
            if self.model.hang_when_busy and self.running:
                seconds = timeout_s
        if seconds > 0:
            await self._clock.sleep(seconds)
        self._end()

    def kill(self) -> None:
        """The child is gone at once."""
        if self.state in ("ready", "stopping"):
            self._child_died()

    def _child_died(self) -> None:
        self._end()
        self._died(self)

    def _end(self) -> None:
        self.upstream = None
        self._listens_at = 0.0
        self.dead.set()
        self.enter("stopped")
        self._stopped.set()


def failed(why: str, old: str | None = None) -> Refusal:
    """A start that came to nothing."""
    return Refusal(
        500,
        f"unspecific error: {why}",
        old=(502, f"unable to start process: {old or why}"),
    )
