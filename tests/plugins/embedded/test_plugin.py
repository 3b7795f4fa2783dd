"""Mirrors the hooks of modelbay_embedded over a whole host: files in, answers out, real engines."""

import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from modelbay import ChatRequest, EmbedRequest, Host, ProviderConfig, user
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    StreamInterruptedError,
    UnknownModelError,
    UnsupportedActionError,
    UnsupportedFeatureError,
)
from modelbay.host.loader import load_plugins
from modelbay.models.events import Finish, Status, StreamEvent, TextDelta
from modelbay.models.manage import (
    Action,
    Delete,
    Done,
    Health,
    HealthReport,
    ListModels,
    Load,
    ManageEvent,
    ModelDetails,
    ModelList,
    Progress,
    Pull,
    Running,
    RunningModels,
    Show,
    Unload,
)
from modelbay_embedded import discovery
from modelbay_embedded.engines import Engines
from modelbay_embedded.welcome import WELCOME_TEXT
from tiny_gguf import write_tiny_gguf

pytestmark = [pytest.mark.real, pytest.mark.anyio]

FIRST, SECOND = "The answer is 42.", "Paris, of course."


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path


@pytest.fixture
def env(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "MODELBAY_HOME": str(home / "modelbay"),
        "MODELBAY_MODELS": str(home / "models"),
        "MODELBAY_DISABLE": "llamacpp,ollama",  # what listens on their usual ports is not ours
    }


@pytest.fixture
def two_models(home: Path) -> None:
    write_tiny_gguf(home / "models" / "first.gguf", say=FIRST)
    write_tiny_gguf(home / "models" / "second.gguf", say=SECOND)


def open_host(env: Mapping[str, str], **options: object) -> Host:
    config = ProviderConfig.model_validate(
        {"id": "files", "kind": "embedded", "probeTimeoutS": 20, "threads": 1, **options}
    )
    return Host.open(providers=[config], env=env)


@pytest.fixture
async def host(env: dict[str, str], two_models: None) -> AsyncIterator[Host]:
    async with open_host(env) as opened:
        yield opened


async def events_of(host: Host, model: str, text: str = "hi", **more: object) -> list[StreamEvent]:
    request = ChatRequest.model_validate({"model": model, "messages": [user(text)], **more})
    async with host.stream(request) as events:
        return [event async for event in events]


async def outcome(host: Host, action: Action, provider_id: str = "files") -> ManageEvent:
    async with host.manage(provider_id, action) as events:
        return [event async for event in events][-1]


def engines(host: Host) -> Engines:
    return Engines.of(host.providers[0].require().context)


