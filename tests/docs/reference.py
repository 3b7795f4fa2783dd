"""The pages of docs/reference, made from the source: signatures, types, units, what is raised.

The source is read and never imported, so annotations stand there as their authors wrote them.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.docstrings import code, fenced, items, section, split, table

CORE = Path(__file__).parents[2] / "core" / "src" / "modelbay"
MANY = 4  # bases of a class are no longer worth telling
LINE = 88  # characters of a signature on one line
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Page:
    """One page: what it begins with, and the names it shows; without names all public ones."""

    title: str
    opening: str
    modules: tuple[tuple[str, tuple[str, ...]], ...]


PAGES = {
    "hooks": Page(
        "Hooks",
        "What the host asks a plugin, and what a hook may know. How to answer is told in"
        " [Writing a provider](../writing-a-provider.md).",
        (("hookspecs", ()), ("context", ("ProviderContext", "Resources"))),
    ),
    "types": Page(
        "Providers, models, management",
        "Frozen Pydantic models; `model_dump_json()` gives the JSON that `--json` prints.",
        (
            ("refs", ()),
            ("models/provider", ()),
            ("models/catalog", ()),
            ("models/capabilities", ()),
            ("models/manage", ()),
            ("models/media", ()),
        ),
    ),
    "chat": Page(
        "Chat: requests and events",
        "What goes into a turn, and the events that come out of it.",
        (("models/chat", ()), ("models/events", ())),
    ),
    "exceptions": Page(
        "Exceptions",
        "The tree of errors. Codes, HTTP statuses and exit codes stand in"
        " [Errors and exit codes](../errors.md).",
        (("errors", ()),),
    ),
    "host": Page(
        "Host and SyncHost",
        "What an embedder holds. The guide is [Embedding](../embedding.md).",
        (
            ("host/host", ("Host", "Explanation")),
            ("host/streams", ("EventStream",)),
            ("host/sync", ("SyncHost", "SyncStream")),
            ("state/store", ("StateStore",)),
        ),
    ),
    "client": Page(
        "For plugins: client and wire",
        "What a plugin talks to its server with. `modelbay.client` opens sockets,"
        " `modelbay.wire` knows bytes alone.",
        (
            ("client/http", ()),
            ("client/openai_compat", ()),
            ("closing", ()),
            ("wire/lines", ()),
            ("wire/sse", ()),
            ("wire/errors", ()),
            ("wire/openai_chat", ()),
            ("wire/openai_misc", ()),
            ("wire/think_tags", ()),
        ),
    ),
    "testing": Page(
        "Testing",
        "A pretended server for tests, and what the conformance kit is given.",
        (
            ("testing/simulator", ("Simulator", "SimulatorError")),
            ("testing/exchange", ("Exchange", "Route")),
            ("testing/connection", ("ClientGone",)),
            ("testing/request", ("Request",)),
            ("testing/fault", ("Fault",)),
            ("testing/conformance/provider", ()),
            ("testing/conformance/target", ()),
            ("testing/conformance/proxy", ()),
            ("testing/recording/recorder", ("Recorder",)),
            ("testing/recording/redaction", ("Redaction",)),
            ("testing/recording/replay", ("Replay",)),
            ("testing/recording/replayer", ("Replayer",)),
        ),
    ),
}


def render(page: Page) -> str:
    """The whole page as Markdown."""
    parts = [f"# {page.title}", page.opening]
    for module, names in page.modules:
        tree = ast.parse((CORE / f"{module}.py").read_text(encoding="utf-8"))
        parts += [f"## `modelbay.{module.replace('/', '.')}`", *docstring(tree)]
        shown = [node for node in tree.body if name_of(node) and not is_private(node)]
        parts += [
            part
            for node in shown
            if not names or name_of(node) in names
            for part in definition(node)
        ]
    return "\n\n".join(parts) + "\n"


def name_of(node: ast.stmt) -> str:
    """What a statement defines that belongs on a page: a class, a function, a type alias."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return name
        case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias")):
            return name
        case ast.Assign(
            targets=[ast.Name(id=name)], value=ast.Subscript() | ast.BinOp(op=ast.BitOr())
        ):
            return name  # an alias without its marker
    return ""


def is_private(node: ast.stmt) -> bool:
    return name_of(node).startswith("_")


