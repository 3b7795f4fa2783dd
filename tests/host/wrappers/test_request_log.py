"""Mirrors modelbay/host/wrappers/request_log.py and redaction.py: every request, and no secret."""

import asyncio
import base64
import json
import logging
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import BackendBusyError, ModelbayError, PluginContractError
from modelbay.host.backend import Backend
from modelbay.host.resources import HostResources
from modelbay.host.wrappers.redaction import redactor
from modelbay.host.wrappers.request_log import RequestLog, configure
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta, Usage
from modelbay.models.manage import Load
from modelbay.models.media import EmbedRequest, EmbedResult
from pretend import Records, chat, config, manager, model, plugin

pytestmark = pytest.mark.anyio

KEY = "planted-own-key-0123456789"
HEADER = "planted-header-9876543210"
VARIABLE = "planted variable/value+1234"
LOOKS = [
    "sk-proj-abcdefghijklmnop",
    "ghp_abcdefghijklmnopqrst",
    "AKIAABCDEFGHIJKLMNOP",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "xoxb-1234567890-abcdef",
]
SPELT = [
    base64.b64encode(f"a:{KEY}".encode()).decode(),
    KEY.encode().hex(),
    base64.b64encode(VARIABLE.encode()).decode(),
    quote(VARIABLE),
]
SECRETS = [KEY, HEADER, VARIABLE, *LOOKS, *SPELT]
ENV = {"OTHER_API_KEY": VARIABLE, "MAX_TOKENS": "12345678", "HOME": "/home/sam"}


class Clock:
    """Goes on by a quarter of a second whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the logger is told, as it stands."""
    records, logger = Records(), logging.getLogger("modelbay.requests")
    level = logger.level
    logger.addHandler(records)
    logger.setLevel(logging.INFO)
    yield records.lines
    logger.removeHandler(records)
    logger.setLevel(level)


def provider() -> ProviderContext:
    made = config(apiKey=KEY, base_url="http://desk", headers={"X-Api-Key": HEADER})
    return ProviderContext(made, HostResources(ENV))


def backend(log: RequestLog | None = None, **hooks: Callable[..., object]) -> Backend:
    log = log or RequestLog(clock=lambda: 0.0, timer=Clock())
    return Backend("acme", manager(plugin(**hooks), log), provider())


def documents(lines: list[str]) -> list[dict[str, Any]]:
    assert all(line.startswith("INFO {") for line in lines)
    return [json.loads(line.removeprefix("INFO ")) for line in lines]


async def answer() -> AsyncIterator[StreamEvent]:
    yield TextDelta("a")
    yield Usage(input_tokens=3, output_tokens=1)
    yield Finish("length")


async def test_a_turn_is_one_line_with_all_but_its_texts(lines: list[str]) -> None:
    held = backend(stream_chat=answer)
    request = ChatRequest.model_validate(
        {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "image", "data": "aGVsbG8="}]},
            ],
            "tools": [{"name": "weather", "description": "long", "parameters": {"type": "object"}}],
            "temperature": 0.5,
            "max_tokens": 7,
            "extra": {"api_key": "abc", "top_a": 0.2},
        }
    )

    assert [e async for e in held.stream_chat(request, model(), None)][-1] == Finish("length")

    assert documents(lines) == [
        {
            "time": "1970-01-01T00:00:00.000+00:00",
            "provider": "desk",
            "kind": "acme",
            "model": "desk/m",
            "hook": "stream_chat",
            "outcome": "length",
            "error": None,
            "first_s": 0.25,
            "took_s": 1.0,
            "events": 3,
            "usage": {"input_tokens": 3, "output_tokens": 1},
            "request": {
                "messages": [
                    {"role": "system", "content": {"characters": 8}},
                    {"role": "user", "content": [{"data": {"characters": 8}}]},
                ],
                "tools": ["weather"],
                "temperature": 0.5,
                "max_tokens": 7,
                "extra": {"api_key": "***", "top_a": 0.2},
            },
        }
    ]


