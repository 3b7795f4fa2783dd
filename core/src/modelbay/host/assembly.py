"""Models as callers see them, of what a plugin lists, what is known and what was measured."""

import gc
import logging
from collections.abc import Hashable, Iterable

from modelbay.host.handles import ProviderHandle
from modelbay.host.ledger import Ledger
from modelbay.models.catalog import DiscoveredModel, DiscoveredModels, ModelInfo
from modelbay.refs import ModelRef

log = logging.getLogger("modelbay")

# What a ref's own __init__ does, in half the time, which counts in lists of thousands.
_new_ref = ModelRef.__new__
_set_provider_id, _set_wire_id, _set_is_bare = (
    ModelRef.__dict__[name].__set__ for name in ("provider_id", "wire_id", "is_legacy_bare")
)


class Assembly:
    """The models of a list, put together when somebody first wants to see them.

    Most lists are replaced by the next look before anybody has read them.
    """

    __slots__ = ("_found", "_handle", "_ledger", "_models")

    def __init__(
        self, handle: ProviderHandle, found: DiscoveredModels, ledger: Ledger | None
    ) -> None:
        self._handle = handle
        self._found = found
        self._ledger = ledger
        self._models: tuple[ModelInfo, ...] | None = None if found else ()

    def models(self) -> tuple[ModelInfo, ...]:
        """The same ones each time; none if the plugin made models of what no model is made of."""
        if self._models is None:
            try:
                self._models = assemble(self._handle, self._found, self._ledger)
            except Exception:  # other providers' models are listed all the same
                log.warning(
                    "the models of provider '%s' cannot be put together",
                    self._handle.id,
                    exc_info=True,
                )
                self._models = ()
        return self._models

    def __len__(self) -> int:
        return len(self._found)

    @property
    def is_waiting(self) -> bool:
        """Nobody has wanted to see any yet."""
        return self._models is None


def assemble_all(assemblies: Iterable[Assembly]) -> None:
    """Put together those that wait, in one go."""
    waiting = [one for one in assemblies if one.is_waiting]
    # All of it is kept: to look for garbage among it takes longer than to make it.
    pauses = bool(waiting) and gc.isenabled()
    if pauses:
        gc.disable()
    try:
        for one in waiting:
            one.models()
    finally:
        if pauses:
            gc.enable()


def assemble(
    handle: ProviderHandle, found: DiscoveredModels, ledger: Ledger | None
) -> tuple[ModelInfo, ...]:
    """The models of a list, with what they can do.

    Of those of whom the same is said, by the server and by the same patterns, only the first is
    put together; of whom something was measured is put together alone.
    """
    resolver = handle.resolver
    assert resolver is not None  # it stands beside the backend
    provider_id, singles_out = handle.id, resolver.singles_out
    pages = None if ledger is None or ledger.is_empty else ledger
    every: list[dict[str, object]] = []
    alike: dict[tuple[int, Hashable], dict[str, object]] = {}  # `found` holds what the id is of
    last: DiscoveredModel | None = None
    name = ""
    for wire_id, said in zip(found.wire_ids, found.said, strict=True):
        ref = _new_ref(ModelRef)
        _set_provider_id(ref, provider_id)
        _set_wire_id(ref, wire_id)
        _set_is_bare(ref, False)
        if pages is not None and pages.holds(ref):
            every.append(_values(handle, ref, said.called(wire_id), pages))
            continue
        group = resolver.group(wire_id) if singles_out(wire_id) else None
        if said is not last or group is not None:
            last, name = (said if group is None else None), said.name
            key = (id(said), group)
            known = alike.get(key)
            if known is None:
                values = alike[key] = _values(handle, ref, said.called(wire_id), None)
                every.append(values)
                continue
            values = known
        another = values.copy()
        another["ref"] = ref
        another["name"] = name or wire_id
        every.append(another)
    return tuple(ModelInfo.assembled_all(every))


def _values(
    handle: ProviderHandle, ref: ModelRef, model: DiscoveredModel, ledger: Ledger | None
) -> dict[str, object]:
    """A model's fields; all of it was checked when the plugin made its model."""
    assert handle.resolver is not None  # it stands beside the backend
    measured = () if ledger is None else ledger.read(ref, model)
    return {
        "ref": ref,
        "name": model.name or model.wire_id,
        "kind": handle.kind,
        "capabilities": handle.resolver.capabilities(model, measured),
        "state": model.state,
        "origin": model.origin,
        "aliases": model.aliases,
        "loaded_context": model.loaded_context,
        "size_bytes": model.size_bytes,
        "digest": model.digest,
        "family": model.family,
        "quantization": model.quantization,
        "problem": model.problem,
        "details": model.details,
    }
