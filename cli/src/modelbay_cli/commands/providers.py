"""`modelbay providers`: list them, and add, change and remove those of the file."""

import json
import os
import sys
from urllib.parse import urlsplit

import click

from modelbay import Host, ProviderConfig
from modelbay.config import locations
from modelbay.config_edit import add_provider, provider_ids, remove_provider, set_value
from modelbay.dsn import kind_of, parse_dsn
from modelbay.errors import ConfigError, PluginLoadError, UnknownProviderError
from modelbay.host.configuration import not_installed
from modelbay.models.frozen import JsonObject
from modelbay_cli import layers, providers_file
from modelbay_cli.offers import Offer, offers
from modelbay_cli.options import examples, json_option, verbose_option
from modelbay_cli.output import NOTHING, Screen, Section, aligned, shown_url, table
from modelbay_cli.secrecy import veil_of
from modelbay_cli.session import Session


@click.group(
    epilog=examples(
        "modelbay providers list",
        "modelbay providers add               # asks",
        "modelbay providers set desk baseUrl http://127.0.0.1:8080",
        "modelbay providers remove desk",
    )
)
def command() -> None:
    """List providers; add, change and remove those of providers.json.

    The file keeps its order, its indentation and every key that is not known here.
    """


@command.command(
    "list", epilog=examples("modelbay providers list", "modelbay providers list --json")
)
@json_option
@verbose_option
def list_(as_json: bool) -> None:
    """Print every provider and who named it; nobody is asked. `modelbay doctor` asks them."""
    veil = veil_of(providers_file.read(locations(os.environ).providers_file))
    with Session() as session:
        rows = [
            {name: veil.text(value) if isinstance(value, str) else value for name, value in one}
            for one in map(dict.items, _listed(session.host))
        ]
    out = Screen.stdout()
    if as_json:
        out.json(rows)
        return
    names = ("id", "kind", "base_url", "key", "from", "problem")
    cells = [[str(row[name] or NOTHING) for name in names] for row in rows]
    table(out, ("PROVIDER", "KIND", "ADDRESS", "KEY", "FROM", "NOTE"), [Section(cells)])


def _listed(host: Host) -> list[dict[str, str | bool | None]]:
    problems = {handle.id: handle.problem for handle in host.providers}
    origins = host.roster.origins
    listed: list[dict[str, str | bool | None]] = []
    for config in layers.configured(host):
        problem = problems.get(config.id)
        filed = any(config.id == one.id for one in host.file.providers)
        origin = "file" if filed else config.source
        key = host.roster.key_places.get(config.id) or ("set" if config.api_key else None)
        note = None if config.enabled else "switched off"
        listed.append(
            {
                "id": config.id,
                "label": config.name,
                "kind": config.kind,
                "base_url": shown_url(config.base_url) if config.base_url else "",
                "key": key,
                "from": origins.get(config.id, origin),
                "enabled": config.enabled,
                "problem": note if problem is None else problem.message,
            }
        )
    return listed


