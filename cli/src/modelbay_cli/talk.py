"""Talking with a model, turn after turn, at a terminal."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from modelbay import ChatRequest, Message, ModelbayError, ModelRef, user
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ContentPart
from modelbay_cli import facts, slash
from modelbay_cli.answer import Reading
from modelbay_cli.conversation import Conversation
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
        model: ``None`` while the one that is remembered cannot be had.
        ask: A request for these messages; the options of the command line are in it.
        parts: What goes with the next message: the images of the command line.
    """

    session: Session
    out: Screen
    err: Screen
    model: ModelInfo | None
    ask: Callable[[ModelRef, list[Message]], ChatRequest]
    conversation: Conversation
    parts: Sequence[ContentPart] = ()
    at_once: bool = False
    _ended: bool = field(default=False, init=False)
    providers: slash.ProviderCommands = field(init=False)

    def __post_init__(self) -> None:
        self.providers = slash.ProviderCommands(self.session, self.err)

    def open(self, wanted: str | None) -> None:
        """Say who it is with. If that is a remembered model that is gone, another can be chosen.

        Raises:
            ModelbayError: The wanted model cannot be had, or there is none at all.
        """
        conversation, run = self.conversation, self.session.run
        conversation.how_to_switch = "/model REF"
        if not conversation.is_new:
            count = len(conversation.messages)
            self.err.line(f"conversation: {conversation.id} ({count} messages)", style="dim")
        try:
            self.model = run(conversation.model(wanted))
        except ModelbayError as exc:
            if wanted or not run(conversation.remembered()):
                raise
            tell(exc)
            return
        self.err.line(f"{chosen(self.model)}; /help lists the commands", style="dim")

    def run(self, read_line: Callable[[], str]) -> None:
        """Go on until the user ends it.

        Args:
            read_line: One line of the user's; raises ``EOFError`` or ``KeyboardInterrupt``.
        """
        while not self._ended:
            try:
                line = readable(read_line()).strip()
            except (EOFError, KeyboardInterrupt):
                self.err.line()
                break
            try:
                if line.startswith("/"):
                    self._command(line)
                elif line:
                    self._turn(line)
            except ModelbayError as exc:
                tell(exc)
            except KeyboardInterrupt:  # its request is closed, and with it a download ends
                self.err.line("(stopped)", style="dim")
        if self.conversation.is_kept:
            step = "modelbay chat -c goes on with it"
            self.err.line(f"kept as {self.conversation.id}; {step}", style="dim")

    def _turn(self, text: str) -> None:
        if self.model is None:
            self.model = self.session.run(self.conversation.model())
        question = user(text, *self.parts)
        past = [*self.conversation.start, *self.conversation.messages]
        request = self.ask(self.model.ref, [*past, question])
        printer = Reading(self.out, self.err, at_once=self.at_once)
        try:
            self.conversation.ask(request, printer)
        except KeyboardInterrupt:
            self.err.line("(stopped)", style="dim")
        finally:
            # A question that has no answer does not stay, so that it can be asked again.
            if self.conversation.messages[-2:-1] == [question]:
                self.parts = ()

    def _command(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        match name.lower():
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

    @property
    def _name(self) -> str:
        return "" if self.model is None else self.model.id

    def _switch(self, wanted: str) -> None:
        if not wanted:
            self.err.line(f"model: {self._name or '(none)'}", style="dim")
            return
        host = self.session.host
        catalog = self.session.run(host.refresh(force=True))  # S4-111: what came or went counts
        info = self.session.run(self.conversation.switch(wanted))
        entry = catalog.provider(info.ref.provider_id)
        label = info.kind if entry is None else entry.label
        self.model = info
        # Some servers are asked for names they do not list; then nobody knows where they run.
        is_listed = host.registry.find(info.id) is not None
        self.err.line(slash.switched(info, label, is_listed=is_listed))

    def _list(self) -> None:
        catalog = self.session.run(self.session.host.refresh())
        for model in catalog.models:
            words = [facts.context(model.capabilities), *facts.can(model.capabilities)]
            marked = "*" if model.id == self._name else " "
            self.err.line(f"{marked} {model.id}   {' '.join(words)}   {facts.note(model)}".rstrip())


def readable(text: str) -> str:
    """The text without lone surrogates, as which bytes that are no UTF-8 arrive: nobody downstream
    accepts them."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def chosen(info: ModelInfo) -> str:
    note = facts.note(info)
    return f"model: {info.id}{f' ({note})' if note else ''}"


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
