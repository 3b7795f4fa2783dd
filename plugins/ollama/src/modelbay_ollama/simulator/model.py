"""A simulated model as data: what it is, what it says, and what pulling it looks like."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from modelbay_ollama.simulator.script import Script, ToolCall

__all__ = ["Layer", "Pullable", "Remote", "SimulatedModel", "ToolCall"]

Path = Literal["native", "rendered", "harmony"]
"""How the server runs a chat: through the engine's own template, by rendering it, gpt-oss's way."""


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a stub's model really runs. `host` with scheme and port, as lists print it."""

    model: str
    host: str = "https://ollama.com:443"


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """What one installed model is and does. Times in seconds; None: as `Knobs` says for all.

    Attributes:
        name: Any valid spelling; lists print the display form of it.
        answer: What it says. With `tool_calls`: what it says after a tool result.
        says: Makes its words of the messages instead.
        listed_as: What lists and descriptions say it is instead; it does what it does all the same.
        thinking: What it thinks first, if it can and is let.
        tool_calls: What it calls when a chat offers tools (all of them, in one turn).
        json_answer: What it says when a `format` applies; "": the smallest value the schema allows.
        script: Says this every time instead, whatever is asked: a `Script` or the name of one.
        endless: It never ends by itself: the answer is repeated until a limit.
        capabilities: As in ``/api/show``.
        path: Which of the chat paths it takes; native ones are rendered before 0.30.0.
        family, parameter_size, quantization, format, size_bytes: Of its details.
        trained_ctx, embed_len: In tokens and dimensions, from the weights' metadata.
        parameters: The Modelfile's ``PARAMETER`` lines; a list stands for several lines.
        system, template, license, messages: Of the Modelfile; `messages` start every chat.
        requires: Oldest server version the model declares.
        digest: Of the manifest, 64 hex digits; "": made from everything that identifies it.
        weights: Names with equal weights share one runner; "": weights of its own.
        modified_at: None: now, less a minute for each model before it in the list.
        remote: Set: this is a stub of a model that runs elsewhere.
        size_vram_bytes: How much of it is on a GPU; None all of it.
        load_error: Not empty: loading it fails with this text.
        needs_user_turn: Its template fails when no user turn is left in the prompt.
        load_delay_s, token_delay_s, hold_after: As in `Knobs`; `hold_after`: so many lines go out,
            then the answer waits for `OllamaSimulator.release`.
    """

    name: str
    answer: str = "Hello from the simulator."
    says: Callable[[Sequence[Mapping[str, object]]], str] | None = None
    listed_as: "SimulatedModel | None" = None
    thinking: str = ""
    tool_calls: Sequence[ToolCall] = ()
    json_answer: str = ""
    script: Script | str | None = None
    endless: bool = False
    capabilities: Sequence[str] = ("completion",)
    path: Path = "rendered"
    family: str = "llama"
    parameter_size: str = "8.0B"
    quantization: str = "Q4_K_M"
    format: Literal["gguf", "safetensors", ""] = "gguf"
    size_bytes: int = 4_920_753_328
    trained_ctx: int = 131_072
    embed_len: int = 64
    parameters: Mapping[str, object] = field(default_factory=dict)
    system: str = ""
    template: str = "{{ .Prompt }}"
    license: str = ""
    messages: Sequence[Mapping[str, str]] = ()
    requires: str = ""
    digest: str = ""
    weights: str = ""
    modified_at: datetime | None = None
    remote: Remote | None = None
    size_vram_bytes: int | None = None
    load_error: str = ""
    needs_user_turn: bool = False
    load_delay_s: float | None = None
    token_delay_s: float | None = None
    hold_after: int | None = None

    @property
    def manifest_digest(self) -> str:
        """Bare hex. A copy has the same one; other parameters over the same weights another."""
        if self.digest:
            return self.digest
        shown = (self.weights_id, dict(self.parameters), self.system, self.template, self.remote)
        return hashlib.sha256(repr(shown).encode()).hexdigest()

    @property
    def weights_id(self) -> str:
        """What runners are keyed by."""
        return self.weights or f"weights of {self.name}"

    @property
    def parameter_count(self) -> int:
        """`parameter_size` as a number: "8.0B" is 8 billion."""
        scale = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(self.parameter_size[-1:], 0)
        return round(float(self.parameter_size[:-1]) * scale) if scale else 0

    @property
    def shown(self) -> "SimulatedModel":
        """What is told of it."""
        return self.listed_as or self

    def can(self, capability: str) -> bool:
        return capability in self.capabilities

    @property
    def always_thinks(self) -> bool:
        """gpt-oss cannot be kept from thinking."""
        return self.path == "harmony"


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of a pull, and how its progress lines look.

    Attributes:
        digest: With ``sha256:``; "": derived from the model and the layer's place.
        steps: Ticks until it is there; each gives a line.
        cached: It is there already: one line, with everything completed.
        silent: Small enough to arrive between two ticks: no line at all.
        backward: A part fails in the middle: `completed` falls once.
        ends_short: Its last line is one step short of the total.
    """

    size_bytes: int
    digest: str = ""
    steps: int = 4
    cached: bool = False
    silent: bool = False
    backward: bool = False
    ends_short: bool = False


@dataclass(frozen=True, slots=True)
class Pullable:
    """A model in the simulated registry.

    Attributes:
        layers: In the order they come; the last one is the config.
        tensors: A safetensors model: one aggregated series instead of a series per layer.
        error: Not empty: after `error_after` progress lines the pull ends with this text.
        prunes: The optional line about unused layers comes.
    """

    model: SimulatedModel
    layers: Sequence[Layer] = (Layer(4_000_000), Layer(12_000, steps=1), Layer(500, silent=True))
    tensors: bool = False
    error: str = ""
    error_after: int = 1
    prunes: bool = False

    def digest_of(self, at: int) -> str:
        given = self.layers[at].digest
        return given or f"sha256:{hashlib.sha256(f'{self.model.name}/{at}'.encode()).hexdigest()}"
