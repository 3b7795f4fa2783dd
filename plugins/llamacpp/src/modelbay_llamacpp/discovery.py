"""The models of a server as modelbay lists them. Two requests; never one per model."""

from collections.abc import Sequence

import anyio

from modelbay.context import ProviderContext
from modelbay.errors import BackendBusyError
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.frozen import JsonObject
from modelbay_llamacpp import config
from modelbay_llamacpp.memory import Memory, memory
from modelbay_llamacpp.probe import Server, look
from modelbay_llamacpp.wire import (
    IN_MEMORY,
    RUNNING,
    Entry,
    Props,
    TemplateCaps,
    estimated_context,
    model_state,
    readable_name,
    start_options,
)

_ASKING = 0.8  # of the time a look may take; the rest is for what was read


async def discover(provider: ProviderContext) -> Sequence[DiscoveredModel]:
    """List the models with all that the two answers tell about them.

    A single-model server that is still loading answers nothing but 503: the model it had before is
    listed as loading; without one the provider itself counts as loading.
    """
    config.options(provider)  # a wrong key in the file should not wait for the first chat
    known = memory(provider)
    until = anyio.current_time() + provider.config.probe_timeout_s * _ASKING
    try:
        server = await look(provider, until=until)
    except BackendBusyError:
        if known.single:
            return [model.model_copy(update={"state": "loading"}) for model in known.single]
        raise
    return describe(server, known)


def describe(server: Server, known: Memory) -> tuple[DiscoveredModel, ...]:
    """A look at a server as models; remembers what later looks need."""
    running = {entry.id for entry in server.entries if entry.state in RUNNING}
    known.stopped -= running
    if server.mode == "single":
        models = tuple(_single(entry, server.props) for entry in server.entries)
        known.single = models
        return models
    known.single = ()
    for wire_id in known.templates.keys() - running:
        del known.templates[wire_id]  # it may come back with another template
    return tuple(
        _routed(entry, known.templates.get(entry.id), stopped=entry.id in known.stopped)
        for entry in server.entries
    )


class _Facts:
    """Facts with their evidence, collected one by one."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.evidence: dict[str, str] = {}

    def add(self, name: str, value: object, evidence: str) -> None:
        if value is not None and name not in self.values:
            self.values[name] = value
            self.evidence[name] = evidence

    def modalities(self, entry: Entry) -> None:
        inputs = None if entry.architecture is None else entry.architecture.input_modalities
        if inputs is not None:
            where = "/v1/models data[].architecture.input_modalities"
            self.add("vision", "image" in inputs, where)
            self.add("audio", "audio" in inputs, where)

    def template(self, caps: TemplateCaps | None) -> None:
        if caps is None:
            return
        where = "/props chat_template_caps"
        self.add("tools", caps.tools, f"{where}.supports_tools, supports_tool_calls")
        self.add(
            "parallel_tools",
            caps.supports_parallel_tool_calls,
            f"{where}.supports_parallel_tool_calls",
        )
        # A template that takes thoughts or an effort belongs to a model that thinks. One that
        # takes neither may think all the same: not known.
        if caps.supports_reasoning_effort:
            self.add("reasoning", True, f"{where}.supports_reasoning_effort")
        elif caps.supports_preserve_reasoning:
            self.add("reasoning", True, f"{where}.supports_preserve_reasoning")

    def done(self) -> Facts:
        return Facts.model_validate(self.values)


def _single(entry: Entry, props: Props | None) -> DiscoveredModel:
    facts, meta = _Facts(), entry.meta
    context = None
    if meta is not None:
        context = meta.n_ctx or None
        facts.add("context_window", context, "/v1/models data[].meta.n_ctx, of one slot")
        facts.add("trained_context", meta.n_ctx_train or None, "/v1/models data[].meta.n_ctx_train")
    details = _details(entry)
    if props is not None:
        context = context or props.n_ctx
        facts.add("context_window", props.n_ctx, "/props default_generation_settings.n_ctx")
        if props.modalities is not None:
            facts.add("vision", props.modalities.vision, "/props modalities.vision")
            facts.add("audio", props.modalities.audio, "/props modalities.audio")
        facts.template(props.chat_template_caps)
        if props.total_slots:
            details["slots"] = props.total_slots
        if props.is_sleeping:
            details["sleeping"] = True
    facts.modalities(entry)
    return _model(entry, facts, context, details)


def _routed(entry: Entry, template: TemplateCaps | None, *, stopped: bool) -> DiscoveredModel:
    facts, meta, context = _Facts(), entry.meta, None
    start = start_options(entry.status)
    trained = None
    if meta is not None:
        context, trained = meta.n_ctx or None, meta.n_ctx_train or None
        facts.add("context_window", context, "/v1/models data[].meta.n_ctx, of one slot")
        facts.add("trained_context", trained, "/v1/models data[].meta.n_ctx_train")
    if start.ctx_size and start.ctx_size > 0:
        facts.add("configured_context", start.ctx_size, "--ctx-size in status.args")
    facts.add(
        "context_window",
        estimated_context(start, trained),
        "estimate: --ctx-size in status.args divided by --parallel, rounded up to 256",
    )
    if start.embeddings:
        facts.add("embeddings", True, "--embeddings in status.args")
    if start.reranking:
        facts.add("rerank", True, "--reranking in status.args")
    facts.modalities(entry)
    facts.template(template)
    details = _details(entry)
    if entry.state == "sleeping":
        details["sleeping"] = True
    return _model(entry, facts, context, details, stopped=stopped)


def _model(
    entry: Entry,
    facts: _Facts,
    loaded_context: int | None,
    details: JsonObject,
    *,
    stopped: bool = False,
) -> DiscoveredModel:
    meta = entry.meta
    state = model_state(entry)
    problem = None
    if state == "failed":
        if stopped:
            state = "unloaded"  # a load we called off ourselves looks like a failure
        else:
            problem = f"its process ended with exit code {entry.exit_code}"
    return DiscoveredModel(
        wire_id=entry.id,
        name=readable_name(entry.id),
        aliases=entry.names[1:],
        facts=facts.done(),
        evidence=facts.evidence,
        state=state,
        loaded_context=loaded_context if entry.state in IN_MEMORY else None,
        size_bytes=None if meta is None else meta.size,
        quantization=(meta.ftype or None) if meta is not None else None,
        problem=problem,
        details=details,
    )


def _details(entry: Entry) -> JsonObject:
    """Only fields named here: ``status`` holds command lines, paths and tokens (trap 29)."""
    details: JsonObject = {}
    if entry.tags:
        details["tags"] = list(entry.tags)
    if entry.source is not None:
        details["source"] = entry.source
    if entry.can_remove is not None:
        details["can_remove"] = entry.can_remove
    if entry.meta is not None and entry.meta.n_params:
        details["parameters"] = entry.meta.n_params
    return details
