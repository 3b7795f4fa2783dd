"""The models of a llama-swap as modelbay lists them. Two requests, and none that loads anything."""

import logging
from collections.abc import Sequence
from typing import cast

import anyio

from modelbay.context import ProviderContext
from modelbay.errors import ModelbayError
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel, ModelState
from modelbay.models.frozen import JsonObject
from modelbay.refs import ModelRef
from modelbay_llamaswap import config
from modelbay_llamaswap.inventory import Running, list_models, list_running
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.wire import VIRTUAL, Entry, Props, model_state

log = logging.getLogger("modelbay.llamaswap")

_ASKING = 0.8  # of the time a look may take; the rest is for what was read
_LIST = "/v1/models"
_PROPS = "/upstream/.../props of the running model"
_TASK_KEYS = ("task", "tasks", "type", "kind", "use", "tags", "capabilities", "pipeline_tag")
_TASKS = {
    "embed": "embeddings",
    "embedder": "embeddings",
    "embedding": "embeddings",
    "embeddings": "embeddings",
    "feature-extraction": "embeddings",
    "rerank": "rerank",
    "reranker": "rerank",
    "reranking": "rerank",
    "text-ranking": "rerank",
    "image": "image_generation",
    "image_generation": "image_generation",
    "image-generation": "image_generation",
    "text-to-image": "image_generation",
    "reasoning": "reasoning",
    "tools": "tools",
    "vision": "vision",
}


async def discover(provider: ProviderContext) -> Sequence[DiscoveredModel]:
    """List the models with all that the two answers tell about them.

    They are asked for side by side, and only the list must come: without the other one, the states
    are what the list says.

    Raises:
        WrongServerError: Something else answers.
        BackendError: It cannot be asked.
    """
    config.options(provider)  # a wrong key in the file should not wait for the first chat
    until = anyio.current_time() + provider.config.probe_timeout_s * _ASKING
    running = Running([], known=False)
    failure: ModelbayError | None = None
    entries: tuple[Entry, ...] = ()

    async def ask_running() -> None:
        nonlocal running
        try:
            running = await list_running(provider)
        except ModelbayError as exc:
            log.debug("provider '%s': what runs is not known: %s", provider.id, exc)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_running)
        try:
            entries = await list_models(provider)
        except ModelbayError as exc:
            failure = exc  # out of the group, which would wrap it
            tasks.cancel_scope.cancel()
        else:
            tasks.cancel_scope.deadline = until
    if failure is not None:
        raise failure
    return describe(provider, entries, running)


def describe(
    provider: ProviderContext, entries: Sequence[Entry], running: Running
) -> tuple[DiscoveredModel, ...]:
    """The records of the list as models.

    An alias that has a record of its own (``includeAliasesInList``) is a name of its target.
    Models that are ``unlisted`` stay so: llama-swap leaves them out itself (S1-34).
    """
    listed = {entry.id for entry in entries}
    also: dict[str, list[str]] = {}
    for entry in entries:
        if entry.type == "alias" and entry.alias_of in listed:
            also.setdefault(entry.alias_of or "", []).append(entry.id)
    merged = {alias for aliases in also.values() for alias in aliases}
    known = memory(provider)
    return tuple(
        _model(
            entry,
            also.get(entry.id, []),
            running,
            known.measured_of(ModelRef(provider.id, entry.id)),
        )
        for entry in entries
        if entry.id not in merged
    )


def state_of(entry: Entry, running: Running) -> ModelState:
    """Where a model stands.

    ``status`` of the list says loaded for starting and stopping too, and unloaded for every peer
    (trap 9), so `/running` decides wherever there is one.
    """
    if entry.type in ("peer", "profile"):
        return "unknown"
    if entry.type == "selector":
        states = [_process_state(target, running) for target in entry.targets]
        return next((s for s in ("loaded", "loading") if s in states), "unloaded")
    if not running.known:
        said = None if entry.status is None else entry.status.value
        return "unknown" if said is None else cast(ModelState, _SAID.get(said, "unknown"))
    return _process_state(entry.alias_of or entry.id, running)


