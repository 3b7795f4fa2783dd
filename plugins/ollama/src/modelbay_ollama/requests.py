"""What goes with every request to a model: the same each time, and what a caller adds."""

from modelbay.context import ProviderContext
from modelbay.errors import UnsupportedFeatureError
from modelbay.models.catalog import ModelInfo
from modelbay.models.frozen import JsonObject
from modelbay_ollama import config
from modelbay_ollama.encoding import Setup
from modelbay_ollama.memory import memory
from modelbay_ollama.options import OPTIONS, KeepAlive, option, request_keep_alive
from modelbay_ollama.window import asked_window


def setup_for(provider: ProviderContext, model: ModelInfo) -> Setup:
    """The same for every request to a model, or it would be loaded anew each time."""
    chosen = config.options(provider)
    return Setup(
        version=memory(provider).version,
        num_ctx=asked_window(model.capabilities, chosen.num_ctx),
        keep_alive=chosen.keep_alive,
    )


def require_consent(provider: ProviderContext, model: ModelInfo) -> None:
    """Raises UnsupportedFeatureError: it runs in the cloud, and this provider may not use that."""
    if model.origin == "remote" and not config.options(provider).allow_cloud:
        raise UnsupportedFeatureError(
            f"{model.ref} runs in the cloud, where your text would go",
            provider_id=provider.id,
            model=str(model.ref),
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


def take_extra(extra: JsonObject, chosen: JsonObject, body: JsonObject) -> None:
    """The caller's own fields: options among the options, the rest as it is."""
    given = dict(extra)
    inner = given.pop("options", None)
    for name, value in {**(inner if isinstance(inner, dict) else {}), **given}.items():
        if name == "keep_alive":
            body[name] = request_keep_alive(value)
        elif name in OPTIONS or (isinstance(inner, dict) and name in inner):
            if value is not None:
                chosen[name] = option(name, value)
        else:
            body[name] = value
