"""A chat request as the OpenAI surface has read it."""

from dataclasses import dataclass

from modelbay.models.chat import ChatRequest
from modelbay.models.events import Notice


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A chat request, and what belongs to the answer's form or to the gateway alone.

    Attributes:
        model: The id as it was asked for; it stands in the answer too.
        include_usage: A stream ends with a chunk of token counts.
        conversation_id: The conversation the turn belongs to.
        persist: The model is remembered for the conversation.
        has_functions: The tools came as functions, and a call goes back as one of a function.
        notices: What the request holds and no provider will see.
    """

    request: ChatRequest
    model: str | None
    include_usage: bool = False
    conversation_id: str | None = None
    persist: bool = True
    has_functions: bool = False
    notices: tuple[Notice, ...] = ()
