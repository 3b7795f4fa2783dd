"""Did the server leave out a part of the conversation without saying so? Pure.

A prompt that does not fit the window loses its oldest messages, and the answer comes with status
200 and ``done_reason: stop`` (trap 3). There are two ways to know.

**Asked.** Servers from 0.12.6 on take ``truncate: false`` and refuse such a prompt. So that is what
we send; after a refusal the request is repeated with ``truncate: true`` and the caller is told.
This is exact, needs no estimate, and costs a second request only where something was lost.

**Counted.** Older servers pass over that field, and one that was never seen to refuse may too.
There ``prompt_eval_count``, the tokens that were left after the cut, is the only evidence. How many
bytes make a token is not known: 1.2 in some code, 6 in some prose, and it differs from one
conversation to the next. A prompt was cut if its count is

1. *too few for its bytes*: no text has more than `MOST_BYTES` bytes to a token on average. This
   alone judges a conversation never seen before.
2. *too few for its beginning*: a request that begins with all the messages of an earlier one, with
   the same model and tools, has at least the earlier one's tokens, and those of what was added.
   What that is at least the conversation's own whole turns tell, see calibration.py; what an image
   costs, those of all conversations with the model. Thinking that was sent back is taken off first,
   for templates drop it later. A cut once found is kept as a lower bound, so all later turns of the
   conversation are found too.
3. *the window to the token*, where the last message and the system messages may be too long by
   themselves. The server cuts such a prompt in its middle to fill the window. A whole prompt of
   just that size is one in thousands, and loses half of itself with the first word of the answer.

For the first two something more has to fit. What is free in the window is less than the largest
message that could have been left out, for the server leaves out no more than it must. And the whole
prompt may have been too large for the window by the upper bound of what was added. So a prompt far
below its window is never called cut, however strange its text. Servers before 0.10.0 do not tell
the window: there it is taken to be 2048 tokens, their default, or that doubled until every count
seen fits. A count below that of a beginning, or of rule 1, needs no window.

What the client owes for this to hold: the bytes counted are in every template's prompt (contents
and call arguments; not thinking, images or tool schemas); counts include cached tokens (not so in
0.30.0, where nothing is judged); a beginning is the same only if every byte of it is.

What it cannot do. See the cut of a conversation whose first request is too long already, on a
server before 0.12.6, unless rule 1 or 3 does: byte and token counts of such a request are those of
another conversation that fits, to the byte. See that a message was lost which is smaller than what
is uncertain about those that were added: two or three cuts in a hundred. And text that is less even
than `SPREADS` begins with, in a conversation whose earlier turns did not show it, may be taken for
cut when it comes near its window.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Literal, TypeAlias

import msgspec

from modelbay.models.frozen import JsonObject
from modelbay_ollama.calibration import MOST_BYTES, Costs, Rates, Step, rates

REMEMBERED = 512  # turns, of all conversations with one provider
STEPS = 16  # of a conversation that calibrate it: the first and the latest
LEAST_WINDOW = 2048  # the default of servers that do not tell it
WINDOW_GRAIN = 256  # sizes of windows are multiples of it
KEPT_OF_HALF = 32  # more tokens than a server keeps of a prompt's start, beside half a window

Verdict: TypeAlias = Literal["whole", "cut", "unsure"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a request makes the server read, as far as a client can measure it.

    The tuples have an entry for each beginning: of one message, of two, up to all.

    Attributes:
        scope: Model, tools, and whether the Modelfile's system message comes on top; turns of
            another scope say nothing about this one.
        marks: Equal for equal beginnings of one scope.
        sure: Bytes every template puts into the prompt.
        maybe: Bytes a template may leave out: thinking.
        images: How many.
        kept: Of each message, whether the server must keep it: system messages, and the last one.
    """

    scope: bytes
    marks: tuple[bytes, ...]
    sure: tuple[int, ...]
    maybe: tuple[int, ...]
    images: tuple[int, ...]
    kept: tuple[bool, ...]


def measure(scope: str, messages: Sequence[JsonObject], tools: object = None) -> Prompt:
    """Measure the messages as they go on the wire."""
    own_system = bool(messages) and messages[0].get("role") == "system"
    top = blake2b(msgspec.json.encode([scope, tools, own_system]), digest_size=16).digest()
    marks: list[bytes] = []
    mark = top
    sizes: list[tuple[int, int, int]] = []
    for message in messages:
        mark = blake2b(mark + msgspec.json.encode(message), digest_size=16).digest()
        marks.append(mark)
        sizes.append(_sizes(message))
    last = len(messages) - 1
    return Prompt(
        scope=top,
        marks=tuple(marks),
        sure=tuple(accumulate(size[0] for size in sizes)),
        maybe=tuple(accumulate(size[1] for size in sizes)),
        images=tuple(accumulate(size[2] for size in sizes)),
        kept=tuple(at == last or each.get("role") == "system" for at, each in enumerate(messages)),
    )


