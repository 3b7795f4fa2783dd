"""Where the routes of a server live, and whether it is the user's own."""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urlsplit

from modelbay.context import ProviderContext
from modelbay_openai.config import options
from modelbay_openai.dialects import BY_HOST, UNKNOWN, Server
from modelbay_openai.memory import memory

# The last part of an address that names an API and not a server: .../v1, .../api/v1, .../v1beta,
# .../paas/v4, .../openai.
_API = re.compile(r"/(v[0-9]+[a-z0-9]*|openai)$")
_NATIVE = re.compile(r"(/api)?/v[0-9]+[a-z0-9]*$")
_HOME = (".local", ".localhost", ".lan", ".home", ".internal", ".home.arpa")


def at(provider: ProviderContext, route: str) -> str:
    """The path of a route such as ``chat/completions``, below the provider's address.

    People write addresses with and without ``/v1``. One that ends in something of that sort is
    taken as it is; otherwise ``v1`` is put before the route, until a list has been found without.
    What the option ``apiPrefix`` says is not questioned.
    """
    told = options(provider).api_prefix
    if told is not None:
        return f"{told}/{route}" if told else route
    base = provider.base_url
    if _API.search(base):
        return route
    prefix = memory(provider).prefix
    if prefix is None:
        prefix = by_host(base).api if not urlsplit(base).path else "v1"
    return f"{prefix}/{route}" if prefix else route


def native(provider: ProviderContext, path: str) -> str:
    """The whole address of a route outside of the OpenAI-style API."""
    return f"{_NATIVE.sub('', provider.base_url)}/{path}"


@lru_cache(maxsize=256)
def by_host(base_url: str) -> Server:
    """The hosted service at this address."""
    return BY_HOST.get(urlsplit(base_url).hostname or "", UNKNOWN)


@lru_cache(maxsize=256)
def is_local(base_url: str) -> bool:
    """Whether this address is of the user's own machine or network."""
    host = urlsplit(base_url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_HOME)
    return address.is_loopback or address.is_private or address.is_link_local
