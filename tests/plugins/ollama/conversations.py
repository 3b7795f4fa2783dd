"""Seeded conversations that outgrow their window, held with a simulated server.

Over a socket, through the whole plugin; or with the simulator's arithmetic and the plugin's ledger
alone, which is the same but for the way and many times as fast.
"""

import random
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass

from modelbay.models.chat import ChatRequest, ImagePart, Message, user
from modelbay.models.events import Notice, TextDelta
from modelbay.models.frozen import JsonObject
from modelbay_ollama.simulator import Knobs, OllamaSimulator, SimulatedModel, plain
from modelbay_ollama.simulator.versions import Release
from modelbay_ollama.simulator.window import Fitting, draw_ratio, effective_window
from modelbay_ollama.truncation import Ledger, measure
from plugins.ollama.bay import Bay

SPREAD = 0.05  # relative difference in tokens per byte between messages of one conversation
WINDOW = 4096  # tokens; servers before 0.5.13 have 2048 whatever is set
WORDS = {
    "mixed": ("alpha ", "Zwölf ", "日本語", "def f(x): ", "0x7f ", "and so on "),
    "code": ("def f(x):\n", "    return x\n", "0x7f, ", "if (a[i] == b[j]) {\n", "}\n", "self."),
    "cjk": ("日本語", "漢字の", "、", "会話", "長い文章", "。\n"),
}
LONGEST = 60  # turns
MODEL = "talker:8b"


@dataclass
class Score:
    """What was said of turns, against the truth of the simulator."""

    normal: int = 0
    false_alarms: int = 0
    cut: int = 0
    found: int = 0

    def add(self, *, was_cut: bool, said_so: bool) -> None:
        if was_cut:
            self.cut += 1
            self.found += said_so
        else:
            self.normal += 1
            self.false_alarms += said_so


class Talk:
    """What the user and the model say in one conversation; it follows from the seed."""

    def __init__(self, seed: int, words: str = "mixed", images: float = 0.0) -> None:
        self._chance = random.Random(seed)
        self._words = WORDS[words]
        self._images = images
        self._seed = seed

    def system(self) -> str:
        return f"{self._seed}: {self._text(300)}"

    def question(self, turn: int) -> tuple[str, list[str]]:
        """A text, and images in base64."""
        size = self._chance.choice((40, 200, 900, 2500))
        said = f"{self._seed}/{turn}: {self._text(size)}"
        seen = self._chance.random() < self._images
        return said, [b64encode(said.encode()).decode()] if seen else []

    def answer(self) -> str:
        return self._text(self._chance.choice((30, 300, 1200)))

    def _text(self, size: int) -> str:
        pieces: list[str] = []
        while size > 0:
            pieces.append(self._chance.choice(self._words))
            size -= len(pieces[-1])
        return "".join(pieces)


def settings() -> Knobs:
    """1.2 to 6 bytes per token, drawn for each conversation."""
    return Knobs(default_ctx=WINDOW, ratio_spread=SPREAD)


def talker(version: str, seed: int) -> OllamaSimulator:
    return OllamaSimulator([_model()], version=version, knobs=settings(), seed=seed)


def _model() -> SimulatedModel:
    return SimulatedModel(MODEL, family="llava", capabilities=("completion", "vision"))


async def hold(
    bay: Bay,
    sim: OllamaSimulator,
    talk: Talk,
    score: Score,
    *,
    cut_turns: int = 1,
) -> None:
    """One conversation over the socket, until so many of its turns were cut."""
    model = await bay.model(MODEL)
    messages = [Message(role="system", content=talk.system())]
    begun_cut = score.cut
    for turn in range(LONGEST):
        said, images = talk.question(turn)
        messages.append(user(said, *(ImagePart(data=image) for image in images)))
        sim.next_answer(plain(talk.answer()))
        before = len(sim.answers)
        request = ChatRequest(messages=messages)
        events = [event async for event in bay.backend.stream_chat(request, model)]
        # Of a refused request there is no record: the last one is the answer's.
        truth = sim.answers[-1]
        assert len(sim.answers) == before + 1
        told = any(isinstance(e, Notice) and e.code == "truncated" for e in events)
        score.add(was_cut=truth.truncated, said_so=told)
        if score.cut - begun_cut >= cut_turns:
            return
        reply = "".join(event.text for event in events if isinstance(event, TextDelta))
        messages.append(Message(role="assistant", content=reply))


def reckon(version: str, seed: int, talk: Callable[[int], Talk], *, normal: int, cut: int) -> Score:
    """Conversations without a socket, until there were enough turns of both kinds."""
    score, ledger = Score(), Ledger()
    number = 0
    while score.normal < normal or score.cut < cut:
        _reckon_one(Release(version), seed, talk(number), ledger, score)
        number += 1
    return score


def _reckon_one(release: Release, seed: int, talk: Talk, ledger: Ledger, score: Score) -> None:
    knobs, model = settings(), _model()
    window = effective_window(model, {}, knobs, release)
    rules = Fitting(model, release, "rendered", window, truncate=True, shift=True)
    told = window if release.since("0.10.0") else None
    messages: list[JsonObject] = [{"role": "system", "content": talk.system()}]
    for turn in range(LONGEST):
        said, images = talk.question(turn)
        messages.append({"role": "user", "content": said, "images": list(images)})
        seen: list[dict[str, object]] = [dict(message) for message in messages]
        truth = rules.fit(seen, [], draw_ratio(knobs, seed, seen))
        prompt = measure(MODEL, messages)
        verdict = ledger.judge(prompt, truth.tokens, told, last_word=told is None)
        ledger.keep(prompt, truth.tokens, verdict, told)
        was_cut = truth.tokens < truth.full_tokens
        score.add(was_cut=was_cut, said_so=verdict == "cut")
        if was_cut:
            return
        messages.append({"role": "assistant", "content": talk.answer()})
