"""Asking a model what it can do: tiny requests whose answers cannot be right by chance.

What settles nothing is said to have settled nothing; only a server's refusal, or an answer that
ignores what was asked, counts as "cannot". What this side refuses before anything is sent says
nothing of the model.

Tools: a call is required, so text is a "cannot". Where none can be required, since the server has
no ``tool_choice``, the model is left the choice, with something that only a tool can do. A call
then is a "can". Text may be a whim; text a second time, to another such question, is a "cannot":
whoever offers such a model a tool gets nothing from it. The user's own word wins over that.

Vision: two pictures, of whose colours one cannot learn but by looking. To name those of both is a
"can"; to name others of both, or the same ones of both, a "cannot"; one of two settles nothing.
"""

import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from modelbay.closing import closing
from modelbay.errors import (
    BackendError,
    ContextLengthError,
    InvalidRequestError,
    ModelbayError,
    UnsupportedError,
)
from modelbay.host import questions
from modelbay.host.backend import Backend
from modelbay.host.streams import Fold
from modelbay.models.capabilities import Facts, Measurement
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest, ChatResult, user
from modelbay.models.media import EmbedRequest, EmbedResult
from modelbay.refs import ModelRef

MEASURABLE = (
    "tools",
    "json_mode",
    "json_schema",
    "vision",
    "reasoning",
    "embeddings",
    "context_window",
)
TOKENS_LIMIT = 65_536  # what finding out the context may cost, all requests together
_SMALLEST = 256  # tokens; no server is set to less
_CLOSE = 0.02  # how near the largest prompt that fits and the smallest that does not have to be
_OVERHEAD = 64  # tokens of the chat template, at most

_NOT_ASKED = "not asked"
_REFUSED = "refused"
_NOT_ENOUGH = f"{questions.ANSWER_TOKENS} tokens were not enough for an answer"
# Several servers refuse with 500 what their model has no part for, and say so in these words.
_UNSUPPORTED = re.compile(r"\b(not support(ed)?|unsupported)\b", re.IGNORECASE)
Chat = Callable[[ChatRequest], Awaitable[ChatResult]]
Embed = Callable[[EmbedRequest], Awaitable[EmbedResult]]


@dataclass(slots=True)
class Subject:
    """A model that is asked.

    Attributes:
        chat: Asks it, past the refusals that rest on what is believed so far.
        embed: The same for vectors; ``None`` where the kind has none.
        claimed: What is believed so far; where the search for the context begins.
        clock: Seconds since 1970.
        spent: Tokens that finding out the context has cost so far.
        answered: It has answered something, so a failure is one of that question alone.
    """

    ref: ModelRef
    chat: Chat
    embed: Embed | None
    claimed: Facts
    clock: Callable[[], float]
    spent: int = field(default=0, init=False)
    answered: bool = field(default=False, init=False)


def subject_of(
    backend: Backend, info: ModelInfo, clock: Callable[[], float] = time.time
) -> Subject:
    """A listed model as it is asked here.

    What is in question must not be refused on the strength of what is believed, so its hooks see a
    model that can do everything.
    """
    able = {name: True for name in MEASURABLE if name != "context_window"}
    asked = info.model_copy(update={"capabilities": info.capabilities.model_copy(update=able)})

    async def chat(request: ChatRequest) -> ChatResult:
        fold = Fold()
        async with closing(backend.stream_chat(request, asked)) as events:
            async for event in events:
                fold.add(event)
        return fold.result(info.ref)

    async def embed(request: EmbedRequest) -> EmbedResult:
        return await backend.embed(request, asked)

    return Subject(
        ref=info.ref,
        chat=chat,
        embed=embed if backend.offers("embed") else None,
        claimed=Facts(
            context_window=info.capabilities.context_window,
            trained_context=info.capabilities.trained_context,
        ),
        clock=clock,
    )


async def measure(
    subject: Subject, fields: tuple[str, ...], *, tokens_limit: int = TOKENS_LIMIT
) -> AsyncIterator[Measurement]:
    """One measurement for each field, as it is found.

    Raises:
        BackendError: The server cannot be asked at all: not reachable, key refused, no such model.
    """
    for name in fields:
        if name == "embeddings":
            value, evidence = await _embeddings(subject)
        elif name == "context_window":
            value, evidence = await _context(subject, tokens_limit)
        elif name == "reasoning":
            value, evidence = await _reasoning(subject)
        elif name == "tools":
            value, evidence = await _tool_use(subject)
        elif name == "vision":
            value, evidence = await _vision(subject)
        else:
            value, evidence = await _asked(subject, *_QUESTIONS[name])
        yield Measurement(field=name, value=value, evidence=evidence, at=subject.clock())


Finding = tuple[bool | int | None, str]
Judge = Callable[[ChatResult], Finding]


async def _asked(subject: Subject, request: ChatRequest, judge: Judge) -> Finding:
    try:
        answer = await subject.chat(request)
    except (UnsupportedError, BackendError) as exc:
        return _refusal(subject, exc)
    subject.answered = True
    value, evidence = judge(answer)
    # Of an answer that was cut off the end is not known. But whoever thinks does so first.
    has_begun = judge is _thought and bool(answer.text or answer.reasoning)
    if value is False and answer.finish_reason == "length" and not has_begun:
        return None, _NOT_ENOUGH
    return value, evidence


