"""What is remembered of one DeepSeek account between two calls. Lives in the provider's memo."""

from dataclasses import dataclass, field

import anyio

from modelbay.context import ProviderContext
from modelbay_deepseek import config
from modelbay_deepseek.kept_reasoning import KeptReasoning

_KEY = "deepseek"


@dataclass(slots=True)
class Memory:
    """What one account's requests leave behind.

    Attributes:
        kept: What the model thought before its tool calls.
        listed: Ids of the last model list.
        told: Ids whose retirement the user has heard of.
        gate: Lets `max_concurrent` requests through at once; ``None`` is open.
    """

    kept: KeptReasoning = field(default_factory=KeptReasoning)
    listed: frozenset[str] = frozenset()
    told: set[str] = field(default_factory=set)
    gate: anyio.Semaphore | None = None


def memory(provider: ProviderContext) -> Memory:
    """The memory of this provider, made at the first call."""
    known = provider.memo.get(_KEY)
    if not isinstance(known, Memory):
        limit = config.options(provider).max_concurrent
        gate = None if limit is None else anyio.Semaphore(limit)
        known = provider.memo[_KEY] = Memory(gate=gate)
    return known
