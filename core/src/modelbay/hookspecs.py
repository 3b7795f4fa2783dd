"""The questions the host asks a plugin. Plugin authors: this is the only core file you must read.

A plugin is a module of functions for one kind of backend, named in the entry-point group
``modelbay``; the entry point's name is the kind. Each call names the provider instance it is
about, so two servers of the same kind share one plugin and keep separate connections, options and
memory.

Name only the arguments you need, in any order; later versions may add more. No defaults, nothing
keyword-only. Plugins raise errors of `modelbay.errors`; any other exception is reported as the
plugin's own fault.

Every async generator may be closed early: the caller went away. Whatever sits in your `finally`
runs then. Keep no timeout, task group, cancel scope or context-variable token open across a
``yield``.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence

import pluggy

from modelbay.context import ProviderContext
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import StreamEvent
from modelbay.models.manage import Action, ManageEvent
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    ImageRequest,
    ImageResult,
    RerankRequest,
    RerankResult,
)
from modelbay.models.provider import ProviderConfig

PROJECT = "modelbay"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

REQUIRED = ("capabilities", "discover_models", "stream_chat", "manage")
OPTIONAL = (
    "default_providers",
    "embed",
    "generate_image",
    "rerank",
    "complete",
    "watch_models",
)


@hookspec(firstresult=True)
def capabilities(provider: ProviderContext) -> CapabilityTable:
    """What you know of this kind without asking a server.

    Called once per provider when the host opens. Pure: no network, no file, no clock. A kind whose
    table does not depend on the provider returns one constant.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def discover_models(provider: ProviderContext) -> Awaitable[Sequence[DiscoveredModel]]:
    """List the models of one provider, as they are now.

    Called when the list is wanted and the last one is too old; never twice at once for the same
    provider. The host gives it `probe_timeout_s` seconds and then cancels it.
    Never make a server load a model to learn about it.

    Raises:
        BackendError: The server could not be asked, or answered something else.
        WrongServerError: Another product answers at this address.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Answer one chat turn, event by event.

    Write it as an async generator, or return one. Send ``model.ref.wire_id`` to the server: the
    provider's own prefix ends here. The model's capabilities are resolved; what the model is known
    not to do the host has refused already.

    Yields:
        Any number of events, then exactly one `Finish`. Nothing after it. Never `ErrorEvent`.

    Raises:
        UnsupportedFeatureError: The request needs something that would change the answer's meaning
            and that this backend cannot do. What only tunes the answer is left out with a `Notice`.
        StreamInterruptedError: The server's stream ended before its own end.
        BackendError: The server refused, failed or broke off. Raise at any point of the stream.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def manage(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    """Do one management action. Only actions your table names arrive here.

    Yields:
        Any number of `Progress` and `LogLine`, then exactly one outcome (`Done`, `ModelList`, ...).

    Raises:
        UnsupportedActionError: This server cannot, although the kind can.
        BackendError: The server refused or failed.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def default_providers(env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    """Providers you propose without any configuration. Optional.

    Called once when the host opens, if the configuration file does not mention your kind. Pure:
    look at ``env`` alone. Set ``source``: ``environment`` if a variable named the address or key,
    ``loopback`` for a usual local address, ``hosted`` or ``bundled`` else. Name a key's variable in
    ``api_key_env`` and leave its value to the host, which may hold it elsewhere. A proposal that
    never answers is not shown.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def embed(
    provider: ProviderContext, request: EmbedRequest, model: ModelInfo
) -> Awaitable[EmbedResult]:
    """Turn texts into vectors, in the order of the texts. Optional."""
    raise NotImplementedError


@hookspec(firstresult=True)
def generate_image(
    provider: ProviderContext, request: ImageRequest, model: ModelInfo
) -> Awaitable[ImageResult]:
    """Make images from a text. Optional."""
    raise NotImplementedError


@hookspec(firstresult=True)
def rerank(
    provider: ProviderContext, request: RerankRequest, model: ModelInfo
) -> Awaitable[RerankResult]:
    """Order documents by how well they answer a query, the best first. Optional."""
    raise NotImplementedError


@hookspec(firstresult=True)
def complete(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Continue a raw prompt. Optional; the events are those of `stream_chat`."""
    raise NotImplementedError


@hookspec(firstresult=True)
def watch_models(provider: ProviderContext) -> AsyncIterator[None]:
    """Say that the list of models, or a state in it, may have changed. Optional.

    Called while somebody watches, closed when nobody does any more. The host calls
    `discover_models` at each item; it need not be exact. If it ends or raises, the host looks now
    and then, and asks again later.
    """
    raise NotImplementedError
