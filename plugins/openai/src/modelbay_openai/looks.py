"""What some servers tell outside of the list, asked with it. None of it makes a model load."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from modelbay.context import ProviderContext
from modelbay_openai.dialects import Server
from modelbay_openai.fingerprint import peek_json
from modelbay_openai.listing import Entry, flag, tokens


@dataclass(slots=True)
class Look:
    """What was told.

    Attributes:
        version: Of the server.
        entries: More about single models, by wire id.
        where: Where the entries stood, for evidence.
        common: Facts of every model: name, value, evidence.
        only_loaded: The one model that is in memory, where the server has one at most.
    """

    version: str | None = None
    entries: Mapping[str, Entry] = field(default_factory=dict)
    where: str = ""
    common: tuple[tuple[str, object, str], ...] = ()
    only_loaded: str | None = None


async def look(provider: ProviderContext, server: Server, until: float) -> Look:
    """Ask a server what only it can tell; what has not come by then is missing.

    Args:
        until: On the host's clock.
    """
    known = _LOOKS.get(server.name)
    return Look() if known is None else await known(provider, until)


async def server_version(provider: ProviderContext, server: Server) -> str | None:
    """The version, where telling it costs the server something and only people want to know."""
    if server.name == "sglang":
        # The answer holds all arguments of the server; nothing but the version is kept.
        return _version(await peek_json(provider, "get_server_info"))
    return None


async def _vllm(provider: ProviderContext, until: float) -> Look:
    return Look(version=_version(await peek_json(provider, "version", until)))


async def _sglang(provider: ProviderContext, until: float) -> Look:
    info = await peek_json(provider, "get_model_info", until)
    generates = flag(info.get("is_generation"))
    return Look(
        common=(
            *(
                (fact, flag(info.get(name)), f"/get_model_info {name}")
                for fact, name in _UNDERSTANDS.items()
            ),
            ("embeddings", True if generates is False else None, "/get_model_info is_generation"),
        )
    )


async def _lm_studio(provider: ProviderContext, until: float) -> Look:
    """REST API v1 came with 0.4.0, v0 with 0.3.6."""
    for path, key in (("api/v1/models", "models"), ("api/v0/models", "data")):
        listed = (await peek_json(provider, path, until)).get(key)
        if isinstance(listed, list):
            entries: dict[str, Entry] = {}
            for entry in listed:
                if isinstance(entry, dict):
                    for name in _lm_studio_names(entry):
                        entries.setdefault(name, entry)
            return Look(entries=entries, where=f"/{path} {key}[]")
    return Look()


def _lm_studio_names(entry: Entry) -> list[str]:
    """A model's key, and the names of its running instances, by which it can be asked for too."""
    names = [entry.get("key"), entry.get("id")]
    instances = entry.get("loaded_instances")
    for instance in instances if isinstance(instances, list) else ():
        names.append(instance.get("id") if isinstance(instance, dict) else None)
    return [name for name in names if isinstance(name, str)]


async def _tabby(provider: ProviderContext, until: float) -> Look:
    """The model in memory; with an admin key the list holds all on disk."""
    entry = await peek_json(provider, "v1/model", until)
    name = entry.get("id")
    if not isinstance(name, str):
        return Look()
    return Look(entries={name: entry}, where="/v1/model", only_loaded=name)


async def _kobold(provider: ProviderContext, until: float) -> Look:
    can = await peek_json(provider, "api/extra/version", until)
    context = await peek_json(provider, "api/extra/true_max_context_length", until)
    return Look(
        version=_version(can),
        common=(
            (
                "context_window",
                tokens(context.get("value")),
                "/api/extra/true_max_context_length value",
            ),
            ("vision", flag(can.get("vision")), "/api/extra/version vision"),
            ("audio", flag(can.get("audio")), "/api/extra/version audio"),
        ),
    )


def _version(answer: Mapping[str, object]) -> str | None:
    version = answer.get("version")
    return version[:40] if isinstance(version, str) and version else None


_UNDERSTANDS = {"vision": "has_image_understanding", "audio": "has_audio_understanding"}
_LOOKS: Mapping[str, Callable[[ProviderContext, float], Awaitable[Look]]] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "lmstudio": _lm_studio,
    "tabbyapi": _tabby,
    "koboldcpp": _kobold,
}
