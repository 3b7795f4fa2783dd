"""The report: versions, places, plugins, providers, and the findings about them."""

import os
import platform
import sys
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from modelbay.config import locations
from modelbay_cli.diagnosis.finding import Finding
from modelbay_cli.ready import VERSION
from modelbay_cli.secrecy import Veil

_PACKAGES = (
    "modelbay-core",
    "pluggy",
    "httpx2",
    "pydantic",
    "msgspec",
    "click",
    "rich",
)


@dataclass(frozen=True, slots=True)
class FileCheck:
    what: str
    path: str
    exists: bool
    decided_by: str


@dataclass(frozen=True, slots=True)
class PluginCheck:
    kind: str
    aliases: tuple[str, ...]
    dist: str
    version: str
    requires: str
    entry_point: str
    state: str
    took_s: float
    problem: str | None


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """One provider after a fresh look.

    Attributes:
        source: Who configured or proposed it.
        hidden: Not listed by `modelbay models`.
        server: What answers there, and in which version, where the provider can tell.
    """

    id: str
    label: str
    kind: str
    address: str
    source: str
    status: str
    hidden: bool
    models: int
    took_s: float | None
    problem: str | None
    server: str = ""
    version: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def under(self, veil: Veil) -> Self:
        """The same without secrets; the id can hold none."""
        return replace(
            self,
            label=veil.text(self.label),
            kind=veil.text(self.kind),
            address=veil.text(self.address),
            problem=None if self.problem is None else veil.text(self.problem),
            server=veil.text(self.server),
            details={name: veil.texts(value) for name, value in self.details.items()},
        )


@dataclass(slots=True)
class Diagnosis:
    """All of it, in the order in which it is shown."""

    program: dict[str, str]
    packages: dict[str, str | None]
    files: list[FileCheck] = field(default_factory=list)
    plugins: list[PluginCheck] = field(default_factory=list)
    providers: list[ProviderCheck] = field(default_factory=list)
    default_model: str | None = None
    default_model_note: str = ""
    findings: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return any(finding.level == "error" for finding in self.findings)

    def veil(self, veil: Veil) -> None:
        """Take the secrets out of whatever came from the configuration or from a server."""
        self.providers = [check.under(veil) for check in self.providers]
        self.findings = [finding.under(veil) for finding in self.findings]
        if self.default_model is not None:
            self.default_model = veil.text(self.default_model)
        self.default_model_note = veil.text(self.default_model_note)

    def json(self) -> dict[str, Any]:
        return asdict(self)


def begin() -> Diagnosis:
    """Versions and places; nothing is opened and nobody is asked."""
    places = locations(os.environ)
    return Diagnosis(
        program={
            "modelbay": VERSION,
            "python": platform.python_version(),
            "executable": sys.executable,
            "platform": platform.platform(),
        },
        packages={name: _version(name) for name in _PACKAGES},
        files=[
            _file("providers.json", places.providers_file, places.providers_file_from),
            _file("data folder", places.data, places.data_from),
            _file("cache folder", places.cache, places.cache_from),
        ],
    )


def _file(what: str, path: Path, decided_by: str) -> FileCheck:
    try:
        exists = path.exists()
    except OSError:  # in a folder that may not be looked into
        exists = False
    return FileCheck(what, str(path), exists, decided_by)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
