"""Which proxy an address goes through, by the variables everybody knows."""

import ipaddress
from collections.abc import Mapping


class Proxies:
    """The proxies of an environment. Loopback is never proxied."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._urls = {
            scheme: env.get(f"{scheme}_proxy") or env.get(f"{scheme.upper()}_PROXY") or ""
            for scheme in ("http", "https", "no")
        }
        for scheme in ("http", "https"):
            everything = env.get("all_proxy") or env.get("ALL_PROXY") or ""
            self._urls[scheme] = self._urls[scheme] or everything

    def has(self, scheme: str) -> bool:
        """Whether there is one for some addresses of this scheme."""
        return bool(self._urls.get(scheme))

    def of(self, scheme: str, host: str) -> str:
        """The proxy's address; empty for none."""
        proxy = self._urls.get(scheme, "")
        if not proxy or is_loopback(host):
            return ""
        import urllib.request  # takes long, and few have a proxy

        bypass = urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]
            host, self._urls
        )
        return "" if bypass else proxy


def is_loopback(host: str) -> bool:
    """Whether this name or address is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
