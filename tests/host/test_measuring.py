"""Mirrors host/measuring.py, questions.py and ledger.py: models that are not what lists say."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from host.sight import sees
from modelbay.errors import (
    AuthenticationError,
    BackendError,
    BackendUnreachableError,
    ContextLengthError,
    InvalidRequestError,
    ModelbayError,
    UnsupportedFeatureError,
)
from modelbay.host.host import Host
from modelbay.host.ledger import Ledger
from modelbay.host.measuring import MEASURABLE
from modelbay.host.questions import ANSWER_TOKENS
from modelbay.models.capabilities import Facts, Measurement
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest, ImagePart, JsonSchema
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
    Usage,
)
from modelbay.models.media import EmbedRequest, EmbedResult
from modelbay.refs import ModelRef
from pretend import config, host, plugin

pytestmark = pytest.mark.anyio


@dataclass
class Real:
    """What a model really does, whatever its list says.

    Attributes:
        cuts: A prompt that is too long is cut without a word instead of being refused.
        tells: The server reports how many tokens it read.
        template: Tokens around every message.
    """

    tools: bool = True
    json_mode: bool = True
    json_schema: bool = True
    vision: bool = True
    reasoning: bool = True
    embeddings: bool = True
    context: int = 8192
    refuses: bool = True
    cuts: bool = False
    tells: bool = True
    bytes_per_token: float = 2.0
    template: int = 9
    spent: list[int] = field(default_factory=list)

    async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        tokens = int(sum(len(m.text) for m in request.messages) / self.bytes_per_token)
        tokens += self.template
        self.spent.append(tokens)
        if tokens > self.context and not self.cuts:
            raise ContextLengthError("the prompt is too long", status=400)
        images = any(
            isinstance(part, ImagePart)
            for m in request.messages
            if not isinstance(m.content, str)
            for part in m.content
        )
        if self.refuses and (
            (request.tools and not self.tools)
            or (images and not self.vision)
            or (request.reasoning_effort and not self.reasoning)
        ):
            raise InvalidRequestError("not supported by this model", status=400)
        if self.reasoning:
            yield ReasoningDelta("hm")
        if request.tools and self.tools:
            yield ToolCall("1", request.tools[0].name, '{"number": 4619}')
        else:
            yield TextDelta(self._text(request, images))
        if self.tells:
            yield Usage(min(tokens, self.context // 2) if tokens > self.context else tokens, 1)
        yield Finish("stop")

    def _text(self, request: ChatRequest, images: bool) -> str:
        if isinstance(request.response_format, JsonSchema):
            schema = request.response_format.schema_
            if self.json_schema:
                properties: Mapping[str, dict[str, list[int]]] = schema["properties"]  # type: ignore[assignment]
                return json.dumps({name: p["enum"][0] for name, p in properties.items()})
            return '{"answer": 1}' if self.json_mode else "Sure!"
        if request.response_format is not None:
            return '{"ok": true}' if self.json_mode else "Here you are: {}"
        if images and self.vision:
            return sees([m.model_dump(mode="json") for m in request.messages])
        return "Hello."


def open_host(home: Path, models: Mapping[str, tuple[Facts, Real]], digest: str = "d") -> Host:
    async def discover_models() -> list[DiscoveredModel]:
        return [
            DiscoveredModel(wire_id=name, facts=facts, digest=f"{digest}-{name}")
            for name, (facts, _) in models.items()
        ]

    def stream_chat(request: ChatRequest, model: ModelInfo) -> AsyncIterator[StreamEvent]:
        return models[model.wire_id][1].answer(request)

    async def embed(request: EmbedRequest, model: ModelInfo) -> EmbedResult:
        if not models[model.wire_id][1].embeddings:
            raise UnsupportedFeatureError("no embeddings here")
        return EmbedResult(vectors=[[0.5] * 8 for _ in request.input])

    module = plugin(discover_models=discover_models, stream_chat=stream_chat, embed=embed)
    return host([config()], env={"MODELBAY_HOME": str(home)}, acme=module)


async def verified(held: Host, model: str, **options: object) -> dict[str, bool | int | None]:
    async with held.verify(f"desk/{model}", **options) as found:  # type: ignore[arg-type]
        return {measurement.field: measurement.value async for measurement in found}


ALL = Facts(
    tools=True, json_mode=True, json_schema=True, vision=True, reasoning=True, embeddings=True
)
NONE = Facts(
    tools=False, json_mode=False, json_schema=False, vision=False, reasoning=False, embeddings=False
)

# Twelve models whose lists lie: what is said, and what is so.
LIARS: dict[str, tuple[Facts, Real]] = {
    "claims-all": (
        ALL.model_copy(update={"context_window": 8192}),
        Real(
            tools=False,
            json_mode=False,
            json_schema=False,
            vision=False,
            reasoning=False,
            embeddings=False,
        ),
    ),
    "claims-none": (NONE.model_copy(update={"context_window": 8192}), Real()),
    "ignores-tools": (Facts(tools=True, context_window=8192), Real(tools=False, refuses=False)),
    "refuses-tools": (Facts(tools=True, context_window=8192), Real(tools=False)),
    "ignores-schema": (Facts(json_schema=True, context_window=8192), Real(json_schema=False)),
    "never-json": (
        Facts(json_mode=True, context_window=8192),
        Real(json_mode=False, json_schema=False),
    ),
    "refuses-images": (Facts(vision=True, context_window=8192), Real(vision=False)),
    "thinks-unasked": (Facts(reasoning=False, context_window=8192), Real()),
    "never-thinks": (Facts(reasoning=True, context_window=8192), Real(reasoning=False)),
    "smaller": (Facts(context_window=32768), Real(context=4096)),
    "cuts": (Facts(context_window=16384), Real(context=4096, cuts=True)),
    "larger": (Facts(), Real(context=12288, bytes_per_token=1.5)),
}
FIELDS = ("tools", "json_mode", "json_schema", "vision", "reasoning", "embeddings")


async def test_lists_that_lie_are_put_right_and_it_is_explained_why(tmp_path: Path) -> None:
    right = wrong = 0
    async with open_host(tmp_path, LIARS) as held:
        for name, (_, real) in LIARS.items():
            await verified(held, name)
            known = (await held.explain(f"desk/{name}")).capabilities
            for fact in FIELDS:
                right += getattr(known, fact) == getattr(real, fact)
                wrong += getattr(known, fact) != getattr(real, fact)
                assert known.provenance[fact].evidence
            near = known.context_window is not None and (
                abs(known.context_window - real.context) <= real.context * 0.06
            )
            right, wrong = right + near, wrong + (not near)

    print(f"{right} of {right + wrong} fields are right")  # shown by pytest -rP
    assert right / (right + wrong) >= 0.95


async def test_what_was_measured_counts_after_a_restart_and_falls_with_the_digest(
    tmp_path: Path,
) -> None:
    liar = {"m": (Facts(tools=True, context_window=512), Real(tools=False))}
    async with open_host(tmp_path, liar) as held:
        assert await verified(held, "m", fields=("tools",)) == {"tools": False}
        [entry] = held.catalog.providers[0].models
        assert entry.capabilities.tools is False

    async with open_host(tmp_path, liar) as held:
        info = await held.resolve("desk/m")
        assert (info.capabilities.tools, info.capabilities.provenance["tools"].layer) == (
            False,
            "measured",
        )

    async with open_host(tmp_path, liar, digest="another") as held:
        assert (await held.resolve("desk/m")).capabilities.tools is True


async def test_the_user_knows_better_than_a_measurement(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"m": (ALL, Real(tools=False))}) as held:
        await verified(held, "m", fields=("tools",))
    said = config(models={"m": {"tools": True}})

    async def discover_models() -> list[DiscoveredModel]:
        return [DiscoveredModel(wire_id="m", facts=ALL, digest="d-m")]

    module = plugin(discover_models=discover_models)
    async with host([said], env={"MODELBAY_HOME": str(tmp_path)}, acme=module) as held:
        explanation = await held.explain("desk/m")

    assert [v[:2] for v in explanation.voices if v[0] == "tools"] == [
        ("tools", True),
        ("tools", False),
        ("tools", True),
    ]


@pytest.mark.parametrize(
    ("claimed", "real"),
    [
        (16384, Real(context=4096, template=400)),  # the words alone do not make the count
        (16384, Real(context=4096, template=400, cuts=True)),
        (2048, Real(context=8192)),  # more modest than need be
        (131_072, Real(context=4096)),  # too dear to be tried at once
        (131_072, Real(context=4096, cuts=True)),
        (16384, Real(context=4096, bytes_per_token=0.1)),  # no prompt comes near
        (4000, Real(context=3000)),  # no round number
    ],
)
async def test_a_context_is_found_whatever_is_claimed(
    tmp_path: Path, claimed: int, real: Real
) -> None:
    async with open_host(tmp_path, {"m": (Facts(context_window=claimed), real)}) as held:
        found = (await verified(held, "m", fields=("context_window",)))["context_window"]

    assert isinstance(found, int)
    assert abs(found - real.context) <= real.context * 0.05
    assert len(real.spent) < 20


async def test_a_claim_that_is_true_costs_two_large_prompts(tmp_path: Path) -> None:
    """One that fits, and one that would show that there is more."""
    real = Real(context=8192)
    async with open_host(tmp_path, {"m": (Facts(context_window=8192), real)}) as held:
        assert await verified(held, "m", fields=("context_window",)) == {"context_window": 8192}

    assert [tokens for tokens in real.spent if tokens > 1000] == [
        pytest.approx(8192, rel=0.02),
        pytest.approx(10240, rel=0.02),
    ]


async def test_measuring_the_context_keeps_to_its_price(tmp_path: Path) -> None:
    real = Real(context=1_000_000)
    async with open_host(tmp_path, {"m": (Facts(), real)}) as held:
        found = await verified(held, "m", fields=("context_window",), tokens_limit=20_000)

    assert found == {"context_window": None}
    assert sum(real.spent) <= 20_000 * 1.1


async def test_what_settles_nothing_is_not_kept_as_an_answer(tmp_path: Path) -> None:
    silent = (Facts(context_window=4096), Real(tells=False))
    async with open_host(tmp_path, {"m": silent}) as held:
        assert await verified(held, "m", fields=("context_window",)) == {"context_window": None}
        known = (await held.resolve("desk/m")).capabilities

    assert known.context_window == 4096


class Told(Real):
    """Says these things, one after the other; the word ``call`` is a call of the offered tool."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = list(answers)

    async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        if request.tool_choice == "required":
            raise UnsupportedFeatureError("a call cannot be forced", stage="encode")
        text = self.answers.pop(0)
        if text == "call":
            yield ToolCall("1", (request.tools or [])[0].name, "{}")
        else:
            yield TextDelta(text)
        yield Finish("stop")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (("Red, blue.", "yellow and green"), True),
        (("Red and blue.", "Red and blue."), False),  # a guess
        (("I cannot see it.", "I cannot see it."), False),
        (("red, blue, green or yellow", "red and green"), False),
        (("Red and blue.", "Yellow and blue."), None),  # half blind, or half lucky
    ],
)
async def test_two_pictures_tell_who_sees_from_who_guesses(
    tmp_path: Path, answers: tuple[str, ...], expected: bool | None
) -> None:
    async with open_host(tmp_path, {"m": (Facts(), Told(*answers))}) as held:
        assert await verified(held, "m", fields=("vision",)) == {"vision": expected}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (("call",), True),
        (("Noted.", "call"), True),
        (("Noted.", "I do not know."), False),
        (("Noted.", ""), False),
    ],
)
async def test_text_once_may_be_a_whim_and_twice_is_an_answer(
    tmp_path: Path, answers: tuple[str, ...], expected: bool
) -> None:
    """Where no call can be required."""
    async with open_host(tmp_path, {"m": (Facts(), Told(*answers))}) as held:
        assert await verified(held, "m", fields=("tools",)) == {"tools": expected}


