"""What is known of this kind without asking a server."""

from functools import cache

from modelbay.context import ProviderContext
from modelbay.models.capabilities import CapabilityTable, Facts, TableRow
from modelbay_openai.address import by_host, is_local
from modelbay_openai.config import options
from modelbay_openai.dialects import BY_NAME

_NAMES = "OpenAI's names for the models of this endpoint; no other kind of model is called so"

TABLE = CapabilityTable(
    rows=(
        TableRow(
            pattern="text-embedding-*", facts=Facts(embeddings=True, tools=False), evidence=_NAMES
        ),
        TableRow(
            pattern="dall-e-*", facts=Facts(image_generation=True, tools=False), evidence=_NAMES
        ),
        TableRow(
            pattern="gpt-image-*", facts=Facts(image_generation=True, tools=False), evidence=_NAMES
        ),
    ),
    actions=frozenset({"list", "show", "health"}),
    hints={
        "running": "modelbay models   # shows the state where the server tells it",
        "load": "send a chat, or use the server's own tool, such as lms load MODEL",
        "unload": "use the server's own tool, such as lms unload MODEL",
        "pull": "use the server's own tool, such as lms get MODEL",
        "delete": "use the server's own tool",
        "copy": "use the server's own tool",
        "create": "use the server's own tool",
        "logs": "look at the server's own log",
        "balance": "see the account's page at the service",
    },
    start_hint="lms server start   # or: vllm serve MODEL, koboldcpp MODEL.gguf",
    server_checks_names=False,
    tls_in_dsn=True,
)


def table(provider: ProviderContext) -> CapabilityTable:
    """The table for one server; its address and its entry alone decide. Asks nobody.

    Raises:
        ConfigError: A key of the entry is unknown or of the wrong type.
    """
    chosen = options(provider)
    address = provider.config.base_url
    named = by_host(address) if chosen.server is None else BY_NAME[chosen.server]
    local = is_local(address) if chosen.local is None else chosen.local
    return _table(local, named.names_are_checked)


@cache  # one for all providers of whom it is the same
def _table(local: bool, server_checks_names: bool) -> CapabilityTable:
    return TABLE.model_copy(update={"local": local, "server_checks_names": server_checks_names})
