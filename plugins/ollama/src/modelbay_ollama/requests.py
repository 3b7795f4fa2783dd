"""What goes with every request to a model: the same each time, and what a caller adds."""

from modelbay.context import ProviderContext
from modelbay.errors import UnsupportedFeatureError
from modelbay.models.catalog import ModelInfo
from modelbay.models.frozen import JsonObject
from modelbay_ollama import config
from modelbay_ollama.answers import Tags, find_listed
from modelbay_ollama.asking import ask
from modelbay_ollama.discovery import TAGS
from modelbay_ollama.encoding import Setup
from modelbay_ollama.memory import memory
from modelbay_ollama.names import identity, is_cloud
from modelbay_ollama.options import KeepAlive
from modelbay_ollama.residence import wished
from modelbay_ollama.window import asked_window


def setup_for(provider: ProviderContext, model: ModelInfo) -> Setup:
    """The same for every request to a model, or it would be loaded anew each time.

    What an explicit load asked for goes on until the model is unloaded: a request with another
    window, or none, would load it anew.
    """
    chosen = config.options(provider)
    known = memory(provider)
    held = known.held.get(identity(model.wire_id), {})
    window, _ = wished(provider, model.wire_id, model.capabilities)
    return Setup(
        version=known.version,
        num_ctx=asked_window(window, model.capabilities),
        keep_alive=chosen.keep_alive,
        held={name: value for name, value in held.items() if name != "num_ctx"},
    )


async def require_consent(provider: ProviderContext, model: ModelInfo) -> None:
    """Look before anything is sent whether it would leave the machine.

    A name that no list has is looked up: it may be a stub of a model in the cloud.

    Raises:
        UnsupportedFeatureError: It runs in the cloud, and this provider may not use that.
        BackendError: The name cannot be looked up.
    """
    if config.options(provider).allow_cloud:
        return
    remote = model.origin == "remote"
    if not remote and not (model.details or model.digest):
        tags = await ask(provider, "GET", TAGS, into=Tags)
        entry = find_listed(tags.models or [], model.wire_id)
        remote = entry is not None and entry.is_remote
    refuse_cloud(provider, model.wire_id, remote=remote)


def refuse_cloud(provider: ProviderContext, name: str, *, remote: bool) -> None:
    """Raises UnsupportedFeatureError: it runs in the cloud, and this provider may not use that.

    Args:
        remote: It is known to run there; its name and the server's address may say so too.
    """
    if config.options(provider).allow_cloud:
        return
    if remote or is_cloud(name) or config.is_cloud_host(provider):
        ref = f"{provider.id}/{name}"
        raise UnsupportedFeatureError(
            f"{ref} runs in the cloud, where your text would go",
            provider_id=provider.id,
            model=ref,
            hint=f'choose a local model, or set "allowCloud": true for "{provider.id}"',
        )


def as_sent(body: JsonObject) -> tuple[int | None, KeepAlive | None]:
    chosen = body.get("options")
    num_ctx = chosen.get("num_ctx") if isinstance(chosen, dict) else None
    keep_alive = body.get("keep_alive")
    return (
        num_ctx if isinstance(num_ctx, int) else None,
        keep_alive if isinstance(keep_alive, (int, float, str)) else None,
    )
