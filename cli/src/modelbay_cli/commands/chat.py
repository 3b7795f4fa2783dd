"""`modelbay chat`: one question and its answer, or a conversation at a terminal."""

import base64
import mimetypes
import sys
from pathlib import Path

import click

from modelbay import ChatRequest, ImagePart, Message, ModelbayError, ModelRef, user
from modelbay.host.streams import error_event
from modelbay_cli import stored
from modelbay_cli.answer import EventLines, Printer, Reading
from modelbay_cli.conversation import Conversation, new_id
from modelbay_cli.options import (
    deadline_option,
    events_option,
    examples,
    not_empty,
    refresh_option,
    verbose_option,
)
from modelbay_cli.output import Screen
from modelbay_cli.session import Session
from modelbay_cli.slash import greeting
from modelbay_cli.talk import Talk, chosen, readable, terminal_lines


@click.command(
    epilog=examples(
        "modelbay chat -m desk/qwen3 Why is the sky blue?",
        "git diff | modelbay chat 'Write a commit message for this'",
        "modelbay chat --image photo.jpg What is this?",
        "modelbay chat                 # talk; /help lists the commands there",
        "modelbay chat -c              # go on with the last conversation",
        "modelbay chat --conversation trip -m desk/qwen3 Where to go in May?",
        "modelbay run desk/qwen3 Hi    # `run` takes the model first",
    )
)
@click.argument("text", nargs=-1)
@click.option("-m", "--model", metavar="REF", help="The model; otherwise one is chosen.")
@click.option("--system", metavar="TEXT", help="What the model should be and do.")
@click.option(
    "--conversation",
    "conversation_id",
    metavar="ID",
    callback=not_empty,
    help="Go on with this conversation, and keep what is said; a new one if there is none.",
)
@click.option("-c", "--continue", "goes_on", is_flag=True, help="Go on with the last conversation.")
@click.option("--no-persist", is_flag=True, help="Do not remember the model for the conversation.")
@click.option("--no-history", is_flag=True, help="Keep nothing of what is said.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option("--temperature", type=click.FloatRange(min=0), help="How daring the words are.")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A picture to send along; may be given several times.",
)
@click.option("--no-stream", is_flag=True, help="Print the answer when it is complete.")
@events_option
@refresh_option
@deadline_option
@verbose_option
@click.pass_context
def command(
    ctx: click.Context,
    text: tuple[str, ...],
    model: str | None,
    system: str | None,
    conversation_id: str | None,
    goes_on: bool,
    no_persist: bool,
    no_history: bool,
    max_tokens: int | None,
    temperature: float | None,
    images: tuple[Path, ...],
    no_stream: bool,
    as_json: bool,
    refresh: bool,
    deadline_s: float | None,
) -> None:
    """Ask a model and print its answer as it comes.

    The words of TEXT are the question. What is piped in follows it after a blank line. With
    neither, at a terminal, a conversation begins. Stdout gets the answer alone; reasoning, notices
    and the model that was chosen are on stderr.

    A conversation at a terminal is kept, see `modelbay history`; a single question is kept only as
    part of a conversation that is named. A conversation remembers its model: -m changes it.
    """
    words = list(text)
    if ctx.info_name == "run" and model is None and words:
        model = words.pop(0)
    question = _question(" ".join(words))
    if not question and not sys.stdin.isatty():
        raise click.UsageError("nothing to ask: give TEXT, or pipe it in")
    if not question and as_json:
        raise click.UsageError("--json needs a question: give TEXT, or pipe it in")
    if goes_on and conversation_id is not None:
        raise click.UsageError("give --conversation or --continue, not both")
    parts = [_image(path) for path in images]

    def ask(ref: ModelRef | str, messages: list[Message]) -> ChatRequest:
        return ChatRequest(
            model=ref,
            messages=messages,
            max_tokens=max_tokens,
            temperature=temperature,
            stream=not no_stream,
        )

    out, err = Screen.stdout(), Screen.stderr()
    try:
        with Session(deadline_s=deadline_s) as session:
            if refresh:
                session.run(session.host.refresh(force=True))
            named = session.run(_last(session)) if goes_on else conversation_id
            conversation = Conversation(
                session,
                named if named is not None else new_id(),
                # A single question that belongs to nothing is nobody's history.
                keeps=not no_history and (named is not None or not question),
                persist=not no_persist,
                is_named=named is not None,
            )
            session.run(conversation.open(system))
            if not question:
                for line in greeting(session.run(session.host.refresh())):
                    err.line(line, style="dim")
                talk = Talk(session, out, err, None, ask, conversation, parts, at_once=no_stream)
                talk.open(model)
                talk.run(terminal_lines(out, err))
                return
            ref: ModelRef | str = model or ""
            if not model or named is not None:
                info = session.run(conversation.model(model))
                ref = info.ref
                if not model:
                    err.line(chosen(info), style="dim")
            messages = [*conversation.start, *conversation.messages, user(question, *parts)]
            printer: Printer = EventLines(out) if as_json else Reading(out, err, at_once=no_stream)
            conversation.ask(ask(ref, messages), printer)
    except ModelbayError as exc:
        if as_json:
            EventLines(out).show(error_event(exc))
        raise


async def _last(session: Session) -> str:
    """The conversation that was used last.

    Raises:
        UsageError: There is none.
    """
    store = stored.existing(session.host)
    page = None if store is None else await store.conversations(limit=1)
    if page is None or not page.items:
        raise click.UsageError("there is no conversation to continue: modelbay chat begins one")
    return page.items[0].id


def _question(text: str) -> str:
    """The words of the command line, and what is piped in."""
    text = readable(text)
    if sys.stdin.isatty():
        return text
    piped = sys.stdin.buffer.read().decode("utf-8", "replace")
    return "\n\n".join(part for part in (text, piped) if part.strip())


def _image(path: Path) -> ImagePart:
    media_type, _ = mimetypes.guess_type(path.name)
    if media_type is None or not media_type.startswith("image/"):
        raise click.BadParameter(f"{path} does not look like a picture", param_hint="--image")
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return ImagePart(data=data, media_type=media_type)
