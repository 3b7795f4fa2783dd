"""How the own surface says that something went wrong: the usual envelope, with our own codes."""

import msgspec

from modelbay.models.frozen import Frozen
from modelbay_gateway.json_line import to_json
from modelbay_gateway.openai import encode
from modelbay_gateway.refusal import Refusal


class ErrorBody(Frozen):
    """What went wrong.

    Attributes:
        type: The sort of error, in the words of the OpenAI API.
        param: The part of the request that is wrong, as a path.
        code: Stable; those of the table of errors, and some of the gateway's own.
        hint: The next step, as something to type.
        retryable: Whether the same request may succeed later; not there means no.
    """

    message: str
    type: str
    param: str | None
    code: str
    hint: str | None = None
    provider: str | None = None
    model: str | None = None
    retryable: bool = False
    request_id: str | None = None


class ErrorResponse(Frozen):
    error: ErrorBody


def refuse(refusal: Refusal, request_id: str = "") -> bytes:
    """The error envelope, on one line."""
    document = msgspec.json.decode(encode.refuse(refusal, request_id))
    document["error"] |= {"code": refusal.code, "param": refusal.field, "message": refusal.message}
    return to_json(document)
