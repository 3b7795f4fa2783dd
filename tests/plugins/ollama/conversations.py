"""Seeded conversations that outgrow their window, held through the plugin at a simulated server."""

import random
from base64 import b64encode
from dataclasses import dataclass

from modelbay.models.chat import ChatRequest, ImagePart, Message, user
from modelbay.models.events import Notice, TextDelta
from modelbay_ollama.simulator import Knobs, OllamaSimulator, SimulatedModel, plain
from plugins.ollama.bay import Bay

SPREAD = 0.05  # relative difference in tokens per byte between messages of one conversation
WINDOW = 4096  # tokens; what a server with little graphics memory gives
WORDS = ("alpha ", "Zwölf ", "日本語", "def f(x): ", "0x7f ", "and so on ")


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


def talker(version: str, seed: int) -> OllamaSimulator:
    """A server that draws 1.2 to 6 bytes per token for each conversation."""
    knobs = Knobs(default_ctx=WINDOW, ratio_spread=SPREAD)
    model = SimulatedModel("talker:8b", capabilities=("completion", "vision"))
    return OllamaSimulator([model], version=version, knobs=knobs, seed=seed)


async def hold(
    bay: Bay,
    sim: OllamaSimulator,
    seed: int,
    score: Score,
    *,
    cut_turns: int = 1,
    images: float = 0.0,
) -> None:
    """One conversation, until so many of its turns were cut.

    Args:
        images: How often a turn has one.
    """
    chance = random.Random(seed)
    model = await bay.model("talker:8b")
    messages = [Message(role="system", content=f"{seed}: {text(chance, 300)}")]
    begun_cut = score.cut
    for turn in range(60):
        said = f"{seed}/{turn}: {text(chance, chance.choice((40, 200, 900, 2500)))}"
        picture = ImagePart(data=b64encode(said.encode()).decode())
        messages.append(user(said, *([picture] if chance.random() < images else [])))
        answer = text(chance, chance.choice((30, 300, 1200))) or "-"
        sim.next_answer(plain(answer))
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


def text(chance: random.Random, size: int) -> str:
    pieces: list[str] = []
    while sum(map(len, pieces)) < size:
        pieces.append(chance.choice(WORDS))
    return "".join(pieces)
