"""What the gateway stands on: the host and the types, and neither a plugin nor a wire."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import modelbay_gateway

SOURCE = Path(str(modelbay_gateway.__file__)).parent
FILES = sorted(SOURCE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            yield str(node.module)


def offenders(paths: list[Path], forbidden: str) -> list[str]:
    return [
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in paths
        for name in imports(path)
        if re.fullmatch(forbidden, name)
    ]


PURE = ("decode.py", "encode.py", "fields.py", "framing.py", "plain.py")


def test_backends_are_reached_through_the_host_alone() -> None:
    forbidden = r"(httpx2?|modelbay\.(wire|client|testing)|modelbay_(?!gateway)\w+)(\..*)?"

    assert FILES
    assert offenders(FILES, forbidden) == []


def test_reading_and_writing_a_protocol_does_no_io() -> None:
    pure = [path for path in FILES if path.name in PURE]

    assert {path.name for path in pure} == set(PURE)
    assert offenders(pure, r"(asyncio|anyio|socket|os|time|starlette|uvicorn)(\..*)?") == []


def test_only_the_server_knows_what_runs_under_the_application() -> None:
    others = [path for path in FILES if path.name != "server.py"]

    assert offenders(others, r"uvicorn(\..*)?") == []