@command.command(
    epilog=examples(
        "modelbay providers add               # asks",
        "modelbay providers add openai --url http://tower:8000 --id tower",
        "modelbay providers add llama-swap://127.0.0.1:8401#sam-desktop",
    )
)
@click.argument("target", metavar="[KIND|DSN]", default="")
@click.option("--id", "provider_id", metavar="ID", help="The name in front of its models.")
@click.option("--url", metavar="URL", help="Where it answers, if not at the usual address.")
@click.option("--label", metavar="TEXT", help="What people read instead of the id.")
@click.option("--api-key-env", metavar="VARIABLE", help="The variable that holds its key.")
@verbose_option
def add(
    target: str,
    provider_id: str | None,
    url: str | None,
    label: str | None,
    api_key_env: str | None,
) -> None:
    """Add a provider to providers.json.

    Without KIND it shows what is installed and what answers on this machine, and asks. A DSN is
    KIND://TOKEN@HOST:PORT.
    """
    given = {"id": provider_id, "label": label, "baseUrl": url, "apiKeyEnv": api_key_env}
    wanted: JsonObject = {name: value for name, value in given.items() if value is not None}
    offer: Offer | None = None
    entry: JsonObject | str
    # The file may be what is wrong, so it is not read for this.
    with Session(providers=()) as session:
        if not target:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise click.UsageError(
                    "which kind? Without a terminal nobody can be asked:"
                    " modelbay providers add KIND"
                )
            offer = _chosen(session.run(offers(session.host, look=True)))
            entry = _asked(offer, wanted)
        elif kind_of(target) is not None:
            given_by_dsn = parse_dsn(target, where="KIND|DSN")
            _require_kind(session.host, given_by_dsn.kind)
            if url is not None:
                raise click.UsageError("a DSN holds the address already; leave --url out")
            first: JsonObject = {"id": given_by_dsn.id, "kind": given_by_dsn.kind}
            entry = {**first, **wanted, "baseUrl": target} if wanted else target
        else:
            kind = _require_kind(session.host, target)
            found = session.run(offers(session.host, look=False))
            offer = next(one for one in found if one.kind == kind)
            if offer.needs_address and url is None:
                raise click.UsageError(
                    f"the kind '{target}' has no usual address; give it with --url"
                )
            entry = _with_address(offer, target, wanted)
        _require_good(entry)
    path = locations(os.environ).providers_file
    name = parse_dsn(entry, where="").id if isinstance(entry, str) else str(entry["id"])
    providers_file.rewrite(path, lambda text: _added(text, entry, name, str(path)))
    Screen.stdout().line(f"{name} is added to {path}")
    _tell_next_step(offer, entry, name)


def _added(text: str, entry: JsonObject | str, name: str, where: str) -> str:
    if name in provider_ids(text, where):
        raise ConfigError(
            f"the id '{name}' is taken", where=where, hint=f"add it with --id {name}-2"
        )
    return add_provider(text, entry, where)


def _with_address(offer: Offer, kind: str, wanted: JsonObject) -> JsonObject:
    """The proposal's entry; at another address nothing of it but the kind holds."""
    if "baseUrl" in wanted and wanted["baseUrl"] != offer.address:
        return {"id": kind, "kind": kind, **wanted}
    return {**offer.entry, **wanted}


def _require_kind(host: Host, kind: str) -> str:
    """The kind's own name, by one of its spellings.

    Raises:
        PluginLoadError: It is not installed, switched off or broken.
    """
    for plugin in host.plugins:
        if kind in (plugin.kind, *plugin.aliases) and plugin.state != "duplicate":
            if plugin.manager is not None:
                return plugin.kind
            raise plugin.error or PluginLoadError(
                f"the plugin for kind '{kind}' is switched off",
                hint=f"take '{plugin.kind}' out of MODELBAY_DISABLE",
            )
    raise not_installed(kind, [one.kind for one in host.plugins if one.manager is not None])


def _require_good(entry: JsonObject | str) -> None:
    """Raises what the reader of the file would say, with options named instead of pointers."""
    if isinstance(entry, str):
        return
    url = entry.get("baseUrl")
    if isinstance(url, str) and kind_of(url) is None and url and not _is_address(url):
        raise click.BadParameter(
            "expected an address such as http://127.0.0.1:8080", param_hint="--url"
        )
    try:
        ProviderConfig(id=str(entry["id"]), kind=str(entry["kind"]))
    except ValueError:
        raise click.BadParameter(
            "letters, digits, '.', '_' and '-', and no slash", param_hint="--id"
        ) from None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


# --- asking ---------------------------------------------------------------------------------------


def _chosen(found: list[Offer]) -> Offer:
    """Let the user choose one by its number."""
    err = Screen.stderr()
    if not found:
        raise PluginLoadError("no kind is installed", hint="pip install modelbay")
    rows = [[f"{number}", *_row(offer)] for number, offer in enumerate(found, 1)]
    for line in aligned(rows):
        err.line(line)
    number = click.prompt(
        "which one", type=click.IntRange(1, len(found)), default=1, err=True, show_choices=False
    )
    return found[number - 1]


