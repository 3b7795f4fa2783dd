"""What every check has at hand: the target, an open host, and the rule it is about."""

from collections.abc import AsyncIterator, Iterator

import pytest

from modelbay.testing.conformance.bay import Bay, Rule
from modelbay.testing.conformance.target import Target


@pytest.mark.anyio
class Kit:
    """The fixtures. A subclass of the kit overrides `target` and may change the limits.

    Attributes:
        read: Where the rules of a group of checks are written down.
        deadline_s: Seconds the kit gives a request that must run into its deadline.
        patience_s: Seconds a plugin may take for what should happen at once.
    """

    read = "modelbay/hookspecs.py"
    deadline_s = 0.25
    patience_s = 2.0

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"  # the host's

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        """The thing under test; every subclass gives its own."""
        raise NotImplementedError("override the fixture `target` and yield a Target")

    @pytest.fixture
    def rule(self, request: pytest.FixtureRequest) -> Rule:
        name: str = request.function.__name__
        owner = next(cls for cls in type(self).__mro__ if name in vars(cls))
        text = " ".join((request.function.__doc__ or name).split())
        return Rule(name, text, getattr(owner, "read", self.read))

    @pytest.fixture
    async def bay(self, target: Target, anyio_backend: str) -> AsyncIterator[Bay]:
        async with Bay.open(target) as bay:
            yield bay
        target.clear()
