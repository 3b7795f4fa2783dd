"""The servers of the recordings: their configuration, as the comments at the top of each file say.

Where a recording caught a server in the middle of something, the simulator stops there: loads that
end when they are told to, answers that hold after so many tokens.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from modelbay_llamaswap.simulator import (
    Capabilities,
    Filters,
    Group,
    LlamaSwapSimulator,
    Peer,
    Profile,
    Selector,
    SimulatedModel,
)

_L = "llama-server --host 127.0.0.1 --port ${PORT} -np 1 -t 1 --no-ui"
_STORY = "Once upon a time five very large boxes went into some crazy town, and all of them stayed."


def _llama(id: str, file: str, answer: str, *, more: str = "", **fields: object) -> SimulatedModel:
    model = SimulatedModel(
        id, answer=answer, file=f"models/{file}.gguf", slots=1, n_ctx=512, cmd=_cmd(file, more)
    )
    return replace(model, **fields)  # type: ignore[arg-type]


def _cmd(file: str, more: str = "") -> str:
    return f"{_L} -c 512 -m models/{file}.gguf{more}"


def say(id: str = "tiny", **fields: object) -> SimulatedModel:
    return _llama(id, "tiny-say", "The answer is 42, my friend.", **fields)  # type: ignore[arg-type]


def hello(id: str, **fields: object) -> SimulatedModel:
    return _llama(id, "tiny-hello", "Hello from the other server.", **fields)  # type: ignore[arg-type]


def slow(**fields: object) -> SimulatedModel:
    model = _llama("slow", "slow", "uM", more=" --load-mode none", piece_chars=1, endless=True)
    return replace(model, **{"load_s": 1.5, **fields})  # type: ignore[arg-type]


def writer(hold_after: int | None = None) -> SimulatedModel:
    return _llama("writer", "writer", _STORY, hold_after=hold_after, hang_when_busy=True)


def stub(id: str, **fields: object) -> SimulatedModel:
    model = SimulatedModel(id, flavour="plain", answer="ok", file="stub-name", cmd="sleep 600")
    return replace(model, **fields)  # type: ignore[arg-type]


BROKEN = _llama("broken", "broken", "", fail="exit")
NOBIN = SimulatedModel("nobin", cmd="no-such-binary --port ${PORT}", fail="nobin")
FAST = 0.01  # real seconds that one of the server's lasts
STEADY = 0.1  # where the order of things is a matter of time


def _catalogue(**options: object) -> LlamaSwapSimulator:
    models = [
        say(
            "qwen-small",
            name="Qwen small",
            description="daily driver",
            aliases=("gpt-4o-mini", "vendor/fast"),
            capabilities=Capabilities(("text", "image"), ("text",), tools=True, context=4096),
            metadata={"family": "qwen", "tags": ["a", "b"]},
        ),
        slow(load_s=math.inf, stop_s=8.0),
        SimulatedModel("embedder", role="embedding", metadata={"task": "embedding"}),
        SimulatedModel(
            "ranker", role="rerank", capabilities=Capabilities(("text",), ("text",), reranker=True)
        ),
        SimulatedModel("painter", role="image", capabilities=Capabilities(("text",), ("image",))),
        say("org/hidden", unlisted=True),
    ]
    return LlamaSwapSimulator(
        models,
        selectors=[Selector("pick", ("qwen-small", "slow"), "warm", name="Picker")],
        profiles=[Profile("coding", {"code-llm": "qwen-small"}, "for code")],
        peers=[_lab("mixtral", "a/b", up=False)],
        start_port=23680,
        **options,  # type: ignore[arg-type]
    )


def _lab(*models: str, up: bool = True) -> Peer:
    return Peer("lab", [stub(name) for name in models], up=up)


def _two_models() -> LlamaSwapSimulator:
    return LlamaSwapSimulator([say(), slow()], start_port=23728)


def _with_loading_text() -> LlamaSwapSimulator:
    models = [slow(), say(), BROKEN, NOBIN]
    return LlamaSwapSimulator(models, loading_state=True, start_port=23744, second_s=STEADY)


def _behind_a_busy_one() -> LlamaSwapSimulator:
    models = [slow(token_s=0.1), say(slots=2), BROKEN, NOBIN]
    return LlamaSwapSimulator(models, loading_state=True, start_port=23744, second_s=STEADY)


def _writing(hold_after: int | None) -> Callable[[], LlamaSwapSimulator]:
    return lambda: LlamaSwapSimulator(
        [writer(hold_after), say(), slow(load_s=math.inf)], start_port=25168
    )


def _renamed() -> LlamaSwapSimulator:
    return LlamaSwapSimulator(
        [
            replace(say(aliases=("gpt-4o-mini", "vendor/fast")), file="real-name"),
            stub("named", aliases=("other",), use_model_name="Real/Name"),
            stub("plain", aliases=("plain-alias",)),
        ],
        peers=[_lab("remote", "a/b")],
        start_port=25120,
    )


def _filtered() -> LlamaSwapSimulator:
    tiny = Filters(
        ("temperature", "top_k"),
        {"top_p": 0.5, "seed": 7},
        {"tiny:high": {"seed": 99, "min_p": 0.25}},
    )
    other = Filters(
        ("temperature", "model", "messages.0.name"),
        {
            "top_p": 0.5,
            "chat_template_kwargs.enable_thinking": False,
            "nested": {"a": [1, 2]},
        },
        {"stub:high": {"reasoning_effort": "high"}},
    )
    models = [say(filters=tiny), stub("stub", filters=other)]
    return LlamaSwapSimulator(models, start_port=25136)


def _failing() -> LlamaSwapSimulator:
    silent = SimulatedModel("silent", cmd="sleep 600", fail="timeout")
    nocheck = replace(slow(check=False, load_s=600.0), id="nocheck")
    return LlamaSwapSimulator(
        [BROKEN, NOBIN, silent, nocheck], health_check_timeout_s=15, start_port=23760
    )


def _unloaded() -> LlamaSwapSimulator:
    return LlamaSwapSimulator(
        [slow(load_s=math.inf), say(aliases=("t",), stop_s=8.0), hello("org/model:7b")],
        selectors=[Selector("pick", ("tiny",), "warm")],
        peers=[_lab("remote", up=False)],
        start_port=23904,
    )


def _passing() -> LlamaSwapSimulator:
    return LlamaSwapSimulator(
        [say(aliases=("t",), use_model_name="other"), hello("org/model:7b")],
        selectors=[Selector("pick", ("tiny",), "warm")],
        start_port=23920,
    )


def _told() -> LlamaSwapSimulator:
    tiny = say(
        name="Tiny",
        aliases=("t",),
        unlisted=True,
        capabilities=Capabilities(("text",), ("text",), context=512),
    )
    return LlamaSwapSimulator(
        [slow(), tiny], peers=[_lab("remote", up=False)], info_lines=False, start_port=23936
    )


def _media() -> LlamaSwapSimulator:
    painter = SimulatedModel("painter", role="image", cmd="sleep 600")
    return LlamaSwapSimulator(
        [
            _llama(
                "embedder",
                "tiny-embed",
                "\N{REPLACEMENT CHARACTER}",
                role="embedding",
                endless=True,
            ),
            _llama("ranker", "tiny-rank", "", role="rerank"),
            say(),
            replace(painter, capabilities=Capabilities(("text",), ("image",))),
            replace(painter, id="painter2", use_model_name="real-painter"),
        ],
        start_port=25152,
    )


def _one(start_port: int, *models: SimulatedModel, **options: object) -> LlamaSwapSimulator:
    return LlamaSwapSimulator(models, start_port=start_port, **options)  # type: ignore[arg-type]


def desk() -> LlamaSwapSimulator:
    """Instance A of two."""
    return _one(24096, say(name="Tiny on the desk", aliases=("desk",)))


def cellar() -> LlamaSwapSimulator:
    """Instance B of two."""
    said = Capabilities(("text",), ("text",), context=512)
    tiny = hello("tiny", name="Tiny in the cellar", capabilities=said)
    return _one(24112, tiny, say("extra"))


SERVERS: dict[str, Callable[[], LlamaSwapSimulator]] = {
    "auth/80-api-keys": lambda: _one(24032, say(), keys=["k1", "k2"]),
    "auth/81-child-with-key": lambda: _one(24048, say("keyed", child_key="child-key")),
    "chat/20-cold-and-warm": _two_models,
    "chat/21-stream-cold-and-warm": _two_models,
    "chat/22-other-inference-routes": _two_models,
    "chat/23-alias-and-useModelName": _renamed,
    "chat/24-filters": _filtered,
    "chat/25-concurrency-limit": lambda: _one(
        23856,
        slow(limit=2, loading_state=True, load_s=math.inf, hold_after=1, slots=2),
    ),
    "chat/27-group-together": lambda: _one(
        23888,
        say("a"),
        hello("b"),
        groups={"together": Group(("a", "b"), swap=False)},
    ),
    "errors/40-child-fails-to-start": _failing,
    "errors/41-child-killed-mid-stream": _writing(6),
    "errors/42-unload-mid-stream": _writing(7),
    "errors/44-client-leaves": _writing(None),
    "errors/45-bad-requests": lambda: _one(21680, say()),
    "events/60-load-and-unload": _told,
    "loading/30-cold-then-answer": _with_loading_text,
    "loading/31-cold-with-times": _with_loading_text,
    "loading/32-child-fails": _with_loading_text,
    "loading/33-child-refuses": _with_loading_text,
    "loading/34-queued": _behind_a_busy_one,
    "manage/50-unload": _unloaded,
    "manage/51-upstream": _passing,
    "manage/52-upstream-slashes": _passing,
    "manage/53-logs": lambda: _one(23952, say(aliases=("t",))),
    "manage/54-version-health": lambda: _one(23968, say(aliases=("t",)), version="0"),
    "manage/55-activity": lambda: _one(23984, say(aliases=("t",)), BROKEN),
    "manage/56-inflight-cancel": lambda: _one(24000, writer(5), slow(load_s=math.inf)),
    "manage/57-ttl": lambda: _one(24016, say(ttl_s=2), slow(ttl_s=20), second_s=STEADY),
    "media/90-embeddings-rerank": _media,
    "media/91-images": _media,
    "models/01-nothing-loaded": _catalogue,
    "models/02-one-loading": _catalogue,
    "models/03-one-loaded": _catalogue,
    "models/04-aliases-listed": lambda: _catalogue(list_aliases=True),
    "models/05-profiles": _catalogue,
    "process/95-reload-and-exit": lambda: _one(24080, writer(6), say()),
    "routes/70-unknown-and-methods": lambda: _one(23968, say(aliases=("t",))),
    "routes/71-cors": lambda: _one(23968, say(aliases=("t",))),
    "running/10-states": lambda: _one(
        23712,
        slow(load_s=math.inf, stop_s=8.0, ttl_s=300, name="Slow one "),
        say(aliases=("t",)),
    ),
    "two/98-two-instances": desk,
}