async def test_a_model_that_does_not_chat_has_no_context_to_find_out(tmp_path: Path) -> None:
    """What it can do is measured all the same."""

    class Silent(Real):
        async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
            raise InvalidRequestError("this model does not chat", status=400)
            yield

    async with open_host(tmp_path, {"m": (ALL, Silent())}) as held:
        found = await verified(held, "m")

    assert (found["context_window"], found["tools"], found["embeddings"]) == (None, False, True)


async def test_an_answer_that_was_cut_off_by_its_limit_settles_nothing(tmp_path: Path) -> None:
    class Slow(Real):
        async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
            assert request.max_tokens == ANSWER_TOKENS
            yield ReasoningDelta("on and on")
            yield Finish("length")

    async with open_host(tmp_path, {"m": (Facts(), Slow())}) as held:
        assert await verified(held, "m", fields=("tools", "vision", "reasoning")) == {
            "tools": None,
            "vision": None,
            "reasoning": True,
        }


@pytest.mark.parametrize(
    ("field", "expected"),
    [("json_mode", None), ("json_schema", None), ("tools", None), ("reasoning", False)],
)
async def test_half_an_answer_is_not_a_wrong_one(
    tmp_path: Path, field: str, expected: bool | None
) -> None:
    """A grammar makes JSON, and the model does not find its end; but a thought would come first."""

    class Endless(Real):
        async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
            yield TextDelta('{"a": "on and on')
            yield Finish("length")

    async with open_host(tmp_path, {"m": (Facts(), Endless())}) as held:
        assert await verified(held, "m", fields=(field,)) == {field: expected}