def text_of(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def until_text(events: AsyncIterator[StreamEvent]) -> None:
    async for event in events:
        if isinstance(event, TextDelta):
            return


async def the_rest(events: AsyncIterator[StreamEvent]) -> list[StreamEvent]:
    return [event async for event in events]


async def test_files_are_listed_with_what_their_headers_say(host: Host) -> None:
    catalog = await host.refresh()

    assert [(m.id, m.state, m.family, m.quantization) for m in catalog.models] == [
        ("files/first", "unloaded", "llama", "F16"),
        ("files/second", "unloaded", "llama", "F16"),
    ]
    facts = catalog.models[0].capabilities
    assert (facts.context_window, facts.trained_context, facts.embeddings) == (2048, 2048, False)
    assert facts.provenance["tools"].evidence == "the file's chat template"


async def test_a_first_question_loads_the_model_and_says_so(host: Host) -> None:
    events = await events_of(host, "files/first")

    assert events[0] == Status("loading", message="loading first")
    assert text_of(events) == FIRST
    assert isinstance(events[-1], Finish)
    assert (events[-1].reason, events[-1].model) == ("stop", "first")


async def test_a_loaded_model_answers_without_loading_again(host: Host) -> None:
    await events_of(host, "files/first")
    events = await events_of(host, "files/first")

    assert not [event for event in events if isinstance(event, Status) and event.state == "loading"]
    assert engines(host).loads == 1


async def test_one_model_at_a_time_is_in_memory_unless_more_are_allowed(host: Host) -> None:
    await events_of(host, "files/first")
    assert text_of(await events_of(host, "files/second")) == SECOND

    running = await outcome(host, Running())

    assert isinstance(running, RunningModels)
    assert [(m.wire_id, m.state, m.active_streams) for m in running.models] == [
        ("second", "loaded", 0)
    ]


async def test_as_many_models_stay_as_max_loaded_allows(
    env: dict[str, str], two_models: None
) -> None:
    async with open_host(env, maxLoaded=2) as host:
        await events_of(host, "files/first")
        await events_of(host, "files/second")

        assert [loaded.name for loaded in engines(host).loaded()] == ["first", "second"]


async def test_a_model_that_does_not_fit_waits_until_the_other_is_idle(host: Host) -> None:
    async with host.stream(ChatRequest(model="files/first", messages=[user("hi")])) as busy:
        await until_text(aiter(busy))
        # The engine of `first` is in use; asking for `second` now must not end it.
        with pytest.raises(BackendTimeoutError):
            await host.chat(
                ChatRequest(model="files/second", messages=[user("hi")]), deadline_s=0.3
            )
        assert [loaded.name for loaded in engines(host).loaded()] == ["first"]

    assert text_of(await events_of(host, "files/second")) == SECOND


async def test_load_and_unload_are_idempotent(host: Host) -> None:
    async with host.manage("files", Load(model="first")) as events:
        told = [event async for event in events]
    assert told == [Progress(status="loading first"), Done(message="first is loaded")]
    assert await outcome(host, Load(model="first")) == Done(
        message="first is loaded", changed=False
    )
    assert await outcome(host, Unload(model="first")) == Done(message="unloaded first")
    assert await outcome(host, Unload(model="first")) == Done(
        message="unloaded nothing", changed=False
    )


async def test_unload_refuses_while_an_answer_is_running_unless_forced(
    env: dict[str, str], home: Path
) -> None:
    write_tiny_gguf(home / "models" / "endless.gguf", endless=True)
    async with open_host(env) as host:
        request = ChatRequest(model="files/endless", messages=[user("go on")])
        async with host.stream(request) as events:
            seen = aiter(events)
            await until_text(seen)
            with pytest.raises(BackendBusyError, match="1 request is running"):
                await outcome(host, Unload(model="endless"))
            await outcome(host, Unload(model="endless", force=True))
            with pytest.raises(StreamInterruptedError) as caught:
                await the_rest(seen)
        assert caught.value.partial
        assert engines(host).loaded() == ()


async def test_an_engine_that_dies_is_named_and_the_next_question_loads_it_anew(
    env: dict[str, str], home: Path
) -> None:
    write_tiny_gguf(home / "models" / "endless.gguf", endless=True)
    async with open_host(env) as host:
        request = ChatRequest(model="files/endless", messages=[user("go on")])
        async with host.stream(request) as events:
            seen = aiter(events)
            await until_text(seen)
            os.kill(engines(host).loaded()[0].engine.pid, signal.SIGKILL)
            with pytest.raises(StreamInterruptedError) as caught:
                await the_rest(seen)
        assert "SIGKILL" in caught.value.message
        assert caught.value.partial

        again = await events_of(host, "files/endless", max_tokens=4)
        assert isinstance(again[-1], Finish)
        assert again[-1].reason == "length"


async def test_a_truncated_file_is_listed_as_failed_and_named_when_asked(
    env: dict[str, str], home: Path
) -> None:
    path = write_tiny_gguf(home / "models" / "half.gguf", say=FIRST)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 4096)
    async with open_host(env) as host:
        catalog = await host.refresh()
        half = catalog.models[0]
        assert half.state == "failed"
        assert half.problem is not None
        assert half.problem.startswith("truncated: ")

        with pytest.raises(BackendError, match=r"half\.gguf: truncated") as caught:
            await host.chat(ChatRequest(model="files/half", messages=[user("hi")]))
        assert caught.value.hint == "download the file again"


async def test_a_file_that_vanished_is_not_found(host: Host, home: Path) -> None:
    await host.refresh()
    (home / "models" / "first.gguf").unlink()

    with pytest.raises(BackendError, match="there is no model file 'first'"):
        await events_of(host, "files/first")


async def test_what_is_not_used_for_a_while_is_unloaded(
    env: dict[str, str], two_models: None
) -> None:
    async with open_host(env, idleUnloadS=0.05) as host:
        await events_of(host, "files/first")
        [loaded] = engines(host).loaded()
        await loaded.engine.wait_closed()

        assert engines(host).loaded() == ()


