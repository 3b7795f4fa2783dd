"""Mirrors modelbay/host/select.py."""

import pytest

from modelbay.errors import UnknownModelError
from modelbay.host.select import of_default_provider, of_favorites, order, pick, unknown
from modelbay.models.capabilities import Prices
from modelbay.models.catalog import Catalog, ModelInfo, Problem, ProviderEntry
from pretend import model

FREE = Prices(input_per_mtok=0, output_per_mtok=0)


def entry(id: str, *models: ModelInfo, **fields: object) -> ProviderEntry:
    return ProviderEntry.model_validate(
        {"id": id, "label": id, "kind": "acme", "status": "ok", "models": models, **fields}
    )


def made(name: str, provider: str, *, free: bool = True, **fields: object) -> ModelInfo:
    facts = {
        key: fields.pop(key)
        for key in ("embeddings", "rerank", "image_generation")
        if key in fields
    }
    info = model(name, provider, prices=FREE if free else None, **facts)
    return info.model_copy(update=fields)


def picked(*providers: ProviderEntry, default: str | None = None) -> str:
    catalog = Catalog(providers=providers, default_provider=default)
    return (of_default_provider(catalog) or pick(catalog)).id


# Two providers, the default one last, so that order alone never decides for it.
OTHER = entry("other", made("x", "other"))


@pytest.mark.parametrize(
    ("providers", "chosen"),
    [
        ([OTHER, entry("desk", made("only", "desk"))], "desk/only"),
        (
            [OTHER, entry("desk", made("a", "desk"), made("b", "desk", state="loaded"))],
            "desk/b",
        ),
        (
            [
                OTHER,
                entry(
                    "desk",
                    made("a", "desk", state="loaded"),
                    made("b", "desk", state="loaded"),
                ),
            ],
            "desk/a",
        ),
        # Of several that are not loaded none is the obvious one: any free local model, in order.
        ([OTHER, entry("desk", made("a", "desk"), made("b", "desk"))], "other/x"),
        # The default provider is the user's own choice, so its models may cost something.
        ([OTHER, entry("desk", made("paid", "desk", free=False, origin="remote"))], "desk/paid"),
        ([OTHER, entry("desk")], "other/x"),
        # A model for embeddings alone answers no turn.
        (
            [OTHER, entry("desk", made("e", "desk", embeddings=True), made("a", "desk"))],
            "desk/a",
        ),
        ([OTHER, entry("desk", made("e", "desk", rerank=True))], "other/x"),
        ([OTHER, entry("desk", made("e", "desk", image_generation=True))], "other/x"),
    ],
)
def test_the_default_providers_loaded_or_only_model_answers(
    providers: list[ProviderEntry], chosen: str
) -> None:
    assert picked(*providers, default="desk") == chosen


@pytest.mark.parametrize(
    ("models", "chosen"),
    [
        ([made("a", "p"), made("b", "p")], "p/a"),
        ([made("a", "p"), made("b", "p", state="loaded")], "p/b"),
        ([made("a", "p", state="failed"), made("b", "p")], "p/b"),
        ([made("a", "p", origin="remote"), made("b", "p")], "p/b"),
        ([made("a", "p", free=False), made("b", "p")], "p/b"),
        ([made("a", "p", embeddings=True), made("b", "p")], "p/b"),
        ([made("welcome", "p", origin="stand_in")], "p/welcome"),
    ],
)
def test_else_a_local_model_that_costs_nothing_answers(
    models: list[ModelInfo], chosen: str
) -> None:
    assert picked(entry("desk"), entry("p", *models), default="desk") == chosen
    assert picked(entry("p", *models, made("z", "p", free=False))) == chosen


def test_the_first_favourite_whose_provider_answers_is_chosen() -> None:
    problem = Problem(code="backend_unreachable", message="off")
    gone, embedder, last = made("a", "down"), made("e", "one", embeddings=True), made("b", "one")
    catalog = Catalog(
        providers=(entry("down", gone, problem=problem, status="stale"), entry("one", last))
    )

    assert of_favorites(catalog, [gone, embedder, last]) == last
    assert of_favorites(catalog, [gone]) is None
    assert of_favorites(catalog, []) is None


def test_without_any_the_error_names_what_was_probed() -> None:
    problem = Problem(code="backend_unreachable", message="off")
    catalog = Catalog(
        providers=(
            entry("desk", status="down", problem=problem),
            entry("cloud", made("paid", "cloud", free=False), made("b", "cloud", free=False)),
            entry("one", made("e", "one", embeddings=True)),
            entry("silent", hidden=True),
        )
    )

    with pytest.raises(UnknownModelError) as caught:
        pick(catalog)

    assert str(caught.value) == (
        "no model to answer with; asked desk (down), cloud (2 models), one (1 model)"
    )
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("modelbay doctor")


def test_without_providers_nobody_was_probed() -> None:
    with pytest.raises(UnknownModelError, match="no model to answer with; asked nobody"):
        pick(Catalog())


CATALOG = Catalog(
    providers=(
        entry("desk", made("qwen3.6-35b-a3b", "desk"), made("gemma-4-12b", "desk")),
        entry("cloud", made("deepsea-v4-pro", "cloud")),
    )
)


@pytest.mark.parametrize(
    ("text", "provider_id", "message", "hint"),
    [
        (
            "desk/qwen3.6-35b",
            "desk",
            "unknown model 'desk/qwen3.6-35b'; asked desk (2 models)",
            "did you mean desk/qwen3.6-35b-a3b?",
        ),
        (
            "gemma-4-12",
            None,
            "unknown model 'gemma-4-12'; asked desk (2 models), cloud (1 model)",
            "did you mean desk/gemma-4-12b?",
        ),
        (
            "SEA",
            None,
            "unknown model 'SEA'; asked desk (2 models), cloud (1 model)",
            "did you mean cloud/deepsea-v4-pro?",
        ),
        (
            "zzz",
            None,
            "unknown model 'zzz'; asked desk (2 models), cloud (1 model)",
            "modelbay models",
        ),
    ],
)
def test_an_unknown_model_is_told_what_was_probed_and_what_looks_alike(
    text: str, provider_id: str | None, message: str, hint: str
) -> None:
    error = unknown(text, CATALOG, provider_id)

    assert (str(error), error.hint, error.provider_id, error.model) == (
        message,
        hint,
        provider_id,
        text,
    )


def test_no_more_than_three_names_are_proposed_and_none_twice() -> None:
    models = [made(f"qwen-{size}b", "desk") for size in range(8)]

    hint = unknown("qwen", Catalog(providers=(entry("desk", *models),))).hint

    assert hint is not None
    assert len(hint.split(" or ")) == 3
    assert len(set(hint.removeprefix("did you mean ").rstrip("?").split(" or "))) == 3


def test_the_files_providers_come_first_then_proposals_by_source_and_kind() -> None:
    proposed = [
        ("e", "embedded", "bundled"),
        ("h2", "zeta", "hosted"),
        ("h1", "alpha", "hosted"),
        ("l", "beta", "loopback"),
        ("v2", "zeta", "environment"),
        ("v1", "zeta", "environment"),
        ("v3", "alpha", "environment"),
    ]

    assert order(["z", "a"], proposed) == ["z", "a", "v3", "v1", "v2", "l", "h1", "h2", "e"]
