"""What the OpenAPI document says of the routes that other protocols define."""

from typing import Any

JSON = "application/json"
TYPES = {"json": JSON, "events": "text/event-stream", "text": "text/plain"}
ANSWERS = {
    "json": "The answer.",
    "events": "Server-sent events: JSON documents, and comments while nothing happens.",
    "text": "The answer as text.",
}

# What a refusal may be.
REFUSALS = {
    400: "The request is wrong; `param` names the part.",
    401: "The key is missing or wrong.",
    402: "The account at the provider is used up.",
    403: "The key is not good for this, or a foreign page asks.",
    404: "There is no such thing.",
    408: "The request did not come to its end.",
    413: "The body is too large.",
    415: "Compressed bodies are not read.",
    429: "Too many requests.",
    431: "The headers are too large.",
    500: "The gateway, a plugin or the configuration is at fault.",
    502: "The provider failed.",
    503: "Busy; the same request may succeed later.",
    504: "The provider took too long.",
    529: "As 503, in Anthropic's protocol.",
}
# 408 and 503: also from the server itself, for a stalled request and too many connections.
ALWAYS = (400, 401, 403, 408, 413, 415, 431, 500, 503)
_UPSTREAM = (402, 404, 429, 502, 503, 504)
# Anthropic's; the lists of models are for whoever names its version, too.
_ANTHROPIC = ("/messages", "/models")

_TEXT = {"type": "string"}
_LIST = {"type": "array"}
_MESSAGES = {"type": "array", "minItems": 1, "items": {"type": "object"}}
_MODEL = {"type": ["string", "null"], "description": "A ref; the defaults decide without one."}
_STREAM = {"type": ["boolean", "null"], "description": "Answer piece by piece."}
_NEEDED_MODEL = {"type": "string", "description": "A ref."}

# Summary, tag, the media type of a streamed answer, and the fields of the body: those that are
# needed end in "!". Whatever else a protocol has in its bodies goes on to the provider.
_Fields = dict[str, dict[str, Any]]
_EVENTS = TYPES["events"]
_LINES = "application/x-ndjson"
_KNOWN: dict[tuple[str, str], tuple[str, str, str | None, _Fields]] = {
    ("GET", "/"): ("What this is.", "door", None, {}),
    ("GET", "/health"): ("Whether it lives; asks nobody.", "door", None, {}),
    ("GET", "/page/{name}"): ("A file of the page.", "door", None, {}),
    ("GET", "/models"): ("Every model, by its ref.", "openai", None, {}),
    ("GET", "/models/{model_id}"): ("One model.", "openai", None, {}),
    ("POST", "/chat/completions"): (
        "One chat turn.",
        "openai",
        _EVENTS,
        {"model": _MODEL, "messages!": _MESSAGES, "stream": _STREAM},
    ),
    ("POST", "/completions"): (
        "Continue a raw prompt.",
        "openai",
        _EVENTS,
        {"model": _MODEL, "prompt!": {}, "stream": _STREAM},
    ),
    ("POST", "/embeddings"): (
        "Texts to vectors.",
        "openai",
        None,
        {"model": _MODEL, "input!": {}},
    ),
    ("POST", "/images/generations"): (
        "Images from a text.",
        "openai",
        None,
        {"model": _MODEL, "prompt!": _TEXT},
    ),
    ("POST", "/rerank"): (
        "Documents, the best first.",
        "openai",
        None,
        {"model": _MODEL, "query!": _TEXT, "documents!": _LIST},
    ),
    ("POST", "/messages"): (
        "One chat turn.",
        "anthropic",
        _EVENTS,
        {"model": _MODEL, "messages!": _MESSAGES, "stream": _STREAM},
    ),
    ("POST", "/messages/count_tokens"): (
        "How many tokens a request has, estimated.",
        "anthropic",
        None,
        {"model": _MODEL, "messages!": _LIST},
    ),
    ("GET", "/api/version"): ("A version that its programs accept.", "ollama", None, {}),
    ("GET", "/api/tags"): ("Every model, by its ref.", "ollama", None, {}),
    ("GET", "/api/ps"): ("The models in memory.", "ollama", None, {}),
    ("POST", "/api/show"): ("One model.", "ollama", None, {}),
    ("POST", "/api/chat"): (
        "One chat turn.",
        "ollama",
        _LINES,
        {"model!": _NEEDED_MODEL, "messages": _LIST, "stream": _STREAM},
    ),
    ("POST", "/api/generate"): (
        "Continue a prompt.",
        "ollama",
        _LINES,
        {"model!": _NEEDED_MODEL, "stream": _STREAM},
    ),
    ("POST", "/api/embed"): ("Texts to vectors.", "ollama", None, {"model!": _NEEDED_MODEL}),
    ("POST", "/api/embeddings"): ("A text to a vector.", "ollama", None, {"model!": _NEEDED_MODEL}),
    # What changes the models of one server: refused, with what to do instead.
    **{
        (method, path): ("Refused: it is done at one provider.", "ollama", None, {})
        for method, path in (
            ("POST", "/api/pull"),
            ("POST", "/api/push"),
            ("POST", "/api/create"),
            ("POST", "/api/copy"),
            ("DELETE", "/api/delete"),
            ("HEAD", "/api/blobs/{digest}"),
            ("POST", "/api/blobs/{digest}"),
        )
    },
}
# What these answer beside JSON, and that a browser may have it already.
_PAGE: dict[tuple[str, str], tuple[str, ...]] = {
    ("GET", "/"): ("text/html",),
    ("GET", "/page/{name}"): ("text/css", "text/html", "text/javascript", "image/svg+xml"),
}


def events(document: dict[str, Any] | None = None) -> dict[str, Any]:
    """The media type object of a stream of events, each with a JSON document like this."""
    data: dict[str, Any] = {"type": "string"}
    if document is not None:
        data |= {"contentMediaType": JSON, "contentSchema": document}
    return {"itemSchema": {"type": "object", "required": ["data"], "properties": {"data": data}}}


def about(method: str, path: str) -> dict[str, Any]:
    """An operation object for a route of another protocol, which its own documents describe."""
    key = method, path.removeprefix("/v1") or "/"
    summary, tag, streamed, fields = _KNOWN.get(key, ("Of another protocol.", "other", None, {}))
    anything = {"schema": {"type": "object"}}
    content: dict[str, Any] = {JSON: anything}
    if streamed is not None:
        content[streamed] = events() if streamed == _EVENTS else {"itemSchema": {"type": "object"}}
    for media_type in _PAGE.get(key, ()):
        content[media_type] = {"schema": _TEXT}
    found: dict[str, Any] = {
        "summary": summary,
        "tags": [tag],
        "responses": {"200": {"description": "The answer.", "content": content}},
    }
    if method in ("POST", "PUT", "PATCH", "DELETE"):
        body: dict[str, Any] = {
            "type": "object",
            "properties": {name.removesuffix("!"): schema for name, schema in fields.items()},
            "required": [name.removesuffix("!") for name in fields if name.endswith("!")],
        }
        found["requestBody"] = {
            "required": bool(body["required"]),
            "content": {JSON: {"schema": body}},
        }
    if key in _PAGE:
        found["responses"]["304"] = {"description": "It has not changed."}
    theirs = (529,) if key[1].startswith(_ANTHROPIC) else ()
    for status in sorted({*ALWAYS, *_UPSTREAM, *theirs}):
        found["responses"][str(status)] = {
            "description": REFUSALS[status],
            "content": {JSON: anything},
        }
    return found
