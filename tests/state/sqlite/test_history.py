"""Mirrors modelbay/state/sqlite/history.py: conversations, their messages, and search."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.errors import ConfigError, InvalidRequestError
from modelbay.models.chat import AudioPart, FilePart, ImagePart, Message, Role, TextPart, user
from modelbay.models.events import ToolCall, Usage
from modelbay.refs import ModelRef
from modelbay.state import limits
from modelbay.state.records import Conversation, Found, NewMessage, Page, StoredMessage
from modelbay.state.sqlite.history import excerpt
from modelbay.state.sqlite.store import SqliteStore

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds since 1970; one more at every look."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path, clock=Clock()) as opened:
        yield opened


def said(text: str, role: Role = "user") -> NewMessage:
    return NewMessage(message=Message(role=role, content=text))


def texts(page: Page[StoredMessage]) -> list[str]:
    return [item.message.text for item in page.items]


# --- conversations --------------------------------------------------------------------------------


async def test_a_conversation_has_title_settings_and_no_model(store: SqliteStore) -> None:
    """S2-23: no `model` on the metadata; it is read on its own."""
    await store.set_conversation_model("c", "desk/qwen3")
    made = await store.create_conversation("c", title="Trees", settings={"temperature": 0.5})

    assert made == Conversation(
        id="c",
        title="Trees",
        settings={"temperature": 0.5},
        messages=0,
        created_at=1002.0,
        updated_at=1002.0,
    )
    assert "model" not in Conversation.model_fields
    assert await store.conversation("c") == made
    assert await store.conversation("other") is None


async def test_each_new_conversation_gets_an_id_of_its_own(store: SqliteStore) -> None:
    ids = {(await store.create_conversation()).id for _ in range(20)}

    assert len(ids) == 20


async def test_making_one_that_is_there_changes_nothing(store: SqliteStore) -> None:
    made = await store.create_conversation("c", title="first")

    assert await store.create_conversation("c", title="second") == made


async def test_a_remembered_model_alone_is_no_conversation(store: SqliteStore) -> None:
    await store.set_conversation_model("c", "desk/qwen3")

    assert (await store.conversations()).items == ()


async def test_title_and_settings_change_apart(store: SqliteStore) -> None:
    await store.create_conversation("c", title="old", settings={"system": "be kind"})
    await store.update_conversation("c", title="new")
    changed = await store.update_conversation("c", settings={})

    assert changed == Conversation(
        id="c", title="new", settings={}, messages=0, created_at=1001.0, updated_at=1003.0
    )
    assert await store.update_conversation("other", title="x") is None


async def test_the_last_used_conversation_comes_first_page_by_page(store: SqliteStore) -> None:
    for name in "abcde":
        await store.create_conversation(name)
    await store.append_messages("b", [said("hello")])
    seen: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = await store.conversations(limit=2, cursor=cursor)
        seen.append([item.id for item in page.items])
        cursor = page.next
        if cursor is None:
            break

    assert seen == [["b", "e"], ["d", "c"], ["a"]]


async def test_conversations_of_the_same_moment_are_each_listed_once(path: Path) -> None:
    async with SqliteStore(path, clock=lambda: 0.1) as store:
        for name in ("a/b", "c", "d"):
            await store.create_conversation(name)
        first = await store.conversations(limit=2)
        second = await store.conversations(limit=2, cursor=first.next)

    assert [item.id for item in (*first.items, *second.items)] == ["d", "c", "a/b"]


async def test_deleting_takes_messages_and_model_along(store: SqliteStore, path: Path) -> None:
    await store.append_messages("c", [said("secret")])
    await store.set_conversation_model("c", "desk/qwen3")

    assert await store.delete_conversation("c") is True
    assert await store.delete_conversation("c") is False
    assert (await store.messages("c")).items == ()
    assert await store.conversation_model("c") is None
    assert (await store.search("secret")).items == ()


# --- messages -------------------------------------------------------------------------------------

WHOLE = Message(
    role="assistant",
    content=[{"type": "text", "text": "a\0b é\u2028🦙"}, {"type": "image", "data": "AAAA"}],  # type: ignore[list-item]
    tool_calls=[ToolCall(id="1", name="look", arguments='{"a": 1}')],
    reasoning="hm",
    name="x",
    opaque={"acme": {"signature": "s"}},
)


async def test_a_message_comes_back_whole_with_who_wrote_it_and_what_it_cost(
    store: SqliteStore,
) -> None:
    usage = Usage(input_tokens=7, output_tokens=5, cached_tokens=2)
    new = NewMessage(message=WHOLE, ref=ModelRef("desk", "org/m:q4"), usage=usage)
    kept = await store.append_messages("c", [said("hi"), new])

    assert kept[1] == StoredMessage(
        position=2,
        message=WHOLE,
        ref=ModelRef("desk", "org/m:q4"),
        usage=usage,
        created_at=1001.0,
    )
    assert (await store.messages("c")).items == kept
    assert await store.conversation("c") == Conversation(
        id="c", messages=2, created_at=1001.0, updated_at=1001.0
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
PARTS = st.one_of(
    st.builds(TextPart, text=st.text()),
    st.builds(ImagePart, data=st.text(max_size=9), media_type=st.text(max_size=9)),
    st.builds(ImagePart, data=st.none(), url=st.text(max_size=9)),
    st.builds(AudioPart, data=st.text(max_size=9), format=st.text(max_size=9)),
    st.builds(FilePart, data=st.text(max_size=9), name=st.none() | st.text(max_size=9)),
)
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(get_args(Role)),
    content=st.text() | st.lists(PARTS, max_size=4),
    tool_calls=st.lists(st.builds(ToolCall, id=st.text(), name=st.text(), arguments=st.text())),
    tool_call_id=st.none() | st.text(),
    name=st.none() | st.text(),
    reasoning=st.none() | st.text(),
    opaque=st.dictionaries(st.text(), st.dictionaries(st.text(), JSON, max_size=3), max_size=2),
)


@given(st.lists(MESSAGES, max_size=3))
def test_every_message_comes_back_as_it_was(messages: list[Message]) -> None:
    async def there_and_back() -> list[Message]:
        async with SqliteStore(None) as store:
            await store.append_messages("c", [NewMessage(message=each) for each in messages])
            return [item.message for item in (await store.messages("c")).items]

    assert asyncio.run(there_and_back()) == messages


async def test_the_last_messages_come_first_page_by_page_each_in_order(store: SqliteStore) -> None:
    await store.append_messages("c", [said(str(number)) for number in range(5)])
    last = await store.messages("c", limit=2)
    middle = await store.messages("c", limit=2, cursor=last.next)
    first = await store.messages("c", limit=2, cursor=middle.next)

    assert [texts(page) for page in (last, middle, first)] == [["3", "4"], ["1", "2"], ["0"]]
    assert first.next is None


async def test_a_page_ends_early_where_it_would_grow_too_large(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAGE_BYTES", 1000)
    await store.append_messages("c", [said(letter * 900) for letter in "abc"])
    page = await store.messages("c")

    assert (texts(page), page.next) == (["c" * 900], "3")


async def test_dropped_positions_are_not_given_out_again(store: SqliteStore) -> None:
    await store.append_messages("c", [said(str(number)) for number in range(4)])

    assert await store.drop_messages("c", after=2) == 2
    assert await store.drop_messages("c", after=2) == 0
    assert [each.position for each in await store.append_messages("c", [said("new")])] == [5]
    assert texts(await store.messages("c")) == ["0", "1", "new"]
    found = await store.conversation("c")
    assert found is not None
    assert found.messages == 3


async def test_messages_and_records_show_no_text_in_their_repr(store: SqliteStore) -> None:
    """Whole prompts never enter a log."""
    await store.create_conversation("c", title="secret", settings={"system": "secret"})
    kept = await store.append_messages("c", [said("secret")])
    shown = (kept, await store.conversation("c"), await store.search("secret"))

    assert "secret" not in repr(shown)


async def test_a_message_of_a_later_version_is_an_error_with_a_hint(
    store: SqliteStore, path: Path
) -> None:
    await store.append_messages("c", [said("hi")])
    file = sqlite3.connect(path)
    with file:
        file.execute("""UPDATE messages SET body = '{"role": "user", "new": 1}'""")
    file.close()
    with pytest.raises(ConfigError, match="message 1 of conversation 'c'") as raised:
        await store.messages("c")

    assert raised.value.hint == "pip install --upgrade modelbay"


# --- limits ---------------------------------------------------------------------------------------


async def test_what_is_too_large_is_refused_whole(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MESSAGES", 3)
    monkeypatch.setattr(limits, "MESSAGE_BYTES", 1000)
    monkeypatch.setattr(limits, "CONVERSATIONS", 1)
    await store.append_messages("c", [said("1"), said("2")])
    with pytest.raises(InvalidRequestError, match="4 messages in one conversation"):
        await store.append_messages("c", [said("3"), said("4")])
    with pytest.raises(InvalidRequestError, match=r"the message has 1[0-9]+ bytes"):
        await store.append_messages("c", [said("3"), NewMessage(message=_picture(1000))])
    with pytest.raises(InvalidRequestError, match="1 conversations are kept already"):
        await store.append_messages("d", [said("1")])
    with pytest.raises(InvalidRequestError, match="201 messages at once"):
        await store.append_messages("c", [said("x")] * 201)
    with pytest.raises(InvalidRequestError, match="surrogate"):
        await store.append_messages("c", [said("\ud800")])
    with pytest.raises(InvalidRequestError, match="the title has 501 characters"):
        await store.update_conversation("c", title="x" * 501)
    with pytest.raises(InvalidRequestError, match="settings"):
        await store.update_conversation("c", settings={"x": "y" * limits.SETTING_BYTES})

    assert texts(await store.messages("c")) == ["1", "2"]
    assert await store.conversation("d") is None


def _picture(size: int) -> Message:
    return user("look", ImagePart(data="A" * size))


@pytest.mark.parametrize("cursor", ["", "x", "1", "/", "-1", "nan", "0x1p+3", "9" * 40, "\ud800"])
async def test_a_cursor_of_ones_own_is_refused_or_means_a_place(
    store: SqliteStore, cursor: str
) -> None:
    await store.append_messages("c", [said("hi")])
    for read in (
        lambda: store.conversations(cursor=cursor),
        lambda: store.messages("c", cursor=cursor),
        lambda: store.search("hi", cursor=cursor),
    ):
        try:
            page: Page[object] = await read()  # type: ignore[assignment]
        except InvalidRequestError:
            continue
        assert page.items == ()


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_page_holds_at_least_one_item(store: SqliteStore, limit: int) -> None:
    with pytest.raises(InvalidRequestError, match="a page of"):
        await store.messages("c", limit=limit)


async def test_a_page_holds_at_most_200_items(store: SqliteStore) -> None:
    for _ in range(2):
        await store.append_messages("c", [said("x")] * 150)

    assert len((await store.messages("c", limit=10**30)).items) == 200


@pytest.mark.parametrize("after", [-1, 2**63])
async def test_only_positions_can_be_dropped(store: SqliteStore, after: int) -> None:
    with pytest.raises(InvalidRequestError):
        await store.drop_messages("c", after=after)


# --- search ---------------------------------------------------------------------------------------


async def test_search_finds_text_whatever_its_capitals_the_last_first(store: SqliteStore) -> None:
    await store.create_conversation("b", title="Birds")
    await store.append_messages("a", [said("An ÄRGER of owls"), said("nothing here")])
    await store.append_messages("b", [said("100% ärger_", "assistant")])

    assert await store.search("Ärger") == Page(
        items=(
            Found(
                conversation_id="b",
                title="Birds",
                position=1,
                role="assistant",
                excerpt="100% ärger_",
                created_at=1003.0,
            ),
            Found(
                conversation_id="a",
                title="",
                position=1,
                role="user",
                excerpt="An ÄRGER of owls",
                created_at=1002.0,
            ),
        )
    )


@pytest.mark.parametrize(
    ("query", "count"), [("%", 1), ("_", 1), ("100%", 1), ("'", 0), ("1_0", 0)]
)
async def test_nothing_in_a_query_is_a_wildcard(store: SqliteStore, query: str, count: int) -> None:
    await store.append_messages("c", [said("100% of_it"), said("another")])

    assert len((await store.search(query)).items) == count


async def test_search_goes_through_all_pages(store: SqliteStore) -> None:
    await store.append_messages("c", [said(f"tree {number}") for number in range(5)])
    seen: list[int] = []
    cursor: str | None = None
    pages = 0
    while True:
        page = await store.search("tree", limit=2, cursor=cursor)
        seen += [item.position for item in page.items]
        cursor, pages = page.next, pages + 1
        if cursor is None:
            break

    assert (seen, pages) == ([5, 4, 3, 2, 1], 3)


async def test_one_search_looks_at_a_bounded_number_of_messages(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SCANNED", 2)
    await store.append_messages("c", [said("owl"), said("x"), said("x"), said("x")])
    empty = await store.search("owl")
    found = await store.search("owl", cursor=empty.next)

    assert (empty.items, empty.next) == ((), "3")
    assert ([item.position for item in found.items], found.next) == ([1], None)


@pytest.mark.parametrize("query", ["", "x" * 201, "\ud800"])
async def test_what_cannot_be_searched_for_is_refused(store: SqliteStore, query: str) -> None:
    with pytest.raises(InvalidRequestError):
        await store.search(query)


async def test_an_empty_history_has_nothing_to_find(store: SqliteStore) -> None:
    assert await store.search("x") == Page(items=())


@given(text=st.text(max_size=400), query=st.text(min_size=1, max_size=20))
def test_an_excerpt_is_one_short_line(text: str, query: str) -> None:
    found = excerpt(f"{text}{query}{text}", query)

    assert len(found) <= limits.EXCERPT_CHARS
    assert "\n" not in found


def test_an_excerpt_shows_the_place_that_matched() -> None:
    found = excerpt("before " * 50 + "THE  PLACE\n" + "after " * 50, "the  place")

    assert "THE PLACE after" in found
    assert (found[0], found[-1]) == ("…", "…")
