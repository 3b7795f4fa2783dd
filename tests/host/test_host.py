"""Mirrors modelbay/host/host.py: a host over pretended plugins, on a clock that jumps."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelbay.errors import (
    BackendBusyError,
    BackendTimeoutError,
    BackendUnreachableError,
    ConfigError,
    PluginContractError,
    PluginLoadError,
    StreamInterruptedError,
    UnknownModelError,
    UnknownProviderError,
    UnsupportedActionError,
    UnsupportedFeatureError,
)
from modelbay.host.host import Host
from modelbay.host.loader import Installed, Plugin
from modelbay.host.streams import error_event
from modelbay.models.capabilities import CapabilityTable, Facts, Provenance
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.chat import ChatResult, ImagePart, JsonMode, JsonSchema, Message, Tool
from modelbay.models.events import (
    ErrorEvent,
    Finish,
    Notice,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay.models.manage import Done, Load, Pull
from modelbay.models.media import CompleteRequest, EmbedRequest, EmbedResult, RerankRequest
from modelbay.models.provider import ProviderConfig
from modelbay.refs import ModelRef
from pretend import ANSWER, JUMPING, chat, config, fails, host, installed, jumping, lists, plugin

pytestmark = pytest.mark.anyio

Hook = Callable[..., object]


@pytest.fixture
def anyio_backend() -> object:
    return JUMPING


def table(**fields: object) -> Hook:
    made = CapabilityTable.model_validate(fields)
    return lambda: made


def proposes(*configs: ProviderConfig) -> Hook:
    return lambda: list(configs)


def proposal(id: str, kind: str, source: str = "loopback", **fields: object) -> ProviderConfig:
    return config(id, kind, source=source, **fields)


def counted(log: list[str], answer: Hook) -> Hook:
    async def discover_models(provider: object) -> object:
        log.append(provider.id)  # type: ignore[attr-defined]
        return await answer()  # type: ignore[misc]

    return discover_models


# --- which model answers --------------------------------------------------------------------------


def choosing(env: Mapping[str, str] | None = None, **modules: ModuleType) -> Host:
    """Two providers: `desk`, the default, with a and b, and `lab` with c and its own x/y."""
    known: dict[str, Any] = {
        "acme": plugin(discover_models=lists("a", "b", "hf.co/u/m:q4")),
        "labs": plugin(discover_models=lists("c", "x/y", aliases=["sea"])),
    }
    return host([config("desk"), config("lab", "labs")], env=env, **(known | modules))


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ("desk/a", "desk/a"),
        ("a", "desk/a"),  # a bare id belongs to the default provider (S0-31)
        ("hf.co/u/m:q4", "desk/hf.co/u/m:q4"),  # slashes of its own (S0-71)
        ("lab/x/y", "lab/x/y"),
        (ModelRef("lab", "c"), "lab/c"),
        ("lab/sea", "lab/c"),
    ],
)
async def test_a_turn_goes_to_the_model_it_names(asked: ModelRef | str, answers: str) -> None:
    async with choosing() as held:
        assert (await held.resolve(asked)).id == answers


@pytest.mark.parametrize(
    ("asked", "env", "answers"),
    [
        ("desk/b", {"DEFAULT_MODEL": "lab/c"}, "desk/b"),
        (None, {"DEFAULT_MODEL": "lab/c"}, "lab/c"),
        (None, {"DEFAULT_MODEL": "b"}, "desk/b"),  # S0-72: may stay bare
        ("", {"DEFAULT_MODEL": "lab/c"}, "lab/c"),
    ],
)
async def test_the_request_comes_before_the_environment(
    asked: str | None, env: dict[str, str], answers: str
) -> None:
    async with choosing(env) as held:
        assert (await held.resolve(asked)).id == answers


def with_file(tmp_path: Path, document: object, env: Mapping[str, str] | None = None) -> Host:
    path = tmp_path / "providers.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    found = installed(
        acme=plugin(discover_models=lists("a", "b")), labs=plugin(discover_models=lists("c"))
    )
    places = {"MODELBAY_HOME": str(tmp_path)}
    return Host.open(env={**places, **(env or {})}, installed=found)


PROVIDERS = [{"id": "desk", "kind": "acme"}, {"id": "lab", "kind": "labs"}]


@pytest.mark.parametrize(
    ("more", "env", "answers"),
    [
        ({"defaultModel": "lab/c"}, {}, "lab/c"),
        ({"defaultModel": "lab/c"}, {"DEFAULT_MODEL": "desk/b"}, "desk/b"),
        ({"defaultModel": "c", "defaultProvider": "lab"}, {}, "lab/c"),
        ({"defaultProvider": "lab"}, {}, "lab/c"),  # its only model
        ({}, {}, "desk/a"),  # desk has two, none loaded: the first free local one
    ],
)
async def test_the_order_of_precedence_below_the_request(
    tmp_path: Path, more: dict[str, str], env: dict[str, str], answers: str
) -> None:
    async with with_file(tmp_path, {"providers": PROVIDERS, **more}, env) as held:
        assert (await held.resolve()).id == answers


async def test_a_favourite_comes_before_any_local_model(tmp_path: Path) -> None:
    async with with_file(tmp_path, {"providers": PROVIDERS}) as held:
        assert (await held.resolve()).id == "desk/a"
        assert not (tmp_path / "data" / "state.db").exists()  # looking makes no store
        await held.state.set_favorites(["desk/gone", "lab/c"])
        assert (await held.resolve()).id == "lab/c"

    async with with_file(tmp_path, {"providers": PROVIDERS}) as held:
        assert (await held.resolve()).id == "lab/c"
        assert (await held.resolve("desk/b")).id == "desk/b"


async def test_favourites_that_cannot_be_read_are_no_favourites(tmp_path: Path) -> None:
    async with with_file(tmp_path, {"providers": PROVIDERS}) as held:
        await held.state.set_favorites(["lab/c"])
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "state.db")) as database, database:
        database.execute("UPDATE settings SET value = '{' WHERE name = 'favorite_models'")

    async with with_file(tmp_path, {"providers": PROVIDERS}) as held:
        assert (await held.resolve()).id == "desk/a"


async def test_a_host_may_have_a_state_of_its_own() -> None:
    held = Host.open(
        providers=[], env={"MODELBAY_HOME": "/nonexistent"}, installed=installed(), state=":memory:"
    )
    async with held:
        await held.state.add_favorite("desk/a")
        assert await held.state.favorites() == ("desk/a",)


async def test_without_any_model_the_error_names_what_was_probed() -> None:
    down = plugin(discover_models=fails(BackendUnreachableError("off")))
    async with host([config("desk")], acme=down) as held:
        with pytest.raises(UnknownModelError, match=r"asked desk \(down\)"):
            await held.resolve()


async def test_without_providers_a_bare_id_is_told_what_it_lacks() -> None:
    async with host([]) as held:
        with pytest.raises(UnknownModelError, match="there is no default provider"):
            await held.resolve("m")


async def test_a_listed_model_is_found_without_asking_anybody() -> None:
    log: list[str] = []
    async with host([config()], acme=plugin(discover_models=counted(log, lists("m")))) as held:
        for _ in range(3):
            await held.resolve("desk/m")

    assert log == ["desk"]


async def test_a_model_that_is_not_listed_has_its_provider_looked_at_once() -> None:
    log: list[str] = []
    modules: dict[str, Any] = {
        "acme": plugin(discover_models=counted(log, lists("m"))),
        "labs": plugin(discover_models=counted(log, lists("c"))),
    }
    async with host([config(), config("lab", "labs")], **modules) as held:
        await held.refresh()
        log.clear()
        with pytest.raises(UnknownModelError) as caught:
            await held.resolve("desk/n")

    assert log == ["desk"]
    assert (str(caught.value), caught.value.provider_id, caught.value.hint) == (
        "unknown model 'desk/n'; asked desk (1 model)",
        "desk",
        "did you mean desk/m?",
    )


async def test_where_the_server_checks_names_it_is_asked_all_the_same() -> None:
    module = plugin(capabilities=table(server_checks_names=True, every_model=Facts(tools=True)))
    async with host([config()], acme=module) as held:
        info = await held.resolve("desk/new")

    assert (info.id, info.name, info.kind, info.state, info.capabilities.tools) == (
        "desk/new",
        "new",
        "acme",
        "unknown",
        True,
    )


async def test_an_unknown_prefix_is_no_provider() -> None:
    """S0-39."""
    async with choosing() as held:
        with pytest.raises(UnknownProviderError) as caught:
            await held.resolve("dsk/a")

    assert (str(caught.value), caught.value.model) == (
        "'dsk' is no provider, and the default provider 'desk' does not list 'dsk/a'",
        "dsk/a",
    )
    assert caught.value.hint == "did you mean desk/a or desk/b?"


async def test_an_unknown_prefix_stays_unknown_where_the_server_checks_names() -> None:
    module = plugin(capabilities=table(server_checks_names=True))
    async with host([config()], acme=module) as held:
        with pytest.raises(UnknownProviderError):
            await held.resolve("hf.co/u/m")


@pytest.mark.parametrize("asked", ["desk/m", "m", "hf.co/u/m"])
async def test_a_model_of_a_provider_that_is_down_fails_with_its_problem(asked: str) -> None:
    down = plugin(discover_models=fails(BackendUnreachableError("off")))
    async with host([config()], acme=down) as held:
        with pytest.raises(BackendUnreachableError, match="off"):
            await held.resolve(asked)


async def test_a_mistyped_kind_is_told_the_one_that_was_meant() -> None:
    async with host([config("desk", "Acne")], acme=plugin(), labs=plugin()) as held:
        problem = held.registry.handle("desk").problem

    assert (str(problem), problem and problem.hint) == (
        "no plugin for kind 'Acne' is installed (installed: acme, labs)",
        "modelbay plugin list   # did you mean 'acme'?",
    )


async def test_a_model_of_a_kind_that_is_not_installed_names_no_package_to_install() -> None:
    async with host([config("desk", "odd")], acme=plugin()) as held:
        with pytest.raises(PluginLoadError) as caught:
            await held.resolve("desk/m")

    assert (str(caught.value), caught.value.hint) == (
        "no plugin for kind 'odd' is installed (installed: acme)",
        "modelbay plugin list",
    )


async def test_hidden_providers_may_be_named() -> None:
    module = plugin(default_providers=proposes(proposal("near", "acme")))
    async with host([], acme=module) as held:
        assert [(p.id, p.hidden) for p in held.catalog.providers] == [("near", True)]
        assert (await held.resolve("near/m")).id == "near/m"


# --- chat -----------------------------------------------------------------------------------------

EVERYTHING: list[StreamEvent] = [
    ReasoningDelta("h"),
    ReasoningDelta("m"),
    TextDelta("so "),
    Notice("dropped_field", "top_k"),
    TextDelta("far"),
    ToolCallDelta(0, "{}", "c", "add"),
    ToolCall("c", "add", "{}"),
    Usage(1, 2),
    Timings(1.5),
    Finish("tool_calls", endpoint="http://a"),
]


def says(*events: object, then: Exception | None = None) -> ModuleType:
    async def stream_chat() -> AsyncIterator[object]:
        for event in events:
            yield event
        if then is not None:
            raise then

    return plugin(stream_chat=stream_chat)


async def test_a_stream_gives_the_plugins_events_and_who_answers() -> None:
    held = host([config()], acme=says(*EVERYTHING))
    async with held, held.stream(chat(model="m")) as events:
        came = [event async for event in events]

    assert (came, events.ref) == (EVERYTHING, ModelRef("desk", "m"))


async def test_of_a_model_that_is_listed_it_is_known_at_once_who_answers() -> None:
    async with host([config()], acme=says(*EVERYTHING)) as held:
        await held.refresh()
        async with held.stream(chat(model="desk/m")) as events:
            known = events.ref
            came = [event async for event in events]

    assert (known, came) == (ModelRef("desk", "m"), EVERYTHING)


@pytest.mark.parametrize("errors", ["raise", "event"])
async def test_what_a_listed_model_refuses_comes_when_the_answer_is_read(errors: str) -> None:
    module = plugin(capabilities=table(every_model=Facts(tools=False)))
    came: list[StreamEvent] = []
    async with host([config()], acme=module) as held:
        await held.refresh()
        stream = held.stream(chat(model="desk/m", tools=[Tool(name="add")]), errors=errors)  # type: ignore[arg-type]
        try:
            async for event in stream:
                came.append(event)
        except UnsupportedFeatureError as exc:
            came.append(error_event(exc))

    assert [event.message for event in came if isinstance(event, ErrorEvent)] == [
        "desk/m does not do tools"
    ]


async def test_a_whole_answer_is_the_stream_folded() -> None:
    async with host([config()], acme=says(*EVERYTHING)) as held:
        result = await held.chat(chat())

    assert result == ChatResult(
        ref=ModelRef("desk", "m"),
        text="so far",
        reasoning="hm",
        tool_calls=[ToolCall("c", "add", "{}")],
        finish_reason="tool_calls",
        usage=Usage(1, 2),
        timings=Timings(1.5),
        notices=[Notice("dropped_field", "top_k")],
        endpoint="http://a",
    )


async def test_the_plugin_gets_the_resolved_model_and_the_request_as_it_is() -> None:
    seen: list[object] = []

    async def stream_chat(request: object, model: object) -> AsyncIterator[StreamEvent]:
        seen.extend((request, model))
        yield Finish("stop")

    module = plugin(stream_chat=stream_chat, capabilities=table(every_model=Facts(vision=True)))
    asked = chat(model="m", top_k=5)
    async with host([config()], acme=module) as held:
        await held.chat(asked)
        assert seen == [asked, await held.resolve("desk/m")]


FEATURES = [
    ({"tools": False}, chat(tools=[Tool(name="add")]), "tools"),
    ({"json_mode": False}, chat(response_format=JsonMode()), "JSON mode"),
    ({"json_schema": False}, chat(response_format=JsonSchema(schema={})), "JSON schemas"),
    (
        {"vision": False},
        chat(messages=[Message(role="user", content=[ImagePart(data="AAAA")])]),
        "images",
    ),
    (
        {"audio": False},
        chat(messages=[{"role": "user", "content": [{"type": "audio", "data": "AAAA"}]}]),
        "audio",
    ),
]


@pytest.mark.parametrize(("facts", "asked", "what"), FEATURES)
async def test_what_a_model_is_known_not_to_do_is_refused_before_the_plugin(
    facts: dict[str, bool], asked: object, what: str
) -> None:
    called = []

    async def stream_chat() -> AsyncIterator[StreamEvent]:
        called.append(True)
        yield Finish("stop")

    module = plugin(
        stream_chat=stream_chat, capabilities=table(every_model=Facts.model_validate(facts))
    )
    async with host([config()], acme=module) as held:
        with pytest.raises(UnsupportedFeatureError) as caught:
            await held.chat(asked)  # type: ignore[arg-type]

    assert called == []
    assert (str(caught.value), caught.value.provider_id, caught.value.model) == (
        f"desk/m does not do {what}",
        "desk",
        "desk/m",
    )


@pytest.mark.parametrize("known", [None, True])
@pytest.mark.parametrize(("facts", "asked", "what"), FEATURES)
async def test_what_is_not_known_or_known_to_work_goes_through(
    facts: dict[str, bool], asked: object, what: str, known: bool | None
) -> None:
    facts = {} if known is None else dict.fromkeys(facts, known)
    module = plugin(capabilities=table(every_model=Facts.model_validate(facts)))
    async with host([config()], acme=module) as held:
        assert (await held.chat(asked)).text == "hello"  # type: ignore[arg-type]


async def test_a_deadline_is_for_the_whole_answer() -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        while True:
            yield TextDelta("a")
            await asyncio.sleep(1)

    async with host([config()], acme=plugin(stream_chat=stream_chat)) as held:
        with pytest.raises(BackendTimeoutError):
            await held.chat(chat(), deadline_s=10)

    assert round(jumping().time()) == 10


# --- errors as events -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (
            BackendBusyError("loading", status=503, retry_after_s=2, hint="wait"),
            ErrorEvent(
                "backend_busy", "loading", "wait", "desk", "desk/m", True, 503, retry_after_s=2
            ),
        ),
        (
            StreamInterruptedError("cut", partial="a"),
            ErrorEvent("stream_interrupted", "cut", None, "desk", "desk/m", True, partial="a"),
        ),
        (
            KeyError("secret"),
            ErrorEvent(
                "plugin_contract_error",
                "plugin 'acme': stream_chat raised KeyError",
                "run with -vv for the traceback; this is a fault of the plugin",
                "desk",
                None,
            ),
        ),
    ],
)
async def test_a_failed_answer_may_end_with_an_event(error: Exception, event: ErrorEvent) -> None:
    held = host([config()], acme=says(TextDelta("a"), then=error))
    async with held, held.stream(chat(), errors="event") as events:
        assert [e async for e in events] == [TextDelta("a"), event]


async def test_an_answer_that_never_began_ends_with_an_event_too() -> None:
    async with host([config()], acme=plugin()) as held:
        for stream in (
            held.stream(chat(model="desk/n"), errors="event"),
            held.complete(CompleteRequest(prompt="a", model="desk/n"), errors="event"),
        ):
            async with stream as events:
                [event] = [e async for e in events]
            assert isinstance(event, ErrorEvent)
            assert (event.code, event.message) == (
                "unknown_model",
                "unknown model 'desk/n'; asked desk (1 model)",
            )


async def test_a_good_answer_has_no_event_more() -> None:
    held = host([config()], acme=plugin())
    async with held, held.stream(chat(), errors="event") as events:
        assert [e async for e in events] == ANSWER


async def test_a_cancellation_is_no_event() -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        await asyncio.Event().wait()
        yield Finish("stop")

    async def read(held: Host) -> list[StreamEvent]:
        async with held.stream(chat(), errors="event") as events:
            return [event async for event in events]

    async with host([config()], acme=plugin(stream_chat=stream_chat)) as held:
        task = asyncio.create_task(read(held))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})

    assert task.cancelled()


# --- leaving early --------------------------------------------------------------------------------


def endless(log: list[str]) -> Hook:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        try:
            while True:
                yield TextDelta("a")
        finally:
            log.append("closed")

    return stream_chat


@pytest.mark.parametrize("errors", ["raise", "event"])
@pytest.mark.parametrize("what", ["stream", "complete"])
async def test_leaving_the_block_closes_the_plugins_stream(what: str, errors: str) -> None:
    log: list[str] = []
    module = plugin(stream_chat=endless(log), complete=endless(log))
    async with host([config()], acme=module) as held:
        request = chat() if what == "stream" else CompleteRequest(prompt="a", model="desk/m")
        async with getattr(held, what)(request, errors=errors) as events:
            async for _ in events:
                break
        assert log == ["closed"]
        await events.aclose()  # closing twice is harmless


async def test_a_stream_nobody_reads_can_be_closed() -> None:
    async with host([config()], acme=plugin()) as held:
        await held.stream(chat()).aclose()
        await held.complete(CompleteRequest(prompt="a")).aclose()


# --- the other calls ------------------------------------------------------------------------------


async def test_embeddings_and_what_is_known_not_to_make_them() -> None:
    async def embed() -> EmbedResult:
        return EmbedResult(vectors=[[1.0]])

    can = plugin(embed=embed)
    cannot = plugin(embed=embed, capabilities=table(every_model=Facts(embeddings=False)))
    asked = EmbedRequest(input=["a"], model="m")
    async with host([config()], acme=can) as held:
        assert await held.embed(asked) == EmbedResult(vectors=[[1.0]])
        with pytest.raises(UnsupportedFeatureError, match="acme cannot rerank"):
            await held.rerank(RerankRequest(query="q", documents=["a"]))
    async with host([config()], acme=cannot) as held:
        with pytest.raises(UnsupportedFeatureError, match="desk/m does not do embeddings"):
            await held.embed(asked)


async def test_a_completion() -> None:
    async def complete() -> AsyncIterator[StreamEvent]:
        for event in ANSWER:
            yield event

    async with host([config()], acme=plugin(complete=complete)) as held:
        async with held.complete(CompleteRequest(prompt="a")) as events:
            assert [event async for event in events] == ANSWER
        assert events.ref == ModelRef("desk", "m")


async def test_managing_a_provider() -> None:
    async with host([config()], acme=plugin(capabilities=table(actions={"load"}))) as held:
        async with held.manage("desk", Load(model="m")) as events:
            assert [event async for event in events] == [Done()]
        with pytest.raises(UnsupportedActionError, match="acme cannot pull"):
            held.manage("desk", Pull(model="m"))
        with pytest.raises(UnknownProviderError, match="there is no provider 'dsk'"):
            held.manage("dsk", Load(model="m"))


async def test_an_explanation_gives_every_layers_word() -> None:
    async def discover() -> list[DiscoveredModel]:
        return [DiscoveredModel(wire_id="m", facts=Facts(tools=False), evidence={"": "/props"})]

    module = plugin(discover_models=discover, capabilities=table(every_model=Facts(tools=True)))
    async with host([config(models={"*": Facts(tools=True)})], acme=module) as held:
        said = await held.explain("m")

    assert [voice for voice in said.voices if voice[0] == "tools"] == [
        ("tools", True, Provenance(layer="user", evidence="models['*']")),
        ("tools", False, Provenance(layer="live", evidence="/props")),
        ("tools", True, Provenance(layer="table", evidence="true of every model of this kind")),
    ]
    assert (said.ref, said.capabilities.tools) == (ModelRef("desk", "m"), True)


async def test_refreshing_one_provider() -> None:
    log: list[str] = []
    modules: dict[str, Any] = {
        "acme": plugin(discover_models=counted(log, lists("m"))),
        "labs": plugin(discover_models=counted(log, lists("c"))),
    }
    async with host([config(), config("lab", "labs")], **modules) as held:
        catalog = await held.refresh("lab")
        assert [m.id for m in catalog.models] == ["lab/c"]
        with pytest.raises(UnknownProviderError):
            await held.refresh("nobody")

    assert log == ["lab"]


# --- how it is put together -----------------------------------------------------------------------


def ids(held: Host) -> list[str]:
    return [handle.id for handle in held.providers]


async def test_the_files_providers_come_first_and_proposals_after_by_source() -> None:
    modules: dict[str, Any] = {
        "acme": plugin(default_providers=proposes(proposal("acme", "acme"))),
        "bundle": plugin(default_providers=proposes(proposal("built-in", "bundle", "bundled"))),
        "cloud": plugin(default_providers=proposes(proposal("cloud", "cloud", "hosted"))),
        "labs": plugin(default_providers=proposes(proposal("labs", "labs", "environment"))),
        "zoo": plugin(default_providers=proposes(proposal("zoo", "zoo"))),
    }
    async with host([config("z", "zoo"), config("a", "zoo")], **modules) as held:
        assert ids(held) == ["z", "a", "labs", "acme", "cloud", "built-in"]


async def test_a_kind_the_file_mentions_is_left_to_the_file(tmp_path: Path) -> None:
    alias = Plugin(
        kind="acme",
        dist="d",
        version="1",
        entry_point="e",
        aliases=("acme.cpp",),
        manager=installed(acme=plugin(default_providers=proposes(proposal("near", "acme"))))
        .plugins[0]
        .manager,
    )
    off = config("mine", "acme.cpp", enabled=False)
    held = Host.open(providers=[off], env={}, installed=Installed((alias,), ()))
    assert ids(held) == []

    held = Host.open(providers=[], env={}, installed=Installed((alias,), ()))
    assert ids(held) == ["near"]


async def test_a_proposal_never_takes_a_configured_id() -> None:
    modules: dict[str, Any] = {
        "acme": plugin(),
        "labs": plugin(default_providers=proposes(proposal("desk", "labs"))),
    }
    async with host([config("desk")], **modules) as held:
        assert [(h.id, h.kind) for h in held.providers] == [("desk", "acme")]


async def test_proposals_see_the_environment_alone_and_are_never_configured() -> None:
    def default_providers(env: Mapping[str, str]) -> list[ProviderConfig]:
        return [ProviderConfig(id="near", kind="acme", base_url=env["ACME_URL"])]

    module = plugin(default_providers=default_providers)
    async with host([], env={"ACME_URL": "http://a"}, acme=module) as held:
        [handle] = held.providers

    assert (handle.config.base_url, handle.config.source) == ("http://a", "loopback")


async def test_a_plugin_that_proposes_nothing_is_fine() -> None:
    async with host([], acme=plugin(default_providers=lambda: None)) as held:
        assert (ids(held), held.plugins[0].state) == ([], "ok")


@pytest.mark.parametrize(
    "hook", [lambda: 1 / 0, lambda: ["http://a"], lambda: 7, lambda: [{"id": "a"}]]
)
async def test_a_plugin_whose_proposals_fail_is_broken_and_the_others_are_not(hook: Hook) -> None:
    modules: dict[str, Any] = {
        "acme": plugin(default_providers=hook),
        "labs": plugin(default_providers=proposes(proposal("near", "labs"))),
    }
    async with host([], **modules) as held:
        assert [(p.kind, p.state, p.error is None) for p in held.plugins] == [
            ("acme", "broken", False),
            ("labs", "ok", True),
        ]
        assert ids(held) == ["near"]


async def test_a_failing_proposal_never_shows_what_the_environment_holds() -> None:
    def default_providers(env: Mapping[str, str]) -> list[ProviderConfig]:
        raise ValueError(f"bad key {env['ACME_KEY']}")

    module = plugin(default_providers=default_providers)
    async with host([], env={"ACME_KEY": "sk-very-secret"}, acme=module) as held:
        assert "sk-very-secret" not in str(held.plugins[0].error)


async def test_a_key_named_by_its_variable_is_read_from_the_environment() -> None:
    named = config("desk", apiKeyEnv="ACME_KEY")
    own = config("own", apiKeyEnv="ACME_KEY", apiKey="mine")
    none = config("none", apiKeyEnv="NOT_SET")
    async with host([named, own, none], env={"ACME_KEY": "theirs"}, acme=plugin()) as held:
        keys = [
            handle.config.api_key and handle.config.api_key.get_secret_value()
            for handle in held.providers
        ]

    assert keys == ["theirs", "theirs", None]  # the environment comes first


@pytest.mark.parametrize(
    ("row", "message", "hint"),
    [
        (
            Plugin("acme", "d", "1", "e", state="disabled"),
            "the plugin for kind 'acme' is switched off",
            "take 'acme' out of MODELBAY_DISABLE",
        ),
        (
            Plugin("acme", "d", "1", "e", state="broken", error=PluginLoadError("no", hint="h")),
            "no",
            "h",
        ),
        (
            Plugin("labs", "d", "1", "e"),
            "no plugin for kind 'acme' is installed (installed: labs)",
            "modelbay plugin list",
        ),
    ],
)
async def test_a_provider_without_a_working_plugin_is_a_row(
    row: Plugin, message: str, hint: str
) -> None:
    held = Host.open(providers=[config()], env={}, installed=Installed((row,), ()))

    [entry] = (await held.refresh()).providers
    assert entry.problem is not None
    assert (entry.status, entry.problem.message, entry.problem.hint) == (
        "misconfigured",
        message,
        hint,
    )
    await held.aclose()


async def test_a_plugin_whose_table_fails_is_a_row() -> None:
    async with host([config()], acme=plugin(capabilities=lambda: None)) as held:
        [entry] = held.catalog.providers

    assert entry.problem is not None
    assert (entry.status, entry.problem.code) == ("misconfigured", PluginContractError.code)


@pytest.mark.parametrize(
    ("providers", "modules", "default"),
    [
        ([config("a"), config("b")], {}, "a"),
        ([config("far", "cloud"), config("near")], {}, "near"),  # the first local one
        ([config("far", "cloud")], {}, "far"),
        ([config("odd", "unknown"), config("near")], {}, "near"),
        ([], {}, None),
    ],
)
async def test_the_first_local_provider_is_the_default(
    providers: list[ProviderConfig], modules: dict[str, ModuleType], default: str | None
) -> None:
    cloud = plugin(capabilities=table(local=False))
    async with host(providers, acme=plugin(), cloud=cloud) as held:
        assert held.catalog.default_provider == default


# --- the file -------------------------------------------------------------------------------------


async def test_a_missing_file_is_normal(tmp_path: Path) -> None:  # S0-70
    held = Host.open(env={"MODELBAY_HOME": str(tmp_path)}, installed=Installed((), ()))

    assert (held.catalog.providers, held.file.where) == ((), None)
    with pytest.raises(UnknownModelError):
        await held.resolve()


async def test_the_file_is_read(tmp_path: Path) -> None:
    held = with_file(tmp_path, {"providers": PROVIDERS, "defaultProvider": "lab"})

    assert (ids(held), held.catalog.default_provider) == (["desk", "lab"], "lab")


async def test_providers_handed_over_replace_the_file(tmp_path: Path) -> None:
    (tmp_path / "providers.json").write_text("not JSON")
    env = {"MODELBAY_HOME": str(tmp_path)}

    held = Host.open(providers=[config("own")], env=env, installed=installed(acme=plugin()))

    assert ids(held) == ["own"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not JSON: Expecting value at line 1, column 2"),
        (b"\xff\xfe", "not UTF-8 text"),
        (
            '{"providers": [{"id": "a", "kind": "acme"}], "defaultProvider": "b"}',
            "'b' is none of the providers (a)",
        ),
        (
            '{"providers": [{"id": "a", "kind": "acme", "enabled": false}],'
            ' "defaultProvider": "a"}',
            "'a' is none of the providers (none)",
        ),
    ],
)
async def test_a_file_that_is_wrong_is_never_passed_over(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = tmp_path / "providers.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(ConfigError) as caught:
        Host.open(env={"MODELBAY_HOME": str(tmp_path)}, installed=installed(acme=plugin()))

    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(message)


async def test_a_folder_in_the_files_place_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "providers.json").mkdir()

    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        Host.open(env={"MODELBAY_HOME": str(tmp_path)}, installed=Installed((), ()))


async def test_the_same_id_twice_is_refused_from_a_caller_too() -> None:
    with pytest.raises(ConfigError):
        host([config("desk"), config("desk", base_url="http://b")], acme=plugin())


# --- closing --------------------------------------------------------------------------------------


async def test_closing_waits_for_a_look_to_end_before_its_connections_go() -> None:
    log: list[str] = []

    async def discover_models(provider: object) -> list[DiscoveredModel]:
        async def note() -> None:
            log.append("connections closing")

        provider.resources.at_close(note)  # type: ignore[attr-defined]
        try:
            await asyncio.Event().wait()
        finally:
            log.append("look ended")
        return []

    held = host([config(probe_timeout_s=60)], acme=plugin(discover_models=discover_models))
    waiting = asyncio.create_task(held.refresh())
    await asyncio.sleep(1)
    await held.aclose()
    assert log == ["look ended", "connections closing"]
    await asyncio.wait({waiting})


async def test_closing_twice_is_harmless() -> None:
    held = host([config()], acme=plugin())
    await held.refresh()
    await held.aclose()
    await held.aclose()