def _refusal(subject: Subject, exc: UnsupportedError | BackendError) -> Finding:
    """What a failure says of the model; it is raised again if nothing can be asked then."""
    if exc.stage == "encode":
        return None, f"{_NOT_ASKED}: {_short(exc)}"
    if isinstance(exc, BackendError):
        if exc.code in ("model_not_found", "authentication_failed", "wrong_server"):
            raise exc
        if exc.status == 404:  # a path that is not there now may be there after an update
            return None, f"not found: {_short(exc)}"
        refuses = isinstance(exc, InvalidRequestError) or exc.status in (400, 415, 422, 501)
        if not refuses and not (exc.status == 500 and _UNSUPPORTED.search(exc.message)):
            if exc.status == 500 and subject.answered:
                return None, f"failed: {_short(exc)}"
            raise exc
    return False, f"{_REFUSED}: {_short(exc)}"


def _short(exc: ModelbayError) -> str:
    return exc.message if len(exc.message) <= 120 else f"{exc.message[:117]}..."


async def _tool_use(subject: Subject) -> Finding:
    """A call is required; where this side cannot require one, the model is left the choice."""
    request, judge = _QUESTIONS["tools"]
    found = await _asked(subject, request, judge)
    if not found[1].startswith(_NOT_ASKED):
        return found
    for choice in (request.model_copy(update={"tool_choice": "auto"}), questions.ONLY_A_TOOL_KNOWS):
        found = await _asked(subject, choice, judge)
        if found[0] is not False or found[1].startswith(_REFUSED):
            return found
    return False, f"asked for what only a tool can do, it did not once in two times: {found[1]}"


def _tools(answer: ChatResult) -> Finding:
    for call in answer.tool_calls:
        try:
            arguments = json.loads(call.arguments)
        except ValueError:
            return False, "called a tool with arguments that are no JSON"
        if call.name in (questions.NOTE.name, questions.METER.name) and isinstance(arguments, dict):
            return True, "called the tool it was offered"
    return False, "answered in text instead of calling the tool"


def _json_mode(answer: ChatResult) -> Finding:
    try:
        value = json.loads(answer.text)
    except ValueError:
        return False, "the answer in JSON mode is no JSON"
    if isinstance(value, dict):
        return True, "the answer in JSON mode is an object"
    return False, "the answer in JSON mode is no object"


def _json_schema(answer: ChatResult) -> Finding:
    try:
        value = json.loads(answer.text)
    except ValueError:
        return False, "the answer is no JSON although a schema was given"
    if value == {"zq7": questions.NUMBER}:
        return True, "the answer follows a schema that the prompt does not tell"
    return False, "the answer does not follow the schema"


async def _vision(subject: Subject) -> Finding:
    named: list[frozenset[str]] = []

    def judge(answer: ChatResult) -> Finding:
        if answer.finish_reason == "length" and not answer.text:
            return None, _NOT_ENOUGH
        words = answer.text.lower()
        named.append(frozenset(colour for colour in questions.COLOURS if colour in words))
        return None, ""

    for picture in questions.PICTURES:
        before = len(named)
        found = await _asked(subject, questions.sight(*picture), judge)
        if len(named) == before:
            return found
    right = [said == set(picture) for said, picture in zip(named, questions.PICTURES, strict=True)]
    if all(right):
        return True, "named the colours of two pictures"
    if named[0] == named[1]:
        return False, "took two pictures, and said the same of both"
    if not any(right):
        return False, "took two pictures, and did not name the colours of either"
    return None, "named the colours of one of two pictures"


async def _reasoning(subject: Subject) -> Finding:
    """Asked for it first, since some think only then; then not, since some refuse to be asked."""
    question = "What is 17 times 23? Think first."
    asked = await _asked(subject, questions.question(question, reasoning_effort="low"), _thought)
    if asked[0]:
        return asked
    unasked = await _asked(subject, questions.question(question), _thought)
    # Not thinking unasked says nothing of a model that could not be asked to.
    return asked if asked[0] is None and not unasked[0] else unasked


def _thought(answer: ChatResult) -> Finding:
    if answer.reasoning:
        return True, "thought before it answered"
    return False, "answered without thinking"


async def _embeddings(subject: Subject) -> Finding:
    if subject.embed is None:
        return False, "its kind makes no embeddings"
    try:
        result = await subject.embed(EmbedRequest(model=subject.ref, input=["one", "two"]))
    except (UnsupportedError, BackendError) as exc:
        if isinstance(exc, BackendError) and exc.status == 500:
            return None, f"failed: {_short(exc)}"
        return _refusal(subject, exc)
    subject.answered = True
    sizes = {len(vector) for vector in result.vectors}
    if len(sizes) == 1 and 0 not in sizes:
        return True, f"gave vectors of {sizes.pop()} numbers"
    return False, "gave vectors of different sizes, or empty ones"


