"""How a name in a request becomes a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelbay_llamaswap.simulator.dialect import Release
from modelbay_llamaswap.simulator.model import Peer, Profile, Selector, SimulatedModel
from modelbay_llamaswap.simulator.process import Process
from modelbay_llamaswap.simulator.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes.

    Attributes:
        process: The local one, if it is local.
        peer: The other server and its model, if it is not.
        wire_name: What the child or peer gets as `model`.
        selector: The selector that chose it, "" if none did.
    """

    process: Process | None
    peer: tuple[Peer, SimulatedModel] | None
    wire_name: str
    selector: str = ""

    @property
    def model_id(self) -> str:
        """The real id, as activity rows and events have it."""
        if self.process is not None:
            return self.process.model.id
        return self.wire_name if self.peer is None else f"{self.peer[0].id}/{self.peer[1].id}"


class Directory:
    """All names of one configuration.

    Attributes:
        active: The profile that is active.
    """

    def __init__(
        self,
        release: Release,
        processes: Mapping[str, Process],
        selectors: Sequence[Selector],
        profiles: Sequence[Profile],
        peers: Sequence[Peer],
    ) -> None:
        self._release = release
        self._processes = processes
        virtual = release.has(241)  # selectors and profiles came together
        self.selectors = {selector.id: selector for selector in selectors if virtual}
        self.profiles = {profile.id: profile for profile in profiles if virtual}
        self.peers = peers if release.has(179) else ()
        self.active: str | None = None

    @property
    def pins(self) -> Mapping[str, str | None]:
        return {} if self.active is None else self.profiles[self.active].pins

    def local(self, name: str) -> Process | None:
        """By id or alias."""
        known = self._processes.get(name)
        if known is not None:
            return known
        return next((p for p in self._processes.values() if name in p.model.names), None)

    def of_peer(self, name: str) -> tuple[Peer, SimulatedModel] | None:
        """By ``peer/model``, or by the bare name if exactly one peer has it.

        Up to v241 a peer's model had its bare name only.
        """
        peer_id, _, bare = name.partition("/")
        if self._release.has(242):
            for peer in self.peers:
                model = peer.model(bare) if peer.id == peer_id else None
                if model is not None:
                    return peer, model
        found = [(peer, model) for peer in self.peers if (model := peer.model(name)) is not None]
        return found[0] if len(found) == 1 else None

    def resolve(self, name: str) -> Destination:
        """For a routed request.

        Raises:
            Refusal: 404 (400 up to v217), or 503 for a selector without a target.
        """
        asked = name
        if name in self.pins:
            name = self.pins[name] or ""
            if not name:
                raise no_model()
        chosen = ""
        if name in self.selectors:
            selector = self.selectors[name]
            chosen, name = selector.id, self._choose(selector)
        process = self.local(name)
        if process is not None:
            return Destination(process, None, process.model.use_model_name or name, chosen)
        peer = self.of_peer(name)
        if peer is not None:
            return Destination(None, peer, peer[1].id, chosen)
        raise Refusal(
            404,
            "no router for requested model",
            old=(400, f"could not find suitable inference handler for {asked}"),
        )

    def passthrough(self, name: str) -> Destination | None:
        """For ``/upstream``: pins count, selectors do not."""
        name = self.pins.get(name, name) or ""
        process = self.local(name)
        if process is not None:
            return Destination(process, None, name)
        peer = self.of_peer(name)
        return None if peer is None else Destination(None, peer, peer[1].id)

    def _choose(self, selector: Selector) -> str:
        known = [t for t in selector.targets if self.local(t) or self.of_peer(t)]
        if not known:
            raise Refusal(503, f"no target of selector {selector.id} is available")
        processes = [(target, process) for target in known if (process := self.local(target))]
        if selector.strategy == "warm":
            for state in ("ready", "starting"):
                for target, process in processes:
                    if process.state == state:
                        return target
        if selector.strategy == "spillover":
            active = [(t, p) for t, p in processes if p.state in ("ready", "starting")]
            free = [pair for pair in active if pair[1].reserved < selector.spillover]
            if free:
                return min(free, key=lambda pair: pair[1].reserved)[0]
            cold = [t for t, p in processes if p.state == "stopped"]
            if cold:
                return cold[0]
            if active:
                return min(active, key=lambda pair: pair[1].reserved)[0]
        return known[0]


def no_model() -> Refusal:
    return Refusal(
        404,
        "no model id could be identified",
        old=(400, "missing or invalid 'model' key"),
    )
