"""Did the server leave out a part of the conversation without saying so? Pure.

A prompt that does not fit the window loses its oldest messages, and the answer comes with status
200 and ``done_reason: stop`` (trap 3). There are two ways to know.

**Asked.** Servers from 0.12.6 on take ``truncate: false`` and refuse such a prompt. So that is what
we send; after a refusal the request is repeated with ``truncate: true`` and the caller is told.
This is exact, needs no estimate, and costs a second request only where something was lost.

**Counted.** Older servers pass over that field, and one that was never seen to refuse may too.
There ``prompt_eval_count``, the tokens that were left after the cut, is the only evidence. How many
bytes make a token is not known: 1.2 in some code, 6 in some prose, and it differs from one
conversation to the next. Used is only what holds whatever it is:

1. *Too few for its bytes.* No text has more than `MOST_BYTES` bytes to a token on average, so fewer
   than bytes / `MOST_BYTES` tokens prove a cut. This alone judges a conversation never seen before.
2. *Too few for its beginning.* A request that begins with all the messages of an earlier one, with
   the same model and tools, has at least the earlier one's tokens, and one for each `MOST_BYTES`
   bytes more. Thinking that was sent back is taken off first, for templates drop it later. A cut
   once found is kept as a lower bound, so all later turns of the conversation are found too.
3. *Too few for its own measure.* Two whole turns of one conversation give its tokens per byte, free
   of what template and tools add; one whole turn gives a lower bound of it, less the least overhead
   ever seen with this model and these tools. If by that measure the prompt is larger than the
   window, and the count lacks more than `SLACK` of what was added, it was cut.

Where the window is known, each rule has to fit it: what is free in the window is less than the
largest message that could have been left out, for the server leaves out no more than it must; or
the last message alone may have been too long, of which about half a window is left. A prompt far
below its window is never called cut, however strange its text.

What the client owes for this to hold: the bytes counted are in every template's prompt (contents
and call arguments; not thinking, images or tool schemas); counts include cached tokens (not so in
0.30.0, where nothing is judged); a beginning is the same only if every byte of it is.

What it cannot do: see the cut of a conversation whose first request is too long already, on a
server before 0.12.6, unless rule 1 does. Byte and token counts of such a request are those of
another conversation that fits, to the byte.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Literal, TypeAlias

import msgspec

from modelbay.models.frozen import JsonObject

MOST_BYTES = 6.5  # bytes to a token, on average over a whole text
SLACK = 0.1  # of the tokens that were added; what the measure may be wrong by
LEVER_BYTES = 256  # two turns nearer to each other give no measure
IMAGE_TOKENS = 4096  # more than any model makes of an image
MOST_PER_MESSAGE = 64  # more tokens than any template puts around a message
PER_MESSAGE = 4  # tokens that templates put around one
LEFT_OF_LAST = 0.4  # of the window, at least, after a last message was cut in its middle
REMEMBERED = 512  # turns, of all conversations with one provider

Verdict: TypeAlias = Literal["whole", "cut", "unsure"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a request makes the server read, as far as a client can measure it.

    The tuples have an entry for each beginning: of one message, of two, up to all.

    Attributes:
        scope: Model and tools; turns of another scope say nothing about this one.
        marks: Equal for equal beginnings of one scope.
        sure: Bytes every template puts into the prompt.
        maybe: Bytes a template may leave out: thinking.
        images: How many.
        droppable: Most tokens that one message the server may leave out can have.
        last: Most tokens of what it must keep: the system messages and the last one.
    """

    scope: bytes
    marks: tuple[bytes, ...]
    sure: tuple[int, ...]
    maybe: tuple[int, ...]
    images: tuple[int, ...]
    droppable: int
    last: int


