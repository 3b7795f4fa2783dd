"""Mirrors modelbay_ollama/truncation.py: what counts prove, and how often the whole is right."""

import pytest

from modelbay.errors import ContextLengthError
from modelbay.models.chat import ChatRequest, Message, user
from modelbay.models.events import Finish, Notice
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import Load
from modelbay_ollama.simulator import Knobs, OllamaSimulator, SimulatedModel
from modelbay_ollama.truncation import REMEMBERED, Ledger, Prompt, measure
from plugins.ollama.bay import OpenBay, ask
from plugins.ollama.conversations import Score, hold, talker

NORMAL, CUT = 500, 100
OLD = "0.12.0"  # the last age that cannot be asked not to cut


def said(role: str, size: int, **more: object) -> JsonObject:
    return {"role": role, "content": "x" * size, **more}  # type: ignore[dict-item] # a test's own


def prompt(*messages: JsonObject) -> Prompt:
    return measure("m", list(messages))


SYSTEM = said("system", 400)
TURNS = [said("user", 1000), said("assistant", 1200), said("user", 1100), said("assistant", 900)]


def grown(ledger: Ledger, bytes_per_token: float = 4.0, overhead: int = 50) -> Prompt:
    """Two whole turns in the ledger; the third turn's prompt, all of one measure."""
    for upto in (1, 3):
        part = prompt(SYSTEM, *TURNS[:upto])
        ledger.keep(part, round(overhead + part.sure[-1] / bytes_per_token), "whole", 2048)
    return prompt(SYSTEM, *TURNS, said("user", 4500))


# --- what the counts prove -----------------------------------------------------------------------


def test_fewer_tokens_than_bytes_can_make_prove_a_cut() -> None:
    """Rule 1; trap 3: a prompt of 15.7 thousand tokens, of which 2051 were read."""
    whole = prompt(said("user", 30_000), said("assistant", 30_000), said("user", 40))

    assert Ledger().judge(whole, 2051, 4096) == "cut"
    assert Ledger().judge(whole, 2051, None) == "unsure"
    assert Ledger().judge(whole, 2051, None, last_word=True) == "cut"
    assert Ledger().judge(whole, 9300, 10_000) == "whole"  # as a prompt of 6.5 bytes to a token


def test_fewer_tokens_than_its_beginning_had_prove_a_cut() -> None:
    """Rule 2."""
    ledger = Ledger()
    ledger.keep(prompt(SYSTEM, TURNS[0]), 1200, "whole", 1400)

    assert ledger.judge(prompt(SYSTEM, *TURNS[:3]), 1199, 1400) == "cut"
    assert ledger.judge(prompt(SYSTEM, *TURNS[:3]), 1399, 1400) == "cut"
    assert ledger.judge(prompt(SYSTEM, *TURNS[:3]), 1800, 4096) == "whole"


def test_a_count_that_lacks_some_of_what_was_added_shows_a_cut() -> None:
    """Rule 3: neither of the first two would find it."""
    ledger = Ledger()
    third = grown(ledger)
    expected = round(50 + third.sure[-1] / 4)  # 2325 tokens

    assert ledger.judge(third, 2040, 2048) == "cut"
    assert ledger.judge(third, expected, 4096) == "whole"


def test_what_is_far_from_its_window_is_never_called_cut() -> None:
    """However few its tokens: white space and tables have more bytes to a token than prose."""
    ledger = Ledger()
    third = grown(ledger)

    assert ledger.judge(third, 1000, 32_768) == "whole"
    assert Ledger().judge(third, 10, 32_768) == "whole"


def test_thinking_that_a_template_drops_later_is_no_cut() -> None:
    ledger = Ledger()
    first = prompt(SYSTEM, said("user", 400), said("assistant", 40, thinking="y" * 2000))
    ledger.keep(first, 700, "whole", 800)

    assert ledger.judge(prompt(SYSTEM, said("user", 400), said("user", 40)), 230, 800) == "whole"


def test_a_server_known_to_refuse_is_doubted_only_with_a_proof() -> None:
    ledger = Ledger()
    third = grown(ledger)

    assert ledger.judge(third, 2040, 2048, asked=True) == "whole"
    assert ledger.judge(third, 1290, 1300, asked=True) == "cut"


def test_turns_of_another_conversation_model_or_set_of_tools_say_nothing() -> None:
    ledger = Ledger()
    ledger.keep(prompt(SYSTEM, TURNS[0]), 1200, "whole", 1400)
    messages = [SYSTEM, *TURNS[:3]]

    assert ledger.judge(measure("other", messages), 900, 1400) == "whole"
    assert ledger.judge(measure("m", messages, [{"type": "function"}]), 900, 1400) == "whole"
    assert ledger.judge(measure("m", [said("system", 401), *TURNS[:3]]), 900, 1400) == "whole"


def test_a_cut_once_found_is_found_in_every_later_turn() -> None:
    ledger = Ledger()
    third = grown(ledger)
    ledger.keep(third, 2040, "cut", 2048)
    fourth = prompt(SYSTEM, *TURNS, said("user", 4500), said("assistant", 60), said("user", 20))

    assert ledger.judge(fourth, 2047, 2048) == "cut"


