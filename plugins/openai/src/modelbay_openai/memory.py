"""What was learned about one server, and how a list from disk brings it back."""

from dataclasses import dataclass, field

from modelbay.context import ProviderContext
from modelbay.models.catalog import ModelInfo
from modelbay.models.frozen import JsonObject
from modelbay.wire.openai_chat import Dialect
from modelbay_openai.dialects import BY_NAME, UNKNOWN, Server


@dataclass(slots=True)
class Memory:
    """Changes with each look.

    Attributes:
        server: Which one answers.
        version: Its version, where it told.
        prefix: What stands before each route; ``None`` until it was found out.
        looked: A look of this host has filled it in.
        dialects: Those in use, by the server's name, its version and whether the user has set a
            limit for answers; the provider's own switches are in them.
    """

    server: Server = UNKNOWN
    version: str | None = None
    prefix: str | None = None
    looked: bool = False
    dialects: dict[tuple[str, str | None, bool], Dialect] = field(default_factory=dict)

    def saw(self, server: Server, version: str | None) -> None:
        """Keep what a look has shown."""
        self.server, self.version, self.looked = server, version, True

    def details(self) -> JsonObject:
        """What a model's entry in the list carries, so that `recall` finds it there."""
        told = {"server": self.server.name, "server_version": self.version}
        found: JsonObject = {name: value for name, value in told.items() if value}
        if self.prefix is not None:
            found["api_prefix"] = self.prefix
        return found

    @property
    def title(self) -> str:
        """The server in words, with its version."""
        return f"{self.server.title} {self.version}" if self.version else self.server.title


def memory(provider: ProviderContext) -> Memory:
    """The memory of this provider."""
    known = provider.memo.get(__name__)
    if not isinstance(known, Memory):
        known = provider.memo[__name__] = Memory()
    return known


def recall(provider: ProviderContext, model: ModelInfo) -> None:
    """Take up what an earlier program found out: its list may be read from disk, without a look."""
    known = memory(provider)
    if known.looked:
        return
    known.server = BY_NAME.get(str(model.details.get("server", "")), known.server)
    version, prefix = model.details.get("server_version"), model.details.get("api_prefix")
    known.version = version if isinstance(version, str) else None
    if isinstance(prefix, str):
        known.prefix = prefix
