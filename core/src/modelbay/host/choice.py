"""Which model a turn goes to."""

from collections.abc import Awaitable, Callable

from modelbay.errors import UnknownModelError, UnknownProviderError
from modelbay.host import select
from modelbay.host.registry import Registry
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.refs import ModelRef, parse_model_ref


class ModelChoice:
    """The order of precedence: the model that is named, the default, the default provider's, a
    favourite, any that costs nothing.

    Args:
        default_model: What people set for chat.
        favorites: Reads their ids; asked only where nothing before them decides.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        default_model: str | None,
        default_provider: str | None,
        favorites: Callable[[], Awaitable[tuple[str, ...]]],
    ) -> None:
        self._registry = registry
        self._default_model = default_model
        self._default_provider = default_provider
        self._favorites = favorites

    async def resolve(self, text: str | None, task: select.Task) -> ModelInfo:
        """The model of this name; without one, by the order of precedence.

        Raises:
            RoutingError: There is no such provider or model; the message says what was probed.
            BackendError: The model's provider could not be asked.
        """
        registry = self._registry
        if text is None and task == "chat":
            text = self._default_model
        if not text:
            await registry.refresh(force=False)
            return await self._unnamed(task)
        known = registry.find(text)
        if known is not None:
            return known
        ref = parse_model_ref(
            text,
            default_provider=self._default_provider or "",
            known_providers=registry.provider_ids,
        )
        if not ref.provider_id:
            raise UnknownModelError(
                f"'{text}' has no provider in front, and there is no default provider",
                hint='set "defaultProvider" in providers.json, or write PROVIDER/MODEL',
            )
        known = registry.find(str(ref))
        if known is not None:
            return known
        await registry.refresh([ref.provider_id], force=True)
        return registry.find(str(ref)) or self._unlisted(text, ref)

    async def _unnamed(self, task: select.Task) -> ModelInfo:
        """The model of a turn that nobody and nothing names one for."""
        catalog = self._registry.catalog
        chosen = select.of_default_provider(catalog, task)
        if chosen is None:
            found = [self._registry.find(ref) for ref in await self._favorites()]
            listed = [model for model in found if model is not None]
            chosen = select.of_favorites(catalog, listed, task)
        return chosen or select.pick(catalog, task)

    def _unlisted(self, text: str, ref: ModelRef) -> ModelInfo:
        """A model the registry does not list, even after a fresh look."""
        registry = self._registry
        handle = registry.handle(ref.provider_id)
        problem = registry.problem_of(ref.provider_id)
        prefix, slash, _ = text.partition("/")
        if ref.is_legacy_bare and slash and problem is None:
            raise UnknownProviderError(
                f"'{prefix}' is no provider, and the default provider '{ref.provider_id}' does not"
                f" list '{text}'",
                model=text,
                hint=select.unknown(text, registry.catalog).hint,
            )
        if problem is not None:
            raise problem.with_traceback(None)  # it is raised again and again, and must not grow
        backend = handle.require()
        if not backend.table.server_checks_names:
            raise select.unknown(text, registry.catalog, ref.provider_id)
        assert handle.resolver is not None  # it stands beside the backend
        guess = DiscoveredModel(wire_id=ref.wire_id)
        return ModelInfo(
            ref=ref,
            name=ref.wire_id,
            kind=handle.kind,
            capabilities=handle.resolver.capabilities(guess),
        )
