"""The list of favourites, and what of it is shown. Pure: no SQL, no network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelbay.errors import InvalidRequestError
from modelbay.models.catalog import ModelInfo
from modelbay.refs import ModelRef
from modelbay.state import limits
from modelbay.state.rules import Listing

Favorites = tuple[str, ...]


def checked(favorite: ModelRef | str) -> str:
    """A favourite as it is kept: a composite id (S0-49).

    Raises:
        InvalidRequestError: It is none. Whether there is such a model is not asked.
    """
    text = limits.text("the favourite", str(favorite), limits.MODEL_CHARS)
    provider_id, slash, wire_id = text.partition("/")
    if not (provider_id and slash and wire_id):
        raise InvalidRequestError(
            f"a favourite is written PROVIDER/MODEL, not '{text}'", hint="modelbay models"
        )
    return text


def replaced(kept: Favorites, wanted: Sequence[ModelRef | str]) -> Favorites:
    """The whole list anew. A bare id of old may stay; a new one is refused (S0-51).

    Raises:
        InvalidRequestError: One of them is no composite id, or there are too many.
    """
    known = frozenset(kept)
    texts = (str(each) if str(each) in known else checked(each) for each in wanted)
    found = tuple(dict.fromkeys(texts))
    limits.count("favourites", len(found), limits.FAVORITES)
    return found


def added(kept: Favorites, favorite: ModelRef | str) -> Favorites:
    """With this one at the end; one that is there keeps its place (S0-74).

    Raises:
        InvalidRequestError: It is no composite id, or there are too many.
    """
    return kept if str(favorite) in kept else replaced(kept, (*kept, favorite))


def removed(kept: Favorites, favorite: ModelRef | str) -> Favorites:
    """Without this one; one that is not there is no error."""
    return tuple(each for each in kept if each != str(favorite))


def moved(
    kept: Favorites, favorite: ModelRef | str, before: ModelRef | str | None = None
) -> Favorites:
    """With this one right before another, or at the end.

    Named by its neighbour and not by a number, because the places that a person sees leave out
    the hidden ones.

    Raises:
        InvalidRequestError: One of the two is not among them.
    """
    text, place = str(favorite), None if before is None else str(before)
    for each in (text, place):
        if each is not None and each not in kept:
            raise InvalidRequestError(f"'{each}' is no favourite", hint="modelbay fav list")
    if text == place:
        return kept
    others = removed(kept, text)
    at = len(others) if place is None else others.index(place)
    return (*others[:at], text, *others[at:])


def rewritten(kept: Favorites, rewrites: Mapping[str, str]) -> Favorites:
    """With these replaced; what becomes equal keeps the first place."""
    return tuple(dict.fromkeys(rewrites.get(each, each) for each in kept))


@dataclass(frozen=True, slots=True)
class FavoriteView:
    """Favourites as a picker shows them.

    Attributes:
        shown: Models that are listed and online, in order; each once.
        hidden: The others as they are kept, in order: missing, offline, or a bare id in doubt.
            "n hidden (offline)" is their number (U13).
    """

    shown: tuple[ModelInfo, ...]
    hidden: Favorites


def view(kept: Favorites, listing: Listing) -> FavoriteView:
    """What to show. Nothing is deleted and nothing rewritten (S0-50, S0-51)."""
    shown: dict[str, ModelInfo] = {}
    hidden: list[str] = []
    for text in kept:
        ref, model = listing.ref(text), listing.model(text)
        doubtful = ref is not None and ref.is_legacy_bare and listing.why_ambiguous(text)
        if model is None or doubtful or not listing.is_online(model):
            hidden.append(text)
        else:
            shown.setdefault(str(model.ref), model)
    return FavoriteView(tuple(shown.values()), tuple(hidden))
