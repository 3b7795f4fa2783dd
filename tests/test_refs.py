"""Mirrors modelbay/refs.py: the grammar of model ids."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from modelbay.errors import UnknownModelError
from modelbay.refs import ModelRef, parse_model_ref

PROVIDERS = ("sam-desktop", "embedding", "deepseek")

provider_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
wire_ids = st.text(min_size=1, max_size=40)


def parse(text: str) -> ModelRef:
    return parse_model_ref(text, default_provider="sam-desktop", known_providers=PROVIDERS)


@given(provider_ids, wire_ids)
@example("desk", "/")
@example("desk", "desk/m")
@example("hf.co", "hf.co/u/m:q4")
def test_a_ref_survives_being_written_and_read(provider_id: str, wire_id: str) -> None:
    """S0-64: one grammar of ids, on which all else stands."""
    ref = ModelRef(provider_id, wire_id)

    read = parse_model_ref(
        str(ref), default_provider="another", known_providers=[provider_id, "another"]
    )

    assert (read, read.is_legacy_bare) == (ref, False)


@given(st.text(min_size=1, max_size=60))
@example("hf.co/u/m:q4")
@example("//")
@example("/m")
def test_what_was_read_once_is_read_the_same_again(text: str) -> None:
    try:
        ref = parse(text)
    except UnknownModelError:
        return

    assert parse(str(ref)) == ref


@given(wire_ids)
def test_an_id_without_a_known_prefix_is_the_wire_id_byte_for_byte(text: str) -> None:
    """S0-30: provider, wire id, and whether it was bare."""
    if text.partition("/")[0] in PROVIDERS and "/" in text:
        return

    ref = parse(text)

    assert (ref.provider_id, ref.wire_id, ref.is_legacy_bare) == ("sam-desktop", text, True)


@pytest.mark.parametrize(
    ("text", "provider_id", "wire_id", "bare"),
    [
        ("sam-desktop/qwen3.6-35b-a3b", "sam-desktop", "qwen3.6-35b-a3b", False),  # S0-29
        ("embedding/gemma-4-12b", "embedding", "gemma-4-12b", False),
        ("deepseek/deepseek-v4-pro", "deepseek", "deepseek-v4-pro", False),
        ("deepseek/a/b:c", "deepseek", "a/b:c", False),  # the first slash alone
        ("deepseek/deepseek/x", "deepseek", "deepseek/x", False),
        ("deepseek//x", "deepseek", "/x", False),
        ("qwen3:8b", "sam-desktop", "qwen3:8b", True),  # S0-31
        ("deepseek", "sam-desktop", "deepseek", True),  # a name is no prefix without a slash
        ("hf.co/u/m:q4", "sam-desktop", "hf.co/u/m:q4", True),  # U10
        (
            "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M",
            "sam-desktop",
            "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M",
            True,
        ),
        ("DeepSeek/x", "sam-desktop", "DeepSeek/x", True),  # ids are compared as they are
        (" deepseek/x", "sam-desktop", " deepseek/x", True),
    ],
)
def test_ids_as_people_write_them(text: str, provider_id: str, wire_id: str, bare: bool) -> None:
    """S0-12, S0-39: identity is explicit; no guess by the look of a name (S0-08).

    A slash makes a prefix only where a provider has that name (S0-11).
    """
    ref = parse(text)

    assert (ref.provider_id, ref.wire_id, ref.is_legacy_bare) == (provider_id, wire_id, bare)


@given(wire_ids)
def test_both_spellings_of_a_model_are_one_key(wire_id: str) -> None:
    bare = ModelRef("desk", wire_id, is_legacy_bare=True)
    composite = ModelRef("desk", wire_id)

    assert bare == composite
    assert len({bare, composite}) == 1
    assert str(bare) == str(composite) == f"desk/{wire_id}"  # new writes are composite (S0-72)


@pytest.mark.parametrize("text", ["", "deepseek/"])
def test_no_model_at_all_is_refused(text: str) -> None:
    with pytest.raises(UnknownModelError):
        parse(text)


def test_a_provider_without_a_model_is_told_how_to_list_its_models() -> None:
    with pytest.raises(UnknownModelError) as caught:
        parse("deepseek/")

    assert (str(caught.value), caught.value.hint) == (
        "'deepseek/' names a provider but no model",
        "modelbay models deepseek",
    )


@given(provider_ids, wire_ids.filter(lambda text: text.isprintable()))
def test_in_json_a_ref_is_its_composite_id(provider_id: str, wire_id: str) -> None:
    ref = ModelRef(provider_id, wire_id)
    adapter = TypeAdapter(ModelRef)

    written = adapter.dump_json(ref)

    assert json.loads(written) == f"{provider_id}/{wire_id}"
    assert adapter.validate_json(written) == ref
    assert adapter.validate_python(ref) is ref


@pytest.mark.parametrize("text", ["m", "/m", "desk/", "", "/"])
def test_json_with_half_a_ref_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="expected provider/model"):
        TypeAdapter(ModelRef).validate_python(text)
