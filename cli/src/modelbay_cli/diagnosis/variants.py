"""Other ways to reach a provider that fails: what works is the diagnosis, and its own proof."""

import asyncio
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit

from modelbay import Host, ModelbayError, ProviderConfig
from modelbay.host.loader import Plugin
from modelbay_cli.diagnosis.network import Outcome, proxy_for
from modelbay_cli.diagnosis.remedies import change, readdress
from modelbay_cli.output import shown_url

SLOW_S = 8.0  # how long a server that is slow may take to be told from one that is silent
_MISFITS = ("wrong_server", "protocol_error")
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Variant:
    """A changed configuration that may work.

    Attributes:
        config: Without its key, unless it goes to the very same place.
        without_proxy: The proxy is to be left out.
    """

    code: str
    config: ProviderConfig
    message: str
    fix: str
    without_proxy: bool = False


def variants(
    config: ProviderConfig,
    problem: ModelbayError,
    usual: Sequence[ProviderConfig],
    plugins: Sequence[Plugin],
    env: Mapping[str, str],
    *,
    outcome: Outcome,
    filed: bool,
) -> list[Variant]:
    """What could be meant, the likeliest first.

    Args:
        usual: What plugins propose.
        outcome: What a bare look at the address saw.
        filed: The provider stands in providers.json.
    """
    if not config.base_url or problem.code == "authentication_failed":
        return []
    try:
        parts = urlsplit(config.base_url)
        parts.port  # noqa: B018 - it raises what the rest could not deal with
    except ValueError:
        return []
    found = [one for one in _addresses(config, filed) if _may_help(one.code, outcome)]
    proxy = proxy_for(config.base_url, env)
    if proxy:
        host = parts.hostname or ""
        before = env.get("no_proxy") or env.get("NO_PROXY") or ""
        names = shlex.quote(",".join(part for part in (before, host) if part))
        found.append(
            Variant(
                "proxy_in_the_way",
                config,
                f"{shown_url(config.base_url)} answers, but not through the proxy"
                f" {shown_url(proxy)}",
                f"export NO_PROXY={names}",
                without_proxy=True,
            )
        )
    found += _elsewhere(config, usual, plugins, filed)
    if problem.code in _MISFITS or getattr(problem, "status", None) == _NOT_FOUND:
        found += _other_kinds(config, usual, plugins, filed)
    if (
        outcome == "answered"
        and problem.code == "backend_timeout"
        and config.probe_timeout_s < SLOW_S
    ):
        found.append(
            Variant(
                "server_slow",
                config.model_copy(update={"probe_timeout_s": SLOW_S}),
                f"it answers, but not within {config.probe_timeout_s:g} s",
                change(config, "probeTimeoutS", f"{SLOW_S:g}", filed=filed),
            )
        )
    return found


def _may_help(code: str, outcome: Outcome) -> bool:
    """Where nobody listens, another way to write the same host and port is none."""
    if code == "plain_on_tls_port":  # who speaks TLS has something to say to plain text
        return outcome in ("answered", "closed")
    if code in ("address_with_path", "tls_on_plain_port"):
        return outcome not in ("refused", "unresolved", "unreachable")
    return True


def address_variant(config: ProviderConfig, *, filed: bool = True) -> Variant | None:
    """The address to connect to, for one that only a server can have."""
    host = (urlsplit(config.base_url).hostname or "").partition("%")[0]
    try:
        meant = ip_address(host)
    except ValueError:
        return None
    if not meant.is_unspecified:
        return None
    loopback = "127.0.0.1" if meant.version == 4 else "::1"
    return _at(
        config,
        filed,
        "address_unspecified",
        _replaced(config.base_url, host=loopback),
        f"{host} is where a server listens, and no address to connect to",
    )


def _addresses(config: ProviderConfig, filed: bool) -> Iterator[Variant]:
    """The same server, otherwise written."""
    url = config.base_url
    parts = urlsplit(url)
    unspecified = address_variant(config, filed=filed)
    if unspecified is not None:
        yield unspecified
    if parts.path.strip("/"):
        shorter = re.sub(r"/v\d+(/.*)?$", "", parts.path)
        roots = dict.fromkeys(path for path in (shorter, "") if path != parts.path)
        for path in roots:
            yield _at(
                config,
                filed,
                "address_with_path",
                urlunsplit((parts.scheme, parts.netloc, path, "", "")),
                f"the address ends in {parts.path}, and answers without it",
            )
    if parts.scheme == "https":
        yield _at(
            config,
            filed,
            "tls_on_plain_port",
            f"http{url[5:]}",
            "the address is https, and the server speaks http",
        )
    else:
        yield _at(
            config,
            filed,
            "plain_on_tls_port",
            f"https{url[4:]}",
            "the address is http, and the server speaks https",
        )
    host = parts.hostname or ""
    if host in ("127.0.0.1", "localhost", "0.0.0.0"):  # noqa: S104 - nobody listens here
        yield _at(
            config,
            filed,
            "ipv6_only",
            _replaced(url, host="::1"),
            "the server listens on IPv6 alone, and the address is IPv4",
        )
    elif host in ("::1", "::"):
        yield _at(
            config,
            filed,
            "ipv4_only",
            _replaced(url, host="127.0.0.1"),
            "the server listens on IPv4 alone, and the address is IPv6",
        )


