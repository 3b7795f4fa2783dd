"""The search for the longest prompt that a model takes whole."""

from dataclasses import dataclass, field

from modelbay.errors import (
    BackendError,
    BackendUnreachableError,
    ContextLengthError,
    InvalidRequestError,
    StreamInterruptedError,
    UnsupportedError,
)
from modelbay.host.subject import Finding, Subject, look_for, read, refusal, short

_SMALLEST = 256  # tokens; no server is set to less
_CLOSE = 0.02  # how near the largest prompt that fits and the smallest that does not have to be
_EVEN = 0.05  # by how much two prompts' tokens for each word may differ
_OVERHEAD = 64  # tokens of the chat template, at most
_UNEVEN = "not settled, since words are not always as many tokens here"


@dataclass(frozen=True, slots=True)
class _Ruler:
    """How many tokens a prompt of so many words is, by the server's own count.

    Attributes:
        template: Tokens around the words.
        least: Tokens of a word at least, since both counts were whole numbers.
    """

    per_word: float
    template: float
    least: float

    def tokens(self, words: int) -> int:
        return int(self.template + words * self.per_word)

    def words(self, tokens: int) -> int:
        return max(1, int((tokens - self.template) / self.per_word))


async def context(subject: Subject, tokens_limit: int) -> Finding:
    """The largest prompt that is taken whole, by bisection.

    What is claimed is tried first, if that is not too dear, and then whether there is more behind
    it; else prompts grow from small ones. A server that cuts a prompt instead of refusing it is
    caught by the count of tokens it reports: where the count stops growing with the prompt, the
    prompt was cut.

    A prompt that was not taken has no count, so what it has at most is reckoned by the steepest
    count of those that were. Where words are not always as many tokens, that leaves too much room
    for an answer.
    """
    words = 64
    try:
        count = await read(subject, words)
    except (UnsupportedError, BackendError) as exc:
        await look_for(subject, exc)
        return None, f"even {words} words are not taken: {refusal(subject, exc)[1]}"
    if count is None:
        return None, "the server does not say how many tokens it read"
    search = await _calibrated(subject, words, count, tokens_limit)
    claimed = subject.claimed.context_window or subject.claimed.trained_context
    if claimed is not None and claimed <= tokens_limit // 2:
        near = search.ruler.words(claimed - min(_OVERHEAD, claimed // 10))
        above = search.ruler.words(claimed + claimed // 4)
        if (
            await search.takes(near)
            and await search.takes(above) is False
            and await search.holds(claimed)
        ):
            return claimed, f"a prompt of {search.fits} tokens was read whole"
    while not search.is_over:
        if await search.takes(search.between) is None:
            break
    return await search.finding()


@dataclass(slots=True)
class _Search:
    """What is known of a context.

    Prompts are told apart by their words, of which this side knows the number.

    Attributes:
        words: Of the longest prompt that was read whole.
        fits: The most tokens that were read whole.
        counted: The most tokens that were read of any prompt: the context is not smaller.
        steepest: The most tokens of a word, of those that were read whole.
        too_many: Words of the shortest prompt that was not read whole; ``None`` if none is known.
        why: What became of it.
        has_failed: It was not refused: the server failed at it.
        trouble: Why no more can be asked.
    """

    subject: Subject
    ruler: _Ruler
    tokens_limit: int
    words: int
    fits: int
    counted: int = field(init=False)
    steepest: float = field(init=False)
    too_many: int | None = None
    why: str = ""
    has_failed: bool = False
    trouble: str = ""

    def __post_init__(self) -> None:
        self.counted, self.steepest = self.fits, self.ruler.least

    @property
    def too_much(self) -> int | None:
        """The tokens that the shortest prompt that was not read whole has at most."""
        if self.too_many is None:
            return None
        return int(self.ruler.template + self.too_many * self.steepest)

    @property
    def is_over(self) -> bool:
        """The two prompts are so near that it is enough, or that no other lies between them."""
        if self.too_many is None:
            return False
        return self.too_many - self.words <= max(self.words * _CLOSE, 4)

    @property
    def between(self) -> int:
        """The next number of words to try."""
        if self.too_many is None:
            return self.ruler.words(max(2 * self.fits, 8 * _SMALLEST))
        return (self.words + self.too_many) // 2

    async def takes(self, words: int) -> bool | None:
        """Whether so many are read whole; ``None`` if that cannot be asked: see `trouble`."""
        if self.trouble:
            return None
        expected = self.ruler.tokens(words)
        if self.subject.spent + expected > self.tokens_limit:
            self.trouble = f"more would have cost over {self.tokens_limit}"
            return None
        count, why, has_failed = 0, "it was cut without a word", False
        try:
            count = await read(self.subject, words) or 0
        except (ContextLengthError, InvalidRequestError) as exc:
            why = short(exc)
        except (UnsupportedError, BackendError) as exc:
            why, has_failed = short(exc), True
            if not _may_be_its_size(exc) or not await self._still_answers():
                self.trouble = f"a longer prompt then ended in: {why}"
                return None
        self.counted = max(self.counted, count)
        if count and count >= expected * 0.9 - _OVERHEAD:
            self.fits, self.words = max(self.fits, count), max(self.words, words)
            self.steepest = max(self.steepest, (count - self.ruler.template) / words)
            return True
        if self.too_many is None or words < self.too_many:
            self.too_many, self.why, self.has_failed = words, why, has_failed
        return False

    async def holds(self, claimed: int) -> bool:
        """Whether all that was seen agrees with this context."""
        return (
            self.counted <= claimed
            and self.too_much is not None
            and claimed <= self.too_much
            and self._is_even
            and await self._fails_again()
        )

    async def finding(self) -> Finding:
        """What all that was seen comes to; where it does not settle it, no number."""
        least = f"at least {self.counted} tokens"
        if self.trouble or self.too_much is None:
            return None, f"{least}; {self.trouble}"
        if self.too_much <= _SMALLEST:
            return None, "prompts of any length are refused"
        if not self._is_even or self.counted > self.too_much * (1 + _EVEN):
            return None, (
                f"{least}; {_UNEVEN}: {self.words} were read whole, and of {self.too_many}:"
                f" {self.why}"
            )
        if not await self._fails_again():
            return None, f"{least}; of {self.too_much} it failed once: {self.why}"
        value = _rounded(max(self.fits, self.counted), self.too_much)
        return value, f"{self.fits} tokens were read; of {self.too_much}: {self.why}"

    @property
    def _is_even(self) -> bool:
        """Words are as many tokens in one prompt as in another, so that one foretells another."""
        if self.too_many is not None and self.too_many <= self.words:
            return False
        foreseen = self.ruler.template + self.words * self.steepest
        return foreseen - self.fits <= max(_EVEN * self.fits, 4 * self.steepest)

    async def _still_answers(self) -> bool:
        try:
            await read(self.subject, 1)
        except (UnsupportedError, BackendError):
            return False
        return True

    async def _fails_again(self) -> bool:
        """A failure may have had nothing to do with the size; to fail twice has."""
        if not self.has_failed or self.too_many is None:
            return True
        try:
            await read(self.subject, self.too_many)
        except (UnsupportedError, BackendError):
            return await self._still_answers()
        return False


def _may_be_its_size(exc: UnsupportedError | BackendError) -> bool:
    """Whether a server that runs out of memory may fail so; to be busy or at a limit is not that.

    Some answer 500 then, others close the connection.
    """
    if isinstance(exc, BackendUnreachableError | StreamInterruptedError):
        return True
    return isinstance(exc, BackendError) and exc.status in (500, 502)


async def _calibrated(subject: Subject, words: int, count: int, tokens_limit: int) -> _Search:
    """A search with a ruler from two prompts, if the longer one was taken.

    One alone would not tell the template's tokens from those of the words. A few between them show
    whether it is good for others, before any dear one is asked.
    """
    more = 5 * words
    try:
        longer = await read(subject, more)
    except (UnsupportedError, BackendError):  # whatever it is, the search meets it again
        longer = None
    if longer is None or longer <= count:
        per_word = max(count - 1, 1) / words
        return _Search(subject, _Ruler(per_word, 0, per_word), tokens_limit, words, count)
    per_word = (longer - count) / (more - words)
    template = max(0.0, count - words * per_word)
    least = max(0, longer - count - 2) / (more - words)
    search = _Search(subject, _Ruler(per_word, template, least), tokens_limit, more, longer)
    for other in range(2 * words, more, words):
        expected = search.ruler.tokens(other)
        try:
            found = await read(subject, other)
        except (UnsupportedError, BackendError):
            break
        if found is not None and abs(found - expected) > expected * _CLOSE + 2:
            search.trouble = f"{_UNEVEN}: {other} were {found}, not {expected}"
            break
    return search


def _rounded(fits: int, too_much: int) -> int:
    """Servers are set to round numbers: a multiple of 256 between the two, if there is one."""
    near = (too_much + _OVERHEAD) // _SMALLEST * _SMALLEST
    return near if near > fits else fits
