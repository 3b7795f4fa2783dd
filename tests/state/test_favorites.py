"""Mirrors modelbay/state/favorites.py: the list, and what of it is shown."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from modelbay.errors import InvalidRequestError
from modelbay.refs import ModelRef
from modelbay.state import limits
from modelbay.state.favorites import added, checked, moved, removed, replaced, rewritten, view
from modelbay.state.sqlite.store import SqliteStore
from state.catalogs import heard, listed, listing, silent, stale

ABC = ("p/a", "p/b", "p/c")


# --- the list -------------------------------------------------------------------------------------


def test_favourites_are_composite_ids() -> None:
    """S0-49."""
    assert checked(ModelRef("p", "org/m:q4")) == "p/org/m:q4"
    for wrong in ("bare", "/m", "p/", "p/\ud800", "p/\0", "p/" + "m" * limits.MODEL_CHARS):
        with pytest.raises(InvalidRequestError):
            checked(wrong)


def test_insertion_order_is_the_order_and_adding_again_moves_nothing() -> None:
    """S0-74: insertion order is the default."""
    assert added(added(ABC, "p/d"), "p/a") == ("p/a", "p/b", "p/c", "p/d")


def test_removing_what_is_not_there_is_no_error() -> None:
    assert (removed(ABC, ModelRef("p", "b")), removed(ABC, "p/x")) == (("p/a", "p/c"), ABC)


@pytest.mark.parametrize(
    ("favorite", "before", "result"),
    [
        ("p/c", "p/a", ("p/c", "p/a", "p/b")),
        ("p/a", "p/c", ("p/b", "p/a", "p/c")),
        ("p/a", None, ("p/b", "p/c", "p/a")),
        ("p/b", "p/b", ABC),
    ],
)
def test_a_favourite_moves_before_another_or_to_the_end(
    favorite: str, before: str | None, result: tuple[str, ...]
) -> None:
    assert moved(ABC, favorite, before) == result


@pytest.mark.parametrize(("favorite", "before"), [("p/x", None), ("p/a", "p/x")])
def test_only_favourites_move(favorite: str, before: str | None) -> None:
    with pytest.raises(InvalidRequestError, match="'p/x' is no favourite"):
        moved(ABC, favorite, before)


def test_a_bare_favourite_of_old_may_stay_and_a_new_one_is_refused() -> None:
    """S0-51: legacy bare favourites are not supported, and not deleted (S0-50)."""
    assert replaced(("old", "p/a"), ["p/b", "old", "p/b"]) == ("p/b", "old")
    with pytest.raises(InvalidRequestError, match="PROVIDER/MODEL"):
        replaced(("old",), ["old", "new"])


def test_there_is_a_limit_to_favourites() -> None:
    full = tuple(f"p/{number}" for number in range(limits.FAVORITES))

    assert added(full, "p/0") == full
    with pytest.raises(InvalidRequestError, match="1001 favourites"):
        added(full, "p/one-more")


def test_what_becomes_equal_keeps_the_first_place() -> None:
    assert rewritten(("a", "p/b", "p/a"), {"a": "p/a"}) == ("p/a", "p/b")


# --- what is shown --------------------------------------------------------------------------------


def test_missing_and_offline_favourites_are_hidden_and_kept() -> None:
    """S0-50, U13: hidden from the picker, counted, not deleted."""
    kept = ("desk/b", "desk/gone", "down/x", "attic/y", "never/z", "desk/a")
    shown = view(kept, listing(heard("desk", "a", "b"), stale("down", "x"), silent("never")))

    assert [str(model.ref) for model in shown.shown] == ["desk/b", "desk/a"]
    assert shown.hidden == ("desk/gone", "down/x", "attic/y", "never/z")


def test_a_model_shows_once_whatever_it_was_called() -> None:
    """S0-51: on read a bare id counts as its ref where there is no doubt."""
    providers = listing(
        heard("desk", listed("desk", "gemma:4b", "gemma"), "both"), heard("l", "both")
    )
    shown = view(("desk/gemma", "gemma:4b", "desk/gemma:4b", "both"), providers)

    assert [str(model.ref) for model in shown.shown] == ["desk/gemma:4b"]
    assert shown.hidden == ("both",)


def test_a_provider_that_is_busy_loading_is_online() -> None:
    busy = stale("desk", "a").model_copy(update={"status": "loading"})

    assert [model.id for model in view(("desk/a",), listing(busy)).shown] == ["desk/a"]


# --- against a list -------------------------------------------------------------------------------

REFS = st.sampled_from([f"{provider}/{name}" for provider in "pq" for name in ("a", "b:1", "c/d")])


class Favorites(RuleBasedStateMachine):
    """The store against a plain list; now and then it is closed and opened again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.store = SqliteStore(Path(self.folder.name) / "state.db")
        self.model: list[str] = []
        self.answer: tuple[str, ...] = ()

    @rule(ref=REFS)
    def add(self, ref: str) -> None:
        if ref not in self.model:
            self.model.append(ref)
        self.answer = self.runner.run(self.store.add_favorite(ref))

    @rule(ref=REFS)
    def remove(self, ref: str) -> None:
        if ref in self.model:
            self.model.remove(ref)
        self.answer = self.runner.run(self.store.remove_favorite(ref))

    @rule(ref=REFS, before=REFS | st.none())
    def move(self, ref: str, before: str | None) -> None:
        if ref not in self.model or (before is not None and before not in self.model):
            with pytest.raises(InvalidRequestError):
                self.runner.run(self.store.move_favorite(ref, before=before))
            return
        if ref != before:
            self.model.remove(ref)
            place = len(self.model) if before is None else self.model.index(before)
            self.model.insert(place, ref)
        self.answer = self.runner.run(self.store.move_favorite(ref, before=before))

    @rule(refs=st.lists(REFS))
    def replace(self, refs: list[str]) -> None:
        self.model = []
        for ref in refs:
            if ref not in self.model:
                self.model.append(ref)
        self.answer = self.runner.run(self.store.set_favorites(refs))

    @rule(old=REFS, new=REFS)
    def rewrite(self, old: str, new: str) -> None:
        changed = [new if each == old else each for each in self.model]
        self.model = [each for at, each in enumerate(changed) if each not in changed[:at]]
        self.answer = self.runner.run(self.store.rewrite_favorites({old: new}))

    @rule()
    def open_again(self) -> None:
        self.runner.run(self.store.aclose())
        self.store = SqliteStore(Path(self.folder.name) / "state.db")

    @invariant()
    def the_same(self) -> None:
        assert list(self.answer) == self.model
        assert list(self.runner.run(self.store.favorites())) == self.model

    def teardown(self) -> None:
        self.runner.run(self.store.aclose())
        self.runner.close()
        self.folder.cleanup()


TestFavorites = Favorites.TestCase
TestFavorites.settings = settings(max_examples=25, stateful_step_count=20)
