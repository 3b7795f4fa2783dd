"""`SqliteStore`: the state store in one file, for any number of processes at once."""

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from types import TracebackType
from typing import Self, TypeVar

from pydantic import JsonValue

from modelbay.errors import InvalidRequestError, ModelbayError
from modelbay.models.frozen import JsonObject
from modelbay.refs import ModelRef
from modelbay.state import favorites, limits, rules
from modelbay.state.favorites import Favorites
from modelbay.state.records import (
    Conversation,
    Found,
    NewMessage,
    Page,
    RememberedModel,
    StoredMessage,
)
from modelbay.state.rules import Turn
from modelbay.state.sqlite import history, models, settings
from modelbay.state.sqlite.database import Database

T = TypeVar("T")


class SqliteStore:
    """Implements `modelbay.state.store.StateStore`.

    Nothing is opened before the first call. SQL runs in one thread of the store's own, never in the
    event loop. Any loop and any thread may call, and after a fork both processes may go on; what
    the other one still waited for is done in the process that asked.

    Args:
        path: The file; ``None`` keeps everything in memory, for this store alone.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(path)
        self._clock = clock
        self._worker: ThreadPoolExecutor | None = None
        self._pid = os.getpid()
        self._end: Future[None] | None = None

    @property
    def where(self) -> str:
        return self._database.where

    # --- favourites and settings -----------------------------------------------------------------

    async def favorites(self) -> Favorites:
        return await self._read(settings.favorites)

    async def set_favorites(self, wanted: Sequence[ModelRef | str]) -> Favorites:
        return await self._write(partial(settings.replace_favorites, wanted=tuple(wanted)))

    async def add_favorite(self, favorite: ModelRef | str) -> Favorites:
        return await self._favorites(partial(favorites.added, favorite=favorite))

    async def remove_favorite(self, favorite: ModelRef | str) -> Favorites:
        return await self._favorites(partial(favorites.removed, favorite=favorite))

    async def move_favorite(
        self, favorite: ModelRef | str, *, before: ModelRef | str | None = None
    ) -> Favorites:
        return await self._favorites(partial(favorites.moved, favorite=favorite, before=before))

    async def rewrite_favorites(self, rewrites: Mapping[str, str]) -> Favorites:
        return await self._favorites(partial(favorites.rewritten, rewrites=dict(rewrites)))

    async def settings(self) -> dict[str, JsonValue]:
        return await self._read(settings.settings)

    async def set_setting(self, name: str, value: JsonValue) -> JsonValue:
        return await self._write(partial(settings.set_setting, name=name, value=value))

    async def set_settings(self, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        return await self._write(partial(settings.set_settings, values=dict(values)))

    # --- the model of a conversation -------------------------------------------------------------

    async def conversation_model(self, conversation_id: str) -> str | None:
        work = partial(models.model, conversation_id=_id(conversation_id))
        return await self._read(work)

    async def set_conversation_model(self, conversation_id: str, model: str | None) -> str | None:
        work = partial(
            models.set_model,
            conversation_id=_id(conversation_id),
            wanted=model,
            now=self._clock(),
        )
        return await self._write(work)

    async def turn(
        self, conversation_id: str, requested: str | None = None, *, persist: bool = True
    ) -> Turn:
        stored = await self.conversation_model(conversation_id)
        decided = rules.turn(requested, stored, persist=persist)
        if decided.write is None:  # most turns; and a read waits for nobody
            return decided
        work = partial(
            models.turn, conversation_id=conversation_id, requested=requested, now=self._clock()
        )
        return await self._write(work)

    async def conversation_models(
        self, *, limit: int = 50, cursor: str | None = None
    ) -> Page[RememberedModel]:
        work = partial(models.remembered, limit=limits.page(limit), cursor=_cursor(cursor))
        return await self._read(work)

    async def models_in_use(self) -> dict[str, int]:
        return await self._read(models.models)

    async def rewrite_conversation_models(self, rewrites: Mapping[str, str]) -> int:
        return await self._write(partial(models.rewrite, rewrites=dict(rewrites)))

    # --- history ---------------------------------------------------------------------------------

    async def create_conversation(
        self,
        conversation_id: str | None = None,
        *,
        title: str = "",
        settings: JsonObject | None = None,
    ) -> Conversation:
        work = partial(
            history.create,
            conversation_id=uuid.uuid4().hex if conversation_id is None else _id(conversation_id),
            title=title,
            kept=settings or {},
            now=self._clock(),
        )
        return await self._write(work)

    async def conversation(self, conversation_id: str) -> Conversation | None:
        work = partial(history.conversation, conversation_id=_id(conversation_id))
        return await self._read(work)

    async def conversations(
        self, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Conversation]:
        work = partial(history.conversations, limit=limits.page(limit), cursor=_cursor(cursor))
        return await self._read(work)

    async def update_conversation(
        self,
        conversation_id: str,
        *,
        title: str | None = None,
        settings: JsonObject | None = None,
    ) -> Conversation | None:
        work = partial(
            history.update,
            conversation_id=_id(conversation_id),
            title=title,
            kept=settings,
            now=self._clock(),
        )
        return await self._write(work)

    async def delete_conversation(self, conversation_id: str) -> bool:
        return await self._write(partial(history.delete, conversation_id=_id(conversation_id)))

    async def append_messages(
        self, conversation_id: str, messages: Sequence[NewMessage]
    ) -> tuple[StoredMessage, ...]:
        limits.count("messages at once", len(messages), limits.APPENDED)
        kept_id, new, now = _id(conversation_id), tuple(messages), self._clock()

        def work() -> tuple[StoredMessage, ...]:
            written = tuple(history.Written(each) for each in new)  # before the file is locked
            return self._database.write(
                partial(history.append, conversation_id=kept_id, written=written, now=now)
            )

        kept = await self._do(work)
        self._keep_log_short()
        return kept

    async def messages(
        self, conversation_id: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page[StoredMessage]:
        work = partial(
            history.messages,
            conversation_id=_id(conversation_id),
            limit=limits.page(limit),
            cursor=cursor,
        )
        return await self._read(work)

    async def drop_messages(self, conversation_id: str, *, after: int) -> int:
        if not 0 <= after < 2**63:
            raise InvalidRequestError(f"there is no position {after}", hint="from 0")
        work = partial(
            history.drop_after,
            conversation_id=_id(conversation_id),
            position=after,
            now=self._clock(),
        )
        return await self._write(work)

    async def search(
        self, query: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Found]:
        limits.text("what to search for", query, limits.QUERY_CHARS)
        work = partial(history.search, query=query, limit=limits.page(limit), cursor=cursor)
        return await self._read(work)

    # --- closing ---------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Finish what has been asked for and close the file. Closing twice is harmless."""
        if self._end is None:
            worker = self._executor()
            self._end = worker.submit(self._database.close)
            worker.shutdown(wait=False)
        # A caller who stops waiting must not leave the file open.
        await asyncio.shield(asyncio.wrap_future(self._end))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- the worker ------------------------------------------------------------------------------

    async def _favorites(self, change: Callable[[Favorites], Favorites]) -> Favorites:
        return await self._write(partial(settings.change_favorites, change=change))

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._do(partial(self._database.read, work))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        result = await self._do(partial(self._database.write, work))
        self._keep_log_short()
        return result

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor(), work)

    def _keep_log_short(self) -> None:
        if self._database.is_checkpoint_due:
            # Nobody waits for it; and one who closes meanwhile does the same.
            with suppress(RuntimeError, ModelbayError):
                self._executor().submit(self._database.checkpoint)

    def _executor(self) -> ThreadPoolExecutor:
        if self._end is not None:
            raise ModelbayError("the state store is closed", hint="open another one")
        if self._worker is None or self._pid != os.getpid():  # a fork leaves threads behind
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="modelbay-state")
            self._pid = os.getpid()
        return self._worker


def _id(conversation_id: str) -> str:
    return limits.text("the conversation's id", conversation_id, limits.CONVERSATION_ID_CHARS)


def _cursor(cursor: str | None) -> str | None:
    return cursor if cursor is None else limits.text("the cursor", cursor, 300, empty=True)
