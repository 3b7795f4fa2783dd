"""Raw completion and fill-in-the-middle, as they are at the beta address."""

from modelbay.testing.simulator import Exchange
from modelbay_deepseek.simulator.answer import Script
from modelbay_deepseek.simulator.delivery import Envelope, Tokens, send_chunks
from modelbay_deepseek.simulator.knobs import Knobs
from modelbay_deepseek.simulator.prompt import pieces
from modelbay_deepseek.simulator.validation import CALLABLE, LISTED, Body

MOST_TOKENS = 4096


def check(body: Body) -> str | None:
    """Why a completion is refused; ``None`` if it is not."""
    if body.get("model") not in CALLABLE:
        names = ", ".join(LISTED)
        return f"The supported API model names are {names}, but you passed {body.get('model')}."
    if not isinstance(body.get("prompt"), str):
        return "Failed to deserialize the JSON body into the target type: missing field `prompt`"
    if body.get("stream_options") is not None and not body.get("stream"):
        return "stream_options should be set along with stream = true"
    asked = body.get("max_tokens")
    if isinstance(asked, int) and not 1 <= asked <= MOST_TOKENS:
        return f"Invalid max_tokens value, the valid range of max_tokens is [1, {MOST_TOKENS}]"
    return None


async def answer(exchange: Exchange, body: Body, script: Script, knobs: Knobs) -> None:
    """What the model says, whatever stands before and after it."""
    asked = body.get("max_tokens")
    said = pieces(script.text)
    cut = said[: asked if isinstance(asked, int) else MOST_TOKENS]
    reason = "stop" if len(cut) == len(said) else "length"
    prompt = f"{body['prompt']} {body.get('suffix') or ''}".split()
    usage = Tokens(len(prompt), 0, len(cut), None).as_json()
    envelope = Envelope(body["model"], "text_completion")
    if not body.get("stream"):
        whole = envelope.with_choice(text="".join(cut), finish_reason=reason)
        await exchange.json({**whole, "usage": usage})
        return
    chunks = [envelope.with_choice(text=piece, finish_reason=None) for piece in cut]
    last = {**envelope.with_choice(text="", finish_reason=reason), "usage": usage}
    await send_chunks(exchange, [*chunks, last], knobs)
