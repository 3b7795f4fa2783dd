"""Planted secrets: none of them in an answer, a log line or a metric, in any protocol."""

import logging
import threading
from collections.abc import Iterator
from itertools import chain
from typing import Any

import httpx2 as httpx
import pytest

import modelbay_ollama.plugin
import modelbay_openai.plugin
import pretend
from gateway.own.lab import Lab
from gateway.serving import serve
from modelbay.errors import BackendError
from modelbay.state import open_store
from modelbay.testing.exchange import Exchange
from modelbay.testing.simulator import Simulator
from modelbay_gateway.security import Access, key_for_this_run

NAMES = """
    provider-key other-key env-key env-value header-value header-token userinfo sidecar
    client-key wrong-bearer wrong-x-api-key wrong-api-key basic cookie proxy url-token
    broken-json wrong-type wrong-tag unknown-field setting prompt role warm confirm page
    cursor ollama-key ollama-header client-x-api-key system thought argument result image input
    document option unknown-option metadata foreign-key
"""
SECRETS = {name: f"planted-{n:02}-{name}-7f3a9c" for n, name in enumerate(NAMES.split())}


class Everything(logging.Handler):
    """Every record as it would be written, tracebacks and all; not those of the test's client."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.threadName != threading.main_thread().name:
            self.lines.append(logging.Formatter("%(name)s %(message)s").format(record))


@pytest.fixture
def log() -> Iterator[list[str]]:
    handler, root = Everything(), logging.getLogger()
    before = root.level, logging.getLogger("modelbay").level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("modelbay").setLevel(logging.DEBUG)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(before[0])
    logging.getLogger("modelbay").setLevel(before[1])


def requests(s: dict[str, str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Requests of every sort to every route of ours, good ones and bad ones."""
    manage = "/api/providers/{}/manage"
    for provider in ("echo", "lab", "dead"):
        for action in ("list", "health", "running", "logs", "balance", "show", "load"):
            body = {"action": action, "model": "m"} if action in ("show", "load") else None
            yield "POST", manage.format(provider), {"json": body or {"action": action}}
        yield "POST", f"/conversations/{provider}/warm", {"json": {"model": f"{provider}/m"}}
    for path in ("/api/models?refresh=1", "/api/providers", "/api/settings", "/openapi.json"):
        yield "GET", path, {}
        yield "GET", f"{path}{'&' if '?' in path else '?'}key={s['url-token']}", {}
    headers = {
        "cookie": s["cookie"],
        "proxy-authorization": s["proxy"],
        "api-key": s["wrong-api-key"],
    }
    yield "GET", "/api/models", {"headers": headers}
    for wrong in (
        {"authorization": f"Bearer {s['wrong-bearer']}"},
        {"authorization": f"Basic {s['basic']}"},
        {"authorization": "", "x-api-key": s["wrong-x-api-key"]},
    ):
        yield "PUT", "/api/settings", {"headers": wrong, "json": {"a": 1}}
    yield "PUT", "/api/settings", {"content": f'{{"favorite_models": "{s["broken-json"]}'.encode()}
    yield "PUT", "/api/settings", {"json": {"favorite_models": s["wrong-type"]}}
    yield "PUT", "/api/settings", {"json": {"x" * 200: s["setting"]}}
    yield "POST", manage.format("lab"), {"json": {"action": s["wrong-tag"]}}
    yield "POST", manage.format("lab"), {"json": {"action": "list", "token": s["unknown-field"]}}
    yield "POST", manage.format("lab"), {"json": {"action": "list", "confirm": s["confirm"]}}
    yield "PUT", "/conversations/c/model", {"json": {"model": [s["wrong-type"]]}}
    yield "POST", "/conversations", {"json": {"title": {"t": s["wrong-type"]}}}
    message = {"role": s["role"], "content": s["prompt"]}
    yield "POST", "/conversations/c/messages", {"json": {"messages": [{"message": message}]}}
    yield "POST", "/conversations/c/warm", {"json": {"model": {"m": s["warm"]}}}
    yield "GET", f"/conversations?limit={s['page']}", {}
    yield "GET", f"/conversations?cursor={s['cursor']}", {}
    chat = {"model": "lab/a", "messages": [{"role": "user", "content": s["prompt"]}]}
    yield "POST", "/v1/chat/completions", {"json": chat}
    yield "POST", "/v1/chat/completions", {"json": {**chat, "model": "echo/m", "stream": True}}
    yield "GET", "/metrics", {}


