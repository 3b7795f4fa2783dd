"""``POST /v1/rerank``, in the form that Jina and Cohere gave it."""

from dataclasses import dataclass

from modelbay.models.frozen import JsonObject
from modelbay.models.media import RerankRequest, RerankResult
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.fields import Fields, made, parse
from modelbay_gateway.json_line import to_json
from modelbay_gateway.openai.chat import model_headers
from modelbay_gateway.openai.decode import own_fields
from modelbay_gateway.openai.encode import new_id
from modelbay_gateway.retention import allowed


@dataclass(frozen=True, slots=True)
class RerankCall:
    """
    Attributes:
        with_documents: The answer repeats the texts.
    """

    request: RerankRequest
    model: str | None
    with_documents: bool = False


def decode_rerank(body: bytes) -> RerankCall:
    """The request in a body of ``POST /v1/rerank``; documents are strings or ``{"text": ...}``.

    Raises:
        Refused: It is no such request; the field is named.
    """
    fields = parse(body)
    model = fields.text("model") or None
    documents = [
        document
        if isinstance(document, str)
        else Fields(document, f"documents[{index}]").needed_text("text")
        for index, document in enumerate(fields.items("documents") or ())
    ]
    if not documents:
        raise fields.missing("documents")
    with_documents = fields.flag("return_documents") or False
    own_fields(fields)
    request = made(
        RerankRequest,
        model=model,
        query=fields.needed_text("query"),
        documents=documents,
        top_n=fields.whole("top_n"),
        extra=fields.rest(),
    )
    return RerankCall(request, model, with_documents)


def encode_rerank(
    result: RerankResult, *, id: str, model: str, documents: list[str] | None
) -> bytes:
    """The body of the answer, the best first.

    Args:
        documents: Repeated in the answer, if they are given.
    """
    results: list[JsonObject] = []
    for ranked in result.results:
        entry: JsonObject = {"index": ranked.index, "relevance_score": ranked.score}
        if documents is not None and 0 <= ranked.index < len(documents):
            entry["document"] = {"text": documents[ranked.index]}
        results.append(entry)
    body: JsonObject = {"id": id, "object": "list", "model": model, "results": [*results]}
    if result.usage is not None:
        count = result.usage.input_tokens
        body["usage"] = {"prompt_tokens": count, "total_tokens": count}
    return to_json(body)


async def rerank(bay: Bay, call: Call) -> None:
    """Documents by how well they answer the query."""
    asked = decode_rerank(await call.body())
    request, notices = allowed(call.caller, asked.request)
    model = await bay.find(asked.model, task="rerank")
    result = await call.attended(bay.rerank(model, request, call.caller.name))
    await call.reply(
        encode_rerank(
            result,
            id=new_id("rerank-"),
            model=asked.model or model.id,
            documents=asked.request.documents if asked.with_documents else None,
        ),
        headers=model_headers(model, notices),
    )
