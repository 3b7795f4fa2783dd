"""What every check has at hand: the target, an open host, and the rule it is about."""

from collections.abc import AsyncIterator, Iterator
from types import FunctionType

import pytest

from modelbay.testing.conformance.bay import Bay, Rule
from modelbay.testing.conformance.digest import announce
from modelbay.testing.conformance.target import Target

_OURS = __name__.rpartition(".")[0]
_PAGE = "docs/conformance.md"
_FREE = ("target", "pytestmark")  # what a subclass is there to give


class OverriddenCheckError(TypeError):
    """A check of the kit was replaced, or switched off, by something that is no reasoned xfail."""


@pytest.mark.anyio
class Kit:
    """The fixtures. A subclass of the kit overrides `target` and may change the limits.

    A check may be overridden only to say why it is expected to fail::

        @pytest.mark.xfail(reason="our server sends no usage before 2.0: issue 12")
        async def test_usage_is_told(self, bay: Bay, rule: Rule) -> None:
            await super().test_usage_is_told(bay, rule)

    Attributes:
        read: Where the rules of a group of checks are written down.
        deadline_s: Seconds the kit gives a request that must run into its deadline.
        patience_s: Seconds a plugin may take for what should happen at once.

    Raises:
        OverriddenCheckError: A subclass was made that overrides a check in any other way, or any
            part of the kit but `target` and the limits; classes that are mixed in count too.
    """

    read = "modelbay/hookspecs.py"
    deadline_s = 0.25
    patience_s = 2.0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        strangers = [one for one in cls.__mro__ if one is not object and not _is_ours(one)]
        for stranger in strangers:  # the class itself, and whatever is mixed in
            for name, value in vars(stranger).items():
                _require_allowed(cls, stranger, name, value)
            for mark in _marks(stranger):
                if mark.name in ("skip", "skipif", "xfail"):
                    raise OverriddenCheckError(
                        f"{cls.__name__}: a mark '{mark.name}' on the whole class; mark one check"
                        f" as xfail with a reason, or declare in Target.cannot what is missing"
                    )

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"  # the host's

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _announced(cls, request: pytest.FixtureRequest) -> None:
        announce(request.config, is_check)

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        """The thing under test; every subclass gives its own."""
        raise NotImplementedError("override the fixture `target` and yield a Target")

    @pytest.fixture
    def rule(self, request: pytest.FixtureRequest) -> Rule:
        name: str = request.function.__name__
        owner = _owner(type(self), name) or next(c for c in type(self).__mro__ if name in vars(c))
        own = vars(owner)[name].__doc__ or request.function.__doc__ or name
        read = getattr(owner, "read", self.read)
        if _is_ours(owner):
            read = f"{read}; {_PAGE}#{group_name(owner)}"
        return Rule(name, " ".join(own.split()), read)

    @pytest.fixture
    async def bay(self, target: Target, anyio_backend: str) -> AsyncIterator[Bay]:
        async with Bay.open(target) as bay:
            yield bay
        target.clear()


def group_name(group: type) -> str:
    """``PackagingChecks`` is ``packaging``."""
    return group.__name__.removesuffix("Checks").lower()


def is_check(item: pytest.Item) -> bool:
    """Whether a test is one of the kit's checks, and not one its author added."""
    if not isinstance(item, pytest.Function) or item.cls is None or not issubclass(item.cls, Kit):
        return False
    return _owner(item.cls, item.originalname or item.name) is not None


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith(f"{_OURS}.") and not cls.__module__.endswith(".installed")


def _owner(cls: type, name: str) -> type | None:
    """The group of the kit that has this check, if it is one of the kit's."""
    if not name.startswith("test_"):
        return None
    return next((base for base in cls.__mro__ if name in vars(base) and _is_ours(base)), None)


def _marks(thing: object) -> list[pytest.Mark]:
    """Those put on this very thing."""
    own = getattr(thing, "__dict__", {}).get("pytestmark", [])
    listed = own if isinstance(own, list) else [own]
    found = [mark.mark if isinstance(mark, pytest.MarkDecorator) else mark for mark in listed]
    return [mark for mark in found if isinstance(mark, pytest.Mark)]


def _require_allowed(cls: type, stranger: type, name: str, value: object) -> None:
    """Refuse what replaces a part of the kit; its limits are numbers and may be others."""
    theirs = cls.__mro__[cls.__mro__.index(stranger) + 1 :]
    owner = next((one for one in theirs if name in vars(one) and _is_ours(one)), None)
    if owner is None or name in _FREE or (name.startswith("__") and name.endswith("__")):
        return
    if name.startswith("test_"):
        _require_reasoned_xfail(cls, owner, name, value)
    elif not isinstance(vars(owner)[name], (int, float, str)):
        raise OverriddenCheckError(
            f"{cls.__name__}.{name} replaces a part of the kit ({owner.__name__});"
            f" only `target`, the limits and reasoned xfails are yours. Read: {_PAGE}"
        )


def _require_reasoned_xfail(cls: type, owner: type, name: str, value: object) -> None:
    marks = _marks(value)
    reasons = [str(m.kwargs.get("reason") or "").strip() for m in marks if m.name == "xfail"]
    others = [mark.name for mark in marks if mark.name in ("skip", "skipif")]
    if isinstance(value, FunctionType) and any(reasons) and all(reasons) and not others:
        return
    raise OverriddenCheckError(
        f"{cls.__name__}.{name} replaces a check of the kit ({owner.__name__}). It may only be"
        f' overridden with @pytest.mark.xfail(reason="..."); what the server lacks is declared'
        f" in Target.cannot. Read: {_PAGE}#overriding-a-check"
    )