async def test_the_children_end_with_the_host(env: dict[str, str], two_models: None) -> None:
    async with open_host(env) as host:
        await events_of(host, "files/first")
        [loaded] = engines(host).loaded()

    assert loaded.engine.exited()


async def test_an_embedding_model_embeds_and_does_not_chat(env: dict[str, str], home: Path) -> None:
    write_tiny_gguf(home / "models" / "vectors.gguf", pooling="mean", template=None)
    async with open_host(env) as host:
        result = await host.embed(EmbedRequest(model="files/vectors", input=["one", "two"]))
        assert len(result.vectors) == 2
        assert len({len(vector) for vector in result.vectors}) == 1

        with pytest.raises(UnsupportedFeatureError, match="makes vectors and cannot chat"):
            await events_of(host, "files/vectors")


async def test_welcome_is_offered_only_while_there_is_no_other_model(
    env: dict[str, str], home: Path
) -> None:
    async with open_host(env) as host:
        result = await host.chat(ChatRequest(messages=[user("hello?")]))
        assert (str(result.ref), result.text) == ("files/welcome", WELCOME_TEXT)
        [listed] = host.catalog.models
        assert (listed.origin, listed.name) == ("stand_in", discovery.WELCOME_NAME)

        write_tiny_gguf(home / "models" / "first.gguf", say=FIRST)
        catalog = await host.refresh(force=True)
        assert [model.id for model in catalog.models] == ["files/first"]
        with pytest.raises(UnknownModelError, match="unknown model 'files/welcome'"):
            await host.chat(ChatRequest(model="files/welcome", messages=[user("hi")]))


async def test_show_tells_where_the_file_lies(host: Host, home: Path) -> None:
    details = await outcome(host, Show(model="first"))

    assert isinstance(details, ModelDetails)
    assert details.details["file"] == str(home / "models" / "first.gguf")
    assert details.details["architecture"] == "llama"


async def test_list_names_every_file(host: Host) -> None:
    listed = await outcome(host, ListModels())

    assert isinstance(listed, ModelList)
    assert [(model.wire_id, model.state) for model in listed.models] == [
        ("first", "unloaded"),
        ("second", "unloaded"),
    ]


async def test_health_names_every_place_that_was_searched(host: Host, home: Path) -> None:
    report = await outcome(host, Health())

    assert isinstance(report, HealthReport)
    searched = report.details["searched"]
    assert isinstance(searched, list)
    assert {
        "store": "modelbay",
        "path": str(home / "models"),
        "state": "searched",
        "models": 2,
        "problems": [],
    } in searched


@pytest.mark.parametrize("action", [Pull(model="x"), Delete(model="first")])
async def test_what_it_cannot_do_says_what_to_do_instead(host: Host, action: Action) -> None:
    with pytest.raises(UnsupportedActionError) as caught:
        await outcome(host, action)

    assert caught.value.hint is not None


async def test_without_the_engines_wheel_only_this_provider_has_a_problem(
    env: dict[str, str], two_models: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    installed = load_plugins(env)
    async with Host.open(env=env, providers=(), installed=installed) as host:
        catalog = await host.refresh()

        entry = catalog.provider("embedded")
        assert entry is not None
        assert (entry.status, entry.hidden) == ("down", True)
        assert entry.problem is not None
        assert entry.problem.code == BackendUnreachableError.code
        assert "xllamacpp" in entry.problem.message


async def test_a_file_that_cannot_be_used_is_no_reason_to_offer_nothing(
    env: dict[str, str], home: Path
) -> None:
    (home / "models" / "broken.gguf").write_bytes(b"not a model")
    async with open_host(env) as host:
        result = await host.chat(ChatRequest(messages=[user("hello?")]))

        assert [(m.id, m.state) for m in host.catalog.models] == [
            ("files/broken", "failed"),
            ("files/welcome", "unloaded"),
        ]
    assert result.text == WELCOME_TEXT


async def test_a_home_that_cannot_be_written_keeps_nobody_from_the_welcome_model(
    env: dict[str, str], home: Path
) -> None:
    (home / "file").write_text("")
    env["MODELBAY_HOME"] = str(home / "file" / "under")  # no folder can be made below a file
    async with open_host(env) as host:
        result = await host.chat(ChatRequest(messages=[user("hello?")]))

    assert result.text == WELCOME_TEXT
