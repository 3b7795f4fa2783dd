"""The plugins as rows: what is there, what of it works, and what is wished and missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelbay.host.loader import Plugin, load_plugins
from modelbay.models.frozen import JsonObject
from modelbay_cli.installing.requirement import Requirement, normal


@dataclass(frozen=True, slots=True)
class Row:
    """One plugin.

    Attributes:
        api_range: The range of modelbay-core it was written for, from its metadata.
        hooks: The hooks it implements; ``None`` for one that was not imported.
        state: One of `modelbay.host.loader.PluginState`, ``damaged`` or ``missing``.
        reason: Why it is not there; empty for one that works.
        hint: What to type.
        wished: It is in the wish list.
    """

    kind: str
    dist: str
    version: str
    api_range: str
    hooks: tuple[str, ...] | None
    state: str
    reason: str = ""
    hint: str = ""
    aliases: tuple[str, ...] = ()
    entry_point: str = ""
    import_s: float = 0.0
    wished: bool = False

    def as_json(self) -> JsonObject:
        return {
            "kind": self.kind,
            "aliases": list(self.aliases),
            "dist": self.dist,
            "version": self.version,
            "api_range": self.api_range,
            "hooks": None if self.hooks is None else list(self.hooks),
            "state": self.state,
            "reason": self.reason,
            "hint": self.hint,
            "entry_point": self.entry_point,
            "import_s": round(self.import_s, 4),
            "wished": self.wished,
        }


def rows(
    env: Mapping[str, str], wishes: Sequence[Requirement], present: Iterable[str]
) -> list[Row]:
    """Every plugin by kind, then what is damaged, then what is wished and not installed.

    A plugin that ``MODELBAY_DISABLE`` names is not imported.

    Args:
        present: Normalised names of all distributions that are installed.
    """
    names, here = {one.name for one in wishes}, set(present)
    installed = load_plugins(env)
    found = [_row(plugin, normal(plugin.dist) in names) for plugin in installed.plugins]
    found += [
        Row(
            "", name, "", "", None, "damaged", f"its metadata cannot be read: {reason}", "pip check"
        )
        for name, reason in installed.damaged
    ]
    found += [
        Row(
            "",
            one.name,
            "",
            "",
            None,
            "missing",
            f"it was asked for as {one.spec}, and is not installed",
            "modelbay plugin sync",
            wished=True,
        )
        for one in wishes
        if one.name not in here
    ]
    return found


def _row(plugin: Plugin, wished: bool) -> Row:
    reason, hint = "", ""
    if plugin.error is not None:
        reason, hint = plugin.error.message, f"modelbay plugin uninstall {plugin.dist}"
    elif plugin.state == "disabled":
        reason, hint = "MODELBAY_DISABLE names it", "unset MODELBAY_DISABLE"
    return Row(
        kind=plugin.kind,
        dist=plugin.dist,
        version=plugin.version,
        api_range=plugin.requires,
        hooks=plugin.hooks if plugin.state == "ok" else None,
        state=plugin.state,
        reason=reason,
        hint=hint,
        aliases=plugin.aliases,
        entry_point=plugin.entry_point,
        import_s=plugin.took_s,
        wished=wished,
    )
