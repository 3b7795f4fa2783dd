"""Checks that two instances of a kind share nothing, and that secrets stay where they belong."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from modelbay.errors import BackendError, ModelbayError
from modelbay.models.chat import user
from modelbay.models.manage import ListModels
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance.bay import Bay, Outcome, Rule
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.target import Target
from modelbay.testing.fault import Fault
from modelbay.testing.rechunk import http_answer
from modelbay.testing.request import Request
from modelbay.testing.streams import text_of

KEYS = ("kit-first-key-81d2", "kit-second-key-93f4")
HEADER = "kit-header-secret-27ab"


class IsolationChecks(Kit):
    read = "modelbay/hookspecs.py; modelbay/context.py: ProviderContext"

    async def test_two_instances_keep_their_own_keys(self, target: Target, rule: Rule) -> None:
        """Two providers at one address each send their own key, in whatever order they are used."""
        target.require("requests")
        configs = [_keyed(target.config, f"kit-{n}", key) for n, key in enumerate(KEYS)]
        async with Bay.open(target, *configs) as bay:
            for number in (0, 1, 0):
                bay.mark()
                provider_id = configs[number].id
                await _try_all(bay, provider_id)
                for request in bay.seen():
                    text = _all_headers(request)
                    rule.holds(
                        KEYS[1 - number] not in text,
                        f"{request.target} for '{provider_id}' carries the other's key",
                    )

    async def test_the_key_reaches_the_server(self, target: Target, rule: Rule) -> None:
        """The provider's key is sent with a turn, in a header."""
        target.require("requests")
        async with Bay.open(target, _keyed(target.config, "kit-0", KEYS[0])) as bay:
            await bay.chat(info=bay.made_up(target.model))
            chats = bay.chats()
        rule.holds(chats, "no turn reached the server")
        rule.holds(KEYS[0] in _all_headers(chats[-1]), f"headers: {sorted(chats[-1].headers)}")

    async def test_the_key_is_in_no_address_and_no_body(self, target: Target, rule: Rule) -> None:
        """A key never stands in an address or a body, where logs and proxies keep it."""
        target.require("requests")
        async with Bay.open(target, _keyed(target.config, "kit-0", KEYS[0])) as bay:
            await _try_all(bay, "kit-0")
            for request in bay.seen():
                rule.holds(KEYS[0] not in request.target, f"in the address of {request.path}")
                rule.holds(KEYS[0].encode() not in request.body, f"in the body of {request.path}")

    async def test_two_servers_answer_for_themselves(self, target: Target, rule: Rule) -> None:
        """Models of one name at two servers are two models; each is asked where it lives."""
        target.require("second", "text")
        second = target.second()
        configs = [
            at.config.model_copy(update={"id": f"kit-{n}"}) for n, at in enumerate((target, second))
        ]
        async with Bay.open(target, *configs) as bay:
            await bay.host.refresh(force=True)
            for number, at in ((0, target), (1, second), (0, target)):
                request = bay.request(model=f"kit-{number}/{at.model}")
                outcome = await bay.chat(request)
                text = text_of(outcome.events)
                rule.holds(text == at.says, f"'{configs[number].id}' said {text!r}: {outcome}")

    async def test_a_dead_twin_harms_nobody(self, target: Target, rule: Rule) -> None:
        """One provider that fails does not change what another of its kind lists."""
        target.require("faults")
        dead = target.config.model_copy(
            update={"id": "kit-dead", "base_url": "http://127.0.0.1:9", "probe_timeout_s": 1.0}
        )
        async with Bay.open(target, target.config, dead) as bay:
            catalog = await bay.host.refresh(force=True)
            alone = catalog.provider(target.config.id)
            twin = catalog.provider("kit-dead")
        rule.holds(alone is not None and alone.status == "ok", alone)
        rule.holds(twin is not None and not twin.models, twin)

    async def test_a_host_opened_again_knows_nothing(self, target: Target, rule: Rule) -> None:
        """What one host learnt is not known to the next: it asks the server anew."""
        target.require("requests")
        for attempt in ("first", "second"):
            async with Bay.open(target) as bay:
                await bay.host.refresh(force=True)
                rule.holds(bay.seen(), f"the {attempt} host asked nobody")


