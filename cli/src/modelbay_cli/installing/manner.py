"""How this modelbay was installed, and the commands that add and take plugins in that way.

- **pipx** leaves ``pipx_metadata.json`` in the environment. What ``pipx inject`` adds survives
  ``pipx upgrade`` and ``pipx reinstall``.
- **uv tool** leaves ``uv-receipt.toml``. ``uv tool install`` forgets every ``--with`` that is not
  given again, so all of the receipt is; ``uv tool upgrade`` keeps what the receipt has.
- Else it is **pip**'s, or ``uv pip``'s where the environment has no pip.
"""

import importlib.util
import shutil
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from modelbay.errors import ConfigError
from modelbay_cli.installing.receipt import Receipt, read_receipt
from modelbay_cli.installing.requirement import Requirement

Commands: TypeAlias = tuple[tuple[str, ...], ...]
Which: TypeAlias = Callable[[str], str | None]


class Manner(Protocol):
    """One way of installing; each method gives the commands to run, in order."""

    @property
    def name(self) -> str: ...

    def install(self, wanted: Sequence[Requirement]) -> Commands: ...

    def uninstall(self, names: Sequence[str]) -> Commands: ...

    def upgrade(self, wanted: Sequence[Requirement]) -> Commands: ...


@dataclass(frozen=True, slots=True)
class Pip:
    """Into the environment itself.

    Attributes:
        program: The words before ``install``.
        options: After the verb, such as uv's ``--python``.
        yes: What keeps ``uninstall`` from asking.
    """

    program: tuple[str, ...]
    options: tuple[str, ...] = ()
    yes: tuple[str, ...] = ("-y",)
    name: str = "pip"

    def install(self, wanted: Sequence[Requirement]) -> Commands:
        return ((*self.program, "install", *self.options, *_pip_words(wanted)),)

    def uninstall(self, names: Sequence[str]) -> Commands:
        return ((*self.program, "uninstall", *self.options, *self.yes, *names),)

    def upgrade(self, wanted: Sequence[Requirement]) -> Commands:
        return ((*self.program, "install", *self.options, "--upgrade", *_pip_words(wanted)),)


@dataclass(frozen=True, slots=True)
class Pipx:
    """Into pipx's environment for modelbay.

    Attributes:
        venv: The environment's name, which has the suffix of ``pipx install --suffix``.
    """

    program: str
    venv: str
    name: str = "pipx"

    def install(self, wanted: Sequence[Requirement]) -> Commands:
        plain = [one.spec for one in wanted if not one.editable]
        commands = [(self.program, "inject", self.venv, *plain)] if plain else []
        # --editable is about all packages of one call.
        for one in wanted:
            if one.editable:
                commands.append((self.program, "inject", self.venv, one.spec, "--editable"))
        return tuple(commands)

    def uninstall(self, names: Sequence[str]) -> Commands:
        return ((self.program, "uninject", self.venv, *names),)

    def upgrade(self, wanted: Sequence[Requirement]) -> Commands:
        words = _pip_words(wanted)
        return ((self.program, "runpip", self.venv, "install", "--upgrade", *words),)


@dataclass(frozen=True, slots=True)
class UvTool:
    """Into uv's environment for modelbay."""

    program: str
    receipt: Receipt
    name: str = "uv tool"

    def install(self, wanted: Sequence[Requirement]) -> Commands:
        return self._tool(self.receipt.adding(wanted))

    def uninstall(self, names: Sequence[str]) -> Commands:
        return self._tool(self.receipt.without(names))

    def upgrade(self, wanted: Sequence[Requirement]) -> Commands:
        newer = [word for one in wanted for word in ("--upgrade-package", one.name)]
        return self._tool(self.receipt.adding(wanted), *newer)

    def _tool(self, receipt: Receipt, *more: str) -> Commands:
        return ((self.program, "tool", "install", *receipt.words(), *more),)


def detect(
    prefix: Path,
    base_prefix: Path,
    executable: str,
    *,
    which: Which = shutil.which,
    has_pip: Callable[[], bool] = lambda: importlib.util.find_spec("pip") is not None,
    externally_managed: Callable[[], bool] = lambda: _marker().exists(),
) -> Manner:
    """Find out by what lies in the environment.

    Args:
        prefix: Of the environment (``sys.prefix``).
        base_prefix: The same outside of a virtual environment.
        externally_managed: Whether the system's Python refuses pip (PEP 668).

    Raises:
        ConfigError: Nothing may or can install into it.
    """
    if (prefix / "pipx_metadata.json").is_file():
        return Pipx(_program("pipx", which), prefix.name)
    receipt = prefix / "uv-receipt.toml"
    if receipt.is_file():
        return UvTool(_program("uv", which), read_receipt(receipt, prefix.name))
    if prefix == base_prefix and externally_managed():
        raise ConfigError(
            "this Python belongs to the operating system, which does not let pip change it",
            where=str(prefix),
            hint="pipx install modelbay   # or make a virtual environment for modelbay",
        )
    if has_pip():
        return Pip((executable, "-m", "pip"))
    uv = which("uv")
    if uv is None:
        raise ConfigError(
            "there is neither pip in this environment nor uv on the PATH",
            where=str(prefix),
            hint=f"{executable} -m ensurepip",
        )
    return Pip((uv, "pip"), options=("--python", executable), yes=(), name="uv pip")


def _pip_words(wanted: Sequence[Requirement]) -> list[str]:
    return [word for one in wanted for word in (("-e", one.spec) if one.editable else (one.spec,))]


def _program(name: str, which: Which) -> str:
    found = which(name)
    if found is None:
        raise ConfigError(
            f"modelbay was installed by {name}, and {name} is not on the PATH",
            hint=f'export PATH="$PATH:..."   # with the folder that {name} is in',
        )
    return name


def _marker() -> Path:
    """PEP 668: where a system's Python says that pip is not for it."""
    return Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
