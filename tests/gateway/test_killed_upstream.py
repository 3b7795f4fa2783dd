"""``kill -9`` of one upstream: its answers end with a typed error, and nobody else's do."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import pytest

from gateway.chats import PROTOCOLS, Json, Protocol
from gateway.processes import WAIT_S, gateway, upstream
from gateway.programs.upstream import pieces_of

pytestmark = pytest.mark.e2e

EACH = 5  # streams of every protocol from every upstream
DELAY_S = 0.05
MODELS = {"desk": "desk/echo:latest", "cloud": "cloud/echo"}
BROKE_OFF = "the connection broke off in the middle of the answer (the server closed it)"


@dataclass(slots=True)
class Told:
    """What a client was told.

    Attributes:
        text: The pieces of its answer, joined.
        last: The last document of its stream, or the only one of an answer that is no stream.
    """

    status: int = 0
    text: str = ""
    last: Json = field(default_factory=dict)
    is_whole: bool = False


async def stream(
    client: httpx.AsyncClient, protocol: Protocol, model: str, mark: str, began: Callable[[], None]
) -> Told:
    told = Told()
    body = protocol.body(model, mark)
    async with client.stream("POST", protocol.path, json=body) as answer:
        told.status = answer.status_code
        async for line in answer.aiter_lines():
            document = protocol.document(line)
            if document is None:
                continue
            if protocol.said(document) and not told.text:
                began()
            told.text += protocol.said(document)
            told.is_whole = told.is_whole or protocol.is_whole(document)
            told.last = document
    return told


async def ask(client: httpx.AsyncClient, protocol: Protocol, model: str, mark: str) -> Told:
    body = protocol.body(model, mark, stream=False)
    answer = await client.post(protocol.path, json=body)
    return Told(answer.status_code, last=answer.json())


def broke_off(protocol: Protocol, provider: str) -> Json:
    """The last document of an answer whose server went away."""
    about = {"message": BROKE_OFF, "provider": provider, "model": MODELS[provider]}
    match protocol.name:
        case "openai":
            code = {"type": "upstream_error", "param": None, "code": "upstream_stream_closed"}
            return {"error": {**about, **code, "retryable": True}}
        case "anthropic":
            code = {"type": "api_error", "code": "stream_interrupted"}
            return {"type": "error", "error": {**about, **code}}
        case _:
            return {"error": BROKE_OFF}


@pytest.mark.parametrize(("killed", "kept"), [("desk", "cloud"), ("cloud", "desk")])
def test_a_killed_upstream_ends_its_own_answers_alone(
    tmp_path: Path, killed: str, kept: str
) -> None:
    with (
        upstream("ollama", DELAY_S) as desk,
        upstream("openai", DELAY_S) as cloud,
        gateway(
            tmp_path, desk=("ollama", desk.base_url), cloud=("openai", cloud.base_url)
        ) as served,
    ):
        victim = {"desk": desk, "cloud": cloud}[killed]
        asked = [
            (protocol, provider, f"{at}{protocol.name[0]}{provider[0]}")
            for protocol in PROTOCOLS
            for provider in (killed, kept)
            for at in range(EACH)
        ]

        async def everybody() -> tuple[list[Told], list[Told]]:
            waiting = len(asked)
            all_began = asyncio.Event()

            def began() -> None:
                nonlocal waiting
                waiting -= 1
                if not waiting:
                    all_began.set()

            limits = httpx.Limits(max_connections=None)
            async with (
                httpx.AsyncClient(base_url=served.base_url, timeout=WAIT_S, limits=limits) as ai,
                asyncio.TaskGroup() as group,
            ):
                streams = [
                    group.create_task(stream(ai, protocol, MODELS[provider], mark, began))
                    for protocol, provider, mark in asked
                ]
                async with asyncio.timeout(WAIT_S):
                    await all_began.wait()
                victim.kill()
                ended = [await each for each in streams]
                later = [await ask(ai, each, MODELS[killed], "abc") for each in PROTOCOLS]
                later += [await ask(ai, each, MODELS[kept], "abc") for each in PROTOCOLS]
            return ended, later

        streams, later = asyncio.run(everybody())

    for (protocol, provider, mark), told in zip(asked, streams, strict=True):
        whole = "".join(pieces_of(mark))
        if provider == kept:
            assert (told.status, told.text, told.is_whole) == (200, whole, True)
            continue
        assert (told.status, told.is_whole) == (200, False)
        assert told.last == broke_off(protocol, provider)
        assert told.text
        assert whole.startswith(told.text)
        assert told.text != whole
    gone, still_there = later[: len(PROTOCOLS)], later[len(PROTOCOLS) :]
    assert [told.status for told in gone] == [502] * len(PROTOCOLS)
    assert all("cannot reach" in str(told.last["error"]) for told in gone)
    assert [told.status for told in still_there] == [200] * len(PROTOCOLS)