_SAID = {"loaded": "loaded", "unloaded": "unloaded"}


def _process_state(wire_id: str, running: Running) -> ModelState:
    process = running.entries.get(wire_id)
    return "unloaded" if process is None else model_state(process.state)


def _model(
    entry: Entry, aliases: Sequence[str], running: Running, props: Props | None
) -> DiscoveredModel:
    facts = _Facts()
    context = None
    state = state_of(entry, running)
    if props is not None and state == "loaded":
        context = props.n_ctx
        facts.add("context_window", context, f"{_PROPS}: n_ctx of one slot")
        facts.add("tools", props.tools, f"{_PROPS}: chat_template_caps")
        if props.modalities is not None:
            facts.add("vision", props.modalities.vision, f"{_PROPS}: modalities.vision")
            facts.add("audio", props.modalities.audio, f"{_PROPS}: modalities.audio")
    if entry.context is not None:
        tokens, where = entry.context
        facts.add("context_window", tokens, f"{_LIST} {where}, as llama-swap's config declares it")
        facts.add("configured_context", tokens, f"{_LIST} {where}")
    facts.declared(entry)
    facts.metadata(entry)
    return DiscoveredModel(
        wire_id=entry.id,
        name=(entry.name or "").strip(),
        aliases=tuple(dict.fromkeys((*entry.aliases, *aliases))),
        facts=facts.done(),
        evidence=facts.evidence,
        origin="remote" if entry.type == "peer" else "local",
        state=state,
        loaded_context=context,
        details=_details(entry),
    )


class _Facts:
    """Facts with their evidence; the first voice on a matter is heard."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.evidence: dict[str, str] = {}

    def add(self, name: str, value: object, evidence: str) -> None:
        if value is not None and name not in self.values:
            self.values[name] = value
            self.evidence[name] = evidence

    def declared(self, entry: Entry) -> None:
        """The ``capabilities`` block of the config (v225): what is there is true, the rest open.

        Where modalities are declared, those that are missing are declared too.
        """
        said = entry.capabilities or {}
        for key, name in (
            ("vision", "vision"),
            ("audio_transcriptions", "audio"),
            ("image_generation", "image_generation"),
            ("image_to_image", "image_generation"),
            ("function_calling", "tools"),
            ("reranker", "rerank"),
        ):
            if said.get(key) is True:
                self.add(name, True, f"{_LIST} data[].capabilities.{key}")
        arch = entry.architecture
        if arch is not None and arch.input_modalities is not None:
            where = f"{_LIST} data[].architecture.input_modalities"
            self.add("vision", "image" in arch.input_modalities, where)
            self.add("audio", "audio" in arch.input_modalities, where)
        if arch is not None and arch.output_modalities is not None:
            where = f"{_LIST} data[].architecture.output_modalities"
            self.add("image_generation", "image" in arch.output_modalities, where)

    def metadata(self, entry: Entry) -> None:
        """What a user wrote freely: the only place where a config can say ``embedding``."""
        for key in _TASK_KEYS:
            value = entry.metadata.get(key)
            for word in value if isinstance(value, list) else [value]:
                name = _TASKS.get(word.lower()) if isinstance(word, str) else None
                if name is not None:
                    self.add(name, True, f"{_LIST} data[].meta.llamaswap.{key}")

    def done(self) -> Facts:
        return Facts.model_validate(self.values)


def _details(entry: Entry) -> JsonObject:
    """Only fields named here, and what the user wrote to be shown."""
    details: JsonObject = {}
    if entry.description:
        details["description"] = entry.description.strip()
    if entry.type in (*VIRTUAL, "alias"):
        details["type"] = entry.type
    if entry.alias_of is not None:
        details["alias_of"] = entry.alias_of
    if entry.peer is not None:
        details["peer"] = entry.peer
    if entry.targets:
        details["targets"] = list(entry.targets)
    strategy = entry.own.get("strategy")
    if isinstance(strategy, str):
        details["strategy"] = strategy
    if entry.metadata:
        details["metadata"] = entry.metadata
    return details
