"""Mirrors modelbay/hookspecs.py: the questions, and that each is documented and classified."""

import inspect
from collections.abc import Callable

import pytest

from modelbay import hookspecs
from modelbay.hookspecs import OPTIONAL, REQUIRED


def questions() -> dict[str, Callable[..., object]]:
    return {
        name: function
        for name, function in vars(hookspecs).items()
        if inspect.isfunction(function) and hasattr(function, f"{hookspecs.PROJECT}_spec")
    }


def test_every_hook_is_either_required_or_optional() -> None:
    assert sorted(questions()) == sorted((*REQUIRED, *OPTIONAL))
    assert set(REQUIRED) & set(OPTIONAL) == set()


@pytest.mark.parametrize("name", questions())
def test_a_hook_says_what_it_is_for(name: str) -> None:
    assert len(inspect.getdoc(questions()[name]) or "") > 20
    assert ("Optional" in (inspect.getdoc(questions()[name]) or "")) is (name in OPTIONAL)


@pytest.mark.parametrize("name", questions())
def test_a_hook_has_plain_arguments_and_is_typed(name: str) -> None:
    signature = inspect.signature(questions()[name])

    for argument in signature.parameters.values():
        assert argument.default is argument.empty
        assert argument.kind is argument.POSITIONAL_OR_KEYWORD
        assert argument.annotation is not argument.empty
    assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("name", sorted(set(questions()) - {"default_providers"}))
def test_a_hook_takes_its_provider_first(name: str) -> None:
    assert next(iter(inspect.signature(questions()[name]).parameters)) == "provider"


@pytest.mark.parametrize("name", questions())
def test_the_first_answer_is_the_answer(name: str) -> None:
    assert questions()[name].modelbay_spec["firstresult"] is True  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", questions())
def test_a_hook_is_nobodys_answer_by_itself(name: str) -> None:
    with pytest.raises(NotImplementedError):
        questions()[name](*inspect.signature(questions()[name]).parameters)
