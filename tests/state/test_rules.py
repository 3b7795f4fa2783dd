"""Mirrors modelbay/state/rules.py: what is remembered of a model, and what it means later."""

import pytest

from modelbay.models.catalog import ProviderEntry
from modelbay.state.records import ConversationModel
from modelbay.state.rules import (
    Normalisation,
    Turn,
    composite,
    conversation_model,
    normalisation,
    resulting,
    turn,
    vanished,
)
from state.catalogs import heard, listed, listing, silent, stale

DESK = heard("desk", "qwen3", listed("desk", "gemma:4b", "gemma"))


# --- turns ----------------------------------------------------------------------------------------


def test_a_request_that_names_a_model_wins_and_is_remembered() -> None:
    """S2-15: a per-turn override takes precedence and is persisted."""
    assert turn("b/two", "a/one") == Turn("b/two", "request", write="b/two")


def test_an_override_is_not_remembered_when_asked_not_to() -> None:
    """U12: ``persist=False`` leaves what was stored."""
    assert turn("b/two", "a/one", persist=False) == Turn("b/two", "request", write=None)


def test_the_same_model_again_is_nothing_to_write() -> None:
    assert turn("a/one", "a/one") == Turn("a/one", "request", write=None)


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_request_without_a_model_uses_the_stored_one_and_clears_nothing(
    nothing: str | None,
) -> None:
    """S2-14, S2-16: model may be omitted; the stored one is used if there is one."""
    assert turn(nothing, "a/one") == Turn("a/one", "conversation", write=None)


def test_without_either_the_defaults_decide() -> None:
    """S2-08: never set is null, and the server resolves with its defaults."""
    assert turn(None, None) == Turn(None, None, write=None)


def test_an_unknown_model_is_remembered_as_any_other() -> None:
    """S2-21: no validation; an unknown model fails when the turn runs."""
    assert turn("no such thing", None) == Turn("no such thing", "request", write="no such thing")


@pytest.mark.parametrize(("model", "result"), [(None, None), ("", None), ("a/b", "a/b")])
def test_null_and_an_empty_string_clear(model: str | None, result: str | None) -> None:
    """S2-06, S2-22: the empty string deletes; HTTP null maps to it."""
    assert resulting(model) == result


# --- what a remembered id means -------------------------------------------------------------------


@pytest.mark.parametrize("stored", ["desk/qwen3", "desk/gemma", "qwen3", "gemma:4b"])
def test_a_listed_model_is_resolvable_by_ref_alias_and_bare_id(stored: str) -> None:
    """S0-14, S0-71: legacy bare ids stay routable, to the default provider (S0-31)."""
    answer = conversation_model("c", stored, listing(DESK), default="desk/qwen3")

    assert answer == ConversationModel(conversation_id="c", model=stored, resolvable=True)


def test_a_conversation_without_a_model_is_resolvable_if_there_is_a_default() -> None:
    """S2-08."""
    with_one = conversation_model("c", None, listing(DESK), default="desk/qwen3")
    without = conversation_model("c", None, listing(), default=None)

    assert with_one == ConversationModel(conversation_id="c", model=None, resolvable=True)
    assert without == ConversationModel(conversation_id="c", model=None, resolvable=False)


@pytest.mark.parametrize("stored", ["desk/gone", "gone", "attic/qwen4", "desk/"])
def test_a_vanished_model_is_not_resolvable_and_the_default_is_offered(stored: str) -> None:
    """S2-21 and U12: a turn error, with `resolvable` and a fallback."""
    answer = conversation_model("c", stored, listing(DESK), default="desk/qwen3")

    assert answer == ConversationModel(
        conversation_id="c", model=stored, resolvable=False, fallback="desk/qwen3"
    )


@pytest.mark.parametrize("stored", ["desk/llama", "attic/llama"])
def test_the_same_model_at_another_provider_is_offered_before_the_default(stored: str) -> None:
    providers = listing(DESK, stale("old", "llama"), heard("lab", "llama"))
    answer = conversation_model("c", stored, providers, default="desk/qwen3")

    assert answer == ConversationModel(
        conversation_id="c", model=stored, resolvable=False, fallback="lab/llama"
    )


