"""``POST /api/embed``, and ``POST /api/embeddings``, its older form."""

from modelbay.models.frozen import JsonObject
from modelbay.models.media import EmbedRequest, EmbedResult
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.fields import Fields, made, parse
from modelbay_gateway.json_line import to_json
from modelbay_gateway.ollama.decode import Asked, asked_of, dropped, fitted, model_of
from modelbay_gateway.ollama.encode import vectors
from modelbay_gateway.ollama.names import find
from modelbay_gateway.openai.chat import model_headers
from modelbay_gateway.refusal import Refused
from modelbay_gateway.retention import allowed


async def embed(bay: Bay, call: Call) -> None:
    """A vector for each text; none, if there is no text."""
    fields = parse(await call.body())
    name = model_of(fields)
    texts, dimensions = _input(fields), fields.whole("dimensions") or None
    asked = _rest(fields, name)
    model = await find(bay, name, task="embeddings")
    if not texts:
        await call.reply(vectors(None, model=name, total_s=0.0), headers=model_headers(model))
        return
    extra, notices = fitted(asked, model)
    request = made(EmbedRequest, input=texts, dimensions=dimensions, extra=extra)
    request, left = allowed(call.caller, request)
    began = bay.clock()
    result = await call.attended(bay.embed(model, request, call.caller.name))
    body = vectors(result, model=name, total_s=bay.clock() - began)
    await call.reply(body, headers=model_headers(model, (*notices, *left)))


async def embeddings(bay: Bay, call: Call) -> None:
    """The vector of one text."""
    fields = parse(await call.body())
    name, prompt = model_of(fields), fields.text("prompt") or ""
    asked = _rest(fields, name)
    model = await find(bay, name, task="embeddings")
    vector: list[float] = []
    extra, notices = fitted(asked, model)
    if prompt:
        request, left = allowed(call.caller, made(EmbedRequest, input=[prompt], extra=extra))
        notices = (*notices, *left)
        result: EmbedResult = await call.attended(bay.embed(model, request, call.caller.name))
        vector = result.vectors[0]
    body: JsonObject = {"embedding": [*vector]}
    await call.reply(to_json(body), headers=model_headers(model, notices))


def _input(fields: Fields) -> list[str]:
    """The texts; an empty one alone is none at all."""
    raw = fields.any("input")
    texts = [raw] if isinstance(raw, str) else raw or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refused("invalid_field", "invalid input type", field="input")
    return [] if texts == [""] else texts


def _rest(fields: Fields, name: str) -> Asked:
    asked, options = asked_of(fields, name, [])
    notices = tuple(dropped(path) for path in fields.unread())
    return Asked(name, asked.own, options.rest(), notices)
