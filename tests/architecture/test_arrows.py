"""The arrows of the design, read from the imports themselves."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelbay

SOURCE = Path(str(modelbay.__file__)).parent
ROOT = SOURCE.parents[2]


def module_name(path: Path, root: Path = SOURCE.parent) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module a file imports, anywhere in it, and whether for type checkers only."""

    def walk(node: ast.AST, typing_only: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.Import):
            yield from ((name.name, typing_only) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                is_module = (SOURCE.parent / Path(*whole.split("."))).with_suffix(".py").exists()
                yield (whole if is_module else str(node.module)), typing_only
        for field, value in ast.iter_fields(node):
            checked = (
                isinstance(node, ast.If)
                and field == "body"
                and getattr(node.test, "id", "") == "TYPE_CHECKING"
            )
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk(child, typing_only or checked)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False)


def files(*places: str) -> list[Path]:
    found = [
        path
        for place in places
        for path in ([SOURCE / place] if place.endswith(".py") else (SOURCE / place).rglob("*.py"))
    ]
    assert found, places
    return found


def offenders(paths: list[Path], forbidden: str, *, typing_too: bool = True) -> list[str]:
    return [
        f"{module_name(path)} imports {name}"
        for path in paths
        for name, typing_only in imports(path)
        if re.fullmatch(forbidden, name) and (typing_too or not typing_only)
    ]


# For each part, what of modelbay it may stand on (itself always).
MAY_IMPORT = {
    "errors.py": (),
    "refs.py": ("errors",),
    "models": ("refs", "errors"),
    "closing.py": (),
    "outbox.py": (),
    "redaction": (),
    "deadline.py": ("errors",),
    "dsn.py": ("errors", "models"),
    "config.py": ("errors", "models", "dsn"),
    "config_check.py": ("errors", "models", "config"),
    "config_edit.py": ("errors", "models", "dsn", "config_check"),
    "config_schema.py": ("models", "config"),
    "resolve.py": ("models",),
    "keys.py": ("errors",),
    "context.py": ("errors", "models", "config", "wire", "redaction"),
    "hookspecs.py": ("context", "models"),
    "wire": ("errors", "models", "redaction"),
    "client": ("errors", "models", "wire", "context", "deadline", "closing", "outbox"),
    "state": ("errors", "refs", "models"),
    "host": (
        "client",
        "wire",
        "state",
        "errors",
        "refs",
        "models",
        "context",
        "hookspecs",
        "resolve",
        "config",
        "dsn",
        "keys",
        "deadline",
        "closing",
        "redaction",
    ),
}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_stands_only_on_those_below_it(part: str) -> None:
    own = part.removesuffix(".py")
    below = "|".join((own, *MAY_IMPORT[part]))
    found = [
        f"{module_name(path)} imports {name}"
        for path in files(part)
        for name, _ in imports(path)
        if re.match(r"modelbay(\.|$)", name)
        and not re.fullmatch(rf"modelbay\.({below})(\..*)?", name)
        and not (own == "host" and name == "modelbay")
    ]

    assert found == []


def test_every_part_of_the_core_has_its_place_in_the_order() -> None:
    parts = {
        path.name
        for path in SOURCE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert parts - set(MAY_IMPORT) <= {"__init__.py", "testing"}


def test_there_are_no_cycles() -> None:
    above = {
        module_name(path): {
            name
            for name, typing_only in imports(path)
            if not typing_only and name.startswith("modelbay.")
        }
        for path in SOURCE.rglob("*.py")
        if path.parent != SOURCE or path.name != "__init__.py"
    }

    def reach(name: str, trail: tuple[str, ...]) -> list[str]:
        if name in trail:
            return [" -> ".join((*trail[trail.index(name) :], name))]
        return [found for each in above.get(name, ()) for found in reach(each, (*trail, name))]

    # `ProviderContext.options` needs the reader of errors only when an option is wrong.
    assert sorted({cycle for name in above for cycle in reach(name, ())}) == []


def test_the_core_imports_no_plugin_no_command_line_and_no_gateway() -> None:
    assert offenders(files("."), r"modelbay_\w+(\..*)?") == []


def test_wire_knows_bytes_and_no_sockets() -> None:
    forbidden = (
        r"(httpx2?|httpcore2?|socket|ssl|asyncio|anyio|trio|time|os|modelbay\.client.*)(\..*)?"
    )

    assert offenders(files("wire"), forbidden) == []


def test_only_context_client_and_host_know_the_http_library() -> None:
    # The kit puts a proxy with faults in front of real servers, and that is a client too.
    allowed = set(files("context.py", "client", "host", "testing"))
    others = [path for path in files(".") if path not in allowed]

    assert offenders(others, r"httpx2?(\..*)?") == []
    assert offenders(files("."), r"httpx(\..*)?") == []  # one library, not two


PURE = (
    "wire",
    "redaction",
    "models",
    "resolve.py",
    "hookspecs.py",
    "refs.py",
    "errors.py",
    "config.py",
    "dsn.py",
)


def test_what_trio_would_need_imports_no_asyncio() -> None:
    assert offenders(files(*PURE, "context.py"), r"asyncio(\..*)?") == []


@pytest.mark.parametrize(
    "plugin", sorted((ROOT / "plugins").glob("*/src/*")), ids=lambda path: str(path.name)
)
def test_plugins_import_no_asyncio_and_nothing_of_the_host(plugin: Path) -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in plugin.rglob("*.py")
        if "simulator" not in path.relative_to(plugin).as_posix()
        for name, _ in imports(path)
        if re.fullmatch(r"(asyncio|modelbay\.host|modelbay_cli|modelbay_gateway)(\..*)?", name)
    ]

    assert found == []


def test_the_command_line_reaches_backends_only_through_the_host() -> None:
    found = [
        f"{path.name} imports {name}"
        for path in (ROOT / "cli" / "src").rglob("*.py")
        for name, _ in imports(path)
        if re.fullmatch(r"modelbay\.(wire|client)(\..*)?", name)
        or re.fullmatch(r"modelbay_(?!cli)\w+(\..*)?", name)
    ]

    assert found == []


def test_the_core_names_no_backend() -> None:
    names = re.compile(r"ollama|llama[-_ ]?swap|llama[-_. ]?cpp|deepseek", re.IGNORECASE)
    found = [
        f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"
        for path in SOURCE.rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if names.search(line.replace("LLAMA_PROVIDERS_PATH", ""))
    ]

    assert found == []


def test_the_environment_is_read_in_one_place() -> None:
    found = [
        module_name(path)
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and "testing" not in path.relative_to(SOURCE).parts
    ]

    assert found == ["modelbay.host.host"]


def test_packages_hand_on_names_and_do_nothing_else() -> None:
    found = []
    for path in SOURCE.rglob("__init__.py"):
        if path.parent in (SOURCE, SOURCE / "testing"):
            continue  # lazily, by one table: see test_public_names.py
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            allowed = (ast.ImportFrom, ast.Import)
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            if not (isinstance(node, allowed) or is_text or is_all):
                found.append(f"{module_name(path)}: {ast.unparse(node)[:60]}")

    assert found == []


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=module_name)
def test_every_module_says_what_it_is_in_its_first_line(path: Path) -> None:
    documented = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))

    assert documented, path
    assert re.search(r"[.:?]$", documented.splitlines()[0]), documented.splitlines()[0]
