"""`modelbay logs`: what a server writes into its log."""

import click

from modelbay.errors import UnknownProviderError
from modelbay.models.manage import Done, LogLine, Logs
from modelbay_cli.options import deadline_option, events_option, examples, verbose_option
from modelbay_cli.output import Screen
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay logs desk",
        "modelbay logs desk qwen3 -f   # that model's process, until Ctrl-C",
        "modelbay logs desk/qwen3",
    )
)
@click.argument("provider")
@click.argument("model", default="")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@events_option
@deadline_option
@verbose_option
def command(
    provider: str, model: str, follow: bool, as_json: bool, deadline_s: float | None
) -> None:
    """Print a provider's log, or the log of one of its models."""
    out = Screen.stdout()
    with Session(deadline_s=deadline_s) as session:
        host = session.host
        if provider not in host.registry.provider_ids:
            provider, _, rest = provider.partition("/")
            if rest and model:
                raise click.UsageError(f"one model, please: '{rest}' or '{model}'")
            model = rest or model
        if provider not in host.registry.provider_ids:
            raise UnknownProviderError(
                f"'{provider}' is no provider", hint="modelbay doctor   # lists them"
            )

        async def printed() -> None:
            action = Logs(model=model or None, follow=follow)
            async with host.manage(provider, action) as events:
                async for event in events:
                    if as_json:
                        out.line(event.model_dump_json())
                    elif isinstance(event, LogLine):
                        out.line(event.text)
                    elif isinstance(event, Done) and event.message:
                        Screen.stderr().line(event.message, "dim")

        session.run(printed())
