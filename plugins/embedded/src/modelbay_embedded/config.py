"""The provider's own keys, and the one provider this kind proposes."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from modelbay.models.frozen import Frozen
from modelbay.models.provider import ProviderConfig

DEFAULT_CONTEXT = 8192
# Reading the headers of a few hundred files on a cold disk takes longer than asking a server.
PROBE_S = 5.0


class EmbeddedOptions(Frozen):
    """Keys of an ``embedded`` provider in ``providers.json``.

    Attributes:
        folders: More folders or files to look in, before all others.
        context_length: Tokens a model is loaded with; by default what it was trained for, but no
            more than 8192, since memory grows with it.
        parallel: Requests one model answers side by side; they share the context.
        threads: For computing; by default one per core.
        gpu_layers: By default as many as fit into the free memory.
        max_loaded: Models in memory at once.
        idle_unload_s: Seconds without a request after which a model is unloaded; 0 never does.
        load_deadline_s: Seconds a load may take.
        stop_s: Seconds an engine may take to end before it is killed.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    folders: tuple[str, ...] = ()
    context_length: int | None = Field(default=None, gt=0)
    parallel: int = Field(default=1, gt=0, le=64)
    threads: int | None = Field(default=None, gt=0)
    gpu_layers: int | None = Field(default=None, ge=0)
    max_loaded: int = Field(default=1, gt=0)
    idle_unload_s: float = Field(default=300.0, ge=0)
    load_deadline_s: float = Field(default=600.0, gt=0)
    stop_s: float = Field(default=5.0, gt=0)


def bundled_provider() -> ProviderConfig:
    """The provider that is there without any configuration."""
    return ProviderConfig(
        id="embedded",
        kind="embedded",
        label="Built-in engine",
        source="bundled",
        probe_timeout_s=PROBE_S,
    )


def home_of(env: Mapping[str, str]) -> Path:
    """The user's home folder, as the environment has it."""
    named = env.get("HOME") or env.get("USERPROFILE")
    return Path(named) if named else Path.home()
