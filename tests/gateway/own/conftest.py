"""Fixtures: a gateway over a pretended lab, which remembers in memory."""

from collections.abc import Callable
from typing import Any, TypeAlias

import httpx2 as httpx
import pytest

from gateway.conftest import Raw, Start
from gateway.own.lab import Lab, lab_host
from modelbay.state import open_store

Open: TypeAlias = Callable[..., httpx.Client]


@pytest.fixture
def open_lab(start: Start, raw: Raw) -> Open:
    """Starts a gateway over a lab and gives its client: ``open_lab(Lab(), limits=...)``."""

    def open_lab(lab: Lab | None = None, **options: Any) -> httpx.Client:
        options.setdefault("store", open_store(":memory:"))
        return raw(start(lab_host(lab or Lab()), **options))

    return open_lab
