"""The only caller of hooks. Plugins promise; this module checks."""

import asyncio
import inspect
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import pluggy
from pydantic import BaseModel

from modelbay.closing import closing
from modelbay.context import BLOT, ProviderContext
from modelbay.deadline import Watchdog
from modelbay.errors import (
    ModelbayError,
    PluginContractError,
    ProtocolError,
    UnsupportedActionError,
    UnsupportedFeatureError,
)
from modelbay.hookspecs import OPTIONAL, REQUIRED
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel, DiscoveredModels, ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import EVENT_TYPES, ErrorEvent, Finish, StreamEvent
from modelbay.models.manage import OUTCOMES, Action, LogLine, ManageEvent, Progress
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    ImageRequest,
    ImageResult,
    RerankRequest,
    RerankResult,
)

T = TypeVar("T")
E = TypeVar("E")
M = TypeVar("M", bound=BaseModel)

# What is not a verb already.
_WORDS = {
    "list": "list models by itself",
    "running": "tell what is in memory",
    "show": "describe a model",
    "health": "tell how it is",
    "logs": "show a log",
    "balance": "tell a balance",
}

MODELS_LIMIT = 20_000  # the largest hosted list known has some hundreds

_CHAT_EVENTS = frozenset(EVENT_TYPES) - {ErrorEvent}
_CHAT_END = frozenset({Finish})
_MANAGE_END = frozenset(OUTCOMES)
_MANAGE_EVENTS = _MANAGE_END | {Progress, LogLine}


