"""Hosts over simulated servers of several kinds, for clients of any protocol."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import modelbay_llamacpp.plugin
import modelbay_ollama.plugin
import modelbay_openai.plugin
import pretend
from modelbay.host.host import Host
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance.ports import dead_url
from modelbay.testing.fault import Fault
from modelbay_llamacpp import simulator as llamacpp
from modelbay_ollama import simulator as ollama
from modelbay_openai import simulator as openai

KINDS = pretend.installed(
    llamacpp=modelbay_llamacpp.plugin,
    ollama=modelbay_ollama.plugin,
    openai=modelbay_openai.plugin,
)
# A model of every kind that thinks and sees, and calls the tools it is offered.
LLAMACPP = llamacpp.SimulatedModel(
    "tiny",
    answer="Hello from llama.cpp. " * 20,
    reasoning="hm",
    tool_calls=[llamacpp.ToolCall("weather", '{"city":"Rome"}')],
    vision=True,
)
OLLAMA = ollama.SimulatedModel(
    "qwen3:8b",
    answer="Hello from Ollama. " * 20,
    thinking="hm",
    tool_calls=[ollama.ToolCall("weather", {"city": "Rome"})],
    capabilities=("completion", "tools", "thinking", "vision"),
    family="qwen3",
)
EMBEDDER = ollama.SimulatedModel(
    "embedder", capabilities=("embedding",), family="bert", embed_len=8
)
OPENAI = openai.SimulatedModel(
    "vendor/large",
    answer="Hello from elsewhere. " * 20,
    thinking="hm",
    calls=[openai.ToolCall("weather", '{"city":"Rome"}')],
    vision=True,
)
CHATS = ("/v1/chat/completions", "/api/chat")
ANSWERS = {
    "cpp/tiny": LLAMACPP.answer,
    "desk/qwen3:8b": OLLAMA.answer,
    "cloud/vendor/large": OPENAI.answer,
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """One server of each kind, and a host that knows them."""

    host: Host
    cpp: llamacpp.LlamaCppSimulator
    desk: ollama.OllamaSimulator
    cloud: openai.OpenAISimulator

    def asked(self, model: str) -> Any:
        """The body of the last chat that reached the server of this model."""
        server = getattr(self, model.partition("/")[0])
        return json.loads([each for each in server.requests if each.path in CHATS][-1].body)

    def cut(self, after_bytes: int) -> None:
        """From now on every chat breaks off after so much of its answer."""
        for server in (self.cpp, self.desk, self.cloud):
            for path in CHATS:
                server.inject(Fault(cut_after_bytes=after_bytes), path=path)


@contextmanager
def simulated(*, calls: bool = False) -> Iterator[Simulated]:
    """Servers on real sockets; the gateway closes the host.

    Args:
        calls: The models call a tool.
    """
    tiny = LLAMACPP if calls else replace(LLAMACPP, tool_calls=())
    with ExitStack() as stack:
        cpp = stack.enter_context(llamacpp.LlamaCppSimulator([tiny]))
        desk = stack.enter_context(ollama.OllamaSimulator([OLLAMA, EMBEDDER]))
        cloud = stack.enter_context(openai.OpenAISimulator([OPENAI], "vllm"))
        providers = [
            ProviderConfig(id="cpp", kind="llamacpp", base_url=cpp.base_url),
            ProviderConfig(id="desk", kind="ollama", base_url=desk.base_url),
            ProviderConfig(id="cloud", kind="openai", base_url=f"{cloud.base_url}/v1"),
        ]
        env = {"MODELBAY_HOME": "/nonexistent", "OLLAMA_HOST": dead_url()}
        host = Host.open(providers=providers, env=env, installed=KINDS)
        yield Simulated(host, cpp, desk, cloud)
