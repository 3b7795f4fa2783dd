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
import time
from collections.abc import AsyncIterator, Callable

from modelbay.closing import closing
from modelbay.errors import BackendError, UnsupportedError
from modelbay.host import questions
from modelbay.host.backend import Backend
from modelbay.host.bisection import context
from modelbay.host.streams import Fold
from modelbay.host.subject import NOT_ASKED, REFUSED, Finding, Subject, look_for, refusal, short
from modelbay.models.capabilities import Facts, Measurement
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest, ChatResult
from modelbay.models.media import EmbedRequest, EmbedResult

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

_NOT_ENOUGH = f"{questions.ANSWER_TOKENS} tokens were not enough for an answer"


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
            value, evidence = await context(subject, tokens_limit)
        elif name == "reasoning":
            value, evidence = await _reasoning(subject)
        elif name == "tools":
            value, evidence = await _tool_use(subject)
        elif name == "vision":
            value, evidence = await _vision(subject)
        else:
            value, evidence = await _asked(subject, *_QUESTIONS[name])
        yield Measurement(field=name, value=value, evidence=evidence, at=subject.clock())


Judge = Callable[[ChatResult], Finding]


async def _asked(subject: Subject, request: ChatRequest, judge: Judge) -> Finding:
    try:
        answer = await subject.chat(request)
    except (UnsupportedError, BackendError) as exc:
        await look_for(subject, exc)
        return refusal(subject, exc)
    subject.answered = True
    value, evidence = judge(answer)
    # Of an answer that was cut off the end is not known. But whoever thinks does so first.
    has_begun = judge is _thought and bool(answer.text or answer.reasoning)
    if value is False and answer.finish_reason == "length" and not has_begun:
        return None, _NOT_ENOUGH
    return value, evidence


async def _tool_use(subject: Subject) -> Finding:
    """A call is required; where this side cannot require one, the model is left the choice."""
    request, judge = _QUESTIONS["tools"]
    found = await _asked(subject, request, judge)
    if not found[1].startswith(NOT_ASKED):
        return found
    for choice in (request.model_copy(update={"tool_choice": "auto"}), questions.ONLY_A_TOOL_KNOWS):
        found = await _asked(subject, choice, judge)
        if found[0] is not False or found[1].startswith(REFUSED):
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
            return None, f"failed: {short(exc)}"
        await look_for(subject, exc)
        return refusal(subject, exc)
    subject.answered = True
    sizes = {len(vector) for vector in result.vectors}
    if len(sizes) == 1 and 0 not in sizes:
        return True, f"gave vectors of {sizes.pop()} numbers"
    return False, "gave vectors of different sizes, or empty ones"


_QUESTIONS: dict[str, tuple[ChatRequest, Judge]] = {
    "tools": (questions.A_CALL, _tools),
    "json_mode": (questions.AN_OBJECT, _json_mode),
    "json_schema": (questions.BY_SCHEMA, _json_schema),
}