def definition(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.ClassDef():
            bases = [ast.unparse(base) for base in node.bases if not is_scaffolding(base)]
            yield f"### {node.name}" + (f" ({', '.join(bases)})" if 0 < len(bases) < MANY else "")
            made = next((n for n in node.body if isinstance(n, Function) and is_made_by(n)), None)
            if made is not None and "\nArgs:" in (ast.get_docstring(node) or ""):
                yield fenced(signature(node.name, made))
            yield from fields(node)
            for inner in node.body:
                if isinstance(inner, Function) and not is_private(inner) and not in_table(inner):
                    yield from member(inner)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield f"### {node.name}"
            yield from function(node)
        case ast.AnnAssign(value=ast.expr() as value) | ast.Assign(value=value):
            yield f"### {name_of(node)}"
            yield fenced(f"{name_of(node)} = {ast.unparse(value)}")


def in_table(node: Function) -> bool:
    """A property of which no more is told than a line."""
    return is_attribute(node) and not ast.get_docstring(node)


def is_attribute(node: Function) -> bool:
    return any(ast.unparse(mark) == "property" for mark in node.decorator_list)


def is_made_by(node: Function) -> bool:
    return node.name == "__init__" and len(node.args.args + node.args.kwonlyargs) > 1


def is_scaffolding(base: ast.expr) -> bool:
    return ast.unparse(base).split("[")[0] in ("Frozen", "Protocol", "Generic")


def member(node: Function) -> Iterator[str]:
    marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
    if "property" in marks:
        yield f"#### {node.name}"
        yield fenced(f"{node.name}: {annotation(node.returns)}" if node.returns else node.name)
        yield from docstring(node)
    elif not marks & {"field_validator", "overload"}:
        yield f"#### {node.name}"
        yield from function(node)


def function(node: Function) -> Iterator[str]:
    marks = [ast.unparse(mark) for mark in node.decorator_list]
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    text = signature(f"{word} {node.name}", node)
    if any(mark.endswith("contextmanager") for mark in marks):  # what it yields the block gets
        text = re.sub(r"-> \w+\[(.*)\]$", r"as \1", text.replace("def ", "with ", 1))
    yield fenced(text)
    yield from docstring(node)


def signature(opening: str, node: Function) -> str:
    pieces = [*arguments(node.args)]
    returns = f" -> {annotation(node.returns)}" if node.returns and node.name[:2] != "__" else ""
    text = f"{opening}({', '.join(pieces)}){returns}"
    if len(text) > LINE:
        text = f"{opening}(\n" + "".join(f"    {piece},\n" for piece in pieces) + f"){returns}"
    return text


def arguments(args: ast.arguments) -> Iterator[str]:
    plain = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults))
    for arg, default in zip(plain, [*defaults, *args.defaults], strict=True):
        if arg.arg not in ("self", "cls"):
            yield argument(arg, default)
    if args.vararg:
        yield f"*{argument(args.vararg, None)}"
    elif args.kwonlyargs:
        yield "*"
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        yield argument(arg, default)


def argument(arg: ast.arg, default: ast.expr | None) -> str:
    text = f"{arg.arg}: {annotation(arg.annotation)}" if arg.annotation else arg.arg
    return text if default is None else f"{text} = {ast.unparse(default)}"


def annotation(node: ast.expr) -> str:
    """As it would read without the quotes that put its evaluation off."""
    return re.sub(r"'([^']*)'", r"\1", ast.unparse(node)) if quoted(node) else ast.unparse(node)


def quoted(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def fields(node: ast.ClassDef) -> Iterator[str]:
    """The docstring of a class, and a table of its fields with what the docstring says of each."""
    text = ast.get_docstring(node) or ""
    head, sections = split(text)
    yield from head
    told = dict(items(sections.pop("Attributes", "")))
    rows = []
    for inner in node.body:
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
            name = inner.target.id
            if name.startswith("_") or name == "model_config":
                continue
            meaning = " ".join(filter(None, (told.pop(name, ""), limits(inner.value))))
            default = initial(inner.value)
            rows.append((f"`{name}`", code(annotation(inner.annotation)), default, meaning))
        elif isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
            name = inner.targets[0].id
            if name in ("code", "retryable"):
                rows.append((f"`{name}`", "", code(ast.unparse(inner.value)), told.pop(name, "")))
    types = dict(attributes(node))
    rows += [(f"`{name}`", types.pop(name, ""), "", meaning) for name, meaning in told.items()]
    for inner in node.body:
        if isinstance(inner, Function) and in_table(inner) and inner.name in types:
            rows.append((f"`{inner.name}`", types[inner.name], "", ""))
    if rows:
        yield table(("field", "type", "default", "meaning"), rows)
    for name, content in sections.items():
        yield section(name, content)


def attributes(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Public attributes that are no fields, and their types: properties, what `__init__` sets."""
    for inner in node.body:
        if not isinstance(inner, Function):
            continue
        if is_attribute(inner) and inner.returns and not is_private(inner):
            yield inner.name, code(annotation(inner.returns))
        if inner.name == "__init__":
            given = {arg.arg: arg.annotation for arg in [*inner.args.args, *inner.args.kwonlyargs]}
            for step in inner.body:
                match step:
                    case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=kind):
                        yield name, code(annotation(kind))
                    case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.Name(id=source)):
                        known = given.get(source)
                        yield name, code(annotation(known)) if known else ""


def initial(value: ast.expr | None) -> str:
    """The default of a field, also where `Field(...)` or `field(...)` holds it."""
    if value is None:
        return "required"
    if not (isinstance(value, ast.Call) and ast.unparse(value.func) in ("Field", "field")):
        return code(ast.unparse(value))
    given = {word.arg: word.value for word in value.keywords}
    if "default" in given:
        return code(ast.unparse(given["default"]))
    factory = given.get("default_factory")
    return "required" if factory is None else code(f"{ast.unparse(factory)}()")


def limits(value: ast.expr | None) -> str:
    """What a field refuses, and what stands in its ``description``."""
    if not (isinstance(value, ast.Call) and ast.unparse(value.func) == "Field"):
        return ""
    signs = {"gt": "greater than", "ge": "at least", "le": "at most", "lt": "less than"}
    given = {word.arg: word.value for word in value.keywords if word.arg}
    told = [f"{text} {ast.unparse(given[name])}" for name, text in signs.items() if name in given]
    description = given.get("description")
    if isinstance(description, ast.Constant):
        told.insert(0, str(description.value))
    return f"({'; '.join(told)})" if told else ""


def docstring(node: ast.Module | Function) -> Iterator[str]:
    head, sections = split(ast.get_docstring(node) or "")
    yield from head
    for name, content in sections.items():
        yield section(name, content)
