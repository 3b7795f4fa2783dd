"""Mirrors host/measuring.py, subject.py and questions.py: models that are not what lists say."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host.pretended_models import Real, open_host, verified
from modelbay.errors import (
    AuthenticationError,
    BackendError,
    BackendUnreachableError,
    InvalidRequestError,
    ModelbayError,
    ModelNotFoundError,
    UnsupportedFeatureError,
)
from modelbay.host.host import Host
from modelbay.host.measuring import MEASURABLE
from modelbay.host.questions import ANSWER_TOKENS
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import (
    Finish,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
)
from modelbay.models.media import EmbedRequest, EmbedResult
from pretend import config, host, plugin

pytestmark = pytest.mark.anyio

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


class Pathless(Real):
    """Its server has no path for chat, and answers as it does to a model it has not."""

    async def answer(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        raise ModelNotFoundError("Not Found", status=404)
        yield


def open_without_embeddings(home: Path, real: Real) -> Host:
    async def discover_models() -> list[DiscoveredModel]:
        return [DiscoveredModel(wire_id="m", digest="d")]

    def stream_chat(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        return real.answer(request)

    async def embed(request: EmbedRequest) -> EmbedResult:
        raise ModelNotFoundError("Not Found", status=404)

    module = plugin(discover_models=discover_models, stream_chat=stream_chat, embed=embed)
    return host([config()], env={"MODELBAY_HOME": str(home)}, acme=module)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("tools", "embeddings", "context_window"), (True, None, 8192)),
        (("embeddings", "context_window"), (None, 8192)),  # nothing was answered before
        (("embeddings",), (None,)),
    ],
)
async def test_a_path_for_embeddings_that_is_not_there_is_no_missing_model(
    tmp_path: Path, fields: tuple[str, ...], expected: tuple[object, ...]
) -> None:
    async with open_without_embeddings(tmp_path, Real()) as held:
        found = await verified(held, "m", fields=fields)

    assert tuple(found.values()) == expected


async def test_a_path_for_chat_that_is_not_there_leaves_the_embeddings(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"m": (Facts(), Pathless())}) as held:
        found = await verified(held, "m")

    assert found == dict.fromkeys(MEASURABLE) | {"embeddings": True}


@pytest.mark.parametrize("field", MEASURABLE)
async def test_a_model_that_answers_on_no_path_is_a_missing_one(tmp_path: Path, field: str) -> None:
    async with open_without_embeddings(tmp_path, Pathless()) as held:
        with pytest.raises(ModelNotFoundError):
            await verified(held, "m", fields=(field,))


def test_every_measurable_field_is_a_fact() -> None:
    assert set(MEASURABLE) <= set(Facts.model_fields)