def test_the_ledger_is_bounded() -> None:
    ledger = Ledger()
    for number in range(REMEMBERED + 100):
        ledger.keep(prompt(said("user", number)), number, "whole", 4096)

    assert len(ledger) == REMEMBERED


def test_a_request_without_messages_is_whole() -> None:
    assert Ledger().judge(prompt(), 0, 4096) == "whole"


# --- at a server ---------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("version", ["0.12.11", "0.30.1", "0.33.0"])
@pytest.mark.parametrize("images", [0.0, 0.15])
async def test_a_server_that_can_be_asked_not_to_cut_hides_nothing(
    bay: OpenBay, version: str, images: float
) -> None:
    """Exact, whatever a token has in bytes: of each conversation its first turn that is cut."""
    score = Score()
    with talker(version, seed=1) as sim:
        desk = bay(sim.base_url)
        for seed in range(CUT):
            await hold(desk, sim, seed, score, images=images)

    assert (score.false_alarms, score.found) == (0, score.cut)
    assert score.cut >= CUT
    assert score.normal >= NORMAL


@pytest.mark.anyio
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_counts_alone_raise_no_false_alarm_and_find_nearly_all(
    bay: OpenBay, seed: int
) -> None:
    """1.2 to 6 bytes per token, unknown to the plugin; the first two turns cut of each."""
    score = Score()
    with talker(OLD, seed=seed) as sim:
        desk = bay(sim.base_url)
        for number in range(75):
            await hold(desk, sim, 1000 * seed + number, score, cut_turns=2)

    assert score.false_alarms == 0
    assert score.normal >= NORMAL
    assert score.cut >= CUT
    assert score.found >= 0.95 * score.cut


@pytest.mark.anyio
async def test_images_make_counting_harder_but_raise_no_false_alarm(bay: OpenBay) -> None:
    """What an image costs is another thing that old servers do not tell."""
    score = Score()
    with talker(OLD, seed=4) as sim:
        desk = bay(sim.base_url)
        for number in range(90):
            await hold(desk, sim, number, score, cut_turns=2, images=0.15)

    assert score.false_alarms == 0
    assert score.normal >= NORMAL
    assert score.found >= 0.85 * score.cut


def long(tokens: int) -> list[Message]:
    """A conversation of so many tokens, at four bytes each."""
    roles = ("user", "assistant", "user", "assistant", "user")
    return [Message(role=role, content="word" * (tokens // 5)) for role in roles]  # type: ignore[arg-type] # roles


@pytest.mark.anyio
async def test_the_caller_is_told_what_was_left_out_and_the_answer_comes(bay: OpenBay) -> None:
    """Trap 3: two requests, and the second one's answer."""
    with OllamaSimulator(knobs=Knobs(default_ctx=2048, bytes_per_token=4.0)) as sim:
        desk = bay(sim.base_url)
        events = await desk.chat(ChatRequest(messages=long(4000)))
        sent = [request.json() for request in sim.requests if request.path == "/api/chat"]

    (told,) = [event for event in events if isinstance(event, Notice)]
    assert told.code == "truncated"
    assert "2048" in told.message
    assert isinstance(events[-1], Finish)
    assert [body["truncate"] for body in sent if isinstance(body, dict)] == [False, True]


@pytest.mark.anyio
async def test_a_caller_who_forbids_truncation_gets_the_refusal(bay: OpenBay) -> None:
    with OllamaSimulator(knobs=Knobs(default_ctx=2048, bytes_per_token=4.0)) as sim:
        desk = bay(sim.base_url)
        with pytest.raises(ContextLengthError) as raised:
            await desk.chat(ChatRequest(messages=long(4000), extra={"truncate": False}))

    assert "numCtx" in (raised.value.hint or "")


@pytest.mark.anyio
async def test_a_last_message_that_alone_is_too_long_is_an_error_where_nothing_can_be_cut(
    bay: OpenBay,
) -> None:
    """Section 5.10: the native path refuses it in any case."""
    knobs = Knobs(default_ctx=2048, bytes_per_token=4.0)
    with (
        OllamaSimulator([SimulatedModel("llama3.1:8b", path="native")], knobs=knobs) as sim,
        pytest.raises(ContextLengthError, match="exceeds the available context size"),
    ):
        await bay(sim.base_url).chat(ask("word" * 5000))


@pytest.mark.anyio
async def test_counts_without_the_cached_tokens_are_not_judged(bay: OpenBay) -> None:
    """0.30.0 leaves them out, so that a second turn seems to have lost its beginning."""
    with OllamaSimulator(version="0.30.0", knobs=Knobs(default_ctx=2048)) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="llama3.1:8b"))
        messages = [user("word " * 300)]
        codes: list[str] = []
        for _ in range(3):
            events = await desk.chat(ChatRequest(messages=messages))
            codes += [event.code for event in events if isinstance(event, Notice)]
            messages += [Message(role="assistant", content="yes"), user("go on")]

    assert codes == []