class Backend:
    """One provider and the plugin that answers for it."""

    __slots__ = ("_hooks", "_single", "context", "kind", "table")

    def __init__(self, kind: str, manager: pluggy.PluginManager, context: ProviderContext) -> None:
        """Ask for the table.

        Raises:
            PluginContractError: It raised, or is no table.
        """
        self.kind = kind
        self.context = context
        self._hooks: Any = manager.hook  # pluggy's namespace of hooks is dynamic
        self._single = _single(manager)
        self.table: CapabilityTable = self._result(
            "capabilities", CapabilityTable, self._call("capabilities", provider=context)
        )

    def offers(self, hook: str) -> bool:
        """Whether the plugin implements an optional hook."""
        return bool(getattr(self._hooks, hook).get_hookimpls())

    async def discover_models(self) -> DiscoveredModels:
        """The provider's models now.

        Raises:
            BackendError: The server could not be asked.
            PluginContractError: What came is no sequence of models, or names one twice.
            ProtocolError: There are more than `MODELS_LIMIT`.
        """
        hook = "discover_models"
        models = await self._await(hook, self._call(hook, provider=self.context))
        if not isinstance(models, (DiscoveredModels, list, tuple)):
            self._breach(hook, f"gave {type(models).__name__} instead of a list of models")
        if len(models) > MODELS_LIMIT:
            raise ProtocolError(
                f"provider '{self.context.id}' lists {len(models)} models; more than"
                f" {MODELS_LIMIT} are not taken",
                provider_id=self.context.id,
                hint=f"is {self.context.config.base_url or 'this'} the right address?",
            )
        for model in models.distinct() if isinstance(models, DiscoveredModels) else models:
            if not isinstance(model, DiscoveredModel):
                self._breach(hook, f"listed {type(model).__name__} instead of DiscoveredModel")
        found = models if isinstance(models, DiscoveredModels) else DiscoveredModels.of(models)
        if len(set(found.wire_ids)) < len(found):
            [(twice, _), *_] = Counter(found.wire_ids).most_common(1)
            self._breach(hook, f"listed '{twice}' twice")
        keys = self.context.keys()
        # What is said of many is looked through once for all of them.
        names = "\n".join(found.wire_ids)
        if not any(key in names for key in keys) and not any(
            _holds(keys, said) for said in found.distinct()
        ):
            return found
        # Two that differed in a key alone are one now.
        bare = {m.wire_id: m for m in (_without(keys, model) for model in found)}
        return DiscoveredModels.of(list(bare.values()))

    def stream_chat(
        self, request: ChatRequest, model: ModelInfo, deadline_s: float | None = None
    ) -> AsyncIterator[StreamEvent]:
        return self._guarded(
            "stream_chat",
            _CHAT_EVENTS,
            _CHAT_END,
            deadline_s,
            str(model.ref),
            {"provider": self.context, "request": request, "model": model},
        )

    def complete(
        self, request: CompleteRequest, model: ModelInfo, deadline_s: float | None = None
    ) -> AsyncIterator[StreamEvent]:
        self._require("complete", "complete a raw prompt")
        return self._guarded(
            "complete",
            _CHAT_EVENTS,
            _CHAT_END,
            deadline_s,
            str(model.ref),
            {"provider": self.context, "request": request, "model": model},
        )

    def manage(self, action: Action, deadline_s: float | None = None) -> AsyncIterator[ManageEvent]:
        """Do one action.

        Raises:
            UnsupportedActionError: The table does not name it; the hint says what to do instead.
        """
        if action.action not in self.table.actions:
            raise UnsupportedActionError(
                f"{self.kind} cannot {_WORDS.get(action.action, action.action)}",
                provider_id=self.context.id,
                hint=self.table.hints.get(action.action) or self._offered(),
            )
        return self._guarded(
            "manage",
            _MANAGE_EVENTS,
            _MANAGE_END,
            deadline_s,
            getattr(action, "model", None),
            {"provider": self.context, "action": action},
            self.context.keys(),
        )

    async def embed(self, request: EmbedRequest, model: ModelInfo) -> EmbedResult:
        return await self._answer("embed", "make embeddings", EmbedResult, request, model)

    async def rerank(self, request: RerankRequest, model: ModelInfo) -> RerankResult:
        return await self._answer("rerank", "rerank", RerankResult, request, model)

    async def generate_image(self, request: ImageRequest, model: ModelInfo) -> ImageResult:
        return await self._answer("generate_image", "make images", ImageResult, request, model)

    async def watch_models(self) -> AsyncIterator[None]:
        """Yields whenever the plugin says that its list may have changed."""
        hook = "watch_models"
        stream = self._call(hook, provider=self.context)
        if not hasattr(stream, "__aiter__"):
            self._wrong(hook, stream, "an async iterator")
        try:
            news: AsyncIterator[object] = aiter(stream)
            async with closing(news):
                async for _ in news:
                    yield None
        except ModelbayError as exc:
            self.context.sign(exc)
            raise
        except (Exception, SystemExit) as exc:
            raise self._foreign(hook, exc) from exc

    # --- the guard ---------------------------------------------------------------------------

    async def _guarded(
        self,
        hook: str,
        allowed: frozenset[type],
        ends: frozenset[type],
        deadline_s: float | None,
        subject: str | None,
        arguments: dict[str, object],
        keys: Sequence[str] = (),
    ) -> AsyncIterator[Any]:
        """The plugin's stream, held to its contract: known events, one end, and it last.

        Of the events of management the ``keys`` are taken out, which servers echo.

        The end is handed over once the plugin's generator has ended too, so that whoever sees it
        knows that nothing is open any more.
        """
        task = asyncio.current_task()
        cancelled = 0 if task is None else task.cancelling()
        end: object = None
        try:
            events = self._stream(hook, arguments)
            if deadline_s is not None:
                events = _bounded(events, deadline_s, f"provider '{self.context.id}'")
            async with closing(events):
                async for event in events:
                    kind = type(event)
                    if kind not in allowed:
                        self._breach(hook, f"yielded {kind.__name__}, which is none of its events")
                    if end is not None:
                        self._breach(hook, f"yielded {kind.__name__} after its end")
                    if keys:
                        event = _without(keys, event)
                    if kind in ends:
                        end = event
                    else:
                        yield event
            if task is not None and task.cancelling() > cancelled:
                raise asyncio.CancelledError  # the plugin swallowed it
            if end is None:
                self._breach(hook, f"ended without {' or '.join(sorted(e.__name__ for e in ends))}")
        except ModelbayError as exc:
            if task is not None and task.cancelling() > cancelled:
                raise asyncio.CancelledError from exc
            self.context.sign(exc, subject)
            raise
        except (Exception, SystemExit) as exc:
            if task is not None and task.cancelling() > cancelled:
                raise asyncio.CancelledError from exc
            raise self._foreign(hook, exc) from exc
        except asyncio.CancelledError as exc:
            now = asyncio.current_task()
            if now is None or now.cancelling() > (cancelled if now is task else 0):
                raise
            # Nobody has cancelled this task: the plugin waited for something that was.
            raise self._foreign(hook, exc) from exc
        finally:
            now = task = None  # cancelled, it leads back here, and would keep the request
        yield end

    def _stream(self, hook: str, arguments: Mapping[str, object]) -> AsyncIterator[Any]:
        stream = self._call(hook, **arguments)
        if not hasattr(stream, "__aiter__"):
            self._wrong(hook, stream, "an async iterator")
        try:
            return aiter(stream)
        except TypeError:
            self._wrong(hook, stream, "an async iterator")

    async def _answer(
        self, hook: str, what: str, wanted: type[T], request: object, model: ModelInfo
    ) -> T:
        self._require(hook, what)
        result = self._call(hook, provider=self.context, request=request, model=model)
        return self._result(hook, wanted, await self._await(hook, result))

    async def _await(self, hook: str, result: object) -> object:
        if not inspect.isawaitable(result):
            self._wrong(hook, result, "an awaitable")
        awaitable: Awaitable[object] = result
        task = asyncio.current_task()
        cancelled = 0 if task is None else task.cancelling()
        try:
            return await awaitable
        except (Exception, SystemExit) as exc:
            if task is not None and task.cancelling() > cancelled:
                raise asyncio.CancelledError from exc
            if isinstance(exc, ModelbayError):
                self.context.sign(exc)
                raise
            raise self._foreign(hook, exc) from exc

    def _call(self, hook: str, **arguments: object) -> object:
        only = self._single.get(hook)
        try:
            if only is not None:
                return only.function(*[arguments[name] for name in only.argnames])
            return getattr(self._hooks, hook)(**arguments)
        except ModelbayError as exc:
            self.context.sign(exc)
            raise
        except (Exception, SystemExit) as exc:
            raise self._foreign(hook, exc) from exc

    def _result(self, hook: str, wanted: type[T], value: object) -> T:
        if not isinstance(value, wanted):
            self._wrong(hook, value, wanted.__name__)
        return value

    def _require(self, hook: str, what: str) -> None:
        if not self.offers(hook):
            raise UnsupportedFeatureError(
                f"{self.kind} cannot {what}",
                provider_id=self.context.id,
                hint="modelbay models   # shows which provider can",
            )

    def _offered(self) -> str:
        return f"it can: {', '.join(sorted(self.table.actions)) or 'nothing'}"

    def _wrong(self, hook: str, value: object, wanted: str) -> NoReturn:
        if inspect.iscoroutine(value):
            value.close()  # nobody will await it
        self._breach(hook, f"gave {type(value).__name__} instead of {wanted}")

    def _breach(self, hook: str, what: str) -> NoReturn:
        raise PluginContractError(
            f"plugin '{self.kind}': {hook} {what}",
            provider_id=self.context.id,
            hint="this is a fault of the plugin; report it to its author",
        )

    def _foreign(self, hook: str, exc: BaseException) -> PluginContractError:
        # The text of a foreign exception may hold anything, a key too; its type is enough.
        return PluginContractError(
            f"plugin '{self.kind}': {hook} raised {type(exc).__name__}",
            provider_id=self.context.id,
            hint="run with -vv for the traceback; this is a fault of the plugin",
        )


