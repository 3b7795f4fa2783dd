"""Mirrors modelbay_gateway/own/kept_settings.py: what another program writes is noticed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2 as httpx
import pytest

from gateway.conftest import Raw, Start
from gateway.own.lab import Lab, events, lab_host
from modelbay.closing import closing
from modelbay.models.catalog import CatalogChange
from modelbay.state import open_store
from modelbay_gateway.limits import Limits
from modelbay_gateway.own.feed import SettingsChange, with_settings
from modelbay_gateway.own.kept_settings import KeptSettings

CHANGE = CatalogChange(type="changed", provider_id="desk", id="desk/a", state="loaded")


@pytest.mark.anyio
async def test_the_first_look_is_no_change_and_each_change_is_one(tmp_path: Path) -> None:
    async with open_store(tmp_path / "state.db") as ours, open_store(tmp_path / "state.db") as fav:
        kept = KeptSettings(ours)
        assert [await kept.look(), await kept.look()] == [False, False]

        await fav.add_favorite("desk/b")

        assert [await kept.look(), await kept.look()] == [True, False]
        await fav.add_favorite("desk/b")  # it is one already
        assert await kept.look() is False


@pytest.mark.anyio
async def test_what_cannot_be_read_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("no database")
    async with open_store(tmp_path / "state.db") as store:
        kept = KeptSettings(store)

        assert [await kept.look(), await kept.look()] == [False, False]
    assert await KeptSettings(None).look() is False


class Stage:
    """What `with_settings` waits for, each of it given by hand."""

    def __init__(self, kept: KeptSettings) -> None:
        self.changes: asyncio.Queue[CatalogChange] = asyncio.Queue()
        self.settings = asyncio.Event()
        self.beats: asyncio.Queue[None] = asyncio.Queue()
        self.found = with_settings(self._changes(), self.settings, kept, self.beats.get)

    async def _changes(self) -> AsyncIterator[CatalogChange]:
        while True:
            yield await self.changes.get()


@pytest.mark.anyio
async def test_one_who_listens_is_told_at_the_next_beat_and_once(tmp_path: Path) -> None:
    async with open_store(tmp_path / "state.db") as ours, open_store(tmp_path / "state.db") as fav:
        kept = KeptSettings(ours)
        await kept.look()
        stage = Stage(kept)
        async with closing(stage.found) as found:
            told = asyncio.ensure_future(anext(found))
            stage.beats.put_nowait(None)
            await fav.add_favorite("desk/b")
            stage.beats.put_nowait(None)
            assert await told == SettingsChange()

            for _ in range(2):
                stage.beats.put_nowait(None)
                stage.changes.put_nowait(CHANGE)
                assert await anext(found) == CHANGE


@pytest.mark.anyio
async def test_what_was_written_here_is_not_told_once_more(tmp_path: Path) -> None:
    async with open_store(tmp_path / "state.db") as ours:
        kept = KeptSettings(ours)
        await kept.look()
        stage = Stage(kept)
        async with closing(stage.found) as found:
            await ours.add_favorite("desk/b")
            stage.settings.set()
            assert await anext(found) == SettingsChange()

            assert await kept.look() is False


def test_a_favourite_of_the_command_line_reaches_those_who_listen(
    start: Start, raw: Raw, tmp_path: Path
) -> None:
    """S0-48: over real sockets, and from a store of its own."""
    store = open_store(tmp_path / "state.db")
    served = start(lab_host(Lab()), store=store, limits=Limits(heartbeat_s=0.02))

    async def add_favourite() -> None:
        async with open_store(tmp_path / "state.db") as fav:
            await fav.add_favorite("desk/b")

    client: httpx.Client = raw(served)
    with client.stream("GET", "/api/events") as first, client.stream("GET", "/api/events") as more:
        listening = [events(first), events(more)]
        assert [next(found)["type"] for found in listening] == ["ready", "ready"]
        asyncio.run(add_favourite())
        for found in listening:
            assert next(each for each in found if each["type"] == "settings")
    assert client.get("/api/settings").json()["favorite_models"] == ["desk/b"]
    served.ask(store.aclose())