async def test_of_each_text_the_beginning_is_kept_where_that_is_wanted(lines: list[str]) -> None:
    held = backend(configure("text=8"), stream_chat=answer)

    [e async for e in held.stream_chat(chat("tell me a story"), model(), None)]

    [told] = documents(lines)
    assert told["request"]["messages"] == [
        {"role": "user", "content": {"characters": 15, "text": "tell me "}}
    ]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "place",
    ["{}", "my key is {} ok", '{{"password": "{}"}}', "http://sam:{}@host/x", "Bearer {}"],
)
@pytest.mark.parametrize("text", [12, 10_000])
async def test_no_planted_secret_comes_through(
    lines: list[str], tmp_path: Path, secret: str, place: str, text: int
) -> None:
    """In a prompt, a tool's result, an extra, a model's name, or a server's error."""
    said = place.format(secret)

    async def stream_chat() -> AsyncIterator[StreamEvent]:
        yield TextDelta(said)
        raise BackendBusyError(f"the server says: {said}")

    file = tmp_path / "log" / "requests.jsonl"
    held = backend(configure(f"file={file},text={text}"), stream_chat=stream_chat)
    request = ChatRequest.model_validate(
        {
            "messages": [
                {"role": "user", "content": said},
                {"role": "tool", "tool_call_id": "1", "content": said},
            ],
            "tools": [{"name": "t", "description": said, "parameters": {"x": said}}],
            "stop": [said],
            "extra": {"note": said, "deep": [{"authorization": secret}], said: 1},
        }
    )

    with pytest.raises(BackendBusyError):
        [e async for e in held.stream_chat(request, model(f"m-{secret}"), None)]

    written = file.read_text()
    assert [f"INFO {line}" for line in written.splitlines()] == lines
    assert len(lines) == 1
    for known in (secret, json.dumps(secret)[1:-1], secret[: len(secret) // 2]):
        assert known not in written, written


async def test_under_a_telling_name_numbers_and_lists_go_too(lines: list[str]) -> None:
    held = backend(stream_chat=answer)
    extra = {"api_key": 123456789012, "passwords": ["a", 1], "max_tokens": 5, "secret": None}
    request = ChatRequest.model_validate(
        {"messages": [{"role": "user", "content": "a"}], "extra": extra}
    )

    [e async for e in held.stream_chat(request, model(), None)]

    [told] = documents(lines)
    assert told["request"]["extra"] == {
        "api_key": "***",
        "passwords": "***",
        "max_tokens": 5,
        "secret": None,
    }


async def test_a_text_without_secrets_stays_as_it_is() -> None:
    text = "the token count was 12345678, max_tokens 5; see /home/sam and https://host/a?b=c"

    assert redactor(provider())(text) == text


async def test_the_file_is_the_owners_alone_and_grows(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    held = backend(configure(f"file={file}"), stream_chat=answer)

    for _ in range(3):
        [e async for e in held.stream_chat(chat(), model(), None)]

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [json.loads(line)["outcome"] for line in file.read_text().splitlines()] == ["length"] * 3


async def test_a_log_that_cannot_be_written_breaks_no_request_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = backend(configure(f"file={tmp_path}"), stream_chat=answer)

    for _ in range(2):
        found = [e async for e in held.stream_chat(chat(), model(), None)]
        assert found[-1] == Finish("length")

    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 1
    assert str(tmp_path) in warned[0]


async def failing() -> AsyncIterator[StreamEvent]:
    raise ValueError(KEY)
    yield Finish("stop")


@pytest.mark.parametrize("stream_chat", [failing, lambda: 1 / 0])
async def test_a_foreign_exception_is_told_by_its_type_alone(
    lines: list[str], stream_chat: Callable[[], object]
) -> None:
    held = backend(stream_chat=stream_chat)

    with pytest.raises(PluginContractError):
        [e async for e in held.stream_chat(chat(), model(), None)]

    [told] = documents(lines)
    assert told["outcome"] == "plugin_contract_error"
    assert told["error"] in ("ValueError", "ZeroDivisionError")


async def test_a_turn_that_is_closed_or_cancelled_has_its_line(lines: list[str]) -> None:
    async def endless() -> AsyncIterator[StreamEvent]:
        while True:
            yield TextDelta("a")
            await asyncio.sleep(0)

    held = backend(stream_chat=endless)
    async with closing(held.stream_chat(chat(), model(), None)) as turn:
        await anext(turn)

    async def whole() -> None:
        async for _ in held.stream_chat(chat(), model(), None):
            pass

    task = asyncio.create_task(whole())
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert [told["outcome"] for told in documents(lines)] == ["closed", "cancelled"]


async def test_embeddings_and_management_have_lines_too(lines: list[str]) -> None:
    async def embed() -> EmbedResult:
        return EmbedResult(vectors=[[1.0]])

    table = CapabilityTable(actions=frozenset({"load"}))
    held = backend(embed=embed, capabilities=lambda: table)
    await held.embed(EmbedRequest(input=["secret plan", "b"]), model())
    [e async for e in held.manage(Load(model="m"), None)]

    found = documents(lines)
    assert [(told["hook"], told["outcome"]) for told in found] == [
        ("embed", "done"),
        ("manage", "done"),
    ]
    assert found[0]["request"] == {"input": [{"characters": 11}, {"characters": 1}]}


async def test_a_failed_embedding_is_told_with_its_code(lines: list[str]) -> None:
    async def embed() -> EmbedResult:
        raise BackendBusyError(f"no: {KEY}")

    with pytest.raises(ModelbayError):
        await backend(embed=embed).embed(EmbedRequest(input=["a"]), model())

    assert [(told["outcome"], told["error"]) for told in documents(lines)] == [
        ("backend_busy", "no: ***")
    ]


@pytest.mark.parametrize("settings", ["file=", "text=", "text=-1", "text=x", "loud", "path=x"])
def test_unknown_settings_are_refused(settings: str) -> None:
    with pytest.raises(ValueError, match="neither file=PATH nor text=NUMBER"):
        configure(settings)