class SecrecyChecks(Kit):
    read = "modelbay/errors.py; modelbay/context.py: ProviderContext.redact"

    @pytest.mark.parametrize("where", ["chat", "discovery"])
    async def test_secrets_echoed_by_a_server_are_not_shown(
        self, target: Target, rule: Rule, where: str
    ) -> None:
        """A server that repeats key and headers in its error gets them into no message or log."""
        target.require("faults")
        config = _keyed(target.config, "kit-0", KEYS[0])
        echo = json.dumps({"error": {"message": f"bad key {KEYS[0]}, header {HEADER}"}})
        answer = http_answer(echo.encode(), status=401, content_type="application/json")
        with _listening() as ear:
            async with Bay.open(target, config) as bay:
                target.arm(Fault(garbage=answer))
                error = (await _ask(bay, where)).error
            target.clear()
        rule.holds(isinstance(error, BackendError), f"{error!r}")
        self._nowhere(rule, error, ear)

    async def test_secrets_in_a_stream_s_error_are_not_shown(
        self, target: Target, rule: Rule
    ) -> None:
        """The same for an error inside a stream that began as a success."""
        target.require("faults")
        wire = target.wire
        body = wire.text("one ") + wire.error(f"bad key {KEYS[0]}, header {HEADER}")
        with _listening() as ear:
            async with Bay.open(target, _keyed(target.config, "kit-0", KEYS[0])) as bay:
                answer = http_answer(body, content_type=wire.content_type)
                target.arm(Fault(garbage=answer), target.chat_path)
                error = (await _ask(bay, "chat")).error
            target.clear()
        self._nowhere(rule, error, ear)

    async def test_secrets_are_not_logged(self, target: Target, rule: Rule) -> None:
        """Nothing that works is logged with its key or its headers."""
        with _listening() as ear:
            async with Bay.open(target, _keyed(target.config, "kit-0", KEYS[0])) as bay:
                await _try_all(bay, "kit-0")
                shown = repr(bay.context()) + repr(bay.context().config) + repr(bay.context().memo)
        rule.holds(KEYS[0] not in shown and HEADER not in shown, "in a repr of the provider")
        self._nowhere(rule, None, ear)

    async def test_prompts_are_not_logged(self, bay: Bay, rule: Rule) -> None:
        """What people ask stands in no log."""
        prompt = "kit-private-thought-6b0e"
        with _listening() as ear:
            await bay.chat(bay.request(messages=[user(prompt)]))
        rule.holds(prompt not in ear.heard, "the prompt is in the log")

    async def test_a_key_follows_no_redirect(self, target: Target, rule: Rule) -> None:
        """A redirect is an error; the key goes nowhere the user did not send it."""
        target.require("faults", "requests")
        async with Bay.open(target, _keyed(target.config, "kit-0", KEYS[0])) as bay:
            elsewhere = f"{target.config.base_url}/kit-elsewhere"
            answer = http_answer(b"", status=307, headers=[("Location", elsewhere)])
            target.arm(Fault(garbage=answer), target.chat_path)
            bay.mark()
            outcome = await _ask(bay, "chat")
            target.clear()
            followed = [r for r in bay.seen() if "kit-elsewhere" in r.target]
        rule.holds(not followed, "the redirect was followed")
        rule.holds(isinstance(outcome.error, BackendError), outcome)

    def _nowhere(self, rule: Rule, error: BaseException | None, ear: "_Ear") -> None:
        for secret in (KEYS[0], HEADER):
            for link in _chain(error):
                texts = {
                    "str": str(link),
                    "repr": repr(link),
                    "hint": str(getattr(link, "hint", "")),
                    "args": repr(link.args),
                }
                for where, text in texts.items():
                    rule.holds(secret not in text, f"in the {where} of {type(link).__name__}")
            rule.holds(secret not in ear.heard, "in the log")


def _keyed(config: ProviderConfig, provider_id: str, key: str) -> ProviderConfig:
    return config.model_copy(
        update={
            "id": provider_id,
            "api_key": SecretStr(key),
            "api_key_env": None,
            "headers": {**config.headers, "X-Kit-Secret": HEADER},
        }
    )


async def _try_all(bay: Bay, provider_id: str) -> None:
    """Everything that sends a request; whether it works does not matter here."""
    await bay.chat(info=bay.made_up(bay.target.model, provider_id))
    try:
        await bay.backend(provider_id).discover_models()
        if "list" in bay.backend(provider_id).table.actions:
            async with bay.host.manage(provider_id, ListModels(), deadline_s=5) as events:
                async for _ in events:
                    pass
    except ModelbayError:
        pass


async def _ask(bay: Bay, where: str) -> Outcome:
    if where == "chat":
        return await bay.chat(info=bay.made_up(bay.target.model))
    try:
        await bay.backend().discover_models()
    except ModelbayError as exc:
        return Outcome(error=exc)
    return Outcome()


def _all_headers(request: Request) -> str:
    return "\n".join(f"{name}: {value}" for name, value in request.headers.items())


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its causes and contexts, each once: such chains can be circles."""
    todo, known = [error], set[int]()
    while todo:
        link = todo.pop()
        if link is None or id(link) in known:
            continue
        known.add(id(link))
        yield link
        todo += [link.__cause__, link.__context__]


class _Ear(logging.Handler):
    """What is logged while it listens, as text at that very moment: arguments may change later."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = ""

    def emit(self, record: logging.LogRecord) -> None:
        # The HTTP library's own trace of header fields is not the plugin's, and off by default.
        if not record.name.startswith(("httpcore", "asyncio")):
            self.heard += f"{self.format(record)}\n"


@contextmanager
def _listening() -> Iterator[_Ear]:
    ear, root = _Ear(), logging.getLogger()
    level = root.level
    root.addHandler(ear)
    root.setLevel(logging.DEBUG)
    try:
        yield ear
    finally:
        root.setLevel(level)
        root.removeHandler(ear)
