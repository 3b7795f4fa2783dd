"""The built-in child: what answers behind llama-swap."""

from modelbay_llamaswap.simulator.upstream.request import UpstreamRequest
from modelbay_llamaswap.simulator.upstream.server import Outlet, Upstream

__all__ = ["Outlet", "Upstream", "UpstreamRequest"]
