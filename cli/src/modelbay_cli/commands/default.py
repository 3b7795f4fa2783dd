"""`modelbay default`: the model that answers when none is named."""

import os

import click

from modelbay import Host, parse_model_ref
from modelbay.config import locations
from modelbay.config_edit import set_value
from modelbay.errors import BackendError, ModelNotFoundError
from modelbay_cli import providers_file
from modelbay_cli.options import examples, verbose_option
from modelbay_cli.output import Screen
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay default                     # shows it",
        "modelbay default desk/qwen3",
        "modelbay default --unset",
    )
)
@click.argument("ref", default="")
@click.option("--unset", is_flag=True, help="Let it be chosen anew for each turn.")
@verbose_option
def command(ref: str, unset: bool) -> None:
    """Show or set defaultModel in providers.json; it is written as PROVIDER/MODEL.

    The variable DEFAULT_MODEL wins over it.
    """
    if ref and unset:
        raise click.UsageError("either a model or --unset")
    path = locations(os.environ).providers_file
    out, err = Screen.stdout(), Screen.stderr()
    if unset:
        providers_file.rewrite(path, lambda text: set_value(text, "defaultModel", None, str(path)))
        out.line("the default model is chosen anew for each turn")
        return
    with Session() as session:
        named = session.host.env.get("DEFAULT_MODEL")
        if not ref:
            now = named or session.host.file.default_model
            if now:
                out.line(now)
            else:
                err.line("none is set; one is chosen anew for each turn", style="dim")
            return
        composite = session.run(whole_ref(session.host, ref, err))
    providers_file.rewrite(path, lambda text: set_value(text, "defaultModel", composite, str(path)))
    out.line(f"the default model is {composite}")
    if named:
        err.line(f"DEFAULT_MODEL={named} hides it: unset DEFAULT_MODEL")


async def whole_ref(host: Host, text: str, err: Screen) -> str:
    """The model's whole id (S0-72), whether its provider can be asked now or not.

    Raises:
        RoutingError: There is no such provider or model.
    """
    try:
        return (await host.resolve(text)).id
    except ModelNotFoundError:
        raise
    except BackendError as exc:
        ref = parse_model_ref(
            text,
            default_provider=host.catalog.default_provider or "",
            known_providers=host.registry.provider_ids,
        )
        if ref.is_legacy_bare:
            raise
        err.line(f"not checked: {exc.message}", style="dim")
        return str(ref)
