"""Checks of the package: what can be read without importing it, and what importing it does."""

import ast
import sys
import tomllib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import importlib_metadata

from modelbay import hookspecs
from modelbay.host.loader import GROUP
from modelbay.testing.conformance.audit import Import, import_of
from modelbay.testing.conformance.bay import Bay, Rule, install
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.target import TARGETS_GROUP, Target

CORE_DISTRIBUTION = "modelbay-core"
_ENVIRON = ("environ", "environb")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the plugin's distribution says of itself.

    Attributes:
        names: Entry-point names of the plugin's module: the kind and its other spellings.
        requires: Its requirements, as written.
        targets: Entry points of what the kit is to test, by kind.
    """

    where: str
    names: tuple[str, ...]
    requires: tuple[str, ...]
    version: str
    targets: tuple[tuple[str, str], ...] = ()


class PackagingChecks(Kit):
    read = "modelbay/host/loader.py; docs/writing-a-provider.md"

    def test_importing_touches_nothing(self, target: Target, rule: Rule) -> None:
        """Importing the plugin opens no socket, starts no process and changes no file."""
        done = _imported(target, rule)
        rule.holds(not done.touched, done.touched[:5])

    def test_importing_starts_no_thread(self, target: Target, rule: Rule) -> None:
        """Importing the plugin leaves nothing running."""
        done = _imported(target, rule)
        rule.holds(not done.threads, done.threads)

    def test_plugin_is_a_module_that_loads(self, target: Target, rule: Rule) -> None:
        """A plugin is a module of functions whose hooks fit this core; the four are there."""
        plugin = install(target).plugins[0]
        rule.holds(plugin.state == "ok", plugin.error)
        missing = set(hookspecs.REQUIRED) - set(plugin.hooks)
        rule.holds(not missing, f"missing: {sorted(missing)}")

    def test_hook_arguments_have_no_defaults(self, target: Target, rule: Rule) -> None:
        """Hooks name the arguments they need, without defaults and without keyword-only ones."""
        module = _module(target)
        for name in (*hookspecs.REQUIRED, *hookspecs.OPTIONAL):
            hook = getattr(module, name, None)
            code = getattr(hook, "__code__", None)
            if hook is None or code is None:
                continue
            rule.holds(not hook.__defaults__, f"{name} has defaults")
            rule.holds(not code.co_kwonlyargcount, f"{name} has keyword-only arguments")

    def test_kind_is_an_entry_point(self, target: Target, rule: Rule) -> None:
        """The entry point that names the plugin's module has the kind as its name."""
        found = _metadata(target, rule)
        rule.holds(target.config.kind in found.names, f"{found.where} names {found.names}")

    def test_core_range_is_in_the_metadata(self, target: Target, rule: Rule) -> None:
        """The range of the core it was written for can be read without importing it."""
        found = _metadata(target, rule)
        ranges = [text for text in found.requires if text.startswith(CORE_DISTRIBUTION)]
        rule.holds(ranges, f"{found.where} requires {list(found.requires)}")
        core = ranges[0]
        rule.holds(">=" in core or "==" in core or "~=" in core, f"no lowest version: {core}")
        rule.holds("<" in core or "==" in core or "~=" in core, f"no highest version: {core}")

    def test_version_is_in_the_metadata(self, target: Target, rule: Rule) -> None:
        """The plugin's version can be read without importing it."""
        found = _metadata(target, rule)
        rule.holds(found.version, f"{found.where} has no version")

    def test_the_kit_can_be_run_by_anybody(self, target: Target, rule: Rule) -> None:
        """An entry point in `modelbay.targets` lets whoever installed the plugin run the kit."""
        found = _metadata(target, rule)
        targets = dict(found.targets)
        kinds = [name for name in found.names if name in targets]
        rule.holds(kinds, f"{found.where} has targets for {sorted(targets) or 'nothing'}")
        module, colon, function = targets[kinds[0]].partition(":")
        whole = bool(colon) and module.replace(".", "").isidentifier() and function.isidentifier()
        rule.holds(whole, f"'{targets[kinds[0]]}' is not MODULE:FUNCTION")

    def test_environment_is_read_by_the_host_alone(self, target: Target, rule: Rule) -> None:
        """No module of the plugin asks os.environ for a variable; the host hands them over."""
        found = [
            f"{path.name}:{line}"
            for path in _sources(target)
            for line in _reads_of_the_environment(path)
        ]
        rule.holds(not found, ", ".join(found[:5]))

    async def test_module_keeps_no_state(self, bay: Bay, rule: Rule) -> None:
        """Nothing a provider did stays in a variable of the plugin's modules."""
        await bay.backend().discover_models()
        before = _sizes(bay.target)
        for _ in range(2):
            await bay.chat()
            await bay.backend().discover_models()
        after = _sizes(bay.target)
        grown = sorted(name for name, size in after.items() if before.get(name, size) != size)
        rule.holds(not grown, f"these changed: {grown}")


