"""Mirrors modelbay/outbox.py: small writes of one turn go out together, in their order."""

import asyncio

import pytest

from modelbay.outbox import LARGE, Outbox

pytestmark = pytest.mark.anyio


class Wire(asyncio.WriteTransport):
    """One connection; all that were made write into one list."""

    def __init__(self, name: str, sent: list[tuple[str, bytes]]) -> None:
        self._name = name
        self._sent = sent
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._sent.append((self._name, bytes(data)))

    def is_closing(self) -> bool:
        return self.closed


async def test_small_writes_of_several_connections_wait_for_the_end_of_the_turn() -> None:
    sent: list[tuple[str, bytes]] = []
    one, two, outbox = Wire("one", sent), Wire("two", sent), Outbox()

    outbox.write(one, b"a", now=False)
    outbox.write(two, b"b", now=False)
    outbox.write(one, b"c", now=False)
    assert sent == []
    await asyncio.sleep(0)

    assert sent == [("one", b"a"), ("two", b"b"), ("one", b"c")]
    outbox.write(two, b"d", now=False)
    await asyncio.sleep(0)
    assert sent[3:] == [("two", b"d")]


async def test_what_goes_out_now_and_what_is_large_go_after_what_was_written_before() -> None:
    sent: list[tuple[str, bytes]] = []
    one, two, outbox = Wire("one", sent), Wire("two", sent), Outbox()
    large = bytes(LARGE + 1)

    outbox.write(one, b"a", now=False)
    outbox.write(one, b"b", now=True)
    outbox.write(two, b"c", now=False)
    outbox.write(two, large, now=False)

    assert sent == [("one", b"a"), ("one", b"b"), ("two", b"c"), ("two", large)]
    await asyncio.sleep(0)
    assert len(sent) == 4


async def test_nothing_is_written_to_a_connection_that_has_closed_meanwhile() -> None:
    sent: list[tuple[str, bytes]] = []
    one, two, outbox = Wire("one", sent), Wire("two", sent), Outbox()

    outbox.write(one, b"a", now=False)
    outbox.write(two, b"b", now=False)
    one.closed = True
    outbox.flush()
    outbox.flush()
    await asyncio.sleep(0)

    assert sent == [("two", b"b")]


async def test_a_connection_that_cannot_be_written_to_takes_nothing_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Wire):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            raise RuntimeError("it was ended")

        def abort(self) -> None:
            self.closed = True

    sent: list[tuple[str, bytes]] = []
    broken, two, outbox = Broken("one", sent), Wire("two", sent), Outbox()

    outbox.write(broken, b"a", now=False)
    outbox.write(two, b"b", now=False)
    outbox.flush()

    assert (sent, broken.closed) == ([("two", b"b")], True)
    assert caplog.messages == ["a connection cannot be written to"]
