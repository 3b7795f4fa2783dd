"""Asking a model what it can do: tiny requests whose answers cannot be right by chance.

What settles nothing is said to have settled nothing; only a server's refusal, or an answer that
ignores what was asked, counts as "cannot". What this side refuses before anything is sent says
nothing of the model.
"""

import base64
import json
import struct
import time
import zlib
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
from modelbay.host.backend import Backend
from modelbay.host.streams import Fold
from modelbay.models.capabilities import Facts, Measurement
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import (
    ChatRequest,
    ChatResult,
    ImagePart,
    JsonMode,
    JsonSchema,
    Tool,
    user,
)
from modelbay.models.frozen import JsonObject
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
ANSWER_TOKENS = 512  # room for a model that thinks before it answers
_SMALLEST = 256  # tokens; no server is set to less
_CLOSE = 1.02  # the largest prompt that fits and the smallest that does not are this near
_OVERHEAD = 64  # tokens of the chat template, at most

_NOT_ASKED = "not asked"
_NUMBER = 4619  # nothing in a prompt leads to it but the request to say it
_TOOL = Tool(
    name="note_number",
    description="Write a number down.",
    parameters={
        "type": "object",
        "properties": {"number": {"type": "integer"}},
        "required": ["number"],
    },
)
_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"zq7": {"type": "integer", "enum": [_NUMBER]}},
    "required": ["zq7"],
    "additionalProperties": False,
}

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
    """

    ref: ModelRef
    chat: Chat
    embed: Embed | None
    claimed: Facts
    clock: Callable[[], float]
    spent: int = field(default=0, init=False)


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
        else:
            value, evidence = await _asked(subject, *_QUESTIONS[name])
        yield Measurement(field=name, value=value, evidence=evidence, at=subject.clock())


Finding = tuple[bool | int | None, str]
Judge = Callable[[ChatResult], Finding]


async def _asked(subject: Subject, request: ChatRequest, judge: Judge) -> Finding:
    try:
        answer = await subject.chat(request)
    except (UnsupportedError, BackendError) as exc:
        return _refusal(exc)
    if answer.finish_reason == "length" and not (answer.text or answer.tool_calls):
        if judge is _thought and answer.reasoning:
            return judge(answer)
        return None, f"{ANSWER_TOKENS} tokens were not enough for an answer"
    return judge(answer)


def _refusal(exc: UnsupportedError | BackendError) -> Finding:
    """What a failure says of the model; it is raised again if nothing can be asked then."""
    if exc.stage == "encode":
        return None, f"{_NOT_ASKED}: {_short(exc)}"
    if isinstance(exc, BackendError):
        if exc.code in ("model_not_found", "authentication_failed", "wrong_server"):
            raise exc
        if exc.status == 404:  # a path that is not there now may be there after an update
            return None, f"not found: {_short(exc)}"
        if not isinstance(exc, InvalidRequestError) and exc.status not in (400, 415, 422, 501):
            raise exc
    return False, f"refused: {_short(exc)}"


def _short(exc: ModelbayError) -> str:
    return exc.message if len(exc.message) <= 120 else f"{exc.message[:117]}..."


async def _tool_use(subject: Subject) -> Finding:
    """A call is required; where this side cannot require one, the model is left the choice."""
    request, judge = _QUESTIONS["tools"]
    found = await _asked(subject, request, judge)
    if not found[1].startswith(_NOT_ASKED):
        return found
    return await _asked(subject, request.model_copy(update={"tool_choice": "auto"}), _free_tools)


def _free_tools(answer: ChatResult) -> Finding:
    if not answer.tool_calls:
        return None, "answered in text, and a tool call cannot be required here"
    return _tools(answer)


def _tools(answer: ChatResult) -> Finding:
    for call in answer.tool_calls:
        try:
            arguments = json.loads(call.arguments)
        except ValueError:
            return False, "called a tool with arguments that are no JSON"
        if call.name == _TOOL.name and isinstance(arguments, dict):
            return True, "called the tool it was offered"
    return False, "answered in text although a tool call was required"


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
    if value == {"zq7": _NUMBER}:
        return True, "the answer follows a schema that the prompt does not tell"
    return False, "the answer does not follow the schema"


def _vision(answer: ChatResult) -> Finding:
    words = answer.text.lower()
    if "red" in words and "blue" in words:
        return True, "named both colours of an image"
    return None, "took an image, and did not name its colours"


async def _reasoning(subject: Subject) -> Finding:
    """Asked for it first, since some think only then; then not, since some refuse to be asked."""
    question = "What is 17 times 23? Think first."
    asked = await _asked(subject, _question(question, reasoning_effort="low"), _thought)
    if asked[0]:
        return asked
    unasked = await _asked(subject, _question(question), _thought)
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
        return _refusal(exc)
    sizes = {len(vector) for vector in result.vectors}
    if len(sizes) == 1 and 0 not in sizes:
        return True, f"gave vectors of {sizes.pop()} numbers"
    return False, "gave vectors of different sizes, or empty ones"


# --- context --------------------------------------------------------------------------------------


async def _context(subject: Subject, tokens_limit: int) -> Finding:
    """The largest prompt that is taken whole, by bisection.

    A server that cuts a prompt instead of refusing it is caught by the count of tokens it reports:
    where the count stops growing with the prompt, the prompt was cut.
    """
    words = 64
    read = await _read(subject, words)
    if read is None:
        return None, "the server does not say how many tokens it read"
    per_word = max(read - 1, 1) / words
    fits, evidence = read, ""
    too_much: int | None = None
    claimed = subject.claimed.context_window or subject.claimed.trained_context
    wanted = claimed or 4 * _SMALLEST
    while too_much is None or too_much > fits * _CLOSE + 1:
        if subject.spent + wanted > tokens_limit:
            return None, f"at least {fits} tokens; more would have cost over {tokens_limit}"
        words = max(1, int((wanted - _OVERHEAD) / per_word))
        expected = int(words * per_word)
        try:
            read = await _read(subject, words)
        except (ContextLengthError, InvalidRequestError) as exc:
            too_much, evidence = expected, _short(exc)
        else:
            if read is None or read < expected * 0.9 - _OVERHEAD:
                too_much, evidence = expected, "longer prompts are cut without a word"
            else:
                fits = max(fits, read)
                if too_much is None and claimed is not None and fits >= claimed * 0.9:
                    # What is claimed is true; whether there is more behind it nobody asked.
                    return claimed, f"a prompt of {fits} tokens was read whole"
        wanted = 2 * wanted if too_much is None else (fits + too_much) // 2
        if too_much is not None and too_much <= _SMALLEST:
            return None, "prompts of any length are refused"
    return _rounded(fits, too_much), f"{fits} tokens were read; then: {evidence}"


def _rounded(fits: int, too_much: int) -> int:
    """Servers are set to round numbers: a multiple of 256 between the two, if there is one."""
    step = 256
    near = (too_much + _OVERHEAD) // step * step
    return near if near > fits else fits


async def _read(subject: Subject, words: int) -> int | None:
    """How many tokens the server read of a prompt of so many words; 0 if it was cut."""
    request = ChatRequest(
        model=subject.ref, messages=[user("a " * (words - 1) + "a")], max_tokens=1, temperature=0
    )
    subject.spent += words
    answer = await subject.chat(request)
    if any(notice.code == "truncated" for notice in answer.notices):
        return 0
    return None if answer.usage is None else answer.usage.input_tokens


# --- questions ------------------------------------------------------------------------------------


def _png() -> str:
    """A picture of 64 x 64, red on the left and blue on the right."""
    row = b"\x00" + b"\xff\x00\x00" * 32 + b"\x00\x00\xff" * 32

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    content = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(row * 64))
        + chunk(b"IEND", b"")
    )
    return base64.b64encode(content).decode()


def _question(text: str, *parts: ImagePart, **fields: object) -> ChatRequest:
    return ChatRequest.model_validate(
        {
            "messages": [user(text, *parts)],
            "max_tokens": ANSWER_TOKENS,
            "temperature": 0,
            **fields,
        }
    )


_QUESTIONS: dict[str, tuple[ChatRequest, Judge]] = {
    "tools": (
        _question(
            f"Write down the number {_NUMBER} with the tool.", tools=[_TOOL], tool_choice="required"
        ),
        _tools,
    ),
    "json_mode": (
        _question("Answer with a JSON object that has one key.", response_format=JsonMode()),
        _json_mode,
    ),
    "json_schema": (
        _question("Answer.", response_format=JsonSchema(schema=_SCHEMA, name="answer")),
        _json_schema,
    ),
    "vision": (
        _question(
            "Which two colours does this picture have? Name both.",
            ImagePart(data=_png(), media_type="image/png"),
        ),
        _vision,
    ),
}
