"""Whether an answered request was read whole: the rules of truncation.py, with what is asked for
them.
"""

from modelbay.context import ProviderContext
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Notice
from modelbay_ollama.memory import memory
from modelbay_ollama.residence import known_window, look_at_window
from modelbay_ollama.truncation import Prompt


async def of_loss(
    provider: ProviderContext,
    model: ModelInfo,
    prompt: Prompt,
    tokens: int | None,
    *,
    num_ctx: int | None = None,
    asked: bool = False,
    cut: bool = False,
) -> Notice | None:
    """A notice if the server left out a part of the prompt.

    Args:
        tokens: Of the prompt, as the server counted them.
        num_ctx: What the request asked for.
        asked: The server was asked not to cut.
        cut: It has refused to leave the prompt whole, and was given leave to cut it.
    """
    known = memory(provider)
    window = known_window(provider, model, num_ctx)
    if cut:
        known.refuses = known.refuses or model.origin != "remote"
        if window is None:
            window = await look_at_window(provider, model)
        if tokens is not None:
            known.turns.keep(prompt, tokens, "cut", window)
        return _truncated(tokens, window)
    if tokens is None or known.version == (0, 30, 0):  # it does not count what it had cached
        return None
    # That a server of its age should refuse is no proof that this one does, or its cloud.
    kept = asked and known.refuses and model.origin != "remote"
    verdict = known.turns.judge(prompt, tokens, window, asked=kept)
    if verdict == "unsure":
        window = await look_at_window(provider, model)
        verdict = known.turns.judge(prompt, tokens, window, asked=kept, last_word=window is None)
    known.turns.keep(prompt, tokens, verdict, window)
    return _truncated(tokens, window) if verdict == "cut" else None


def _truncated(tokens: int | None, window: int | None) -> Notice:
    size = "its window" if window is None else f"its window of {window} tokens"
    read = "" if tokens is None else f"; it read {tokens} tokens"
    return Notice(
        "truncated",
        f"the conversation is too long for {size}: the server left out the oldest messages"
        f'{read}. Raise "numCtx", or start a new conversation',
    )
