"""Talking with a model, turn after turn, at a terminal."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from modelbay import ChatRequest, Message, ModelbayError, user
from modelbay.host.streams import Fold
from modelbay.models.chat import ContentPart
from modelbay_cli import facts, slash
from modelbay_cli.answer import Reading, answer
from modelbay_cli.failure import tell
from modelbay_cli.output import Screen
from modelbay_cli.session import Session

HELP = f"""\
/model REF                go on with another model; without REF: which one it is
/models                   list the models
/exit                     end (also Ctrl-D)
Ctrl-C                    stop an answer; at the prompt: end
{slash.HELP}"""


@dataclass(slots=True)
class Talk:
    """A conversation and who it is with.

    Attributes:
        ask: A request for these messages; the options of the command line are in it.
        parts: What goes with the next message: the images of the command line.
    """

    session: Session
    out: Screen
    err: Screen
    model: str
    ask: Callable[[str, list[Message]], ChatRequest]
    messages: list[Message]
    parts: Sequence[ContentPart] = ()
    at_once: bool = False
    _ended: bool = field(default=False, init=False)
    providers: slash.ProviderCommands = field(init=False)

    def __post_init__(self) -> None:
        self.providers = slash.ProviderCommands(self.session, self.err)

    def run(self, read_line: Callable[[], str]) -> None:
        """Go on until the user ends it.

        Args:
            read_line: One line of the user's; raises ``EOFError`` or ``KeyboardInterrupt``.
        """
        while not self._ended:
            try:
                line = read_line().strip()
            except (EOFError, KeyboardInterrupt):
                self.err.line()
                return
            try:
                if line.startswith("/"):
                    self._command(line)
                elif line:
                    self._turn(line)
            except ModelbayError as exc:
                tell(exc)

    def _turn(self, text: str) -> None:
        question = user(text, *self.parts)
        fold = Fold()
        request = self.ask(self.model, [*self.messages, question])
        printer = Reading(self.out, self.err, at_once=self.at_once)
        try:
            ref = self.session.run(answer(self.session.host, request, printer, fold))
            reply = fold.result(ref).message()
        except KeyboardInterrupt:
            self.err.line("(stopped)", style="dim")
            if not fold.text:
                return
            reply = Message(role="assistant", content=fold.text)
        # After an error neither stays, so that the question can be asked again.
        self.messages += [question, reply]
        self.parts = ()

    def _command(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        match name:
            case "/exit" | "/quit" | "/bye":
                self._ended = True
            case "/help" | "/?":
                self.err.line(HELP)
            case "/models":
                self._list()
            case "/model":
                self._switch(argument.strip())
            case _ if self.providers.knows(name.removeprefix("/")):
                self.providers.run(name.removeprefix("/"), argument.split())
            case _:
                self.err.line(f"there is no {name}; /help lists what there is")

    def _switch(self, wanted: str) -> None:
        if not wanted:
            self.err.line(f"model: {self.model}", style="dim")
            return
        host = self.session.host
        catalog = self.session.run(host.refresh(force=True))  # S4-111: what came or went counts
        info = self.session.run(host.resolve(wanted))
        entry = catalog.provider(info.ref.provider_id)
        label = info.kind if entry is None else entry.label
        self.model = info.id
        # Some servers are asked for names they do not list; then nobody knows where they run.
        is_listed = host.registry.find(info.id) is not None
        self.err.line(slash.switched(info, label, is_listed=is_listed))

    def _list(self) -> None:
        catalog = self.session.run(self.session.host.refresh())
        for model in catalog.models:
            words = [facts.context(model.capabilities), *facts.can(model.capabilities)]
            marked = "*" if model.id == self.model else " "
            self.err.line(f"{marked} {model.id}   {' '.join(words)}   {facts.note(model)}".rstrip())


def terminal_lines(out: Screen, err: Screen) -> Callable[[], str]:
    """Reads lines with a prompt, with the arrow keys where the platform has them."""
    with suppress(ImportError):
        import readline  # noqa: F401 - `input` uses it from then on

    def read() -> str:
        if out.stream.isatty():
            return input("> ")
        err.write("> ")  # `input` would write the prompt between the answers
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    return read