@pytest.mark.parametrize("lab", [silent("lab"), stale("lab", "other")])
def test_nobody_knows_about_a_model_whose_provider_does_not_answer(lab: ProviderEntry) -> None:
    providers = listing(DESK, lab)
    answer = conversation_model("c", "lab/llama", providers, default="desk/qwen3")

    assert answer == ConversationModel(
        conversation_id="c", model="lab/llama", resolvable=None, fallback="desk/qwen3"
    )


def test_nobody_knows_about_a_name_that_its_server_would_be_asked_for() -> None:
    providers = listing(heard("cloud", "a"), asked_by_name=("cloud",))

    assert [providers.standing(each) for each in ("cloud/b", "b", "cloud/a", "gone/b")] == [
        "unsure",
        "unsure",
        "listed",
        "gone",
    ]


def test_the_answer_has_the_documents_shape() -> None:
    """S2-05: ``{conversationId, model}``; what we add is additional (S2-04)."""
    answer = conversation_model("c", "desk/qwen3", listing(DESK), default=None)

    assert answer.model_dump(mode="json") == {
        "conversationId": "c",
        "model": "desk/qwen3",
        "resolvable": True,
        "fallback": None,
    }


def test_the_error_of_a_vanished_model_names_the_conversation_and_what_to_type() -> None:
    """S2-21: unknown model is a turn error."""
    error = vanished("c", "desk/gone", listing(DESK), default="desk/qwen3")
    alone = vanished("c", "desk/gone", listing(), default=None)

    assert (error.code, error.model, error.hint) == (
        "unknown_model",
        "desk/gone",
        "modelbay chat -m desk/qwen3",
    )
    assert str(error) == "'desk/gone', the model of conversation 'c', is not there any more"
    assert alone.hint == "modelbay models"


# --- bare ids of old ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "written"),
    [
        ("desk/qwen3", "desk/qwen3"),
        ("qwen3", "desk/qwen3"),
        ("no-such-model", "desk/no-such-model"),
        ("hf.co/u/m:q4", "desk/hf.co/u/m:q4"),
        ("attic/llama", "attic/llama"),
        ("desk/", "desk/"),
    ],
)
def test_new_writes_are_composite_and_nothing_is_validated(named: str, written: str) -> None:
    """S0-13, S0-28, S0-72, S2-21: what may name an absent provider is kept as it is."""
    assert composite(named, listing(heard("desk", "qwen3", "hf.co/u/m:q4"))) == written


def test_without_a_default_provider_a_bare_id_stays_bare() -> None:
    assert composite("qwen3", listing()) == "qwen3"


def test_only_bare_ids_without_a_doubt_are_normalised() -> None:
    """S0-76: on demand; S0-14: the others stay readable."""
    providers = listing(
        heard("desk", "mine", "both", "hf.co/u/m"), heard("lab", "both", "theirs"), stale("x", "z")
    )
    texts = ["mine", "both", "theirs", "nobody", "desk/mine", "hf.co/u/m", "gone/mine", "mine"]

    assert normalisation(texts, providers) == Normalisation(
        rewrites={"mine": "desk/mine", "hf.co/u/m": "desk/hf.co/u/m"},
        kept={
            "both": "'lab' lists it too",
            "theirs": "the default provider 'desk' does not list it",
            "nobody": "the default provider 'desk' does not list it",
            "gone/mine": "the default provider 'desk' does not list it",
        },
    )


def test_a_configured_provider_that_was_never_heard_leaves_a_doubt() -> None:
    """S0-76: it may list the same name."""
    assert normalisation(["qwen3"], listing(DESK, silent("lab"))) == Normalisation(
        rewrites={}, kept={"qwen3": "'lab' has not listed its models"}
    )
    assert normalisation(["qwen3"], listing(DESK, silent("p", implicit=True))) == Normalisation(
        rewrites={"qwen3": "desk/qwen3"}, kept={}
    )


def test_without_a_default_provider_nothing_is_normalised() -> None:
    assert normalisation(["qwen3"], listing()) == Normalisation(
        rewrites={}, kept={"qwen3": "there is no default provider"}
    )
