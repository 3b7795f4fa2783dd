"""Simulated servers behind one gateway, for clients that run in processes of their own."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import modelbay_llamacpp.plugin
import modelbay_openai.plugin
import pretend
from gateway.serving import Served, serve
from modelbay.testing.simulator import Exchange, Request
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel, ToolCall
from modelbay_openai import simulator as openai

RETRY_AFTER_S = 1
MODELS = [
    "lab/org/tiny:q4",
    "lab/caller",
    "lab/forecaster",
    "lab/breaks",
    "lab/endless",
    "lab/text-embedding-3-small",
    "busy/limited",
    "busy/paint",
]


class Busy(openai.OpenAISimulator):
    """A server that refuses every chat with 429, and notes when it was asked.

    Attributes:
        asked_s: Times of `time.monotonic`, of chats alone.
    """

    def __init__(self) -> None:
        self.asked_s: list[float] = []
        models = [openai.SimulatedModel("limited"), openai.SimulatedModel("paint", images=True)]
        super().__init__(models, "vllm")

    async def admit(self, exchange: Exchange) -> bool:
        is_chat = exchange.request.path == "/v1/chat/completions"
        self.knobs.rate_limited_s = RETRY_AFTER_S if is_chat else None
        if is_chat:
            self.asked_s.append(time.monotonic())
        return await super().admit(exchange)


class Upstreams:
    """The servers, and the gateway before them.

    Attributes:
        lab: A llama.cpp router whose models answer, think, call, keep to a schema, break off in
            the middle, never end, and embed.
    """

    def __init__(self, served: Served, lab: LlamaCppSimulator, busy: Busy) -> None:
        self.base_url = served.base_url
        self.lab = lab
        self.busy = busy

    def chats(self, model: str) -> list[Request]:
        """The chats that the lab was asked for with this model."""
        return [
            request
            for request in self.lab.requests
            if request.path == "/v1/chat/completions" and f'"{model}"'.encode() in request.body
        ]


@contextmanager
def upstreams() -> Iterator[Upstreams]:
    """Everything on ephemeral ports."""
    with ExitStack() as stack:
        lab = stack.enter_context(
            LlamaCppSimulator(
                [
                    SimulatedModel("org/tiny:q4", answer="Hello there.", reasoning="hm", n_ctx=256),
                    SimulatedModel(
                        "caller",
                        answer="It is sunny.",
                        tool_calls=[ToolCall("weather", '{"city":"Rome"}')],
                    ),
                    SimulatedModel("forecaster", json_answer='{"city": "Rome", "degrees": 31}'),
                    SimulatedModel("breaks", answer="Hello there.", fail_after=2),
                    SimulatedModel("endless", endless=True),
                    SimulatedModel("text-embedding-3-small", embeddings=True, n_embd=3),
                ],
                "router",
                models_max=0,
            )
        )
        busy = stack.enter_context(Busy())
        host = pretend.host(
            [
                pretend.config("lab", "llamacpp", baseUrl=lab.base_url),
                pretend.config("busy", "openai", baseUrl=busy.address),
            ],
            llamacpp=modelbay_llamacpp.plugin,
            openai=modelbay_openai.plugin,
        )
        yield Upstreams(stack.enter_context(serve(host)), lab, busy)
