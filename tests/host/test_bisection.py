"""Mirrors host/bisection.py: how long a prompt a model takes whole."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from host.pretended_models import Real, open_host, verified
from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    InvalidRequestError,
    RateLimitedError,
    StreamInterruptedError,
)
from modelbay.host.host import Host
from modelbay.models.capabilities import Facts
from modelbay.models.chat import ChatRequest
from modelbay.models.events import (
    Finish,
    Notice,
    StreamEvent,
    Usage,
)

pytestmark = pytest.mark.anyio


async def context_of(held: Host) -> tuple[bool | int | None, str]:
    async with held.verify("desk/m", fields=("context_window",)) as found:
        [(value, evidence)] = [(each.value, each.evidence) async for each in found]
    return value, evidence


@pytest.mark.parametrize(
    ("claimed", "real"),
    [
        (16384, Real(context=4096, template=400)),  # the words alone do not make the count
        (16384, Real(context=4096, template=400, cuts=True)),
        (2048, Real(context=8192)),  # more modest than need be
        (131_072, Real(context=4096)),  # too dear to be tried at once
        (131_072, Real(context=4096, cuts=True)),
        (16384, Real(context=4096, bytes_per_token=0.1)),  # no prompt comes near
        (4000, Real(context=3000)),  # no round number
    ],
)
async def test_a_context_is_found_whatever_is_claimed(
    tmp_path: Path, claimed: int, real: Real
) -> None:
    async with open_host(tmp_path, {"m": (Facts(context_window=claimed), real)}) as held:
        found = (await verified(held, "m", fields=("context_window",)))["context_window"]

    assert isinstance(found, int)
    assert abs(found - real.context) <= real.context * 0.05
    assert len(real.spent) < 20


async def test_a_claim_that_is_true_costs_two_large_prompts(tmp_path: Path) -> None:
    """One that fits, and one that would show that there is more."""
    real = Real(context=8192)
    async with open_host(tmp_path, {"m": (Facts(context_window=8192), real)}) as held:
        assert await verified(held, "m", fields=("context_window",)) == {"context_window": 8192}

    assert [tokens for tokens in real.spent if tokens > 1000] == [
        pytest.approx(8192, rel=0.02),
        pytest.approx(10240, rel=0.02),
    ]


async def test_measuring_the_context_keeps_to_its_price(tmp_path: Path) -> None:
    real = Real(context=1_000_000)
    async with open_host(tmp_path, {"m": (Facts(), real)}) as held:
        found = await verified(held, "m", fields=("context_window",), tokens_limit=20_000)

    assert found == {"context_window": None}
    assert sum(real.spent) <= 20_000 * 1.1


async def test_what_settles_nothing_is_not_kept_as_an_answer(tmp_path: Path) -> None:
    silent = (Facts(context_window=4096), Real(tells=False))
    async with open_host(tmp_path, {"m": silent}) as held:
        assert await verified(held, "m", fields=("context_window",)) == {"context_window": None}
        known = (await held.resolve("desk/m")).capabilities

    assert known.context_window == 4096


async def test_a_claim_that_nothing_dearer_was_asked_of_is_not_kept_as_measured(
    tmp_path: Path,
) -> None:
    """To find that there is no more costs more than the claim itself."""
    for truth in (30_000, 60_000):
        real = Real(context=truth)
        claim = Facts(context_window=30_000)
        async with open_host(tmp_path / str(truth), {"m": (claim, real)}) as held:
            value, evidence = await context_of(held)
            known = (await held.resolve("desk/m")).capabilities

        assert value is None
        assert evidence.startswith("at least 299")
        assert "more would have cost over 65536" in evidence
        assert (known.context_window, known.provenance["context_window"].layer) == (30_000, "live")


@dataclass
class Failing(Real):
    """A prompt that is too long makes it fail instead of refuse.

    Attributes:
        once: Only the first of them does.
        dies: From then on every request fails.
    """

    error: BackendError = field(default_factory=lambda: BackendError("no memory", status=500))
    once: bool = False
    dies: bool = False
    failed: int = 0

    async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        too_long = len(request.messages[0].text) / self.bytes_per_token > self.context
        if (too_long and not (self.once and self.failed)) or (self.dies and self.failed):
            self.failed += 1
            raise self.error
        answered = Real(context=1 << 20, bytes_per_token=self.bytes_per_token)
        async for event in answered.answer(request):
            yield event


@pytest.mark.parametrize("claimed", [None, 3000, 3072, 8192, 131_072])
@pytest.mark.parametrize(
    "error",
    [
        BackendError("CUDA out of memory", status=500),
        BackendError("bad gateway", status=502),
        BackendUnreachableError("it closed the connection"),
        StreamInterruptedError("it ended before its end"),
        InvalidRequestError("payload too large", status=413),
    ],
)
async def test_a_prompt_that_makes_the_server_fail_is_too_long(
    tmp_path: Path, error: BackendError, claimed: int | None
) -> None:
    real = Failing(context=3072, error=error)
    async with open_host(tmp_path, {"m": (Facts(context_window=claimed), real)}) as held:
        value, evidence = await context_of(held)

    assert isinstance(value, int)
    assert abs(value - 3072) <= 3072 * 0.05
    assert "read" in evidence


@pytest.mark.parametrize(
    ("real", "said"),
    [
        (Failing(context=3072, dies=True), "a longer prompt then ended in: no memory"),
        (Failing(context=3072, once=True), "it failed once: no memory"),
        (Failing(context=3072, error=BackendBusyError("busy", status=503)), "ended in: busy"),
        (Failing(context=3072, error=RateLimitedError("wait", status=429)), "ended in: wait"),
        (Failing(context=3072, error=BackendTimeoutError("60 s")), "ended in: 60 s"),
        (Failing(context=3072, error=AuthenticationError("no", status=403)), "ended in: no"),
    ],
)
async def test_a_failure_that_need_not_be_the_prompt_s_settles_nothing(
    tmp_path: Path, real: Failing, said: str
) -> None:
    async with open_host(tmp_path, {"m": (Facts(context_window=3072), real)}) as held:
        value, evidence = await context_of(held)
        known = (await held.resolve("desk/m")).capabilities

    assert (value, known.context_window) == (None, 3072)
    assert evidence.startswith("at least 3")  # thousand: as much as was read
    assert said in evidence


@pytest.mark.parametrize("turn", range(4))
async def test_where_words_are_not_always_as_many_tokens_no_number_is_made_of_them(
    tmp_path: Path, turn: int
) -> None:
    """What is claimed stays, whichever prompts happen to be the long ones."""

    class Uneven(Real):
        async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
            self.bytes_per_token = (1.4, 5.1, 2.2, 3.3, 4.4)[
                (len(request.messages[0].text) * 7 + turn) // 3 % 5
            ]
            async for event in super().answer(request):
                yield event

    real = Uneven(context=4096, cuts=turn % 2 == 0)
    async with open_host(tmp_path, {"m": (Facts(context_window=4096), real)}) as held:
        value, evidence = await context_of(held)
        known = (await held.resolve("desk/m")).capabilities

    assert (value, known.context_window) == (None, 4096)
    assert "not settled" in evidence


async def test_long_prompts_that_count_otherwise_than_short_ones_settle_nothing(
    tmp_path: Path,
) -> None:
    class Denser(Real):
        async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
            words = len(request.messages[0].text) // 2 + 1
            self.bytes_per_token = 1.0 if 2000 < words < 2100 else 2.0
            async for event in super().answer(request):
                yield event

    real = Denser(context=4200)
    async with open_host(tmp_path, {"m": (Facts(), real)}) as held:
        value, evidence = await context_of(held)

    assert value is None
    assert "not settled" in evidence


async def test_a_notice_that_the_prompt_was_cut_is_believed(tmp_path: Path) -> None:
    class Honest(Real):
        async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
            tokens = len(request.messages[0].text) // 2
            if tokens > 1024:
                yield Notice("truncated", "cut")
            yield Usage(min(tokens, 1024), 1)
            yield Finish("length")

    async with open_host(tmp_path, {"m": (Facts(context_window=4096), Honest())}) as held:
        assert await verified(held, "m", fields=("context_window",)) == {"context_window": 1024}
