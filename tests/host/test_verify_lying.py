"""`verify` against real sockets: twelve models whose servers say one thing of them and do another.

The servers are the simulators of the plugins; what they list, and what their models then do, are
told to them apart. What is right is what a model does.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import modelbay_deepseek.plugin
import modelbay_deepseek.simulator as deepseek
import modelbay_llamacpp.plugin
import modelbay_llamacpp.simulator as llamacpp
import modelbay_llamaswap.plugin
import modelbay_llamaswap.simulator as llamaswap
import modelbay_ollama.plugin
import modelbay_ollama.simulator as ollama
import modelbay_openai.plugin
import modelbay_openai.simulator as openai
from host.sight import sees
from modelbay.host.host import Host
from modelbay.host.measuring import MEASURABLE
from modelbay.models.capabilities import Capabilities
from modelbay.models.provider import ProviderConfig
from modelbay.testing.connection import ClientGone
from modelbay.testing.exchange import Exchange
from modelbay.testing.simulator import Simulator
from pretend import config, host

pytestmark = pytest.mark.anyio

NOTE = '{"number": 4619}'
NO_JSON = "Sure, here it is!"


@dataclass(frozen=True)
class Truth:
    """What a model does.

    Attributes:
        context: Tokens; ``None`` where `verify` cannot find out: it does not chat, or asking for
            so much would cost too much.
        width: Numbers in its vectors.
    """

    tools: bool = False
    json_mode: bool = False
    json_schema: bool = False
    vision: bool = False
    reasoning: bool = False
    embeddings: bool = False
    context: int | None = 4096
    width: int = 0

    def holds(self, field: str, value: object) -> bool:
        """Whether this is what is so; a context as near as `verify` looks."""
        if field != "context_window":
            return value is getattr(self, field)
        assert self.context is not None
        return isinstance(value, int) and abs(value - self.context) <= self.context * 0.06

    @property
    def measurable(self) -> list[str]:
        return [name for name in MEASURABLE if name != "context_window" or self.context is not None]


ALL = Truth(tools=True, json_mode=True, json_schema=True, vision=True, reasoning=True)
JSON = Truth(json_mode=True, json_schema=True)


@dataclass
class Bay:
    """The servers that run, and the truth of each of their models."""

    providers: list[ProviderConfig] = field(default_factory=list)
    truths: dict[str, Truth] = field(default_factory=dict)

    def add(self, id: str, kind: str, address: str, truths: dict[str, Truth], **more: str) -> None:
        self.providers.append(config(id, kind, baseUrl=address, **more))
        self.truths |= {f"{id}/{name}": truth for name, truth in truths.items()}


def _ollama() -> tuple[list[ollama.SimulatedModel], dict[str, Truth]]:
    small = {"num_ctx": 4096}
    able = ("completion", "tools", "vision", "thinking")
    boasts = ollama.SimulatedModel(
        "boasts:1b",
        capabilities=("completion", "tools"),  # the template knows tools, the model does not
        json_answer=NO_JSON,
        parameters=small,
    )
    hides = ollama.SimulatedModel(
        "hides:1b",
        capabilities=able,
        tool_calls=[ollama.ToolCall("note_number", {"number": 4619})],
        thinking="Let me see.",
        says=sees,
        parameters=small,
    )
    embeds = ollama.SimulatedModel("embeds:1b", capabilities=("embedding",), embed_len=48)
    shrinks = ollama.SimulatedModel(
        "shrinks:1b", json_answer='{"answer": 1}', parameters=small, trained_ctx=4096
    )
    models = [
        replace(boasts, listed_as=replace(boasts, capabilities=able)),
        replace(hides, listed_as=replace(hides, capabilities=("completion",))),
        replace(embeds, listed_as=replace(embeds, capabilities=able)),
        replace(
            shrinks,
            listed_as=replace(
                shrinks,
                capabilities=("completion", "tools"),
                parameters={"num_ctx": 16384},
                trained_ctx=32768,
            ),
        ),
    ]
    return models, {
        "boasts:1b": Truth(),
        "hides:1b": ALL,
        "embeds:1b": Truth(embeddings=True, context=None, width=48),
        "shrinks:1b": Truth(json_mode=True),
    }


def _llamacpp() -> tuple[list[llamacpp.SimulatedModel], dict[str, Truth]]:
    boasts = llamacpp.SimulatedModel("boasts", tools=False, json_answer=NO_JSON)
    hides = llamacpp.SimulatedModel(
        "hides", says=sees, vision=True, reasoning="Let me see.", n_ctx=4096, n_embd=32
    )
    vectors = llamacpp.SimulatedModel("vectors", tools=False, embeddings=True, n_embd=32)
    models = [
        replace(boasts, listed_as=replace(boasts, tools=True, vision=True, n_ctx=16384)),
        replace(hides, listed_as=replace(hides, tools=False, vision=False, n_ctx=2048)),
        replace(vectors, listed_as=replace(vectors, vision=True, n_ctx=8192)),
    ]
    return models, {
        "boasts": Truth(),
        "hides": ALL,
        "vectors": replace(JSON, embeddings=True, width=32),
    }


def _llamaswap() -> tuple[list[llamaswap.SimulatedModel], dict[str, Truth]]:
    """Its lists say what somebody has written into its configuration."""
    boasts = llamaswap.SimulatedModel(
        "boasts",
        capabilities=llamaswap.Capabilities(
            inputs=("text", "image"), outputs=("text",), tools=True, context=16384
        ),
        json_answer=NO_JSON,
    )
    hides = llamaswap.SimulatedModel(
        "not-an-embedder",  # by its name it is one
        capabilities=llamaswap.Capabilities(inputs=("text",), outputs=("text",)),
        tool_calls=[llamaswap.ToolCall("note_number", NOTE)],
        reasoning="Let me see.",
        vision=True,
        says=sees,
        json_answer='{"zq7": 4619}',
    )
    return [boasts, hides], {"boasts": Truth(), "not-an-embedder": ALL}


def _openai(claim: bool) -> tuple[list[openai.SimulatedModel], dict[str, Truth]]:
    call = openai.ToolCall("note_number", NOTE)
    able = openai.SimulatedModel(
        "m", calls=[call], vision=True, says=sees, thinking="Let me see.", context=4096
    )
    unable = openai.SimulatedModel("m", json_answer=NO_JSON, context=4096)
    if claim:
        return [replace(unable, listed_as=replace(able, context=16384))], {"m": Truth()}
    return [replace(able, listed_as=replace(unable, context=2048))], {
        "m": replace(ALL, json_mode=False)  # LM Studio takes schemas alone
    }


@asynccontextmanager
async def liars(home: Path) -> AsyncIterator[tuple[Host, Bay]]:
    bay = Bay()
    with ExitStack() as servers:
        models, truths = _ollama()
        server = servers.enter_context(ollama.OllamaSimulator(models, "0.24.0"))
        bay.add("ollama", "ollama", server.base_url, truths)
        (single, *routed), truths = _llamacpp()
        one = servers.enter_context(llamacpp.LlamaCppSimulator([single]))
        many = servers.enter_context(llamacpp.LlamaCppSimulator(routed, "router"))
        bay.add("single", "llamacpp", one.base_url, {single.id: truths.pop(single.id)})
        bay.add("router", "llamacpp", many.base_url, truths)
        swapped, truths = _llamaswap()
        swap = servers.enter_context(llamaswap.LlamaSwapSimulator(swapped))
        bay.add("swap", "llama-swap", swap.base_url, truths)
        for name, claim in (("vllm", True), ("lmstudio", False)):
            served, truths = _openai(claim)
            any_server = servers.enter_context(openai.OpenAISimulator(served, name))
            bay.add(name, "openai", any_server.address, truths)
        hosted = servers.enter_context(
            deepseek.DeepSeekSimulator(
                knobs=deepseek.Knobs(tool_rounds=0, json_empty=True),
                script=deepseek.Script(thought=""),
            )
        )
        # Its window of a million tokens would cost too much to measure.
        bay.add(
            "deepseek",
            "deepseek",
            hosted.base_url,
            {"deepseek-flash": Truth(context=None)},
            apiKey=deepseek.KEY,
        )
        modules: dict[str, Any] = {
            "ollama": modelbay_ollama.plugin,
            "llamacpp": modelbay_llamacpp.plugin,
            "llama-swap": modelbay_llamaswap.plugin,
            "openai": modelbay_openai.plugin,
            "deepseek": modelbay_deepseek.plugin,
        }
        async with host(bay.providers, env={"MODELBAY_HOME": str(home)}, **modules) as held:
            yield held, bay


def lies(known: Capabilities, truth: Truth) -> Iterator[str]:
    for name in truth.measurable:
        if getattr(known, name) is not None and not truth.holds(name, getattr(known, name)):
            yield name


async def test_twelve_models_whose_servers_lie_are_put_right_and_explained(tmp_path: Path) -> None:
    """Of what can be measured 95 % ends right, and `explain` sets it above the lie."""
    told: dict[str, list[str]] = {}
    wrong: list[str] = []
    fields = 0
    async with liars(tmp_path) as (held, bay):
        for ref, truth in bay.truths.items():
            before = (await held.resolve(ref)).capabilities
            told[ref] = list(lies(before, truth))
            async with held.verify(ref) as found:
                measured = {each.field: each async for each in found}
            explanation = await held.explain(ref)
            for name in truth.measurable:
                value = getattr(explanation.capabilities, name)
                fields += 1
                if not truth.holds(name, value):
                    wrong.append(f"{ref} {name}: {value}; {measured[name].evidence}")
                    continue
                voices = [voice for voice in explanation.voices if voice[0] == name]
                if name in told[ref]:
                    lied = getattr(before, name), before.provenance[name].layer
                    assert (voices[0][1], voices[0][2].layer) == (value, "measured")
                    assert voices[0][2].evidence == measured[name].evidence
                    assert lied in [(said, origin.layer) for _, said, origin in voices[1:]]
            if truth.width:
                assert f"{truth.width} numbers" in measured["embeddings"].evidence
        # By now the models are in memory, and their servers tell more of them.
        await held.refresh(force=True)
        listed = {m.id: m.capabilities for p in held.catalog.providers for m in p.models}
        wrong += [
            f"{ref} {name}: {getattr(listed[ref], name)} after a fresh look"
            for ref, truth in bay.truths.items()
            for name in truth.measurable
            if not truth.holds(name, getattr(listed[ref], name))
        ]

    print(
        f"{fields - len(wrong)} of {fields} fields are right; {sum(map(len, told.values()))} lies"
    )
    print("\n".join([*wrong, *(f"{ref} lied: {', '.join(names)}" for ref, names in told.items())]))
    assert len(told) == 12
    assert all(told.values())
    assert len({ref.partition("/")[0] for ref in told}) >= 4
    assert 1 - len(wrong) / fields >= 0.95, wrong


# --- the context of servers that are hard to measure ----------------------------------------------


class Bare(Simulator):
    """What many small servers are: a list, chat, and 404 in their own words for the rest.

    Args:
        fails: How it takes a prompt of more than 3,000 words.
    """

    def __init__(self, fails: str) -> None:
        super().__init__()
        self._fails = fails
        self.route("GET", "/v1/models")(self._list)
        self.route("POST", "/v1/chat/completions")(self._chat)

    async def no_route(self, exchange: Exchange, *, path_known: bool) -> None:
        await exchange.json({"detail": "Not Found"}, 404)

    async def _list(self, exchange: Exchange) -> None:
        await exchange.json({"object": "list", "data": [{"id": "m", "object": "model"}]})

    async def _chat(self, exchange: Exchange) -> None:
        words = exchange.request.body.count(b"a ") + 1
        if words > 3000:
            if self._fails == "closes":
                exchange.abort()
                raise ClientGone("without an answer")
            await exchange.json({"error": {"message": "CUDA out of memory"}}, 500)
            return
        await exchange.start_stream("text/event-stream")
        await exchange.sse({"choices": [{"index": 0, "delta": {"content": "hi"}}]})
        await exchange.sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = {"prompt_tokens": words + 10, "completion_tokens": 1, "total_tokens": words + 11}
        await exchange.sse({"choices": [], "usage": usage})
        await exchange.sse("[DONE]")
        await exchange.end()


@pytest.mark.parametrize("fails", ["closes", "no memory"])
async def test_a_server_of_chat_alone_that_fails_at_long_prompts_is_measured_to_the_end(
    tmp_path: Path, fails: str
) -> None:
    with Bare(fails) as server:
        provider = config("bare", "openai", baseUrl=f"{server.base_url}/v1")
        openai_plugin: Any = modelbay_openai.plugin
        env = {"MODELBAY_HOME": str(tmp_path)}
        async with (
            host([provider], env=env, openai=openai_plugin) as held,
            held.verify("bare/m") as found,
        ):
            measured = {each.field: each.value async for each in found}

    assert tuple(measured) == MEASURABLE
    assert measured["embeddings"] is None
    assert isinstance(measured["context_window"], int)
    assert abs(measured["context_window"] - 3010) <= 3010 * 0.03


async def _ollama_context(
    home: Path, server: ollama.OllamaSimulator
) -> tuple[bool | int | None, int | None, str]:
    """What `verify` measures, what counts after it, and why."""
    provider = config("ol", "ollama", baseUrl=server.base_url)
    module: Any = modelbay_ollama.plugin
    async with host([provider], env={"MODELBAY_HOME": str(home)}, ollama=module) as held:
        async with held.verify("ol/m:1b", fields=("context_window",)) as found:
            [(value, evidence)] = [(each.value, each.evidence) async for each in found]
        await held.refresh(force=True)
        return value, (await held.resolve("ol/m:1b")).capabilities.context_window, evidence


@pytest.mark.parametrize("version", ["0.24.0", "0.35.0"])  # older ones do not tell it
@pytest.mark.parametrize("seed", range(4))
async def test_a_right_context_stays_where_prompts_are_not_counted_alike(
    tmp_path: Path, version: str, seed: int
) -> None:
    """The simulator as it is by default: each conversation is so many tokens as it draws."""
    for name, parameters in (("told", {"num_ctx": 4096}), ("untold", {})):
        model = ollama.SimulatedModel("m:1b", parameters=parameters)
        with ollama.OllamaSimulator([model], version, seed=seed) as server:
            value, known, evidence = await _ollama_context(tmp_path / name, server)

        assert (value, known) == (None, 4096), evidence
        assert "not settled" in evidence


@pytest.mark.parametrize("version", ["0.9.0", "0.24.0", "0.35.0"])
@pytest.mark.parametrize("bytes_per_token", [2.0, 3.41, 5.9])
async def test_a_wrong_context_is_put_right_where_prompts_are_counted_alike(
    tmp_path: Path, version: str, bytes_per_token: float
) -> None:
    """As every real tokenizer counts words of one kind."""
    model = ollama.SimulatedModel("m:1b", parameters={"num_ctx": 4096})
    lie = replace(model, parameters={"num_ctx": 16384})
    knobs = ollama.Knobs(bytes_per_token=bytes_per_token)
    models = [replace(model, listed_as=lie)]
    with ollama.OllamaSimulator(models, version, knobs=knobs) as server:
        value, known, evidence = await _ollama_context(tmp_path, server)

    assert (value, known) == (4096, 4096), evidence