def _row(offer: Offer) -> list[str]:
    key = "no key needed"
    if offer.needs_key:
        key = "has its key" if offer.has_key else f"needs a key ({offer.key_variable})"
    there = "" if offer.models is None else f"found, {offer.models} models"
    return [offer.label, offer.kind, offer.address or NOTHING, key, there]


def _asked(offer: Offer, wanted: JsonObject) -> JsonObject:
    """The entry, after asking for what the options do not say."""
    answers = dict(wanted)
    if "baseUrl" not in answers and (offer.address or offer.needs_address):
        answers["baseUrl"] = click.prompt("address", default=offer.address or None, err=True)
    if "id" not in answers:
        answers["id"] = click.prompt("name in front of its models", default=offer.id, err=True)
    if offer.needs_key and "apiKeyEnv" not in answers:
        answers["apiKeyEnv"] = click.prompt(
            "variable that holds its key", default=offer.key_variable, err=True
        )
    return _with_address(offer, offer.kind, answers)


def _tell_next_step(offer: Offer | None, entry: JsonObject | str, name: str) -> None:
    err = Screen.stderr()
    variable = None if isinstance(entry, str) else entry.get("apiKeyEnv")
    known = isinstance(variable, str) and bool(os.environ.get(variable))
    if variable is not None and not known and not (offer is not None and offer.has_key):
        err.line(f"its key: modelbay keys set {name}   # or: export {variable}=...")
    err.line(f"try it: modelbay models {name}", style="dim")


# --- changing -------------------------------------------------------------------------------------


@command.command(epilog=examples("modelbay providers remove desk"))
@click.argument("provider_id", metavar="ID")
@verbose_option
def remove(provider_id: str) -> None:
    """Remove a provider from providers.json, and a default that names it."""
    path = locations(os.environ).providers_file
    dropped: tuple[str, ...] = ()

    def edit(text: str) -> str:
        nonlocal dropped
        changed, dropped = remove_provider(text, provider_id, str(path))
        return changed

    try:
        providers_file.rewrite(path, edit)
    except UnknownProviderError as exc:
        _explain_absence(provider_id, exc)
        raise
    Screen.stdout().line(f"{provider_id} is removed from {path}")
    for key in dropped:
        Screen.stderr().line(f'"{key}" named it, and is removed too')


def _explain_absence(provider_id: str, exc: UnknownProviderError) -> None:
    """A provider that stands in no file cannot be removed from one."""
    with Session(providers=()) as session:
        for handle in session.host.providers:
            if handle.id == provider_id and handle.config.implicit:
                exc.hint = (
                    f"a plugin proposes it: export MODELBAY_DISABLE={handle.kind}"
                    "   # switches its kind off"
                )


@command.command(
    "set",
    epilog=examples(
        "modelbay providers set desk baseUrl http://127.0.0.1:8080",
        "modelbay providers set desk probeTimeoutS 5",
        "modelbay providers set desk enabled false",
    ),
)
@click.argument("provider_id", metavar="ID")
@click.argument("key")
@click.argument("value")
@verbose_option
def set_(provider_id: str, key: str, value: str) -> None:
    """Set one key of a provider in providers.json.

    VALUE is JSON where it is a number, true, false, a list or an object, and else a text.
    """
    _change(provider_id, key, _meant(value))


@command.command(epilog=examples("modelbay providers unset desk apiKeyEnv"))
@click.argument("provider_id", metavar="ID")
@click.argument("key")
@verbose_option
def unset(provider_id: str, key: str) -> None:
    """Remove one key of a provider in providers.json."""
    _change(provider_id, key, None)


def _change(provider_id: str, key: str, value: object) -> None:
    path = locations(os.environ).providers_file
    is_changed = False

    def edit(text: str) -> str:
        nonlocal is_changed
        changed = set_value(text, key, value, str(path), provider_id=provider_id)
        is_changed = changed != text
        return changed

    providers_file.rewrite(path, edit)
    # The value is not repeated: it may be a key.
    done = "is set" if value is not None else "is removed" if is_changed else "was not set"
    Screen.stdout().line(f"{key} of {provider_id} {done}")


def _meant(value: str) -> object:
    try:
        meant = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return value if meant is None or isinstance(meant, str) else meant
