"""A simulated model as data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

PIECE_CHARS = 5
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model makes. `arguments` is JSON text, sent exactly as written here."""

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """What one model is and does.

    Attributes:
        id: The wire id.
        answer: What it says; after a tool's result too.
        says: Makes its words of the messages instead.
        listed_as: What lists and descriptions say it is instead; it does what it does all the same.
        thinking: What it thinks first.
        calls: What it calls when the request offers tools.
        json_answer: What it says under a format; "": the smallest value the schema allows.
        endless: It never ends by itself.
        context: Tokens of its context.
        trained: Tokens it was trained for.
        loaded: It is in memory at the start.
        vision: It takes images.
        embeddings, rerank, images: It does this and does not chat.
        prompt_price, completion_price: Dollars per token as text, where the server tells prices.
    """

    id: str
    answer: str = "Hello."
    says: Callable[[Sequence[Mapping[str, object]]], str] | None = None
    listed_as: "SimulatedModel | None" = None
    thinking: str = ""
    calls: Sequence[ToolCall] = ()
    json_answer: str = ""
    endless: bool = False
    context: int = 8192
    trained: int = 131072
    loaded: bool = True
    vision: bool = False
    embeddings: bool = False
    rerank: bool = False
    images: bool = False
    prompt_price: str = "0.0000005"
    completion_price: str = "0.0000015"

    @property
    def shown(self) -> "SimulatedModel":
        """What is told of it."""
        return self.listed_as or self


def pieces(text: str) -> list[str]:
    """A text as it is streamed."""
    return [text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS)]


def count(text: str) -> int:
    """Tokens of a text."""
    return -(-len(text) // _CHARS_PER_TOKEN)
