"""Simulated servers behind one gateway, for clients that run in processes of their own."""

import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx2 as httpx

import modelbay_deepseek.plugin
import modelbay_llamacpp.plugin
import modelbay_openai.plugin
import pretend
from gateway.serving import Served, serve
from modelbay.testing.simulator import Exchange
from modelbay_deepseek.simulator import KEY, DeepSeekSimulator, Knobs, Script
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel, ToolCall
from modelbay_openai import simulator as openai

RETRY_AFTER_S = 3  # longer than any of the clients would wait by itself
WAIT_S = 30.0
MODELS = [
    "lab/breaks",
    "lab/caller",
    "lab/endless",
    "lab/forecaster",
    "lab/org/tiny:q4",
    "lab/text-embedding-3-small",
    "busy/limited",
    "busy/paint",
    "deepseek/deepseek-flash",
    "deepseek/deepseek-v4-pro",
]

UNKNOWN = "unknown model 'lab/nobody'; asked lab (6 models)"
TOO_LONG = (
    "This model's maximum context length is 256 tokens, and the request does not fit. Please reduce"
    " the length of the messages. (request (1020 tokens) exceeds the available context size"
    " (256 tokens), try increasing it (HTTP 400))"
)
BROKEN = "Context size has been exceeded."
LIMITED = "Rate limit reached for requests (HTTP 429)"


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

    def vectors(self, *texts: str) -> list[list[float]]:
        """What the embedding model makes of these, asked without the gateway."""
        body = {"model": "text-embedding-3-small", "input": texts}
        answer = httpx.post(f"{self.lab.base_url}/v1/embeddings", json=body)
        return [each["embedding"] for each in answer.json()["data"]]

    def packed_vectors(self, *texts: str) -> list[list[float]]:
        """The same as 32-bit floats, as they travel in base64."""
        form = struct.Struct("<3f")
        return [list(form.unpack(form.pack(*vector))) for vector in self.vectors(*texts)]

    def wait_until_left(self) -> None:
        """Until the stream that never ends has ended, since its client went away."""
        self.lab.wait_until(lambda: self.lab.open_streams == 0, WAIT_S)

    def gap_s(self) -> float:
        """Seconds between the two times the last client asked the server that refuses."""
        first, second = self.busy.asked_s
        self.busy.asked_s.clear()
        return second - first


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
        # Refuses a round of tools whose thoughts are not given back; most clients drop them.
        thinker = stack.enter_context(DeepSeekSimulator(Script(thought="hm"), Knobs(tool_rounds=3)))
        host = pretend.host(
            [
                pretend.config("lab", "llamacpp", baseUrl=lab.base_url),
                pretend.config("busy", "openai", baseUrl=busy.address),
                pretend.config("deepseek", "deepseek", baseUrl=thinker.base_url, apiKey=KEY),
            ],
            deepseek=modelbay_deepseek.plugin,
            llamacpp=modelbay_llamacpp.plugin,
            openai=modelbay_openai.plugin,
        )
        yield Upstreams(stack.enter_context(serve(host)), lab, busy)
