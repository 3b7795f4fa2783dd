"""What the conformance kit is to test: this plugin, in front of its simulator."""

from collections.abc import Iterator
from contextlib import contextmanager

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import SimulatorTarget, Target, Thinks, Wire

from .simulator import MUSING, SAYS, QuillSimulator, frame

OTHER = "The second desk writes."
WIRE = Wire(
    content_type="application/x-quill",
    text=lambda piece: frame("W", piece),
    end=frame("E", "dry 1 1"),
    length=frame("E", "full 1 1"),
    error=lambda message: frame("B", message),
    ping=frame("-", ""),
)


@contextmanager
def target() -> Iterator[Target]:
    """Two servers that run as long as the block."""
    with QuillSimulator() as first, QuillSimulator(OTHER) as second:
        yield _simulated(first, _simulated(second, None))


def _simulated(server: QuillSimulator, other: SimulatorTarget | None) -> SimulatorTarget:
    return SimulatorTarget(
        plugin="modelbay_quill.plugin",
        config=ProviderConfig(id="desk", kind="quill", base_url=server.base_url),
        model="goose",
        says=server.answer,
        counts=(6, 15),
        endless="fountain",
        thinks=Thinks("raven", MUSING, SAYS),
        wire=WIRE,
        chat_path="/write",
        simulator=server,
        count_loads=lambda: server.dipped,
        other=other,
        cannot={
            "tools": "a pen calls no tools",
            "json_schema": "a pen holds to no schema",
        },
    )