def _elsewhere(
    config: ProviderConfig,
    usual: Sequence[ProviderConfig],
    plugins: Sequence[Plugin],
    filed: bool,
) -> Iterator[Variant]:
    """The usual ports of this kind, on this host."""
    own = _names(config.kind, plugins)
    parts = urlsplit(config.base_url)
    for proposal in usual:
        port = urlsplit(proposal.base_url).port
        if proposal.kind in own and port is not None and port != parts.port:
            yield _at(
                config,
                filed,
                "wrong_port",
                _replaced(config.base_url, port=port),
                f"it is not at port {parts.port}, and answers at port {port}",
            )


def _other_kinds(
    config: ProviderConfig,
    usual: Sequence[ProviderConfig],
    plugins: Sequence[Plugin],
    filed: bool,
) -> Iterator[Variant]:
    """The kinds whose servers have addresses; one that needs none would seem to work anywhere."""
    own = _names(config.kind, plugins)
    served = {proposal.kind for proposal in usual if proposal.base_url}
    for plugin in plugins:
        if plugin.manager is not None and plugin.kind not in own and plugin.kind in served:
            yield Variant(
                "wrong_kind",
                _keyless(ProviderConfig(id=config.id, kind=plugin.kind, base_url=config.base_url)),
                f"the server is of kind {plugin.kind}, and the provider of kind {config.kind}",
                change(config, "kind", plugin.kind, filed=filed),
            )


def _names(kind: str, plugins: Sequence[Plugin]) -> set[str]:
    """Every spelling of a kind."""
    for plugin in plugins:
        if kind in (plugin.kind, *plugin.aliases):
            return {plugin.kind, *plugin.aliases}
    return {kind}


def _at(config: ProviderConfig, filed: bool, code: str, url: str, message: str) -> Variant:
    """The provider at another address. A key is for one place, and goes to no other."""
    changed = _keyless(config).model_copy(update={"base_url": url})
    fix = readdress(config, url, filed=filed)
    return Variant(code, changed, f"{message} (at {shown_url(url)})", fix)


def _keyless(config: ProviderConfig) -> ProviderConfig:
    return config.model_copy(update={"api_key": None, "api_key_env": None, "headers": {}})


def _replaced(url: str, *, host: str | None = None, port: int | None = None) -> str:
    parts = urlsplit(url)
    name = parts.hostname or "" if host is None else host
    number = parts.port if port is None else port
    shown = f"[{name}]" if ":" in name else name
    place = shown if number is None else f"{shown}:{number}"
    return urlunsplit((parts.scheme, place, parts.path, "", ""))


async def first_that_works(host: Host, tried: Sequence[Variant]) -> Variant | None:
    """The first variant whose server lists its models, or asks for a key.

    All are tried side by side, by the plugins themselves, in a host of their own.
    """
    if not tried:
        return None
    direct = {**host.env, "NO_PROXY": "*", "no_proxy": "*"}
    results = await asyncio.gather(
        *(_works(host, v, direct if v.without_proxy else host.env) for v in tried)
    )
    return next((variant for variant, works in zip(tried, results, strict=True) if works), None)


async def _works(host: Host, variant: Variant, env: Mapping[str, str]) -> bool:
    # Under a name of its own, so that no stored key finds it.
    same_place = variant.code in ("proxy_in_the_way", "server_slow")
    name = variant.config.id if same_place else "doctor-trial"
    config = variant.config.model_copy(update={"id": name})
    try:
        trial = Host.open(providers=[config], env=env, installed=host.installed)
    except ModelbayError:
        return False
    async with trial:
        await trial.refresh(name, force=True)
        problem = trial.registry.problem_of(name)
        entry = trial.catalog.provider(name)
    if problem is None:
        return entry is not None and entry.status in ("ok", "loading")
    return problem.code == "authentication_failed"
