"""One management action: started, watched, and its outcome."""

from typing import TypeVar

from modelbay import Host, ModelbayError, ModelRef, parse_model_ref
from modelbay.errors import UnsupportedActionError
from modelbay.host.streams import EventStream, error_event
from modelbay.models.events import encode_event
from modelbay.models.manage import Action, Done, LogLine, ManageEvent, Progress
from modelbay_cli import progress
from modelbay_cli.output import Screen
from modelbay_cli.session import Session

T = TypeVar("T")

MANAGEMENT_S = 15.0  # what a question to a server may take unless --deadline says else


async def follow(events: EventStream[ManageEvent], err: Screen) -> ManageEvent:
    """The outcome; on the way there progress and the server's log go to stderr."""
    outcome: ManageEvent | None = None
    with progress.display(err) as display:
        async with events:
            async for event in events:
                match event:
                    case Progress():
                        display.show(event)
                    case LogLine(text=text):
                        err.line(text, style="dim")
                    case _:
                        outcome = event
    assert outcome is not None  # the host lets no stream end without one
    return outcome


async def print_events(events: EventStream[ManageEvent], out: Screen) -> None:
    """Every event as one line of JSON."""
    async with events:
        async for event in events:
            out.line(event.model_dump_json())


async def outcome_of(events: EventStream[ManageEvent], wanted: type[T]) -> T | None:
    """The outcome alone, if it is of the wanted sort."""
    outcome: T | None = None
    async with events:
        async for event in events:
            if isinstance(event, wanted):
                outcome = event
    return outcome


def require_lasting(host: Host, provider_id: str) -> None:
    """Refuse to change what would end with this command anyway.

    Raises:
        UnsupportedActionError: What this provider loads lives as long as the program does.
    """
    handle = host.registry.handle(provider_id)
    if handle.table is not None and handle.table.lives_with_host:
        raise UnsupportedActionError(
            f"what '{provider_id}' loads lives as long as the program that loaded it, and this"
            " command ends at once",
            provider_id=provider_id,
            hint="modelbay chat   # loads a model and keeps it for the conversation",
        )


def new_model(host: Host, text: str) -> ModelRef:
    """Where a model that is not there yet would be: its provider, and the name it has there."""
    return parse_model_ref(
        text,
        default_provider=host.catalog.default_provider or "",
        known_providers=[handle.id for handle in host.providers],
    )


def act(
    session: Session,
    target: ModelRef | str,
    action: Action,
    *,
    as_json: bool,
    done: str,
    tick: str = "",
) -> None:
    """Do an action, show how far it is, and say on stdout that it is done.

    Args:
        target: The model, or the id of a provider for all of its models.
        done: What has happened then, such as ``loaded``.
        tick: Said instead of "is ``done``".
    """
    out = Screen.stdout()
    provider_id = target if isinstance(target, str) else target.provider_id
    try:
        events = session.host.manage(provider_id, action)
        if as_json:
            session.run(print_events(events, out))
            return
        outcome = session.run(follow(events, Screen.stderr()))
    except ModelbayError as exc:
        if as_json:
            out.line(encode_event(error_event(exc)).decode())
        raise
    already = isinstance(outcome, Done) and not outcome.changed
    out.line(
        tick if tick and not already else f"{target} {'was already' if already else 'is'} {done}"
    )
    if isinstance(outcome, Done) and outcome.message:
        Screen.stderr().line(outcome.message, style="dim")
