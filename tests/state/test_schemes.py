"""Mirrors modelbay/state/schemes.py: plugins that bring a URL scheme."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import importlib_metadata
import pytest

from modelbay.errors import ConfigError, PluginLoadError
from modelbay.state.schemes import opener
from modelbay.state.sqlite.store import SqliteStore
from modelbay.state.store import StateStore


def distribution(
    folder: Path, name: str, scheme: str, value: str
) -> importlib_metadata.Distribution:
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[modelbay.state]\n{scheme} = {value}\n")
    return importlib_metadata.PathDistribution(info)


def open_it(url: str, *, clock: Callable[[], float]) -> StateStore:
    return SqliteStore(Path(url.partition("://")[2]), clock=clock)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("acme_state")
    made.open_it = open_it  # type: ignore[attr-defined]
    made.poor = lambda url, clock: object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_state", made)
    return made


def test_a_plugin_brings_a_scheme(tmp_path: Path, module: ModuleType) -> None:
    found = distribution(tmp_path, "acme-state", "acme", "acme_state:open_it")
    store = opener("acme", lambda: [found])("acme:///x", clock=lambda: 0.0)

    assert store.where == "/x"


def test_one_damaged_distribution_hides_no_other(tmp_path: Path, module: ModuleType) -> None:
    damaged = distribution(tmp_path, "broken-state", "other", "x:y")
    (tmp_path / "broken-state-1.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe")
    found = distribution(tmp_path, "acme-state", "acme", "acme_state:open_it")

    assert opener("acme", lambda: [damaged, found])("acme:///x", clock=lambda: 0.0).where == "/x"


def test_a_plugin_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    found = distribution(tmp_path, "acme-state", "acme", "no_such_module:open_it")
    with pytest.raises(PluginLoadError) as raised:
        opener("acme", lambda: [found])

    assert str(raised.value) == (
        "the state store 'acme' of acme-state cannot be imported: ModuleNotFoundError"
    )


def test_a_store_that_lacks_methods_is_named_with_them(tmp_path: Path, module: ModuleType) -> None:
    found = distribution(tmp_path, "acme-state", "acme", "acme_state:poor")
    with pytest.raises(PluginLoadError, match=r"lacks where, favorites, set_favorites, .*aclose"):
        opener("acme", lambda: [found])("acme:///x", clock=lambda: 0.0)


def test_a_store_that_cannot_be_made_is_told_without_its_url(
    tmp_path: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(url: str, *, clock: Callable[[], float]) -> StateStore:
        raise ValueError(url)

    monkeypatch.setattr(module, "open_it", fail)
    found = distribution(tmp_path, "acme-state", "acme", "acme_state:open_it")
    with pytest.raises(PluginLoadError) as raised:
        opener("acme", lambda: [found])("acme://:planted-secret@h", clock=lambda: 0.0)

    assert "planted-secret" not in str(raised.value)


def test_an_unknown_scheme_names_those_there_are(tmp_path: Path, module: ModuleType) -> None:
    found = distribution(tmp_path, "acme-state", "acme", "acme_state:open_it")
    with pytest.raises(ConfigError, match=r"'other' .known: acme, sqlite.") as raised:
        opener("other", lambda: [found])

    assert raised.value.hint == "sqlite:///PATH, or install a plugin that brings 'other'"
