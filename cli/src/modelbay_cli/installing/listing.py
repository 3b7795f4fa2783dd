"""The plugins as rows: what is there, what of it works, and what is wished and missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelbay.host.loader import Plugin, load_plugins
from modelbay.models.frozen import JsonObject
from modelbay_cli.installing.requirement import Requirement, normal
from modelbay_cli.installing.trouble import Trouble, troubles


@dataclass(frozen=True, slots=True)
class Row:
    """One plugin.

    Attributes:
        api_range: The range of modelbay-core it was written for, from its metadata.
        hooks: The hooks it implements; ``None`` for one that was not imported.
        state: One of `modelbay.host.loader.PluginState`, ``damaged`` or ``missing``.
        code: The diagnosis, as `modelbay doctor` gives it; empty if nothing is wrong.
        reason: Why it is not there, or what is wrong with one that works.
        hint: What to type.
        wished: It is in the wish list.
    """

    kind: str
    dist: str
    version: str
    api_range: str
    hooks: tuple[str, ...] | None
    state: str
    code: str = ""
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
            "code": self.code,
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
    found = [
        _row(plugin, trouble, normal(plugin.dist) in names)
        for plugin, trouble in zip(installed.plugins, troubles(installed, env), strict=True)
    ]
    found += [
        Row(
            kind="",
            dist=name,
            version="",
            api_range="",
            hooks=None,
            state="damaged",
            code="package_damaged",
            reason=f"its metadata cannot be read: {reason}",
            hint="modelbay doctor   # shows its folder",
        )
        for name, reason in installed.damaged
    ]
    found += [
        Row(
            kind="",
            dist=one.name,
            version="",
            api_range="",
            hooks=None,
            state="missing",
            code="plugin_missing",
            reason=f"it was asked for as {one.spec}, and is not installed",
            hint="modelbay plugin sync",
            wished=True,
        )
        for one in wishes
        if one.name not in here
    ]
    return found


def _row(plugin: Plugin, trouble: Trouble | None, wished: bool) -> Row:
    code, reason, hint = "", "", ""
    state: str = plugin.state
    if trouble is not None:
        code, reason, hint = trouble.code, trouble.reason, trouble.fix
        if trouble.level == "error" and state == "ok":
            state = "broken"  # it could be loaded, and cannot be used
    elif state == "disabled":
        code, reason, hint = "kind_disabled", "MODELBAY_DISABLE names it", "unset MODELBAY_DISABLE"
    return Row(
        kind=plugin.kind,
        dist=plugin.dist,
        version=plugin.version,
        api_range=plugin.requires,
        hooks=plugin.hooks if state == "ok" else None,
        state=state,
        code=code,
        reason=reason,
        hint=hint,
        aliases=plugin.aliases,
        entry_point=plugin.entry_point,
        import_s=plugin.took_s,
        wished=wished,
    )
