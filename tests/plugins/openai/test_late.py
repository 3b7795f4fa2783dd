"""A list that was read is never lost to what is asked besides."""

from collections.abc import Mapping

import pytest

from modelbay.host.host import Host
from modelbay.models.catalog import Catalog
from modelbay.models.provider import ProviderConfig
from modelbay.testing.simulator import ClientGone, Exchange, Simulator
from modelbay_openai.memory import memory
from plugins.openai.bay import OpenBay, only_ours

pytestmark = pytest.mark.anyio

LIMIT_S = 0.45  # for a look; less than one question besides the list may take
OWNERS: Mapping[str, str | None] = {
    "vllm": "vllm",
    "sglang": "sglang",
    "lmstudio": "organization_owner",
    "tabbyapi": "tabbyAPI",
    "koboldcpp": "koboldcpp",
    "unknown": None,
}
LM_STUDIO_ROOT = {"error": "Unexpected endpoint or method. (GET /)"}


class OnlyLists(Simulator):
    """A server that answers for its list, and is silent on every other path.

    Attributes:
        now: Seconds on a clock; one list takes ``list_s`` of them.
    """

    def __init__(self, owner: str | None, list_s: float = 0.0) -> None:
        super().__init__()
        self.now = 0.0
        entry = {"id": "m", "object": "model"} | ({} if owner is None else {"owned_by": owner})

        @self.route("GET", "/v1/models")
        async def models(exchange: Exchange) -> None:
            self.now += list_s
            await exchange.json({"object": "list", "data": [entry]})

    async def no_route(self, exchange: Exchange, *, path_known: bool) -> None:
        await exchange.disconnected.wait()
        raise ClientGone


async def listing(sim: Simulator) -> Catalog:
    """What a host shows after a look of `LIMIT_S`."""
    given = {"id": "desk", "kind": "openai", "baseUrl": sim.base_url, "probeTimeoutS": LIMIT_S}
    config = ProviderConfig.model_validate(given)
    async with Host.open(providers=[config], env={}, installed=only_ours()) as host:
        return await host.refresh()


@pytest.mark.parametrize("name", OWNERS)
async def test_a_server_that_only_lists_is_listed(name: str) -> None:
    """Whatever else it would be asked, by what it is: the list does not wait for it."""
    with OnlyLists(OWNERS[name]) as sim:
        (found,) = (await listing(sim)).providers
        asked = [request.path for request in sim.requests]

    assert (found.status, found.problem) == ("ok", None)
    assert [model.wire_id for model in found.models] == ["m"]
    assert asked[0] == "/v1/models"
    assert len(asked) > 1  # or nothing was shown


@pytest.mark.parametrize("name", OWNERS)
async def test_a_list_that_came_late_is_all_that_is_asked(bay: OpenBay, name: str) -> None:
    with OnlyLists(OWNERS[name], list_s=1.3) as sim:
        desk = bay(sim.base_url, clock=lambda: sim.now)

        assert (await desk.discover()).keys() == {"m"}
        assert memory(desk.context).server.name == (name if OWNERS[name] else "")
        assert [request.path for request in sim.requests] == ["/v1/models"]


async def test_a_silent_root_is_no_sign_of_another_server(bay: OpenBay) -> None:
    with OnlyLists(None) as sim:
        known = sim.route("GET", "/")

        @known
        async def root(exchange: Exchange) -> None:
            await exchange.json(LM_STUDIO_ROOT)

        desk = bay(sim.base_url, probeTimeoutS=LIMIT_S)
        await desk.discover()

        @known
        async def silent(exchange: Exchange) -> None:
            await sim.no_route(exchange, path_known=True)

        await desk.discover()
        assert memory(desk.context).server.name == "lmstudio"

        @known
        async def another(exchange: Exchange) -> None:
            await exchange.json({"error": "not found"}, 404)

        await desk.discover()
        assert memory(desk.context).server.name == ""
