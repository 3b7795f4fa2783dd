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
from plugins.ollama.conversations import Score, Talk, hold, reckon, talker

NORMAL, CUT = 500, 100
OLD = ("0.5.0", "0.12.0")  # cannot be asked not to cut; the first does not tell its window


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


def test_a_last_message_cut_in_its_middle_fills_the_window() -> None:
    """Rule 3: nothing else shows it, where the bytes could just make so many tokens."""
    first = prompt(SYSTEM, said("user", 7000))

    assert Ledger().judge(first, 4096, 4096) == "cut"
    assert Ledger().judge(first, 4095, 4096) == "whole"
    assert Ledger().judge(first, 4096, None) == "unsure"
    assert Ledger().judge(first, 4096, None, last_word=True) == "cut"


def test_many_messages_that_fill_the_window_to_the_token_are_whole() -> None:
    assert Ledger().judge(prompt(*TURNS, *TURNS, said("user", 40)), 4096, 4096) == "whole"


def test_where_no_window_is_told_it_is_taken_for_the_least_that_holds_what_was_read() -> None:
    ledger = Ledger()
    third = grown(ledger)

    assert ledger.judge(third, 2040, None) == "unsure"
    assert ledger.judge(third, 2040, None, last_word=True) == "cut"
    ledger.keep(prompt(said("user", 9000)), 3000, "whole", None)
    assert ledger.judge(third, 2040, None, last_word=True) == "cut"
    other = measure("m", [*[SYSTEM, *TURNS], said("user", 40)])
    assert ledger.judge(other, 1200, None, last_word=True) == "whole"


def test_an_image_of_known_cost_that_is_missing_from_the_count_shows_a_cut() -> None:
    ledger = Ledger()
    picture = said("user", 400, images=["aGk="])
    for number in range(4):
        talk = [said("system", 400 + number), *TURNS[:3], said("assistant", 1200), picture]
        for upto, tokens in ((2, 400), (4, 975), (6, 1375 + 768)):
            ledger.keep(measure("m", talk[:upto]), tokens, "whole", 4096)
    talk = [said("system", 500), *TURNS[:3], said("assistant", 1200), picture]
    for upto, tokens in ((2, 400), (4, 975)):
        ledger.keep(measure("m", talk[:upto]), tokens, "whole", 2048)

    assert ledger.judge(measure("m", talk), 1375 + 768, 4096) == "whole"
    assert ledger.judge(measure("m", talk), 1375 + 768 - 270, 2048) == "cut"


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
async def test_a_server_that_can_be_asked_not_to_cut_hides_nothing(
    bay: OpenBay, version: str
) -> None:
    """Exact, whatever a token has in bytes: of each conversation its first turn that is cut."""
    score = Score()
    with talker(version, seed=1) as sim:
        desk = bay(sim.base_url)
        for seed in range(20):
            await hold(desk, sim, Talk(seed, images=0.15), score)

    assert (score.cut, score.found, score.false_alarms) == (20, 20, 0)
    assert score.normal > 100


@pytest.mark.anyio
@pytest.mark.parametrize("version", OLD)
async def test_counts_alone_find_nearly_all_cuts_and_raise_no_false_alarm(
    bay: OpenBay, version: str
) -> None:
    """Text, and images in 15 % of the turns; the first cut turn of each conversation."""
    score = Score()
    with talker(version, seed=5) as sim:
        desk = bay(sim.base_url)
        number = 0
        while score.normal < NORMAL or score.cut < CUT:
            await hold(desk, sim, Talk(5000 + number, images=0.15), score)
            number += 1

    assert score.false_alarms == 0
    assert score.found >= 0.95 * score.cut


@pytest.mark.parametrize("version", OLD)
@pytest.mark.parametrize(
    ("words", "images"),
    [("mixed", 0.0), ("code", 0.0), ("code", 0.15), ("cjk", 0.0), ("cjk", 0.15)],
)
def test_the_same_holds_for_code_and_cjk(version: str, words: str, images: float) -> None:
    score = reckon(
        version, 3, lambda number: Talk(3000 + number, words, images), normal=NORMAL, cut=CUT
    )

    assert score.false_alarms == 0
    assert score.found >= 0.95 * score.cut


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
