"""A gateway before real llama.cpp servers: one that talks, one that calls, one that embeds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import modelbay_llamacpp.plugin
import pretend
from gateway.serving import Served, serve

SAYS = "Hello there."
THINKS = "I need the weather."
CALLS = (
    f"<think>\n{THINKS}\n</think>\n\n"
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@contextmanager
def real_servers(llama: Callable[..., str]) -> Iterator[Served]:
    """Providers ``desk``, ``tools`` and ``vectors``, with a model each.

    Args:
        llama: The fixture that starts servers.
    """
    addresses = {
        "desk": llama("speaker", {"say": SAYS}, n_ctx=512),
        "tools": llama("caller", {"say": CALLS, "template": "tools", "n_ctx_train": 8192}),
        "vectors": llama("embedder", {"pooling": "mean", "template": None}, embedding=True),
    }
    providers = [
        pretend.config(name, "llamacpp", baseUrl=address) for name, address in addresses.items()
    ]
    with serve(pretend.host(providers, llamacpp=modelbay_llamacpp.plugin)) as served:
        yield served
