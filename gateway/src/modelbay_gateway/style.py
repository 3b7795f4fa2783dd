"""How answers are written, where protocols leave it open."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

ReasoningField: TypeAlias = Literal["reasoning_content", "reasoning", "both", "think_tags", "none"]
REASONING_FIELDS: tuple[ReasoningField, ...] = get_args(ReasoningField)


@dataclass(frozen=True, slots=True)
class Style:
    """Choices of one server.

    Attributes:
        reasoning_field: Where OpenAI-style answers carry a model's thinking. ``both`` shows it
            twice in clients that read both names; ``think_tags`` puts it into the text.
    """

    reasoning_field: ReasoningField = "reasoning_content"
