"""A simulated llama-swap and a plain HTTP client, and the words tests read its answers with."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import httpx2 as httpx

from modelbay_llamaswap.simulator import Dialect, LlamaSwapSimulator, ManualClock, SimulatedModel

DIALECTS: Sequence[Dialect] = ("v160", "v185", "v217", "v250", "head")
HI = [{"role": "user", "content": "hi"}]
A, B, C = (SimulatedModel(name, answer=f"I am {name}.") for name in "abc")


@contextmanager
def serving(
    models: Sequence[SimulatedModel] = (A,), dialect: Dialect = "head", **options: Any
) -> Iterator[tuple[LlamaSwapSimulator, httpx.Client]]:
    with (
        LlamaSwapSimulator(models, dialect, **options) as sim,
        httpx.Client(base_url=sim.base_url, timeout=10, trust_env=False) as http,
    ):
        yield sim, http


@contextmanager
def by_hand(
    models: Sequence[SimulatedModel] = (A,), dialect: Dialect = "head", **options: Any
) -> Iterator[tuple[LlamaSwapSimulator, httpx.Client]]:
    """The same with a clock that stands still until `advance`."""
    with serving(models, dialect, clock=ManualClock(), **options) as both:
        yield both


def chat(http: httpx.Client, model: str = "a", **body: Any) -> httpx.Response:
    return http.post("/v1/chat/completions", json={"model": model, "messages": HI, **body})


def said(response: httpx.Response) -> str:
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def frames(response: httpx.Response) -> list[Any]:
    """The events of a stream: JSON, or text such as ``[DONE]`` and what is no event at all."""
    found: list[Any] = []
    for block in response.text.split("\n\n"):
        text = block.removeprefix("data: ")
        if block.startswith("data: {"):
            found.append(json.loads(text))
        elif text:
            found.append(text)
    return found


def streamed(response: httpx.Response, part: str = "content") -> str:
    choices = [f["choices"] for f in frames(response) if isinstance(f, dict) and "id" in f]
    return "".join(c[0]["delta"].get(part) or "" for c in choices if c)


class Asked:
    """A request in a thread of its own."""

    def __init__(self, ask: Callable[[], httpx.Response]) -> None:
        self._response: httpx.Response | None = None
        self._ask = ask
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(httpx.HTTPError):
            self._response = self._ask()

    @property
    def pending(self) -> bool:
        return self._thread.is_alive()

    def ended(self, within_s: float) -> bool:
        self._thread.join(within_s)
        return not self.pending

    def answer(self) -> httpx.Response:
        self._thread.join(10)
        assert self._response is not None
        return self._response


def asking(http: httpx.Client, model: str = "a", **body: Any) -> Asked:
    return Asked(lambda: chat(http, model, **body))
