"""A stranger's provider that speaks HTTP, for the tests of doctor: two kinds from one source.

Its server lists models at ``/api/models`` and says at ``/api/about`` which product it is.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from modelbay.client.http import fetch_json
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, WrongServerError
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent
from modelbay.models.frozen import Frozen, JsonObject
from modelbay.models.manage import Action, Done, Health, HealthReport, Load, ManageEvent
from modelbay.models.provider import ProviderConfig

KIND = __name__.removeprefix("modelbay_")


class Options(Frozen):
    color: str = "blue"


@hookimpl
def capabilities(provider: ProviderContext) -> CapabilityTable:
    provider.options(Options)
    return CapabilityTable(
        actions=frozenset({"health", "load"}),
        hints={"pull": "put a file into its folder"},
        start_hint=f"{KIND} serve",
    )


@hookimpl
def default_providers(env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    port = env.get(f"{KIND.upper()}_USUAL_PORT")
    if not port:
        return []
    return [ProviderConfig(id=KIND, kind=KIND, base_url=f"http://127.0.0.1:{port}",
                           source="loopback")]  # fmt: skip


async def _about(provider: ProviderContext) -> JsonObject:
    about = await fetch_json(provider, "GET", "api/about", into=dict)
    if about.get("product") != KIND:
        raise WrongServerError(
            f"{about.get('product')} answers there, and not {KIND}", found=str(about.get("product"))
        )
    return about


@hookimpl
async def discover_models(provider: ProviderContext) -> Sequence[DiscoveredModel]:
    about = await _about(provider)
    if str(about.get("version")) < "2":
        raise BackendError(
            f"this {KIND} {about.get('version')} is too old to list its models",
            hint="upgrade it to 2.0 or later",
        )
    listed = await fetch_json(provider, "GET", "api/models", into=dict)
    return [DiscoveredModel.model_validate(model) for model in listed["models"]]


@hookimpl
async def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    yield Finish("stop")


@hookimpl
async def manage(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    match action:
        case Health():
            about = await _about(provider)
            yield HealthReport(
                healthy=about.get("healthy", True) is True,
                server=KIND,
                version=str(about.get("version")),
                details={"autoload": about.get("autoload", True)},
            )
        case Load(model=name):
            await fetch_json(provider, "POST", f"api/load/{name}", into=dict)
            yield Done()