async def test_a_notice_that_the_prompt_was_cut_is_believed(tmp_path: Path) -> None:
    class Honest(Real):
        async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
            tokens = len(request.messages[0].text) // 2
            if tokens > 1024:
                yield Notice("truncated", "cut")
            yield Usage(min(tokens, 1024), 1)
            yield Finish("length")

    async with open_host(tmp_path, {"m": (Facts(context_window=4096), Honest())}) as held:
        assert await verified(held, "m", fields=("context_window",)) == {"context_window": 1024}


@pytest.mark.parametrize(
    "error",
    [
        BackendUnreachableError("down"),
        AuthenticationError("no", status=401),
        BackendError("broken", status=500),
    ],
)
async def test_a_server_that_cannot_be_asked_measures_nothing(
    tmp_path: Path, error: BackendError
) -> None:
    class Gone(Real):
        async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
            raise error
            yield

    async with open_host(tmp_path, {"m": (ALL, Gone())}) as held:
        with pytest.raises(type(error)):
            await verified(held, "m")
        assert (await held.resolve("desk/m")).capabilities.tools is True


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("image input is not supported - start it with a projector", False),
        ("this model does not support images", False),
        ("cudaMalloc failed", None),
    ],
)
async def test_a_failure_of_one_question_leaves_the_others(
    tmp_path: Path, message: str, expected: bool | None
) -> None:
    """Several servers refuse with 500 what they have no part for."""

    class Blind(Real):
        async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
            if not isinstance(request.messages[0].content, str):
                raise BackendError(message, status=500)
            async for event in super().answer(request):
                yield event

    fields = ("tools", "vision", "reasoning")
    async with open_host(tmp_path, {"m": (Facts(), Blind())}) as held:
        assert await verified(held, "m", fields=fields) == {
            "tools": True,
            "vision": expected,
            "reasoning": True,
        }