def measure(scope: str, messages: Sequence[JsonObject], tools: object = None) -> Prompt:
    """Measure the messages as they go on the wire."""
    top = blake2b(msgspec.json.encode([scope, tools]), digest_size=16).digest()
    marks: list[bytes] = []
    mark = top
    sizes: list[tuple[int, int, int]] = []
    for message in messages:
        mark = blake2b(mark + msgspec.json.encode(message), digest_size=16).digest()
        marks.append(mark)
        sizes.append(_sizes(message))
    # The server keeps every system message, and the last message whatever it is.
    bounds = [
        sure + maybe + images * IMAGE_TOKENS + MOST_PER_MESSAGE for sure, maybe, images in sizes
    ]
    kept = [at for at, message in enumerate(messages) if message.get("role") == "system"]
    kept = sorted({*kept, len(messages) - 1} if messages else ())
    return Prompt(
        scope=top,
        marks=tuple(marks),
        sure=tuple(accumulate(size[0] for size in sizes)),
        maybe=tuple(accumulate(size[1] for size in sizes)),
        images=tuple(accumulate(size[2] for size in sizes)),
        droppable=max((b for at, b in enumerate(bounds) if at not in kept), default=0),
        last=sum(bounds[at] for at in kept),
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
        lever: Tokens and bytes of what was added to the conversation in turns without new images;
            its measure. Without the tokens around messages.
    """

    tokens: float
    sure: int
    maybe: int
    images: int
    messages: int
    cut: bool
    lever: tuple[float, int] = (0.0, 0)


class Ledger:
    """The turns one provider has answered lately; bounded, the oldest forgotten first."""

    __slots__ = ("_overheads", "_pictures", "_turns")

    def __init__(self) -> None:
        self._turns: OrderedDict[bytes, _Turn] = OrderedDict()
        self._overheads: OrderedDict[bytes, float] = OrderedDict()
        self._pictures: OrderedDict[bytes, float] = OrderedDict()

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
            last_word: The window cannot be known: a proof counts without it, nothing else does.
        """
        if not prompt.sure or (window is not None and not _fits(prompt, tokens, window)):
            return "whole"
        sure, before = prompt.sure[-1], self._before(prompt)
        proof: Verdict = "unsure" if window is None and not last_word else "cut"
        if tokens < sure / MOST_BYTES:
            return proof
        if before is None:
            return "whole"
        base = before.tokens - before.maybe
        added = sure - before.sure
        if tokens < base + added / MOST_BYTES:
            return proof
        rate = self._rate(prompt.scope, before)
        if asked or rate is None:
            return "whole"
        seen = prompt.images[-1] - before.images
        more = added * rate + seen * self._pictures.get(prompt.scope, 0.0)
        if tokens >= base + (1 - SLACK) * more:
            return "whole"
        if window is None:
            return "whole" if last_word else "unsure"
        return "cut" if base + more > window else "whole"

    def keep(self, prompt: Prompt, tokens: int, verdict: Verdict, window: int | None) -> None:
        """Remember a turn, for the next ones of its conversation.

        Args:
            verdict: ``cut`` keeps what is sure of its true size; ``unsure`` keeps nothing.
        """
        if not prompt.sure or verdict == "unsure":
            return
        sure, maybe, images = prompt.sure[-1], prompt.maybe[-1], prompt.images[-1]
        before = self._before(prompt)
        size = float(tokens)
        if verdict == "cut":
            size = max(size, sure / MOST_BYTES, float(window or 0))
            if before is not None:
                grown = before.tokens - before.maybe + (sure - before.sure) / MOST_BYTES
                size = max(size, grown)
        else:
            least = tokens - sure / MOST_BYTES
            self._overheads[prompt.scope] = min(least, self._overheads.get(prompt.scope, least))
        lever = (0.0, 0)
        if before is not None and verdict == "whole":
            certain = window is not None and not _fits(prompt, tokens, window)
            lever = self._learn(prompt, before, tokens, certain=certain)
        turn = _Turn(size, sure, maybe, images, len(prompt.sure), verdict == "cut", lever)
        self._turns[prompt.marks[-1]] = turn
        self._turns.move_to_end(prompt.marks[-1])
        for kept in (self._turns, self._overheads, self._pictures):
            while len(kept) > REMEMBERED:
                kept.popitem(last=False)

    def _before(self, prompt: Prompt) -> _Turn | None:
        """The longest earlier turn this one begins with; not the same request again."""
        for mark in reversed(prompt.marks[:-1]):
            turn = self._turns.get(mark)
            if turn is not None:
                return turn
        return None

    def _learn(
        self, prompt: Prompt, before: _Turn, tokens: int, *, certain: bool
    ) -> tuple[float, int]:
        """The conversation's lever after one more turn; of an image, what it costs at least.

        Args:
            certain: Nothing can have been left out; else an image that replaced an older message
                would seem to cost nothing.
        """
        added = prompt.sure[-1] - before.sure
        around = PER_MESSAGE * (len(prompt.sure) - before.messages)
        # Thinking may have come or gone; then the step measures nothing.
        if before.cut or prompt.maybe[-1] != before.maybe:
            return before.lever
        text = tokens - before.tokens - around
        images = prompt.images[-1] - before.images
        if not images:
            return before.lever[0] + text, before.lever[1] + added
        if certain and before.lever[1] >= LEVER_BYTES:
            rate = before.lever[0] / before.lever[1]
            each = max(0.0, text - (1 + SLACK) * rate * added) / images
            known = self._pictures.get(prompt.scope, each)
            self._pictures[prompt.scope] = min(known, each)
        return before.lever

    def _rate(self, scope: bytes, turn: _Turn) -> float | None:
        """Tokens per byte in this conversation so far, rather too few; ``None`` is not known."""
        if turn.cut:
            return None
        tokens, size = turn.lever
        if size >= LEVER_BYTES:
            return max(1 / MOST_BYTES, tokens / size)
        overhead = self._overheads.get(scope)
        if overhead is None or not turn.sure:
            return None
        around = PER_MESSAGE * turn.messages + turn.maybe + IMAGE_TOKENS * turn.images
        return max(1 / MOST_BYTES, (turn.tokens - overhead - around) / turn.sure)


def _fits(prompt: Prompt, tokens: int, window: int) -> bool:
    """Whether this count can be what a cut has left in this window."""
    if window - tokens < prompt.droppable:
        return True
    return prompt.last > window and tokens > window * LEFT_OF_LAST