# --- context --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ruler:
    """How many tokens a prompt of so many words is, by the server's own count."""

    per_word: float
    template: float

    def tokens(self, words: int) -> int:
        return int(self.template + words * self.per_word)

    def words(self, tokens: int) -> int:
        return max(1, int((tokens - self.template) / self.per_word))


async def _context(subject: Subject, tokens_limit: int) -> Finding:
    """The largest prompt that is taken whole, by bisection.

    What is claimed is tried first, if that is not too dear, and then whether there is more behind
    it; else prompts grow from small ones. A server that cuts a prompt instead of refusing it is
    caught by the count of tokens it reports: where the count stops growing with the prompt, the
    prompt was cut.
    """
    words = 64
    try:
        read = await _read(subject, words)
    except (UnsupportedError, BackendError) as exc:
        return None, f"even {words} words are not taken: {_refusal(subject, exc)[1]}"
    if read is None:
        return None, "the server does not say how many tokens it read"
    ruler, fits = await _calibrated(subject, words, read)
    search = _Search(subject, ruler, tokens_limit, fits)
    claimed = subject.claimed.context_window or subject.claimed.trained_context
    if claimed is not None and claimed <= tokens_limit // 2:
        near = claimed - min(_OVERHEAD, claimed // 10)
        if await search.takes(near) and not await search.takes(claimed + claimed // 4):
            return claimed, f"a prompt of {search.fits} tokens was read whole"
    while not search.is_near:
        if await search.takes(search.between) is None:
            break
    if search.too_much is None:
        return None, f"at least {search.fits} tokens; more would have cost over {tokens_limit}"
    if search.too_much <= _SMALLEST:
        return None, "prompts of any length are refused"
    value = _rounded(search.fits, search.too_much) if search.is_near else search.fits
    return value, f"{search.fits} tokens were read; of {search.too_much}: {search.why}"


@dataclass(slots=True)
class _Search:
    """What is known of a context.

    Attributes:
        fits: The most tokens that were read whole.
        too_much: The fewest that were not; ``None`` if none is known.
        why: What became of them.
    """

    subject: Subject
    ruler: _Ruler
    tokens_limit: int
    fits: int
    too_much: int | None = None
    why: str = ""

    @property
    def is_near(self) -> bool:
        """The two are so near that it is enough, or that no prompt lies between them."""
        if self.too_much is None:
            return False
        return self.too_much - self.fits <= max(self.fits * _CLOSE, 4 * self.ruler.per_word)

    @property
    def between(self) -> int:
        """The next number of tokens to try."""
        if self.too_much is None:
            return max(2 * self.fits, 8 * _SMALLEST)
        return (self.fits + self.too_much) // 2

    async def takes(self, tokens: int) -> bool | None:
        """Whether such a prompt is read whole; ``None`` if to ask would cost too much."""
        if self.subject.spent + tokens > self.tokens_limit:
            return None
        words = self.ruler.words(tokens)
        expected = self.ruler.tokens(words)
        why = "it was cut without a word"
        try:
            read = await _read(self.subject, words)
        except (ContextLengthError, InvalidRequestError) as exc:
            read, why = None, _short(exc)
        if read is not None and read >= expected * 0.9 - _OVERHEAD:
            self.fits = max(self.fits, read)
            return True
        self.too_much, self.why = min(expected, self.too_much or expected), why
        return False


async def _calibrated(subject: Subject, words: int, read: int) -> tuple[_Ruler, int]:
    """A ruler from two prompts, and the tokens of the longer one that was taken.

    One alone would not tell the template's tokens from those of the words.
    """
    more = 5 * words
    try:
        longer = await _read(subject, more)
    except (ContextLengthError, InvalidRequestError):
        longer = None
    if longer is None or longer <= read:
        return _Ruler(max(read - 1, 1) / words, 0), read
    per_word = (longer - read) / (more - words)
    return _Ruler(per_word, max(0.0, read - words * per_word)), longer


def _rounded(fits: int, too_much: int) -> int:
    """Servers are set to round numbers: a multiple of 256 between the two, if there is one."""
    near = (too_much + _OVERHEAD) // _SMALLEST * _SMALLEST
    return near if near > fits else fits


async def _read(subject: Subject, words: int) -> int | None:
    """How many tokens the server read of a prompt of so many words; 0 if it was cut."""
    request = ChatRequest(
        model=subject.ref, messages=[user("a " * (words - 1) + "a")], max_tokens=1, temperature=0
    )
    answer = await subject.chat(request)  # one that is refused costs nothing
    subject.answered = True
    subject.spent += words if answer.usage is None else answer.usage.input_tokens or words
    if any(notice.code == "truncated" for notice in answer.notices):
        return 0
    return None if answer.usage is None else answer.usage.input_tokens


_QUESTIONS: dict[str, tuple[ChatRequest, Judge]] = {
    "tools": (questions.A_CALL, _tools),
    "json_mode": (questions.AN_OBJECT, _json_mode),
    "json_schema": (questions.BY_SCHEMA, _json_schema),
}
