"""The simulated server: its routes, its key, its limits and its faults."""

import json
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from modelbay.testing.simulator import Exchange, Simulator
from modelbay_deepseek.simulator import anthropic, fim
from modelbay_deepseek.simulator.answer import Script, compose
from modelbay_deepseek.simulator.delivery import Tokens, queue, send_stream, send_whole
from modelbay_deepseek.simulator.knobs import Knobs
from modelbay_deepseek.simulator.listing import Account, models
from modelbay_deepseek.simulator.prompt import PrefixCache, of_chat
from modelbay_deepseek.simulator.validation import (
    Body,
    Refusal,
    check_chat,
    check_strict,
)

KEY = "sk-test"
PRO = "deepseek-v4-pro"
_WRONG_FORMAT = "Authentication Fails (auth header format should be Bearer sk-...)"
_UNAVAILABLE = {
    402: ("Insufficient Balance", "unknown_error"),
    429: ("Too many requests. Please slow down.", "rate_limit_error"),
    500: ("Internal server error", "server_error"),
    503: ("The server is overloaded", "server_error"),
}


@dataclass(frozen=True, slots=True)
class Logged:
    """A request as it came, its key masked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Body | None


class DeepSeekSimulator(Simulator):
    """DeepSeek's API on a loopback socket, without any model.

    Args:
        script: What the model says.
        knobs: How it behaves; may be replaced while it runs.
        key: The one key it accepts.

    Attributes:
        account: What ``/user/balance`` tells.
    """

    def __init__(
        self,
        script: Script | None = None,
        knobs: Knobs | None = None,
        *,
        key: str = KEY,
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.script = script or Script()
        self.knobs = knobs or Knobs()
        self.account = Account()
        self._key = key
        self._cache = PrefixCache()
        self._faulty: Counter[Knobs] = Counter()
        self._running: Counter[object] = Counter()
        for version in ("", "/v1"):
            self.route("GET", f"{version}/models")(self._models)
            self.route("GET", f"{version}/models/{{id}}")(self._model)
            self.route("GET", f"{version}/user/balance")(self._balance)
            self.route("POST", f"{version}/chat/completions")(self._chat)
            self.route("POST", f"/anthropic{version}/messages")(self._messages)
        self.route("POST", "/beta/chat/completions")(self._chat)
        self.route("POST", "/beta/completions")(self._complete)

    @property
    def log(self) -> list[Logged]:
        """All requests so far."""
        return [
            Logged(
                request.method,
                request.path,
                {n: v.replace(self._key, "***") for n, v in request.headers.items()},
                cast(Body, request.json()) if request.body else None,
            )
            for request in self.requests
        ]

    @property
    def chats(self) -> list[Body]:
        """The bodies of all chat requests so far."""
        return [
            one.body
            for one in self.log
            if one.path.endswith("/chat/completions") and one.body is not None
        ]

    async def admit(self, exchange: Exchange) -> bool:
        """Every answer is marked; without the key there is no other one."""
        exchange.headers += [
            ("Server", "openresty"),
            ("x-ds-trace-id", secrets.token_hex(16)),
            ("Vary", "origin, access-control-request-method, access-control-request-headers"),
            ("Access-Control-Allow-Credentials", "true"),
        ]
        headers = exchange.request.headers
        given = headers.get("authorization", "")
        if not given and exchange.request.path.startswith("/anthropic/"):
            given = f"Bearer {headers.get('x-api-key', '')}"
        key = given.removeprefix("Bearer ")
        if key == self._key and given != key:
            return True
        why = f"Authentication Fails, Your api key: ****{key[-4:]} is invalid"
        if not given.startswith("Bearer ") or not key:
            why = _WRONG_FORMAT
        await self._refuse(exchange, Refusal(why, 401, "authentication_error"), Knobs())
        return False

    async def no_route(self, exchange: Exchange, *, path_known: bool) -> None:
        refusal = Refusal("Not Found", 405 if path_known else 404)
        await self._refuse(exchange, refusal, Knobs())

    # what can be looked at

    async def _models(self, exchange: Exchange) -> None:
        await exchange.json({"object": "list", "data": models(self._asked(exchange).models_shape)})

    async def _model(self, exchange: Exchange) -> None:
        listed = {entry["id"]: entry for entry in models(self._asked(exchange).models_shape)}
        wanted = exchange.params["id"]
        if wanted in listed:
            await exchange.json(listed[wanted])
        else:
            await self.no_route(exchange, path_known=False)

    async def _balance(self, exchange: Exchange) -> None:
        await exchange.json(self.account.as_json())

    # what can be asked

    async def _chat(self, exchange: Exchange) -> None:
        body = await self._admitted(exchange)
        if body is None:
            return
        knobs = self._for(exchange)
        prompt = of_chat(body, sees=body.get("model") != PRO)
        why = check_chat(body, knobs, len(prompt))
        if why is None and exchange.request.path.startswith("/beta/"):
            why = check_strict(body)
        if why is not None:
            await self._refuse(exchange, Refusal(why, knobs.refusal_status), knobs)
            return
        model = body["model"]
        if knobs.concurrency is not None and self._running[model] >= knobs.concurrency:
            await self._refuse(exchange, _too_many(self._running[model] + 1, knobs), knobs)
            return
        self._running[model] += 1
        try:
            await self._answer(exchange, body, prompt, knobs)
        finally:
            self._running[model] -= 1

    async def _answer(
        self, exchange: Exchange, body: Body, prompt: list[str], knobs: Knobs
    ) -> None:
        answer = compose(body, self.script, knobs)
        partition = str(body.get("user_id", ""))
        hit = self._cache.hit(partition, prompt)
        self._cache.keep(partition, prompt, [*prompt, *"".join(answer.text).split()])
        thought = answer.reasoning_tokens if answer.thinking else None
        tokens = Tokens(len(prompt), hit, answer.tokens, thought)
        stream = body.get("stream") is True
        if knobs.queue_ms:
            await queue(exchange, knobs, stream=stream)
        if not stream:
            await send_whole(exchange, body["model"], answer, tokens, knobs)
            return
        wanted = body.get("stream_options")
        include = isinstance(wanted, dict) and wanted.get("include_usage") is True
        await send_stream(exchange, body["model"], answer, tokens, knobs, include_usage=include)

    async def _complete(self, exchange: Exchange) -> None:
        body = await self._admitted(exchange)
        if body is None:
            return
        why = fim.check(body)
        if why is not None:
            await self._refuse(exchange, Refusal(why), Knobs())
            return
        await fim.answer(exchange, body, self.script, self._for(exchange))

    async def _messages(self, exchange: Exchange) -> None:
        body = await self._admitted(exchange)
        if body is not None:
            await anthropic.answer(exchange, body, self.script, self._for(exchange))

    async def _admitted(self, exchange: Exchange) -> Body | None:
        """The body, if nothing but the request itself may be wrong any more."""
        knobs = self._for(exchange, count=True)
        if knobs.html_502:
            page = "<html><head><title>502 Bad Gateway</title></head><body>openresty</body></html>"
            await exchange.text(page, 502, "text/html")
            return None
        if knobs.status is not None:
            text, kind = _UNAVAILABLE.get(knobs.status, ("It failed", "server_error"))
            refusal = Refusal(text, knobs.status, kind)
            if knobs.status == 429 and knobs.low_balance:
                refusal = _too_many(26, Knobs(concurrency=25))
            await self._refuse(exchange, refusal, knobs)
            return None
        if not self.account.is_available:
            await self._refuse(exchange, Refusal(*_unavailable(402)), knobs)
            return None
        try:
            body = exchange.request.json()
        except ValueError:
            body = None
        if isinstance(body, dict):
            return body
        words = "Failed to deserialize the JSON body into the target type: expected an object"
        await self._refuse(exchange, Refusal(words, knobs.refusal_status), knobs)
        return None

    # knobs and errors

    def _asked(self, exchange: Exchange) -> Knobs:
        return self.knobs.with_scenario(exchange.request.headers.get("x-sim-scenario", ""))

    def _for(self, exchange: Exchange, *, count: bool = False) -> Knobs:
        """The knobs for one request; the faults among them only as often as they are wanted."""
        knobs = self._asked(exchange)
        if count:
            self._faulty[knobs] += 1
        if knobs.times is not None and self._faulty[knobs] > knobs.times:
            return knobs.well()
        return knobs

    async def _refuse(self, exchange: Exchange, refusal: Refusal, knobs: Knobs) -> None:
        headers = []
        if knobs.retry_after_s is not None:
            headers.append(("Retry-After", f"{knobs.retry_after_s:g}"))
        if knobs.bare_text:
            exchange.headers += headers
            await exchange.text(refusal.message, refusal.status)
            return
        body = {
            "error": {
                "message": refusal.message,
                "type": refusal.type,
                "param": None,
                "code": "invalid_request_error",
            }
        }
        kind = "application/octet-stream" if knobs.octet_stream_error else "application/json"
        await exchange.send(json.dumps(body).encode(), refusal.status, kind, headers)


def _unavailable(status: int) -> tuple[str, int, str]:
    text, kind = _UNAVAILABLE[status]
    return text, status, kind


def _too_many(running: int, knobs: Knobs) -> Refusal:
    return Refusal(
        f"Too many requests. Your current concurrency is {running}, which exceeds your concurrency"
        f" limit of {knobs.concurrency} based on your remaining balance. Please top up your balance"
        " to restore your concurrency.",
        429,
        "rate_limit_error",
    )