def _sizes(message: JsonObject) -> tuple[int, int, int]:
    """Bytes that are sure to be read, bytes that may be, and images."""
    sure = _bytes(message.get("content"))
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments")
            # Templates write arguments with or without spaces; the values are in all of them.
            values = arguments.values() if isinstance(arguments, dict) else ()
            sure += _bytes(function.get("name")) + sum(_bytes(value) for value in values)
    images = message.get("images")
    count = len(images) if isinstance(images, list) else 0
    return sure, _bytes(message.get("thinking")), count


def _bytes(value: object) -> int:
    return len(value.encode("utf-8", "replace")) if isinstance(value, str) else 0


@dataclass(frozen=True, slots=True)
class _Turn:
    """A request that was answered.

    Attributes:
        tokens: Of its prompt; of one that was cut, at least so many before the cut.
        steps: What calibrates its conversation.
        largest: Tokens that a message of it that may be left out has at most.
    """

    tokens: float = 0.0
    sure: int = 0
    maybe: int = 0
    images: int = 0
    messages: int = 0
    cut: bool = False
    steps: tuple[Step, ...] = ()
    largest: float = 0.0


_NOTHING = _Turn()


@dataclass(frozen=True, slots=True)
class _View:
    """A prompt beside what is known when its count comes."""

    prompt: Prompt
    before: _Turn
    rates: Rates
    image: tuple[float, float]

    @property
    def base(self) -> float:
        """Tokens of its beginning at least."""
        return self.before.tokens - self.before.maybe

    @property
    def proven(self) -> float:
        """Tokens it has whatever its text."""
        return self.base + (self.prompt.sure[-1] - self.before.sure) / MOST_BYTES

    @property
    def least(self) -> float:
        size, messages, images = self._added
        return self.base + self.rates.least(size, messages) + self.image[0] * images

    @property
    def most(self) -> float:
        """Infinite where nothing bounds it."""
        if self.before.cut or not self.before.messages:
            return float("inf")
        size, messages, images = self._added
        thinking = max(0, self.prompt.maybe[-1] - self.before.maybe)
        text = self.rates.most(size, messages)
        return self.before.tokens + text + self.image[1] * images + thinking

    @property
    def _added(self) -> tuple[int, int, int]:
        prompt, before = self.prompt, self.before
        return (
            prompt.sure[-1] - before.sure,
            len(prompt.sure) - before.messages,
            prompt.images[-1] - before.images,
        )

    def largest(self) -> float:
        """Most tokens of one message that the server may leave out now."""
        kept = self.prompt.kept
        new = (at for at in range(self.before.messages, len(kept)) if not kept[at])
        return max(self.before.largest, max((self._most_of(at) for at in new), default=0.0))

    def largest_new(self, tokens: int) -> float:
        """Most tokens of one message that was added, by the count of the whole prompt."""
        new = range(self.before.messages, len(self.prompt.kept))
        grown = tokens if self.before.cut else tokens - self.before.tokens
        return min(grown, max((self._most_of(at) for at in new), default=0.0))

    def fits(self, tokens: int, window: int) -> bool:
        """Whether this count can be what a cut has left in this window."""
        if tokens + self.largest() > window:
            return True
        half = 0 <= tokens - window / 2 <= KEPT_OF_HALF
        return (half or tokens >= window) and self.last_may_exceed(window)

    def last_may_exceed(self, window: int) -> bool:
        """Whether what the server must keep may be too long by itself.

        It cuts that in its middle then, up to 0.30 to the size of the window, later to about half.
        """
        kept = (self._most_of(at) for at, keep in enumerate(self.prompt.kept) if keep)
        return sum(kept) > window

    def _most_of(self, at: int) -> float:
        size, thinking, images = (
            each[at] - (each[at - 1] if at else 0)
            for each in (self.prompt.sure, self.prompt.maybe, self.prompt.images)
        )
        return self.rates.most(size, 1) + thinking + self.image[1] * images


