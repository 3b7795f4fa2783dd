"""A conversation: its messages, and what is kept of it in the state store."""

import secrets
import shlex
import time
from collections.abc import Sequence

from modelbay import ChatRequest, Message, ModelbayError
from modelbay.errors import RoutingError
from modelbay.host.streams import Fold
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Usage
from modelbay.models.frozen import JsonObject
from modelbay.refs import ModelRef
from modelbay.state import NewMessage, StateStore, StoredMessage, rules
from modelbay_cli import stored
from modelbay_cli.answer import Printer, answer
from modelbay_cli.output import Screen
from modelbay_cli.session import Session

# Beside what servers want back; no kind has this name, so no server gets it.
_OWN = "modelbay"
_PARTIAL: JsonObject = {"partial": True}

_PAGE = 200
_TITLE_CHARS = 60


def new_id() -> str:
    """Short enough to be typed, and the newest sorts last."""
    return f"{time.strftime('%Y%m%d-%H%M')}-{secrets.token_hex(3)}"


def is_partial(message: Message) -> bool:
    """Whether the answer broke off or was stopped."""
    return message.opaque.get(_OWN) == _PARTIAL


class Conversation:
    """A conversation, from its opening to its end.

    Attributes:
        messages: What goes with the next question: each question that was answered, and its answer.
        is_new: Nothing of it has been kept before.
        how_to_switch: What a person types to go on with another model, REF.

    Args:
        keeps: Whether anything is written at all.
        persist: Whether the models that are chosen are remembered for it (U12).
        is_named: The user asked for it, so that not being able to keep it is an error; else it is
            a warning.
    """

    def __init__(
        self,
        session: Session,
        conversation_id: str,
        *,
        keeps: bool = True,
        persist: bool = True,
        is_named: bool = True,
    ) -> None:
        self.id = conversation_id
        self.messages: list[Message] = []
        self.is_new = True
        self.how_to_switch = f"modelbay chat --conversation {shlex.quote(conversation_id)} -m REF"
        self._session = session
        self._keeps = keeps
        self._persist = persist and keeps
        self._is_named = is_named
        self._settings: JsonObject = {}
        self._system = ""
        self._chosen: str | None = None  # a model to be remembered with the next question

    # --- opening ---------------------------------------------------------------------------------

    async def open(self, system: str | None = None) -> None:
        """Read what was kept of it.

        Args:
            system: What the model should be and do; ``None`` for what was said when it began.
        """
        store = stored.existing(self._session.host) if self._is_named else None
        found = None if store is None else await store.conversation(self.id)
        if store is not None and found is not None:
            self.is_new = False
            self._settings = found.settings
            self.messages = _answered([each.message for each in await _all(store, self.id)])
        kept = self._settings.get("system")
        self._system = system if system is not None else kept if isinstance(kept, str) else ""

    @property
    def is_kept(self) -> bool:
        """Whether what is said is in the state store by now."""
        return self._keeps and not self.is_new

    @property
    def start(self) -> list[Message]:
        """What comes before all messages."""
        return [Message(role="system", content=self._system)] if self._system else []

    # --- its model -------------------------------------------------------------------------------

    async def model(self, requested: str | None = None) -> ModelInfo:
        """The model of the next turn: the one asked for, else the remembered, else the default.

        Raises:
            UnknownModelError: The remembered one is gone; the hint names another (S2-21).
            ModelbayError: As of `Host.resolve`.
        """
        host = self._session.host
        remembered = await self.remembered()
        decided = rules.turn(requested, remembered, persist=self._persist)
        if decided.source != "conversation":
            info = await host.resolve(decided.model)
            if decided.write is not None:
                self._chosen = info.id  # new writes hold their provider (S0-72)
            return info
        assert decided.model is not None  # it is the conversation's
        try:
            return await host.resolve(decided.model)
        except RoutingError:
            raise await self._vanished(decided.model) from None

    async def switch(self, wanted: str) -> ModelInfo:
        """Go on with another model, which is remembered (S2-12).

        Raises:
            ModelbayError: As of `Host.resolve`; then nothing changes.
        """
        info = await self._session.host.resolve(wanted)
        self._chosen = info.id if self._persist else None
        if not self.is_new:
            await self._remember()
        return info

    async def remembered(self) -> str | None:
        """The model of the conversation, as it was written (S2-01)."""
        store = stored.existing(self._session.host) if self._is_named else None
        if self._chosen is not None or store is None:
            return self._chosen
        return await store.conversation_model(self.id)

    async def _remember(self) -> None:
        if self._chosen is not None:
            await self._session.host.state.turn(self.id, self._chosen)
            self._chosen = None

    async def _vanished(self, remembered: str) -> ModelbayError:
        host = self._session.host
        await host.refresh()
        listing = stored.listing(host)
        default = await stored.default_model(host)
        error = rules.vanished(self.id, remembered, listing, default=default)
        instead = rules.fallback(remembered, listing, default=default)
        if instead is not None:
            error.hint = self.how_to_switch.replace("REF", instead)
        return error

    # --- turns -----------------------------------------------------------------------------------

    def ask(self, request: ChatRequest, printer: Printer) -> Message:
        """Show the answer to the last message of the request, and keep both.

        The question is kept before the model is asked, the answer after it, as far as it came. A
        question without any answer is not sent again, so that it can be asked anew.

        Raises:
            ModelbayError: The turn failed.
            KeyboardInterrupt: It was stopped.
        """
        run, fold = self._session.run, Fold()
        question = request.messages[-1]
        asked = request.model if isinstance(request.model, ModelRef) else None
        run(self._asked(question))
        try:
            ref = run(answer(self._session.host, request, printer, fold))
        except BaseException:
            if fold.text:
                partial = Message(role="assistant", content=fold.text, opaque={_OWN: _PARTIAL})
                run(self._replied(question, partial, asked, None))
            raise
        result = fold.result(ref)
        reply = result.message()
        run(self._replied(question, reply, ref, result.usage))
        return reply

    async def _asked(self, question: Message) -> None:
        if not self._keeps:
            return
        try:
            await self._begin(question)
            await self._remember()
            await self._append(NewMessage(message=question))
        except ModelbayError as exc:
            self._give_up(exc)

    def _give_up(self, exc: ModelbayError) -> None:
        """Go on without keeping anything, unless the user has asked for it to be kept."""
        if self._is_named:
            raise exc
        self._keeps = self._persist = False
        self._chosen = None
        Screen.stderr().line(f"warning: this is not kept: {exc.message}", style="warning")

    async def _begin(self, question: Message) -> None:
        settings = {**self._settings, "system": self._system} if self._system else self._settings
        store = self._session.host.state
        if self.is_new:
            title = _title(question.text)
            await store.create_conversation(self.id, title=title, settings=settings)
        elif settings != self._settings:
            await store.update_conversation(self.id, settings=settings)
        self._settings, self.is_new = settings, False

    async def _replied(
        self, question: Message, reply: Message, ref: ModelRef | None, usage: Usage | None
    ) -> None:
        self.messages += [question, reply]
        if not self._keeps:
            return
        try:
            await self._append(NewMessage(message=reply, ref=ref, usage=usage))
        except ModelbayError as exc:
            self._give_up(exc)

    async def _append(self, message: NewMessage) -> None:
        await self._session.host.state.append_messages(self.id, [message])


def _title(text: str) -> str:
    """The beginning of the first question, as one line."""
    start = text[: _TITLE_CHARS * 10]
    line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return line if len(line) <= _TITLE_CHARS else f"{line[: _TITLE_CHARS - 1]}…"


async def _all(store: StateStore, conversation_id: str) -> list[StoredMessage]:
    pages: list[Sequence[StoredMessage]] = []
    cursor: str | None = None
    while True:
        page = await store.messages(conversation_id, limit=_PAGE, cursor=cursor)
        pages.append(page.items)
        cursor = page.next
        if cursor is None:
            return [each for items in reversed(pages) for each in items]


def _answered(messages: list[Message]) -> list[Message]:
    """Without the questions that nobody answered: many models accept no two in a row."""
    following = [*messages[1:], None]
    return [
        message
        for message, after in zip(messages, following, strict=True)
        if message.role != "user" or (after is not None and after.role != "user")
    ]