def _single(manager: pluggy.PluginManager) -> dict[str, pluggy.HookImpl]:
    """The hooks with one implementation and no wrapper.

    They need nothing of what pluggy does at each call, which costs more than most of them do.
    """
    found = {}
    for name in (*REQUIRED, *OPTIONAL):
        implementations = getattr(manager.hook, name).get_hookimpls()
        if len(implementations) == 1:
            only = implementations[0]
            if not (only.wrapper or only.hookwrapper):
                found[name] = only
    return found


async def _bounded(events: AsyncIterator[E], deadline_s: float, what: str) -> AsyncIterator[E]:
    """The same events, with every wait for one under the deadline."""
    watchdog = Watchdog(total_s=deadline_s, what=what)
    step: Callable[[], Awaitable[E]] = events.__anext__
    try:
        async with closing(events):
            while True:
                try:
                    with watchdog:
                        event = await step()
                except StopAsyncIteration:
                    return
                yield event
    finally:
        watchdog.close()


def _holds(keys: Sequence[str], told: BaseModel) -> bool:
    """One of the keys stands somewhere in it."""
    if not keys:
        return False
    text = told.model_dump_json()
    return any(json.dumps(key, ensure_ascii=False)[1:-1] in text for key in keys)


def _without(keys: Sequence[str], told: M) -> M:
    """The same without the keys. They are looked for in all of it at once: hardly ever is one."""
    if not _holds(keys, told):
        return told
    return type(told).model_validate(_blotted(keys, told.model_dump(exclude_unset=True)))


def _blotted(keys: Sequence[str], value: object) -> object:
    if isinstance(value, str):
        for key in keys:
            value = value.replace(key, BLOT)
        return value
    if isinstance(value, dict):
        return {_blotted(keys, name): _blotted(keys, inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_blotted(keys, inner) for inner in value]
    return value
