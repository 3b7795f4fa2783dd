"""One provider as the host holds it: its configuration, its backend, or why it has none."""

from dataclasses import dataclass

from modelbay.errors import ModelbayError
from modelbay.host.backend import Backend
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.provider import ProviderConfig
from modelbay.resolve import Resolver


@dataclass(slots=True)
class ProviderHandle:
    """A provider of this host.

    Attributes:
        backend: Who answers for it; ``None`` if its kind is not installed or its plugin broken.
        problem: Why there is no backend.
        version: The plugin's.
    """

    config: ProviderConfig
    backend: Backend | None = None
    resolver: Resolver | None = None
    problem: ModelbayError | None = None
    version: str = ""

    @property
    def id(self) -> str:
        return self.config.id

    @property
    def kind(self) -> str:
        return self.config.kind if self.backend is None else self.backend.kind

    @property
    def table(self) -> CapabilityTable | None:
        return None if self.backend is None else self.backend.table

    def require(self) -> Backend:
        """The backend.

        Raises:
            ModelbayError: The problem, where there is none.
        """
        if self.backend is None:
            assert self.problem is not None  # one of the two is always there
            raise self.problem.with_traceback(None)  # raised again and again; must not grow
        return self.backend