class Unforced(Real):
    """Behind a plugin that cannot force a call, and says so before anything is sent."""

    async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        if request.tool_choice == "required":
            raise UnsupportedFeatureError("a call cannot be forced", stage="encode")
        async for event in super().answer(request):
            yield event


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (Unforced(), True),
        (Unforced(tools=False), False),  # the server refuses tools
        (Unforced(tools=False, refuses=False), False),  # free to answer in text, and twice did
    ],
)
async def test_where_a_call_cannot_be_forced_the_model_is_left_the_choice(
    tmp_path: Path, real: Real, expected: bool | None
) -> None:
    async with open_host(tmp_path, {"m": (Facts(), real)}) as held:
        assert await verified(held, "m", fields=("tools",)) == {"tools": expected}


@pytest.mark.parametrize(
    "error",
    [
        UnsupportedFeatureError("not sent", stage="encode"),
        InvalidRequestError("not sent", stage="encode"),
        BackendError("no such path", status=404),
        InvalidRequestError("no such path", status=404),
    ],
)
async def test_a_refusal_of_this_side_and_a_missing_path_settle_nothing(
    tmp_path: Path, error: ModelbayError
) -> None:
    class Refused(Real):
        async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
            raise error
            yield

    fields = ("tools", "json_mode", "vision", "reasoning")
    async with open_host(tmp_path, {"m": (ALL, Refused())}) as held:
        assert await verified(held, "m", fields=fields) == dict.fromkeys(fields)
        assert (await held.resolve("desk/m")).capabilities.tools is True


