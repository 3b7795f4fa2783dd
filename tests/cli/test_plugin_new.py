"""Mirrors modelbay_cli/scaffold: names, files, sizes, and that the kit is green at once."""

import ast
import io
import os
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import click
import importlib_metadata
import pytest

from cli.conftest import Invoke, install
from modelbay.host.versions import core_range, fit
from modelbay_cli.scaffold import STYLES, PluginName, Style, plugin_name, write

SHARED = {
    ".github/workflows/test.yml",
    ".gitignore",
    "README.md",
    "pyproject.toml",
    "src/modelbay_acme/__init__.py",
    "src/modelbay_acme/plugin.py",
    "src/modelbay_acme/py.typed",
    "src/modelbay_acme/simulator.py",
    "src/modelbay_acme/table.py",
    "src/modelbay_acme/target.py",
    "tests/test_conformance.py",
}
# The plugin itself. A simulator and a target are what it is tested with.
PLUGIN = ("plugin.py", "table.py", "wire.py")


def code_lines(text: str) -> int:
    """Lines that hold code: no blank ones, no comments, no docstrings."""
    kept: set[int] = set()
    layout = {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
        tokenize.ENDMARKER,
    }
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout:
            kept |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            kept -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(kept)


@pytest.mark.parametrize(
    "text",
    ["acme-cloud", "Acme_Cloud", "ACME..cloud", "modelbay-acme-cloud", "modelbay_acme.cloud"],
)
def test_a_name_has_one_kind_however_it_is_written(text: str) -> None:
    name = plugin_name(text)
    assert name == PluginName("acme-cloud")
    assert (name.dist, name.package) == ("modelbay-acme-cloud", "modelbay_acme_cloud")
    assert (name.class_name, name.title) == ("AcmeCloud", "Acme Cloud")


@pytest.mark.parametrize(
    "text",
    ["", "-", "7up", "-acme", "acme-", "a b", "acme/x", "../acme", "zwölf", "a" * 33, "a\n", "@x@"],
)
def test_what_cannot_be_a_kind_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="cannot be a kind"):
        plugin_name(text)


@pytest.mark.parametrize("text", ["core", "modelbay-cli", "testing", "http", "modelbay-gateway"])
def test_a_name_of_our_own_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="modelbay's own"):
        plugin_name(text)


