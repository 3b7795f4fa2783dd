"""What a running model's own server says of it. Never asked about a model that is not running."""

from modelbay.client.http import fetch_json
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, ProtocolError
from modelbay.refs import ModelRef
from modelbay_llamaswap.config import JSON, at
from modelbay_llamaswap.inventory import Running
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.wire import Props, classify, upstream

_DEADLINE_S = 5.0


async def measure(provider: ProviderContext, wire_id: str, running: Running) -> Props | None:
    """``/upstream/{id}/props`` of a model that is ready (S0-45); ``None`` if it is not, or if its
    server has no such route.

    The same call for a model that is not running would load it and push others out (trap 8). So
    ``running`` has to be a look of this moment. The answer is kept, by full ref, until the model
    is seen to be gone (S0-44, S0-46); also that there is none.
    """
    entry = running.entries.get(wire_id)
    if entry is None or not entry.is_ready:
        return None
    known = memory(provider)
    ref = ModelRef(provider.id, wire_id)
    props = known.measured_of(ref)
    if props is not None:
        return props
    try:
        props = await fetch_json(
            provider,
            "GET",
            at(provider, upstream(wire_id, "props")),
            into=Props,
            model=wire_id,
            headers=JSON,
            deadline_s=_DEADLINE_S,
            classify=classify,
        )
    except BackendError as exc:
        if not _is_settled(exc):
            return Props()  # too busy to say: nothing is known, and no error
        props = Props()
    known.remember(ref, entry, props)
    return props


def _is_settled(exc: BackendError) -> bool:
    """Whether this process will always answer so: it is no llama-server.

    Each question would count as a use of the model, and put off its unloading.
    """
    if isinstance(exc, ProtocolError):
        return True
    status = exc.status or 0
    return status == 501 or (400 <= status < 500 and status not in (408, 429))