@pytest.mark.parametrize(
    ("status", "expected"), [(404, None), (500, None), (400, False), (501, False)]
)
async def test_embeddings_that_fail_are_not_embeddings_that_are_refused(
    tmp_path: Path, status: int, expected: bool | None
) -> None:
    async def discover_models() -> list[DiscoveredModel]:
        return [DiscoveredModel(wire_id="m", digest="d")]

    async def embed(request: EmbedRequest, model: ModelInfo) -> EmbedResult:
        raise BackendError("no vectors", status=status)

    module = plugin(discover_models=discover_models, embed=embed)
    async with host([config()], env={"MODELBAY_HOME": str(tmp_path)}, acme=module) as held:
        assert await verified(held, "m", fields=("embeddings",)) == {"embeddings": expected}


def test_every_measurable_field_is_a_fact() -> None:
    assert set(MEASURABLE) <= set(Facts.model_fields)


# --- the ledger -----------------------------------------------------------------------------------

REF = ModelRef("desk", "a/b:c")
TOOLS = Measurement(field="tools", value=True, evidence="called", at=1.0)


def entry(**fields: object) -> DiscoveredModel:
    return DiscoveredModel.model_validate({"wire_id": "a/b:c", **fields})


LISTED = entry(facts={"tools": True, "context_window": 4096}, size_bytes=7)


@pytest.mark.parametrize(
    ("later", "known"),
    [
        (LISTED, True),
        (entry(), True),  # says less, and nothing else
        (LISTED.model_copy(update={"state": "loaded", "quantization": "Q4_K_M"}), True),
        (LISTED.model_copy(update={"evidence": {"tools": "/props"}, "name": "B"}), True),
        (entry(facts={"tools": True, "vision": True}, size_bytes=7), True),
        (entry(facts={"context_window": 6000}, loaded_context=6000), True),  # what it has got
        (entry(facts={"context_window": 6000}), False),  # configured anew
        (entry(facts={"tools": False}), False),
        (entry(size_bytes=8), False),
        (entry(origin="remote"), False),
        (entry(digest="d"), False),
    ],
)
def test_without_a_digest_the_listed_entry_says_whether_it_is_the_same_model(
    tmp_path: Path, later: DiscoveredModel, known: bool
) -> None:
    """Servers say more of a model once it is in memory, where measuring has brought it."""
    Ledger(tmp_path).write(REF, LISTED, [TOOLS])

    assert Ledger(tmp_path).read(REF, later) == ((TOOLS,) if known else ())


def test_what_was_said_once_is_held_against_a_later_entry(tmp_path: Path) -> None:
    """Also if the entry of the last measurement did not say it."""
    ledger = Ledger(tmp_path)
    ledger.write(REF, LISTED, [TOOLS])
    ledger.write(REF, entry(), [TOOLS])

    assert ledger.read(REF, entry(size_bytes=8)) == ()


def test_another_model_s_measurements_go_when_this_one_is_measured(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(REF, entry(digest="old"), [TOOLS])
    vision = Measurement(field="vision", value=False, evidence="refused", at=1.0)
    ledger.write(REF, entry(digest="new"), [vision])

    assert ledger.read(REF, entry(digest="new")) == (vision,)


def test_fields_that_were_not_measured_again_stay(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    vision = Measurement(field="vision", value=False, evidence="refused", at=1.0)
    again = Measurement(field="tools", value=False, evidence="text", at=2.0)
    ledger.write(REF, entry(), [TOOLS, vision])
    ledger.write(REF, entry(), [again])

    assert ledger.read(REF, entry()) == (again, vision)


def test_the_same_name_on_another_provider_is_another_model(tmp_path: Path) -> None:
    """S0-17: what is kept of a model is kept under its whole ref."""
    ledger = Ledger(tmp_path)
    ledger.write(REF, entry(), [TOOLS])

    assert ledger.read(ModelRef("lab", "a/b:c"), entry()) == ()


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_a_damaged_page_says_nothing(tmp_path: Path, text: str) -> None:
    Ledger(tmp_path).write(REF, entry(), [TOOLS])
    [page] = (tmp_path / "measured").iterdir()
    page.write_text(text)

    assert Ledger(tmp_path).read(REF, entry()) == ()
