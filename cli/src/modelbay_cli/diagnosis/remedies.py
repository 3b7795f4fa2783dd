"""What is typed to change a provider."""

import shlex

from modelbay import ProviderConfig
from modelbay_cli.output import shown_url

ANY, NAMED = "http://HOST:PORT", "https://NAME"  # for the user to fill in


def change(config: ProviderConfig, key: str, value: str, *, filed: bool) -> str:
    """One key of a provider set; one that stands in no file is put into it, where it then counts.

    Args:
        filed: It stands in providers.json.
    """
    if filed:
        return f"modelbay providers set {config.id} {key} {shlex.quote(value)}"
    url = value if key == "baseUrl" else shown_url(config.base_url)
    kind = value if key == "kind" else config.kind
    added = f"modelbay providers add {kind} --id {config.id} --url {shlex.quote(url)}"
    if key in ("baseUrl", "kind"):
        return added
    return f"{added} && {change(config, key, value, filed=True)}"


def readdress(config: ProviderConfig, url: str, *, filed: bool, why: str = "") -> str:
    """Another address for a provider, shown without what may be a key."""
    typed = change(config, "baseUrl", url if url in (ANY, NAMED) else shown_url(url), filed=filed)
    return f"{typed}   # {why}" if why else typed