class Ledger:
    """The turns one provider has answered lately; bounded, the oldest forgotten first."""

    __slots__ = ("_costs", "_turns")

    def __init__(self) -> None:
        self._turns: OrderedDict[bytes, _Turn] = OrderedDict()
        self._costs: OrderedDict[bytes, Costs] = OrderedDict()

    def __len__(self) -> int:
        return len(self._turns)

    def judge(
        self,
        prompt: Prompt,
        tokens: int,
        window: int | None,
        *,
        asked: bool = False,
        last_word: bool = False,
    ) -> Verdict:
        """Whether a prompt of which ``tokens`` were read is whole.

        Args:
            window: The effective one; ``None`` is not known. Then ``unsure`` means that a cut is
                likely, and that the window would decide.
            asked: The server was asked not to cut, and is known to keep to it: then only a proof
                counts.
            last_word: The window cannot be known.
        """
        if not prompt.sure:
            return "whole"
        view = self._view(prompt)
        needed = view.proven if asked else max(view.proven, view.least)
        needed = max(needed, prompt.sure[-1] / MOST_BYTES)
        if window is None:
            if not last_word:
                likely = tokens < needed or tokens % WINDOW_GRAIN == 0
                return "unsure" if likely else "whole"
            if tokens < max(view.base, prompt.sure[-1] / MOST_BYTES):
                return "cut"
            window = self._guess(prompt.scope, tokens)
        if view.most <= window or not view.fits(tokens, window):
            return "whole"
        if tokens < needed:
            return "cut"
        filled = not asked and tokens == window and view.last_may_exceed(window)
        return "cut" if filled else "whole"

    def keep(self, prompt: Prompt, tokens: int, verdict: Verdict, window: int | None) -> None:
        """Remember a turn, for the next ones of its conversation.

        Args:
            verdict: ``cut`` keeps what is sure of its true size; ``unsure`` keeps nothing.
        """
        if not prompt.sure or verdict == "unsure":
            return
        view, costs = self._view(prompt), self._costs[prompt.scope]
        costs.largest = max(costs.largest, tokens)
        window = window or self._guess(prompt.scope, tokens)
        size, steps, largest = float(tokens), view.before.steps, view.before.largest
        if verdict == "cut":
            size = max(size, view.proven, prompt.sure[-1] / MOST_BYTES, float(window))
        else:
            steps = self._steps(view, tokens, certain=not view.fits(tokens, window))
            steps = costs.learn_images(steps)
            view = _View(prompt, view.before, rates(steps, costs), costs.image)
            if not prompt.maybe[-1]:
                text = view.rates.least(prompt.sure[-1], len(prompt.sure))
                rest = tokens - text - costs.image[0] * prompt.images[-1]
                costs.overhead = min(costs.overhead, max(0.0, rest))
            largest = max(largest, view.largest_new(tokens))
        self._turns[prompt.marks[-1]] = _Turn(
            size,
            prompt.sure[-1],
            prompt.maybe[-1],
            prompt.images[-1],
            len(prompt.sure),
            verdict == "cut",
            steps,
            largest,
        )
        self._turns.move_to_end(prompt.marks[-1])
        while len(self._turns) > REMEMBERED:
            self._turns.popitem(last=False)

    def _view(self, prompt: Prompt) -> _View:
        costs = self._costs.setdefault(prompt.scope, Costs())
        self._costs.move_to_end(prompt.scope)
        while len(self._costs) > REMEMBERED:
            self._costs.popitem(last=False)
        before = self._before(prompt)
        return _View(prompt, before, rates(before.steps, costs), costs.image)

    def _before(self, prompt: Prompt) -> _Turn:
        """The longest earlier turn this one begins with; not the same request again."""
        for mark in reversed(prompt.marks[:-1]):
            turn = self._turns.get(mark)
            if turn is not None:
                return turn
        return _NOTHING

    def _guess(self, scope: bytes, tokens: int) -> int:
        """The window of a server that does not tell it."""
        window = LEAST_WINDOW
        while window < max(tokens, self._costs[scope].largest):
            window *= 2
        return window

    def _steps(self, view: _View, tokens: int, *, certain: bool) -> tuple[Step, ...]:
        """What calibrates the conversation after one more whole turn."""
        prompt, before = view.prompt, view.before
        # Thinking may have come or gone; then the step measures nothing.
        if before.cut or prompt.maybe[-1] != before.maybe:
            return before.steps
        grown = tokens - before.tokens
        # Whatever stands at the top of every prompt is in the first count only.
        top = 0.0 if before.messages else self._costs[prompt.scope].overhead
        step = Step(
            grown - top,
            grown,
            prompt.sure[-1] - before.sure,
            len(prompt.sure) - before.messages,
            prompt.images[-1] - before.images,
            certain,
        )
        return (*before.steps[:1], *before.steps[1:][-(STEPS - 2) :], step)
