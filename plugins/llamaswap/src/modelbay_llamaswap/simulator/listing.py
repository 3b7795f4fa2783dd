"""The lists: ``/v1/models``, ``/running``, and the inventory in the events."""

import time
from collections.abc import Iterable, Mapping

from modelbay_llamaswap.simulator.dialect import Release
from modelbay_llamaswap.simulator.model import Capabilities, Peer, Selector, SimulatedModel
from modelbay_llamaswap.simulator.naming import Directory
from modelbay_llamaswap.simulator.process import Process

Entry = dict[str, object]


def model_list(
    release: Release,
    processes: Mapping[str, Process],
    directory: Directory,
    *,
    with_aliases: bool,
) -> Entry:
    """``GET /v1/models``, from the configuration; it starts nothing."""
    now = int(time.time())
    entries: list[Entry] = []
    for process in processes.values():
        model = process.model
        if model.unlisted:
            continue
        entries.append(_model(release, process, now))
        if with_aliases and release.has(173):
            entries += [_alias(release, process, alias, now) for alias in model.names]
    for peer in directory.peers if release.has(179) else ():
        entries += [_peer(release, peer, model.id, now) for model in peer.models]
    if release.has(241):
        entries += [
            _selector(release, directory, selector, now)
            for selector in directory.selectors.values()
            if not selector.unlisted
        ]
        known = {entry["id"] for entry in entries} | set(processes)
        entries += [
            _pin(name, now)
            for name, target in directory.pins.items()
            if target and name not in known
        ]
    entries.sort(key=lambda entry: str(entry["id"]))
    return {"data": entries, "object": "list"}


def _base(name: str, now: int) -> Entry:
    return {"id": name, "object": "model", "created": now, "owned_by": "llama-swap"}


def _titles(release: Release, name: str, description: str) -> Entry:
    if not release.has(134):
        return {}
    titles = {"name": name.strip(), "description": description.strip()}
    return {key: text for key, text in titles.items() if text}


def _status(release: Release, loaded: bool) -> Entry:
    return {"status": {"value": "loaded" if loaded else "unloaded"}} if release.has(236) else {}


def _meta(release: Release, own: Mapping[str, object], internal: Entry, n_ctx: int = 0) -> Entry:
    """Before v241 only what the configuration says, and nothing without it."""
    if not release.has(163):
        return {}
    if not release.has(241):
        return {"meta": {"llamaswap": dict(own)}} if own else {}
    merged = {**own, **internal}
    ordered = {key: merged[key] for key in sorted(merged)}
    more = {"n_ctx": n_ctx} if n_ctx and release.has(250) else {}
    return {"meta": {"llamaswap": ordered, **more}}


def _model(release: Release, process: Process, now: int) -> Entry:
    model = process.model
    internal: Entry = {"type": "model"}
    if model.names:
        internal["aliases"] = list(model.names)
    return _of_model(release, process, model.id, internal, now)


def _alias(release: Release, process: Process, alias: str, now: int) -> Entry:
    internal: Entry = {"type": "alias", "modelID": process.model.id}
    return _of_model(release, process, alias, internal, now)


def _of_model(release: Release, process: Process, name: str, internal: Entry, now: int) -> Entry:
    model = process.model
    return {
        **_base(name, now),
        **_titles(release, model.name, model.description),
        **(_abilities(model.capabilities) if release.has(225) else {}),
        **_meta(release, model.metadata, internal, model.capabilities.context),
        **_status(release, process.state != "stopped"),
    }


def _abilities(said: Capabilities) -> Entry:
    found: Entry = {}
    takes, makes = set(said.inputs), set(said.outputs)
    if takes and makes:
        found["architecture"] = {
            "input_modalities": list(said.inputs),
            "modality": f"{'+'.join(said.inputs)}->{'+'.join(said.outputs)}",
            "output_modalities": list(said.outputs),
        }
    flags = {
        "audio_speech": "text" in takes and "audio" in makes,
        "audio_transcriptions": "audio" in takes and "text" in makes,
        "function_calling": said.tools,
        "image_generation": "text" in takes and "image" in makes,
        "image_to_image": "image" in takes and "image" in makes,
        "reranker": said.reranker,
        "vision": "image" in takes,
    }
    if any(flags.values()):
        found["capabilities"] = {name: True for name, flag in flags.items() if flag}
    if said.tools:
        found["supported_parameters"] = ["tools", "tool_choice"]
    if said.context:
        found["context_length"] = said.context
    return found


def _peer(release: Release, peer: Peer, model_id: str, now: int) -> Entry:
    """Its state is not known, so it counts as unloaded. Up to v241 it had its bare name."""
    own = {"peerID": peer.id}
    return {
        **_base(f"{peer.id}/{model_id}" if release.has(242) else model_id, now),
        **_titles(release, f"{peer.id}: {model_id}", ""),
        **_meta(release, own, {"type": "peer"}),
        **_status(release, loaded=False),
    }


def _selector(release: Release, directory: Directory, selector: Selector, now: int) -> Entry:
    internal: Entry = {"type": "selector"}
    if release.has(246):
        internal |= {"strategy": selector.strategy, "targets": list(selector.targets)}
        if selector.strategy == "spillover":
            internal["spillover"] = selector.spillover
    states = [p.state for target in selector.targets if (p := directory.local(target))]
    return {
        **_base(selector.id, now),
        **_titles(release, selector.name, selector.description),
        **_meta(release, selector.metadata, internal),
        **_status(release, any(state in ("ready", "starting") for state in states)),
    }


def _pin(name: str, now: int) -> Entry:
    """A pin counts as unloaded, whatever its target does."""
    meta = {"llamaswap": {"type": "profile"}}
    return {**_base(name, now), "meta": meta, "status": {"value": "unloaded"}}


def running(release: Release, processes: Iterable[Process]) -> Entry:
    """``GET /running``. Up to v217 what is not ready is missing, up to v185 most keys are."""
    listed = []
    for process in sorted(processes, key=lambda p: p.model.id):
        shown = ("starting", "ready", "stopping") if release.rewritten else ("ready",)
        if process.state not in shown:
            continue
        entry: Entry = {"model": process.model.id, "state": process.state}
        if release.has(186):
            entry |= {
                "cmd": process.command,
                "proxy": process.proxy,
                "ttl": process.ttl_s,
                "name": process.model.name,
                "description": process.model.description,
            }
        listed.append(entry)
    return {"running": listed}


def inventory(release: Release, processes: Iterable[Process], peers: Iterable[Peer]) -> list[Entry]:
    """`modelStatus` of the events: everything, unlisted and stopped models included."""
    entries: list[Entry] = []
    for process in sorted(processes, key=lambda p: p.model.id):
        entries.append(_known(release, process.model, process.state))
    if release.has(179):
        for peer in peers:
            entries += [
                {
                    "id": f"{peer.id}/{model.id}" if release.has(242) else model.id,
                    "name": "",
                    "description": "",
                    "state": "",
                    "unlisted": False,
                    "peerID": peer.id,
                }
                for model in peer.models
            ]
    return entries


def _known(release: Release, model: SimulatedModel, state: str) -> Entry:
    entry: Entry = {
        "id": model.id,
        "name": model.name,
        "description": model.description,
        "state": state,
        "unlisted": model.unlisted,
        "peerID": "",
    }
    if model.names and release.has(194):
        entry["aliases"] = list(model.names)
    if release.has(250):
        said = _abilities(model.capabilities)
        for name in ("capabilities", "context_length"):
            if name in said:
                entry[name] = said[name]
    return entry
