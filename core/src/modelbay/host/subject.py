"""A model that is asked what it can do, and what its failures say of it."""

import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from modelbay.errors import BackendError, InvalidRequestError, ModelbayError, UnsupportedError
from modelbay.models.capabilities import Facts
from modelbay.models.chat import ChatRequest, ChatResult, user
from modelbay.models.media import EmbedRequest, EmbedResult
from modelbay.refs import ModelRef

NOT_ASKED = "not asked"
REFUSED = "refused"
# Several servers refuse with 500 what their model has no part for, and say so in these words.
_UNSUPPORTED = re.compile(r"\b(not support(ed)?|unsupported)\b", re.IGNORECASE)
Finding = tuple[bool | int | None, str]
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


async def look_for(subject: Subject, exc: UnsupportedError | BackendError) -> None:
    """Find out whether "no such model" was said of the model, or of a path that is not there.

    Many servers answer 404 to both, and in their own words. A model that answers on any path is
    there.
    """
    if exc.code != "model_not_found" or subject.answered:
        return
    if subject.embed is not None:
        with contextlib.suppress(UnsupportedError, BackendError):
            await subject.embed(EmbedRequest(model=subject.ref, input=["one"]))
            subject.answered = True
            return
    with contextlib.suppress(UnsupportedError, BackendError):
        await read(subject, 1)


def refusal(subject: Subject, exc: UnsupportedError | BackendError) -> Finding:
    """What a failure says of the model.

    Raises:
        BackendError: The same, if nothing can be asked after it.
    """
    if exc.stage == "encode":
        return None, f"{NOT_ASKED}: {short(exc)}"
    if isinstance(exc, BackendError):
        if exc.code in ("authentication_failed", "wrong_server"):
            raise exc
        no_model = exc.code == "model_not_found"
        if no_model and not subject.answered:
            raise exc
        if no_model or exc.status == 404:  # a path may be there after an update
            return None, f"not found: {short(exc)}"
        refuses = isinstance(exc, InvalidRequestError) or exc.status in (400, 415, 422, 501)
        if not refuses and not (exc.status == 500 and _UNSUPPORTED.search(exc.message)):
            if exc.status == 500 and subject.answered:
                return None, f"failed: {short(exc)}"
            raise exc
    return False, f"{REFUSED}: {short(exc)}"


def short(exc: ModelbayError) -> str:
    return exc.message if len(exc.message) <= 120 else f"{exc.message[:117]}..."


async def read(subject: Subject, words: int) -> int | None:
    """How many tokens the server read of a prompt of so many words.

    ``None`` if it does not say; 0 if it says that it cut the prompt.
    """
    request = ChatRequest(
        model=subject.ref, messages=[user("a " * (words - 1) + "a")], max_tokens=1, temperature=0
    )
    answer = await subject.chat(request)  # one that is refused costs nothing
    subject.answered = True
    subject.spent += words if answer.usage is None else answer.usage.input_tokens or words
    if any(notice.code == "truncated" for notice in answer.notices):
        return 0
    return None if answer.usage is None else answer.usage.input_tokens
