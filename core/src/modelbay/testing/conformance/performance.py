"""Checks of cost, as ratios and counts: what a turn takes beside the bytes it is made of.

No clock on the wall is read, so a busy machine changes nothing. CPU time is that of this thread; it
is compared with what the kit needs to read the same bytes, or with the plugin's own on less.
"""

import gc
import time
import tracemalloc
from collections.abc import Callable

from modelbay.closing import closing
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Finish
from modelbay.testing.conformance.audit import watched
from modelbay.testing.conformance.bay import Bay, Rule, shown
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.fault import Fault
from modelbay.testing.rechunk import http_answer

PIECES = 1500
WORD = "eight  "
TURNS = 10
_TRIES = 3  # of the noise of a busy machine the least counts


class PerformanceChecks(Kit):
    """The bars are far above what sound plugins need; what they catch is another order of size.

    Attributes:
        cpu_ratio: CPU time of a stream, in times of a bare reading of the same lines.
        growth_ratio: CPU time for four times the pieces, in times of that for one.
        memory_ratio: Memory at its peak, in times of the bytes of the answer.
        connections: Opened for ten turns in a row.
    """

    read = "modelbay/client/http.py: open_stream; modelbay/wire"
    cpu_ratio = 200.0
    growth_ratio = 10.0
    memory_ratio = 12.0
    connections = 3

    async def test_a_stream_costs_little_more_than_its_bytes(self, bay: Bay, rule: Rule) -> None:
        """CPU time of a stream is a small multiple of what reading its bare lines takes."""
        info = await _ready(bay)
        body = _body(bay, PIECES)
        ratio = await _cpu_s(bay, info, body) / min(_bare_s(body) for _ in range(_TRIES))
        rule.holds(ratio < self.cpu_ratio, f"{ratio:.0f} times a bare reading of the same bytes")

    async def test_cost_grows_with_the_answer_alone(self, bay: Bay, rule: Rule) -> None:
        """Four times the pieces take about four times the CPU time, not sixteen times."""
        info = await _ready(bay)
        one = await _cpu_s(bay, info, _body(bay, PIECES))
        four = await _cpu_s(bay, info, _body(bay, 4 * PIECES))
        rule.holds(four / one < self.growth_ratio, f"{four / one:.1f} times for four times as much")

    async def test_memory_is_bounded_by_the_answer(self, bay: Bay, rule: Rule) -> None:
        """A stream holds a small multiple of its answer in memory, however it is cut."""
        info = await _ready(bay)
        body = bay.target.wire.text("0123456789abcdef" * 4096) * 16 + bay.target.wire.end
        gc.collect()
        tracemalloc.start()
        try:
            await _read(bay, info, body, chunk_bytes=16_384)
            ratio = tracemalloc.get_traced_memory()[1] / len(body)
        finally:
            tracemalloc.stop()
        rule.holds(ratio < self.memory_ratio, f"{ratio:.1f} bytes at the peak for each one sent")

    async def test_connections_are_used_again(self, bay: Bay, rule: Rule) -> None:
        """Ten turns in a row do not open ten connections."""
        bay.target.require("address")
        info = await bay.model()
        await bay.chat(info=info)
        with watched() as touched:
            for _ in range(TURNS):
                await bay.chat(info=info)
        opened = [what for what in touched if what.startswith("socket.connect")]
        rule.holds(len(opened) <= self.connections, f"{len(opened)} for {TURNS} turns")

    async def test_a_second_look_costs_no_more_than_the_first(self, bay: Bay, rule: Rule) -> None:
        """Discovery sends a few requests and one for each model at most, and never more later."""
        bay.target.require("requests")
        counts: list[int] = []
        models = 0
        for _ in range(3):
            bay.mark()
            models = len(await bay.backend().discover_models())
            counts.append(len(bay.seen()))
        rule.holds(counts[0] <= 6 + 2 * models, f"{counts[0]} requests for {models} models")
        rule.holds(max(counts) == counts[0], f"look by look: {counts}; {shown(bay.seen())}")


async def _ready(bay: Bay) -> ModelInfo:
    bay.target.require("faults")
    info = await bay.model()
    bay.see_each_chunk()
    await bay.chat(info=info)  # imports and connections it makes late are over now
    return info


def _body(bay: Bay, count: int) -> bytes:
    wire = bay.target.wire
    return wire.text(WORD) * count + wire.end


async def _read(bay: Bay, info: ModelInfo, body: bytes, *, chunk_bytes: int = 512) -> float:
    """CPU seconds of this thread that an answer takes."""
    answer = http_answer(body, content_type=bay.target.wire.content_type, chunk_bytes=chunk_bytes)
    bay.target.arm(Fault(garbage=answer), bay.target.chat_path)
    request, ended = bay.request(), False
    began = time.thread_time()
    async with closing(bay.backend().stream_chat(request, info, None)) as events:
        async for event in events:
            ended = ended or isinstance(event, Finish)
    took_s = time.thread_time() - began
    bay.target.clear()
    assert ended  # other checks tell why not
    return took_s


async def _cpu_s(bay: Bay, info: ModelInfo, body: bytes) -> float:
    return min([await _read(bay, info, body) for _ in range(_TRIES)])


def _bare_s(body: bytes) -> float:
    """CPU seconds for cutting the bytes into lines and looking at each."""
    return _timed(lambda: [line.decode() for line in body.split(b"\n") if line.strip()])


def _timed(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return max(time.thread_time() - began, 1e-5)