def protocol_requests(s: dict[str, str], model: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Requests to one model by every route of the three protocols, good ones and bad ones."""
    says: dict[str, Any] = {"role": "user", "content": s["prompt"]}
    wrong: dict[str, Any] = {
        "role": s["role"],
        "content": [{"type": s["wrong-tag"], "text": s["prompt"]}],
    }
    image = {"type": "image_url", "image_url": {"url": f"ftp://x/{s['image']}"}}
    call = {"name": "f", "arguments": f'{{"a": "{s["argument"]}"}}'}
    turns: list[dict[str, Any]] = [
        says,
        {
            "role": "assistant",
            "reasoning_content": s["thought"],
            "tool_calls": [{"id": "c1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": s["result"]},
    ]
    blocks = [
        {"type": "thinking", "thinking": s["thought"], "signature": s["wrong-type"]},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": s["argument"]}},
    ]
    result = {"type": "tool_result", "tool_use_id": "c1", "content": s["result"]}
    told: list[dict[str, Any]] = [
        says,
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": [result]},
    ]
    pixels = {"type": "image", "source": {"type": "base64", "media_type": "x", "data": s["image"]}}
    native: list[dict[str, Any]] = [
        says,
        {
            "role": "assistant",
            "content": "",
            "thinking": s["thought"],
            "tool_calls": [{"function": {"name": "f", "arguments": {"a": s["argument"]}}}],
        },
        {"role": "tool", "content": s["result"], "tool_name": "f"},
    ]
    options = {"num_ctx": s["option"], "weird": s["unknown-option"]}
    more = {"metadata": {"k": s["metadata"]}, "x_unknown": s["unknown-field"]}
    chats: list[tuple[str, dict[str, Any]]] = []
    for messages in ([says], turns, [wrong], [{**says, "content": [image]}]):
        chats.append(("/v1/chat/completions", {"messages": messages, **more}))
    for messages in ([says], told, [wrong], [{**says, "content": [pixels]}]):
        told_so = {"messages": messages, "system": s["system"], "max_tokens": 9000}
        thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}, **more}
        chats.append(("/v1/messages", {**told_so, **thinking}))
        yield "POST", "/v1/messages/count_tokens", {"json": {"model": model, **told_so}}
    for messages in (native, [wrong], [{**says, "images": [s["image"]]}]):
        chats.append(("/api/chat", {"messages": messages}))
    chats += [
        ("/api/chat", {"messages": [says], "options": options, "keep_alive": s["option"]}),
        ("/api/chat", {"messages": [says], "options": {"weird": s["unknown-option"]}, **more}),
        ("/api/generate", {"prompt": s["prompt"], "system": s["system"]}),
        ("/api/generate", {"prompt": s["prompt"], "raw": True}),
        ("/v1/completions", {"prompt": s["prompt"], "suffix": s["input"]}),
        ("/v1/completions", {"prompt": {"p": s["wrong-type"]}}),
    ]
    for path, body in chats:
        for stream in (True, False):
            yield "POST", path, {"json": {"model": model, "stream": stream, **body}}
        key = {"authorization": "", "x-api-key": s["client-x-api-key"]}
        yield "POST", path, {"json": {"model": model, **body}, "headers": key}
        yield "POST", path, {"content": f'{{"model": "{s["broken-json"]}'.encode()}
    others: list[tuple[str, dict[str, Any]]] = [
        ("/v1/embeddings", {"input": s["input"], "dimensions": s["wrong-type"]}),
        ("/v1/images/generations", {"prompt": s["prompt"], "size": s["wrong-type"]}),
        ("/v1/rerank", {"query": s["input"], "documents": s["document"]}),
        ("/api/embed", {"input": s["input"], "options": options}),
        ("/api/embed", {"input": {"i": s["wrong-type"]}}),
        ("/api/show", {"verbose": s["wrong-type"]}),
        ("/v1/embeddings", {"input": s["input"]}),
        ("/v1/images/generations", {"prompt": s["prompt"]}),
        ("/v1/rerank", {"query": s["input"], "documents": [s["document"]]}),
        ("/api/embed", {"input": [s["input"]]}),
        ("/api/embeddings", {"prompt": s["input"]}),
        ("/api/show", {}),
    ]
    for path, body in others:
        yield "POST", path, {"json": {"model": model, **body}}
    for path in ("/v1/models", f"/v1/models/{model}", "/api/tags", "/api/ps", "/api/version"):
        yield "GET", path, {}
        yield "GET", path, {"headers": {"anthropic-version": "2023-06-01"}}


async def refuse(exchange: Exchange) -> None:
    """Tells every header it was sent, and a key that is none of ours."""
    foreign = f"sk-{SECRETS['foreign-key']}"
    words = f"no: {dict(exchange.request.headers)}, with {foreign}"
    is_native = exchange.request.path.startswith("/api/")
    error: Any = words if is_native else {"message": words, "code": 401}
    body: Any = exchange.request.json() if exchange.request.body else {}
    if "mid" not in str(body.get("model")) or body.get("stream") is False:
        await exchange.json({"error": error}, status=401)
    elif is_native:
        await exchange.start_stream("application/x-ndjson")
        said = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z", "done": False}
        await exchange.ndjson({**said, "message": {"role": "assistant", "content": "so"}})
        await exchange.ndjson({"error": error})
    else:
        await exchange.start_stream("text/event-stream")
        await exchange.sse({"choices": [{"index": 0, "delta": {"content": "so"}, "text": "so"}]})
        await exchange.sse({"error": error})


async def list_models(exchange: Exchange) -> None:
    names = ("m", "mid")
    if exchange.request.path == "/api/tags":
        await exchange.json({"models": [{"name": f"{each}:latest"} for each in names]})
    else:
        await exchange.json({"object": "list", "data": [{"id": each} for each in names]})


PATHS = """
    /v1/chat/completions /v1/completions /v1/embeddings /v1/images/generations /v1/rerank /health
    /props /version /api/chat /api/generate /api/embed /api/show /api/ps
"""

MODELS = ("lab/a", "echo/m", "talk/m", "talk/mid", "native/m", "native/mid")
ASKING = """
    /v1/chat/completions /v1/completions /v1/embeddings /v1/images/generations /v1/rerank
    /v1/messages /api/chat /api/generate /api/embed /api/embeddings
"""


def test_no_planted_secret_shows_anywhere(log: list[str]) -> None:
    s = SECRETS
    assert len(s) >= 25
    lab = Lab()
    with Simulator() as simulator:
        for path in PATHS.split():
            for prefix in ("", "/lists"):
                simulator.route("GET", prefix + path)(refuse)
                simulator.route("POST", prefix + path)(refuse)
        simulator.route("GET", "/v1/models")(refuse)
        simulator.route("GET", "/lists/v1/models")(list_models)
        simulator.route("GET", "/api/tags")(list_models)
        simulator.route("GET", "/api/version")(refuse)
        secret_headers = {"x-org": s["header-value"], "x-token": s["header-token"]}
        address = simulator.base_url.removeprefix("http://")
        providers = [
            pretend.config("lab", apiKey=s["other-key"], sidecarUrl=f"http://h/?t={s['sidecar']}"),
            pretend.config(
                "echo",
                "openai",
                baseUrl=f"{simulator.base_url}/v1",
                apiKey=s["provider-key"],
                headers=secret_headers,
            ),
            pretend.config(
                "talk",
                "openai",
                baseUrl=f"{simulator.base_url}/lists/v1",
                apiKey=s["provider-key"],
                headers=secret_headers,
            ),
            pretend.config(
                "native",
                "ollama",
                baseUrl=simulator.base_url,
                apiKey=s["ollama-key"],
                headers={"x-token": s["ollama-header"]},
            ),
            pretend.config("envy", "openai", baseUrl=simulator.base_url, apiKeyEnv="LAB_KEY"),
            pretend.config("dead", "openai", baseUrl=f"http://u:{s['userinfo']}@{address}"),
        ]
        env = {"LAB_KEY": s["env-key"], "OTHER_TOKEN": s["env-value"]}
        host = pretend.host(
            providers,
            env=env,
            acme=lab.plugin(),
            ollama=modelbay_ollama.plugin,
            openai=modelbay_openai.plugin,
        )
        access = Access(given_keys=(key_for_this_run(s["client-key"], 1),))
        answers: list[str] = []
        refused_at = set()
        with (
            serve(host, access=access, store=open_store(":memory:")) as served,
            httpx.Client(base_url=served.base_url, timeout=30) as client,
        ):
            for round_ in range(2):
                by_protocol = chain(*(protocol_requests(s, model) for model in MODELS))
                for method, path, options in (*requests(s), *(() if round_ else by_protocol)):
                    key = {"authorization": f"Bearer {s['client-key']}"}
                    asked = {**options, "headers": {**key, **options.get("headers", {})}}
                    answer = client.request(method, path, **asked)
                    answers.append(f"{answer.status_code} {answer.headers} {answer.text}")
                    if "no: {" in answer.text:
                        refused_at.add(path)
                if round_ == 0:
                    lab.error = BackendError(f"refused with {s['other-key']}")
        sent = "".join(str(each.headers) for each in simulator.ledger.requests)

    of_servers = ("provider-key", "env-key", "header-value", "ollama-key", "ollama-header")
    assert all(s[name] in sent for name in of_servers)
    assert refused_at >= set(ASKING.split())  # their words came as far as they may
    assert len(log) > 50
    leaks = {
        name: next(text for text in (*answers, *log) if secret in text)[:500]
        for name, secret in s.items()
        if any(secret in text for text in (*answers, *log))
    }
    assert leaks == {}
