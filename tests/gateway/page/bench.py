"""A gateway with simulated servers behind it, and a browser that shows its page."""

import base64
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx

import modelbay_llamacpp.plugin
import modelbay_llamaswap.plugin
import modelbay_ollama.plugin
import modelbay_openai.plugin
import pretend
from gateway.serving import Served, serve
from modelbay.models.provider import ProviderConfig
from modelbay.state import open_store
from modelbay_gateway.client_keys import ClientKey, digest
from modelbay_gateway.limits import Limits
from modelbay_gateway.scopes import EVERY_SCOPE
from modelbay_gateway.security import Access
from modelbay_llamacpp.simulator import LlamaCppSimulator
from modelbay_llamacpp.simulator import SimulatedModel as LlamaModel
from modelbay_llamaswap.simulator import LlamaSwapSimulator
from modelbay_llamaswap.simulator import SimulatedModel as SwapModel
from modelbay_ollama.simulator import Knobs, Layer, OllamaSimulator, Pullable, ToolCall
from modelbay_ollama.simulator import SimulatedModel as OllamaModel
from modelbay_openai.simulator import OpenAISimulator
from modelbay_openai.simulator import SimulatedModel as OpenAIModel

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NEWS = "A list:\n\n- one\n- **two**\n\n```python\nprint('hi')  # greet\n```\n"
# One red pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8Dwn4EBAAkCAgGbb7gAAAAAAElFTkSuQmCC"
)


class Bench:
    """Everything behind the page, to be looked at and turned.

    Attributes:
        api: A plain client of the same gateway.
    """

    def __init__(self, stack: ExitStack, **options: Any) -> None:
        self.ollama = OllamaSimulator(
            [
                OllamaModel(
                    "qwen3:8b",
                    answer=NEWS,
                    thinking="The user says hello. ",
                    capabilities=("completion", "tools", "thinking"),
                    tool_calls=[ToolCall("weather", {"city": "Rome"})],
                ),
                OllamaModel("gemma3:4b", capabilities=("completion", "vision")),
                OllamaModel("endless:1b", endless=True, size_bytes=1_300_000_000),
                OllamaModel("broken:7b", load_error="the file is damaged"),
                OllamaModel("nomic-embed-text:latest", capabilities=("embedding",)),
            ],
            registry=[
                Pullable(
                    OllamaModel("codestral:22b"), [Layer(8_000_000, steps=4), Layer(9, steps=1)]
                )
            ],
            knobs=Knobs(),
        )
        self.swap = LlamaSwapSimulator(
            [
                SwapModel("cold", answer="warm now", load_s=float("inf")),
                SwapModel("quick", answer="quick answer"),
            ],
            loading_state=False,
        )
        self.llamacpp = LlamaCppSimulator(
            [LlamaModel("tiny", answer="Tiny speaks.", vision=True, n_ctx=8192)], mode="router"
        )
        self.painter = OpenAISimulator(
            [OpenAIModel("paint", images=True), OpenAIModel("talk", answer="talk")], "vllm"
        )
        self._stack = stack
        self._store = open_store(":memory:")
        servers = [self.ollama, self.swap, self.llamacpp, self.painter]
        for server in servers:
            stack.enter_context(server)
        self.served = stack.enter_context(
            serve_page(self.providers(), store=self._store, **options)
        )
        self.api = stack.enter_context(httpx.Client(base_url=self.served.base_url, timeout=30))

    def providers(self) -> list[ProviderConfig]:
        """In an order that is not alphabetic; the last one is not there."""
        return [
            pretend.config(
                "sam-desktop", "llama-swap", label="Sam's desktop", baseUrl=self.swap.base_url
            ),
            pretend.config("ollama", "ollama", label="Ollama", baseUrl=self.ollama.base_url),
            pretend.config(
                "llamacpp", "llamacpp", label="llama.cpp", baseUrl=self.llamacpp.base_url
            ),
            pretend.config(
                "studio",
                "openai",
                label="Studio",
                baseUrl=self.painter.address,
                models={"paint": {"imageGeneration": True}},
            ),
            pretend.config("attic", "ollama", label="Attic", baseUrl="http://127.0.0.1:9"),
        ]

    def keyed(self, scopes: Sequence[str], key: str, full: str | None = None) -> Served:
        """A second gateway over the same servers and the same store, which asks for a key.

        Args:
            scopes: What the key is good for.
            full: Another key, which is good for everything.
        """
        keys = [ClientKey("phone", frozenset(scopes), digest(key), 0)]
        if full is not None:
            keys.append(ClientKey("desk", EVERY_SCOPE, digest(full), 0))
        access = Access(given_keys=tuple(keys))
        served = serve_page(self.providers(), store=self._store, access=access)
        return self._stack.enter_context(served)

    def favourites(self, *ids: str) -> None:
        self.api.put("/api/settings", json={"favorite_models": ids}).raise_for_status()

    def stored_favourites(self) -> list[str]:
        found: list[str] = self.api.get("/api/settings").json()["favorite_models"]
        return found

    def conversations(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get("/conversations").json()["items"]
        return found

    def messages(self, id: str) -> list[dict[str, Any]]:
        page = self.api.get(f"/conversations/{id}/messages").json()
        return [each["message"] for each in page["items"]]


@contextmanager
def serve_page(providers: list[ProviderConfig], **options: Any) -> Iterator[Served]:
    modules: dict[str, Any] = {
        "llama-swap": modelbay_llamaswap.plugin,
        "llamacpp": modelbay_llamacpp.plugin,
        "ollama": modelbay_ollama.plugin,
        "openai": modelbay_openai.plugin,
    }
    host = pretend.host(providers, **modules)
    options.setdefault("limits", Limits(heartbeat_s=0.2))
    options.setdefault("store", open_store(":memory:"))
    with serve(host, **options) as served:
        yield served


def axe_source() -> str | None:
    """The text of axe-core, where npm has put it: a folder named by ``AXE_CORE``."""
    folder = os.environ.get("AXE_CORE")
    places = [Path(folder)] if folder else []
    places += [Path(__file__).parent / "node_modules" / "axe-core"]
    found = next((p / "axe.min.js" for p in places if (p / "axe.min.js").exists()), None)
    return found.read_text(encoding="utf-8") if found else None
