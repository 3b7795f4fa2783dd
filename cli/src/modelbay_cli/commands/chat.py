"""`modelbay chat`: one question and its answer, or a conversation at a terminal."""

import base64
import mimetypes
import sys
from pathlib import Path

import click

from modelbay import ChatRequest, ImagePart, Message, ModelbayError, ModelRef, user
from modelbay.host.streams import Fold, error_event
from modelbay.models.catalog import ModelInfo
from modelbay_cli import facts
from modelbay_cli.answer import EventLines, Printer, Reading, answer
from modelbay_cli.options import (
    deadline_option,
    events_option,
    examples,
    refresh_option,
    verbose_option,
)
from modelbay_cli.output import Screen
from modelbay_cli.session import Session
from modelbay_cli.slash import greeting
from modelbay_cli.talk import Talk, terminal_lines


@click.command(
    epilog=examples(
        "modelbay chat -m desk/qwen3 Why is the sky blue?",
        "git diff | modelbay chat 'Write a commit message for this'",
        "modelbay chat --image photo.jpg What is this?",
        "modelbay chat                 # talk; /help lists the commands there",
        "modelbay run desk/qwen3 Hi    # `run` takes the model first",
    )
)
@click.argument("text", nargs=-1)
@click.option("-m", "--model", metavar="REF", help="The model; otherwise one is chosen.")
@click.option("--system", metavar="TEXT", help="What the model should be and do.")
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
    """
    words = list(text)
    if ctx.info_name == "run" and model is None and words:
        model = words.pop(0)
    question = _question(" ".join(words))
    if not question and not sys.stdin.isatty():
        raise click.UsageError("nothing to ask: give TEXT, or pipe it in")
    if not question and as_json:
        raise click.UsageError("--json needs a question: give TEXT, or pipe it in")
    parts = [_image(path) for path in images]
    start = [Message(role="system", content=system)] if system else []

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
            host = session.host
            if refresh:
                session.run(host.refresh(force=True))
            if not question:
                for line in greeting(session.run(host.refresh())):
                    err.line(line, style="dim")
                info = session.run(host.resolve(model))
                err.line(f"{_chosen(info)}; /help lists the commands", style="dim")
                talk = Talk(session, out, err, info.id, ask, [*start], parts, at_once=no_stream)
                talk.run(terminal_lines(out, err))
                return
            chosen: ModelRef | str = model or ""
            if not model:
                info = session.run(host.resolve(None))
                chosen = info.ref
                err.line(_chosen(info), style="dim")
            request = ask(chosen, [*start, user(question, *parts)])
            printer: Printer = EventLines(out) if as_json else Reading(out, err, at_once=no_stream)
            session.run(answer(host, request, printer, Fold()))
    except ModelbayError as exc:
        if as_json:
            EventLines(out).show(error_event(exc))
        raise


def _question(text: str) -> str:
    """The words of the command line, and what is piped in."""
    # Bytes that are no UTF-8 arrive as lone surrogates, which nobody downstream accepts.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if sys.stdin.isatty():
        return text
    piped = sys.stdin.buffer.read().decode("utf-8", "replace")
    return "\n\n".join(part for part in (text, piped) if part.strip())


def _chosen(info: ModelInfo) -> str:
    note = facts.note(info)
    return f"model: {info.id}{f' ({note})' if note else ''}"


def _image(path: Path) -> ImagePart:
    media_type, _ = mimetypes.guess_type(path.name)
    if media_type is None or not media_type.startswith("image/"):
        raise click.BadParameter(f"{path} does not look like a picture", param_hint="--image")
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return ImagePart(data=data, media_type=media_type)
