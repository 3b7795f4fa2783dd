"""How many tokens text and images make, learned from prompts whose tokens were counted. Pure.

A count says nothing about single messages, but each turn of a conversation adds some and its count
grows by what they cost. Such a step bounds what text costs there: tokens = bytes x rate + messages
x overhead + images x their cost, give or take how uneven the text is. All steps together leave a
range of rates for each overhead, and from that follow bounds of what any other messages cost. The
bounds hold as long as no message is further from its conversation's rate than the spread; where
that is seen not to be so, the spread is widened until it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

MOST_BYTES = 6.5  # bytes to a token, on average over a whole text
IMAGE_TOKENS = 4096  # more than any model makes of an image
OVERHEADS = range(17)  # tokens around a message; each stands for itself and up to one more
MOST_OVERHEAD = 64  # more than that for any template, where nothing is known
SPREADS = (0.07, 0.1, 0.13, 0.2, 0.3, 0.45)  # tried in this order; relative, of tokens per byte
FIRST_SPREAD = 0.1  # at least, as long as one step cannot contradict another
AGREEING = 3  # images before a model is believed to give all of them the same tokens
LEVER_BYTES = 100  # of steps without images, before they tell what the others' images cost


@dataclass(frozen=True, slots=True)
class Step:
    """What was added to a conversation between two counts; of the first count, all of it.

    Attributes:
        least, most: Tokens; they differ where an unknown part may come from elsewhere.
        size: Bytes of text.
        certain: Nothing can have been left out of the prompt that was counted.
        learned: Its images have been counted among those that agree.
    """

    least: float
    most: float
    size: int
    messages: int
    images: int = 0
    certain: bool = False
    learned: bool = False


@dataclass(frozen=True, slots=True)
class Rates:
    """What text may cost in a conversation.

    Attributes:
        rows: An overhead, and with it the least and the most tokens per byte.
        spread: By how much a message may differ.
    """

    rows: tuple[tuple[float, float, float], ...]
    spread: float

    def least(self, size: int, messages: int) -> float:
        """Tokens that so many bytes in so many messages have at least."""
        found = min(
            (1 - self.spread) * low * size + around * messages for around, low, _ in self.rows
        )
        return max(size / MOST_BYTES, found)

    def most(self, size: int, messages: int) -> float:
        return max(
            (1 + self.spread) * high * size + (around + 1) * messages
            for around, _, high in self.rows
        )


ANY = Rates(((0, 1 / MOST_BYTES, 1.0), (MOST_OVERHEAD, 1 / MOST_BYTES, 1.0)), 0.0)


class Costs:
    """What all conversations with one model and one set of tools have in common.

    Attributes:
        overhead: At most so many tokens are added to a prompt by tools and template as a whole.
        largest: Tokens of the largest prompt that was read.
    """

    __slots__ = ("_agreeing", "_bottom", "_high", "_low", "largest", "overhead")

    def __init__(self) -> None:
        self.overhead = math.inf
        self.largest = 0
        self._agreeing = 0
        self._low = 0.0
        self._high = float(IMAGE_TOKENS)
        self._bottom = float(IMAGE_TOKENS)

    @property
    def image(self) -> tuple[float, float]:
        """The least and the most tokens of an image.

        Some models give every image the same, others go by its size. The first is believed once
        several images fit it, until one does not.
        """
        if self._agreeing < AGREEING:
            return 0.0, float(IMAGE_TOKENS)
        if self._low > self._high:
            return self._bottom, float(IMAGE_TOKENS)
        return self._low, self._high

    def learn_images(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        """What the images of a conversation cost, and the steps, marked as learned from.

        A prompt that was cut unnoticed would make its text seem cheap, and so an image dear: only
        certain steps tell the rate. A cut image turn still bounds the image's cost from below.
        """
        text = [step for step in steps if step.certain and not step.images]
        if sum(step.size for step in text) < LEVER_BYTES:
            return tuple(steps)
        known = rates(text, self)
        return tuple(self._learn(step, known) if step.images else step for step in steps)

    def _learn(self, step: Step, known: Rates) -> Step:
        low = (step.least - known.most(step.size, step.messages)) / step.images
        low = max(0.0, low)
        self._low = max(self._low, low)
        self._bottom = min(self._bottom, low)
        if step.certain:
            high = (step.most - known.least(step.size, step.messages)) / step.images
            self._high = min(self._high, high)
        if low and not step.learned:
            self._agreeing += 1
            return replace(step, learned=True)
        return step


def rates(steps: Sequence[Step], costs: Costs) -> Rates:
    """The rates that fit all steps, with the smallest spread that leaves any."""
    for spread in SPREADS:
        if spread < FIRST_SPREAD and len(steps) < 2:
            continue
        rows = [row for around in OVERHEADS if (row := _row(around, steps, costs.image, spread))]
        if rows:
            return Rates(tuple(rows), spread)
    return ANY


def _row(
    around: int, steps: Sequence[Step], image: tuple[float, float], spread: float
) -> tuple[float, float, float] | None:
    low, high = 1 / MOST_BYTES / (1 - spread), 1.0
    for step in steps:
        if step.size:
            least = step.least - image[1] * step.images - (around + 1) * step.messages
            most = step.most - image[0] * step.images - around * step.messages
            low = max(low, least / ((1 + spread) * step.size))
            high = min(high, most / ((1 - spread) * step.size))
    return (around, low, high) if low <= high else None
