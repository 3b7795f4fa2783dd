"""What is known of DeepSeek's models without asking: facts, prices, retired ids.

DeepSeek changed this every few weeks in 2026. Each row says when it was read, the model list
overrides it, and a user's own `models` entries override both.
"""

from dataclasses import dataclass

from modelbay.models.capabilities import CapabilityTable, Facts, TableRow
from modelbay_deepseek.prices import FLASH, PRO, Rate, as_fact

FLASH_ID = "deepseek-flash"
PRO_ID = "deepseek-v4-pro"
CONTEXT = 1_048_576
MAX_OUTPUT = 393_216
READ = "api-docs.deepseek.com, models and pricing as of late October 2026"


@dataclass(frozen=True, slots=True)
class Retired:
    """An id that has gone from the model list. An id is a route, not a model.

    Attributes:
        routed: The server still answers under it, with the successor.
        note: How the successor differs, for people who move.
    """

    successor: str
    routed: bool
    note: str


_ENDED = "ended on 24 July 2026"
RETIRED: dict[str, Retired] = {
    "deepseek-chat": Retired(
        FLASH_ID, False, f'{_ENDED}; it did not think: send reasoning_effort "none"'
    ),
    "deepseek-reasoner": Retired(FLASH_ID, False, f"{_ENDED}; the successor thinks by default"),
    "deepseek-v4-flash": Retired(FLASH_ID, True, "rerouted on 10 September 2026"),
    "deepseek-v4-flash-vision-exp": Retired(FLASH_ID, True, "rerouted on 10 September 2026"),
}


def _facts(rate: Rate, *, vision: bool) -> Facts:
    return Facts(
        context_window=CONTEXT,
        max_output_tokens=MAX_OUTPUT,
        prices=as_fact(rate),
        tools=True,
        parallel_tools=True,
        vision=vision,
        reasoning=True,
        json_mode=True,
    )


TABLE = CapabilityTable(
    rows=(
        TableRow(pattern=FLASH_ID, facts=_facts(FLASH, vision=True), evidence=READ),
        # To Pro the server passes an image on as a placeholder text, without an error.
        TableRow(pattern=PRO_ID, facts=_facts(PRO, vision=False), evidence=READ),
        TableRow(
            pattern="deepseek-v4-flash*",
            facts=_facts(FLASH, vision=True),
            evidence=f"{READ}: retired, routed to {FLASH_ID}",
        ),
    ),
    every_model=Facts(
        audio=False,
        json_schema=False,
        embeddings=False,
        rerank=False,
        image_generation=False,
    ),
    every_model_evidence="DeepSeek's chat API has no such endpoint and no json_schema format",
    actions=frozenset({"list", "show", "health", "balance"}),
    hints={
        "running": "modelbay models deepseek   # DeepSeek runs its models itself",
        "load": "modelbay chat   # a hosted model is always ready",
        "unload": "modelbay chat   # a hosted model is always ready",
        "pull": "modelbay models deepseek   # the weights stay with DeepSeek",
        "delete": "modelbay models deepseek   # the list is DeepSeek's own",
        "copy": "modelbay models deepseek   # the list is DeepSeek's own",
        "create": "modelbay models deepseek   # the list is DeepSeek's own",
        "logs": "modelbay chat -v   # shows every request this program makes",
    },
    start_hint="export DEEPSEEK_API_KEY=sk-...",
    server_checks_names=True,
    local=False,
    tls_in_dsn=True,
)
