"""Planted secrets: none of them in an answer, a log line or a metric of any route of ours."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

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
    cursor
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


def test_no_planted_secret_shows_anywhere(log: list[str]) -> None:
    s = SECRETS
    assert len(s) >= 25
    lab = Lab()
    with Simulator() as simulator:

        async def echo(exchange: Exchange) -> None:
            told = dict(exchange.request.headers)
            await exchange.json({"error": {"message": f"no: {told}", "code": 401}}, status=401)

        for method in ("GET", "POST"):
            for path in ("/v1/models", "/v1/chat/completions", "/health", "/props", "/version"):
                simulator.route(method, path)(echo)
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
            pretend.config("envy", "openai", baseUrl=simulator.base_url, apiKeyEnv="LAB_KEY"),
            pretend.config("dead", "openai", baseUrl=f"http://u:{s['userinfo']}@{address}"),
        ]
        env = {"LAB_KEY": s["env-key"], "OTHER_TOKEN": s["env-value"]}
        host = pretend.host(providers, env=env, acme=lab.plugin(), openai=modelbay_openai.plugin)
        access = Access(given_keys=(key_for_this_run(s["client-key"], 1),))
        answers: list[str] = []
        with (
            serve(host, access=access, store=open_store(":memory:")) as served,
            httpx.Client(base_url=served.base_url, timeout=30) as client,
        ):
            for round_ in range(2):
                for method, path, options in requests(s):
                    key = {"authorization": f"Bearer {s['client-key']}"}
                    asked = {**options, "headers": {**key, **options.get("headers", {})}}
                    answer = client.request(method, path, **asked)
                    answers.append(f"{answer.status_code} {answer.headers} {answer.text}")
                if round_ == 0:
                    lab.error = BackendError(f"refused with {s['other-key']}")
        sent = "".join(str(each.headers) for each in simulator.ledger.requests)

    assert all(s[name] in sent for name in ("provider-key", "env-key", "header-value"))
    assert len(log) > 50
    leaks = {
        name: next(text for text in (*answers, *log) if secret in text)[:500]
        for name, secret in s.items()
        if any(secret in text for text in (*answers, *log))
    }
    assert leaks == {}
