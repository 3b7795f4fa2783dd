"""Which model a name means: programs of this protocol put ``:latest`` behind bare names."""

from modelbay.errors import RoutingError
from modelbay.host.select import Task
from modelbay.models.catalog import ModelInfo
from modelbay_gateway.bay import Bay

_LATEST = ":latest"


async def find(bay: Bay, name: str, *, task: Task = "chat") -> ModelInfo:
    """The model of this name, else of the name without ``:latest``.

    Raises:
        RoutingError: There is none.
        BackendError: Its provider could not be asked.
    """
    wanted = await _listed_name(bay, name)
    try:
        return await bay.find(wanted, task=task)
    except RoutingError:
        bare = wanted.removesuffix(_LATEST)
        if bare in ("", wanted):
            raise
    return await bay.find(bare, task=task)  # its provider has been looked at anew


async def known(bay: Bay, name: str) -> ModelInfo:
    """The same among the listed models alone.

    Raises:
        UnknownModelError: It is not listed.
    """
    return await bay.known(await _listed_name(bay, name))


async def _listed_name(bay: Bay, name: str) -> str:
    if not name.endswith(_LATEST):
        return name
    await bay.catalog()
    bare = name.removesuffix(_LATEST)
    return bare if bay.listed(name) is None and bare and bay.listed(bare) else name
