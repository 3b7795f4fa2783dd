"""How a plugin is called: its kind, its distribution, its package and its class."""

import re
from dataclasses import dataclass

import click

PREFIX = "modelbay-"
_KIND = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 32
# Distributions and packages of modelbay itself, and what would be confusing in an address.
_TAKEN = frozenset({"cli", "core", "gateway", "modelbay", "plugin", "testing", "http", "https"})


@dataclass(frozen=True, slots=True)
class PluginName:
    """All spellings of one name.

    Attributes:
        kind: As in providers.json and in ``KIND://host``: ``acme-cloud``.
    """

    kind: str

    @property
    def dist(self) -> str:
        """``modelbay-acme-cloud``"""
        return PREFIX + self.kind

    @property
    def package(self) -> str:
        """``modelbay_acme_cloud``"""
        return self.dist.replace("-", "_")

    @property
    def class_name(self) -> str:
        """``AcmeCloud``"""
        return "".join(part.capitalize() for part in self.kind.split("-"))

    @property
    def title(self) -> str:
        """``Acme Cloud``"""
        return " ".join(part.capitalize() for part in self.kind.split("-"))


def plugin_name(text: str) -> PluginName:
    """Read a name as people write it: ``Acme_Cloud`` and ``modelbay-acme-cloud`` are one.

    Runs of ``-``, ``_`` and ``.`` count as one ``-`` and capitals as small letters, as in the name
    of any distribution (PEP 503).

    Raises:
        click.BadParameter: It cannot be a kind.
    """
    kind = re.sub(r"[-_.]+", "-", text).lower().removeprefix(PREFIX)
    if not _KIND.fullmatch(kind) or len(kind) > _LONGEST:
        raise click.BadParameter(
            f"'{text}' cannot be a kind: a letter, then letters and digits, with single '-' between"
            f" parts, {_LONGEST} characters at most, such as acme or acme-cloud",
            param_hint="NAME",
        )
    if kind in _TAKEN:
        raise click.BadParameter(f"'{kind}' is a name of modelbay's own", param_hint="NAME")
    return PluginName(kind)
