"""What is known of llama-swap without asking one."""

from modelbay.models.capabilities import CapabilityTable, Facts, TableRow

_BY_NAME = "its name; llama-swap's config has no word for it"

TABLE = CapabilityTable(
    # The config can say images, tools, context and rerankers, but not embeddings; and few say any.
    rows=(
        TableRow(
            pattern="*[Rr]erank*",
            facts=Facts(rerank=True, embeddings=False, tools=False),
            evidence=_BY_NAME,
        ),
        TableRow(
            pattern="*[Ee]mbed*",
            facts=Facts(embeddings=True, tools=False),
            evidence=_BY_NAME,
        ),
    ),
    actions=frozenset({"list", "running", "load", "unload", "show", "health", "logs"}),
    hints={
        "pull": "fetch the model's file, then add it under models: in llama-swap's config.yaml",
        "delete": "take the model out of llama-swap's config.yaml",
        "copy": "add another entry, or an alias, to llama-swap's config.yaml",
        "create": "add an entry under models: in llama-swap's config.yaml",
        "balance": "llama-swap costs nothing per token",
    },
    # Unlisted models and aliases are called by name too; an unknown one is refused.
    server_checks_names=True,
    start_hint="llama-swap -config config.yaml -listen 127.0.0.1:8080",
)