@pytest.mark.parametrize("style", STYLES)
def test_all_files_are_written_and_no_field_is_left(style: Style, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "acme"

    written = write(plugin_name("acme"), style, folder)

    wire = {"src/modelbay_acme/wire.py"} if style == "native" else set()
    assert {path.as_posix() for path in written} == SHARED | wire
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == SHARED | wire
    assert list(folder.parent.iterdir()) == [folder]  # nothing unfinished beside it
    for path in folder.rglob("*.*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8").replace("uses: actions/", "")
            assert "@kind@" not in text
            assert "@package@" not in text
            if path.suffix == ".py":
                compile(text, path, "exec")


@pytest.mark.parametrize(("style", "limit"), [("openai", 12), ("native", 90)])
def test_a_plugin_is_small(style: Style, limit: int, tmp_path: Path) -> None:
    write(plugin_name("acme"), style, tmp_path / "acme")
    package = tmp_path / "acme" / "src" / "modelbay_acme"
    counted = {
        path.name: code_lines(path.read_text()) for path in package.iterdir() if path.name in PLUGIN
    }
    assert sum(counted.values()) <= limit, counted


@pytest.mark.parametrize("kind", ["acme", "acme-cloud"])
@pytest.mark.parametrize("style", STYLES)
def test_its_project_is_small_and_says_all_that_is_read_without_importing(
    style: Style, kind: str, tmp_path: Path
) -> None:
    name = plugin_name(kind)
    write(name, style, tmp_path / "new")
    text = (tmp_path / "new" / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]

    assert len([line for line in text.splitlines() if line.strip()]) <= 14
    assert core_range(project["dependencies"]) == ">=0.1,<1"
    assert fit(core_range(project["dependencies"])) == "fits"
    assert project["entry-points"] == {
        "modelbay": {kind: f"{name.package}.plugin"},
        "modelbay.simulators": {kind: f"{name.package}.simulator:demo"},
        "modelbay.targets": {kind: f"{name.package}.target:target"},
    }


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["acme", "a-long-name-of-a-kind-as-allowed"])
@pytest.mark.parametrize("style", STYLES)
def test_what_is_written_is_clean(style: Style, kind: str, tmp_path: Path) -> None:
    write(plugin_name(kind), style, tmp_path / "new")
    rules = ["--select", "E,F,I,B,UP,RUF,SIM,N", "--config", "line-length=100"]
    if len(kind) > len("acme-cloud"):
        rules += ["--ignore", "E501"]  # where a long name stands
    checks = [
        ["ruff", "check", "--isolated", *rules],
        ["mypy", "--strict", "--python-version", "3.11", "--cache-dir", str(tmp_path / "cache")],
    ]
    for program, *arguments in checks:
        done = subprocess.run(
            [sys.executable, "-m", program, *arguments, "src", "tests"],
            cwd=tmp_path / "new",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.soak
@pytest.mark.parametrize("style", STYLES)
def test_the_kit_is_green_at_once(style: Style, tmp_path: Path) -> None:
    write(plugin_name("acme"), style, tmp_path / "new")
    path = os.pathsep.join([str(tmp_path / "new" / "src"), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path / "new",
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.splitlines()[-1].split(" passed")[0]) > 150


def test_new_says_what_it_wrote_and_what_comes_next(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("plugin", "new", "Acme_Cloud", "--kind", "native")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert "modelbay-acme-cloud/src/modelbay_acme_cloud/wire.py" in lines
    assert all((tmp_path / line).is_file() for line in lines)
    assert done.stderr == (
        "next: modelbay plugin install -e './modelbay-acme-cloud[test]'\n"
        "      modelbay plugin check acme-cloud\n"
    )


@pytest.mark.parametrize("what", ["a folder", "a file", "a link to nothing"])
def test_a_place_that_is_taken_is_refused(what: str, invoke: Invoke, tmp_path: Path) -> None:
    place = tmp_path / "there"
    match what:
        case "a folder":
            place.mkdir()
        case "a file":
            place.write_text("mine")
        case _:
            place.symlink_to(tmp_path / "nowhere")
    done = invoke("plugin", "new", "acme", "--dir", str(place))
    assert done.exit_code == 2
    assert "there already" in done.stderr
    assert not place.is_dir() or not list(place.iterdir())


def test_an_unknown_style_and_a_taken_kind_are_refused(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "more"
    install(packages, "acme-for-bays", "[modelbay]\nacme = acme_for_bays\n")
    monkeypatch.syspath_prepend(packages)
    place = str(tmp_path / "new")
    done = invoke("plugin", "new", "acme", "--dir", place)
    assert (done.exit_code, "taken by acme-for-bays" in done.stderr) == (2, True)
    done = invoke("plugin", "new", "other", "--kind", "grpc", "--dir", place)
    assert (done.exit_code, "'openai', 'native'" in done.stderr) == (2, True)
    assert not Path(place).exists()


@pytest.mark.parametrize(
    ("dist", "kind", "name"),
    [
        ("modelbay-acme", "acme", "Acme"),  # as those that come with modelbay are called
        ("modelbay-acme", "acme", "modelbay_acme"),
        ("modelbay-acmecloud", "acme-cloud", "acmecloud"),  # the distribution would be the same
    ],
)
def test_the_name_of_what_is_installed_is_refused(
    dist: str,
    kind: str,
    name: str,
    invoke: Invoke,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(tmp_path / "more", dist, f"[modelbay]\n{kind} = {dist.replace('-', '_')}\n")
    monkeypatch.syspath_prepend(tmp_path / "more")
    done = invoke("plugin", "new", name, "--dir", str(tmp_path / "new"))
    assert (done.exit_code, dist in done.stderr) == (2, True)
    assert not (tmp_path / "new").exists()


def test_the_name_of_a_part_of_modelbay_is_refused_even_when_it_was_removed(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "more", "modelbay", "")
    metadata = tmp_path / "more" / "modelbay-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text() + "Requires-Dist: modelbay-acme==1.0\n")
    monkeypatch.syspath_prepend(tmp_path / "more")
    done = invoke("plugin", "new", "acme", "--dir", str(tmp_path / "new"))
    assert (done.exit_code, "modelbay-acme" in done.stderr) == (2, True)
    assert not (tmp_path / "new").exists()


INSTALLED = sorted(importlib_metadata.entry_points(group="modelbay").names)


@pytest.mark.parametrize("entry", INSTALLED)
def test_no_kind_that_is_installed_can_be_had_again(
    entry: str, invoke: Invoke, tmp_path: Path
) -> None:
    done = invoke("plugin", "new", entry, "--dir", str(tmp_path / "new"))
    assert (done.exit_code, (tmp_path / "new").exists()) == (2, False)


def test_a_failed_write_leaves_nothing(tmp_path: Path, invoke: Invoke) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = invoke("plugin", "new", "acme", "--dir", str(file / "acme"))
    assert (done.exit_code, "cannot be written" in done.stderr) == (2, True)
    assert file.read_text() == ""