def _imported(target: Target, rule: Rule) -> Import:
    done = import_of(target.module, tuple(sys.path))
    rule.holds(not done.error, f"{target.module} cannot be imported: {done.error}")
    return done


def _module(target: Target) -> ModuleType:
    return import_module(target.module)


def _metadata(target: Target, rule: Rule) -> Metadata:
    target.require("metadata")
    found = found_metadata(target)
    if found is None:
        rule.broken(
            f"no distribution and no pyproject.toml has an entry point for {target.module};"
            " name it in Target.project"
        )
    return found


def found_metadata(target: Target) -> Metadata | None:
    """Of the distribution, or else of the ``pyproject.toml``."""
    return _installed(target) or _project(target)


def _installed(target: Target) -> Metadata | None:
    for dist in importlib_metadata.distributions():
        names = tuple(
            entry.name
            for entry in dist.entry_points
            if entry.group == GROUP and entry.value == target.module
        )
        if names:
            name = str(dist.metadata["Name"])
            targets = tuple(
                (e.name, e.value) for e in dist.entry_points if e.group == TARGETS_GROUP
            )
            return Metadata(name, names, tuple(dist.requires or ()), dist.version, targets)
    return None


def _project(target: Target) -> Metadata | None:
    """The nearest pyproject.toml above the module that has an entry point for it."""
    if target.project is not None:
        return _read(Path(target.project), target.module)
    file = _module(target).__file__
    for folder in Path(file).parents if file else ():
        path = folder / "pyproject.toml"
        if path.is_file() and (found := _read(path, target.module)):
            return found
    return None


def _read(path: Path, module: str) -> Metadata | None:
    project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    groups = project.get("entry-points", {})
    points, targets = groups.get(GROUP, {}), groups.get(TARGETS_GROUP, {})
    names = tuple(name for name, value in points.items() if value == module)
    if not names:
        return None
    version = project.get("version", "")
    if not version and "version" in project.get("dynamic", ()):
        version = "dynamic"
    requires = tuple(project.get("dependencies", ()))
    return Metadata(str(path), names, requires, version, tuple(targets.items()))


def _sources(target: Target) -> list[Path]:
    """The plugin's modules that are in use; a simulator's own only if something has loaded it."""
    _module(target)
    package = target.module.rpartition(".")[0] or target.module
    files = [
        getattr(module, "__file__", None)
        for name, module in tuple(sys.modules.items())
        if name in (target.module, package) or name.startswith(f"{package}.")
    ]
    return sorted(Path(file) for file in files if file and file.endswith(".py"))


def _reads_of_the_environment(path: Path) -> list[int]:
    """Lines that ask for a variable; to hand all of them to a child process is no such thing."""
    lines: list[int] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Subscript(value=asked) | ast.Attribute(value=asked):
                found = _is_environ(asked)
            case ast.Compare(comparators=others):
                found = any(map(_is_environ, others))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr="getenv" | "getenvb")):
                found = True
            case ast.ImportFrom(module="os", names=names):
                found = any(alias.name in (*_ENVIRON, "getenv", "getenvb") for alias in names)
            case _:
                found = False
        if found and isinstance(node, ast.expr | ast.stmt):
            lines.append(node.lineno)
    return lines


def _is_environ(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr=name):
            return name in _ENVIRON
        case _:
            return False


def _sizes(target: Target) -> dict[str, int]:
    """How many things every collection at module level holds, in all modules of the plugin."""
    package = target.module.rpartition(".")[0] or target.module
    sizes: dict[str, int] = {}
    for name, module in tuple(sys.modules.items()):
        if name != package and not name.startswith(f"{package}."):
            continue
        for variable, value in vars(module).items():
            if not variable.startswith("__") and isinstance(value, (dict, list, set)):
                sizes[f"{name}.{variable}"] = len(value)
    return sizes
