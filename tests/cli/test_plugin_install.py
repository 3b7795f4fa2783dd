"""Mirrors modelbay_cli/installing: the durable way for each installation, and the wish list.

No test here may change the environment it runs in: every installer is a script that writes down
how it was called.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from cli.conftest import Installation, Invoke, install
from modelbay.errors import ConfigError
from modelbay_cli.installing import wishes
from modelbay_cli.installing.manner import Manner, Pip, Pipx, UvTool, detect
from modelbay_cli.installing.receipt import read_receipt
from modelbay_cli.installing.requirement import Requirement, requirement

ACME = Requirement("modelbay-acme", "modelbay-acme>=2")
LOCAL = Requirement("modelbay-own", "/src/own[test]", editable=True)
RECEIPT = """
[tool]
requirements = [
    { name = "modelbay-cli" },
    { name = "modelbay", specifier = ">=0.1", extras = ["all"] },
    { name = "modelbay-own", editable = "/src/own" },
    { name = "modelbay-git", git = "https://host/x.git?rev=main#0123456789" },
    { name = "modelbay-url", url = "https://host/y.whl" },
    { name = "modelbay-dir", directory = "/src/dir" },
    { name = "helper", marker = "python_version < '4'" },
]
python = "3.12"
entrypoints = [
    { name = "modelbay", install-path = "/home/sam/.local/bin/modelbay", from = "modelbay-cli" },
    { name = "help", install-path = "/home/sam/.local/bin/help", from = "helper" },
]
"""
KEPT = (
    *("modelbay-cli", "--with", "modelbay[all]>=0.1", "--with-editable", "/src/own"),
    *("--with", "modelbay-git @ git+https://host/x.git@main"),
    *("--with", "modelbay-url @ https://host/y.whl", "--with", "/src/dir"),
    *("--with-executables-from", "helper ; python_version < '4'"),
)

_SCRIPT = """#!{python}
import json, os, sys
with open({calls!r}, "a") as file:
    file.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
print("the installer talks")
sys.exit(int(open({code!r}).read()) if os.path.exists({code!r}) else 0)
"""


@dataclass(frozen=True, slots=True)
class Installers:
    """Scripts in place of Python, pipx and uv, and an environment that is nobody's."""

    prefix: Path
    bin: Path
    python: str

    @property
    def calls(self) -> list[list[str]]:
        file = self.bin / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def fail(self, code: int) -> None:
        (self.bin / "code").write_text(str(code))


@pytest.fixture
def installers(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installers:
    folder, prefix = tmp_path / "bin", tmp_path / "modelbay-cli"
    folder.mkdir()
    prefix.mkdir()
    for name in ("python", "pipx", "uv"):
        script = folder / name
        script.write_text(
            _SCRIPT.format(
                python=sys.executable,
                name=name,
                calls=str(folder / "calls"),
                code=str(folder / "code"),
            )
        )
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return Installers(prefix, folder, str(folder / "python"))


@pytest.fixture
def wished(installation: Installation) -> Callable[[], list[str]]:
    """The wish list as it is in the file."""
    return lambda: [one.spec for one in wishes.read(installation.home / "data" / "plugins.json")]


def project(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1"\n')
    return folder


# what a user may write


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("modelbay-acme", "modelbay-acme"),
        ("Modelbay_Acme", "modelbay-acme"),
        ("modelbay.acme[fast, more]>=2,<3", "modelbay-acme"),
        ("x", "x"),
        ("acme @ https://host/acme-1.whl", "acme"),
        ("acme @ git+https://host/acme@main", "acme"),
        ("acme; python_version < '4'", "acme"),
    ],
)
def test_a_named_requirement_is_kept_as_it_is(text: str, name: str) -> None:
    assert requirement(f" {text} ") == Requirement(name, text)


def test_a_folder_is_called_what_its_project_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path / "src", "Modelbay_Acme")
    monkeypatch.chdir(tmp_path)
    assert requirement("./src") == Requirement("modelbay-acme", str(folder))
    assert requirement("./src[test]") == Requirement("modelbay-acme", f"{folder}[test]")
    assert requirement("src", editable=True) == Requirement(
        "modelbay-acme", str(folder), editable=True
    )


@pytest.mark.parametrize("file", ["modelbay_acme-1.0-py3-none-any.whl", "modelbay_acme-1.0.tar.gz"])
def test_a_file_is_called_what_its_name_says(file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(b"")
    wanted = Requirement("modelbay-acme", str(tmp_path / file))
    assert requirement(str(tmp_path / file)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-r x",
        "--index-url=x",
        "https://host/x.whl",
        "git+https://host/x",
        "a b",
        "a$",
        "./none",
    ],
)
def test_what_cannot_be_found_again_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        requirement(text)


def test_a_folder_without_a_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(click.BadParameter, match="no pyproject"):
        requirement(str(tmp_path), editable=True)


# how it was installed


def found(prefix: Path, base: Path | None = None, **more: Callable[..., object]) -> Manner:
    asked: dict[str, Callable[..., object]] = {
        "which": lambda name: f"/usr/bin/{name}",
        "has_pip": lambda: True,
        "externally_managed": lambda: False,
        **more,
    }
    return detect(prefix, base or Path("/usr"), "/venv/python", **asked)  # type: ignore[arg-type]


def test_an_environment_with_pip_is_pips(tmp_path: Path) -> None:
    manner = found(tmp_path)
    assert manner == Pip(("/venv/python", "-m", "pip"))
    pip = ("/venv/python", "-m", "pip")
    assert manner.install([ACME, LOCAL]) == (
        (*pip, "install", "modelbay-acme>=2", "-e", "/src/own[test]"),
    )
    assert manner.uninstall(["a", "b"]) == ((*pip, "uninstall", "-y", "a", "b"),)
    assert manner.upgrade([ACME]) == ((*pip, "install", "--upgrade", "modelbay-acme>=2"),)


def test_an_environment_without_pip_is_uvs(tmp_path: Path) -> None:
    manner = found(tmp_path, has_pip=lambda: False)
    at = ("--python", "/venv/python")
    uv = ("/usr/bin/uv", "pip")
    assert manner.install([ACME]) == ((*uv, "install", *at, "modelbay-acme>=2"),)
    assert manner.uninstall(["a"]) == ((*uv, "uninstall", *at, "a"),)
    assert manner.upgrade([ACME]) == ((*uv, "install", *at, "--upgrade", "modelbay-acme>=2"),)


def test_pipx_injects(tmp_path: Path) -> None:
    (tmp_path / "pipx_metadata.json").write_text("{}")
    manner, venv = found(tmp_path), tmp_path.name
    assert manner == Pipx("pipx", venv)
    assert manner.install([LOCAL, ACME]) == (
        ("pipx", "inject", venv, "modelbay-acme>=2"),
        ("pipx", "inject", venv, "/src/own[test]", "--editable"),
    )
    assert manner.uninstall(["a"]) == (("pipx", "uninject", venv, "a"),)
    assert manner.upgrade([ACME]) == (
        ("pipx", "runpip", venv, "install", "--upgrade", "modelbay-acme>=2"),
    )


def test_uv_is_asked_again_for_all_that_its_receipt_has(tmp_path: Path) -> None:
    prefix = tmp_path / "modelbay-cli"
    prefix.mkdir()
    (prefix / "uv-receipt.toml").write_text(RECEIPT)
    manner = found(prefix)
    assert isinstance(manner, UvTool)
    tool, python = ("uv", "tool", "install"), ("--python", "3.12")
    assert manner.install([ACME]) == ((*tool, *KEPT, "--with", "modelbay-acme>=2", *python),)
    own = ("--with-editable", "/src/own")
    gone = tuple(
        w for at, w in enumerate(KEPT) if at not in (KEPT.index(own[0]), KEPT.index(own[1]))
    )
    assert manner.uninstall(["modelbay-own"]) == ((*tool, *gone, *python),)
    assert manner.upgrade([ACME]) == (
        (
            *(*tool, *KEPT, "--with", "modelbay-acme>=2", *python),
            *("--upgrade-package", "modelbay-acme"),
        ),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "another form"),
        ("[tool", "Expected"),
        ("[tool]\nrequirements = 7", "another form"),
        ('[tool]\nrequirements = [{name = "x"}]', "does not name"),
        ('[tool]\nrequirements = [{name = "modelbay-cli", index = "y"}]', "index"),
        ('[tool]\nrequirements = []\n[tool.options]\nindex-url = "y"', "options"),
    ],
)
def test_a_receipt_that_cannot_be_repeated_is_refused(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "uv-receipt.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why) as caught:
        read_receipt(path, "modelbay-cli")
    assert str(caught.value.hint).startswith("uv tool install modelbay-cli")


def test_a_pythons_owner_is_respected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="operating system"):
        found(tmp_path, tmp_path, externally_managed=lambda: True)
    assert found(tmp_path, externally_managed=lambda: True) == Pip(("/venv/python", "-m", "pip"))


@pytest.mark.parametrize("marker", ["pipx_metadata.json", "uv-receipt.toml", ""])
def test_an_installer_that_is_gone_is_named(marker: str, tmp_path: Path) -> None:
    if marker:
        (tmp_path / marker).write_text("")
    with pytest.raises(ConfigError, match="PATH"):
        found(tmp_path, which=lambda name: None, has_pip=lambda: False)


# the wish list


def test_wishes_are_kept_by_name_and_forgotten_by_name(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "plugins.json"
    assert wishes.read(path) == ()
    wishes.remove(path, ["nothing"])
    assert not path.exists()
    wishes.add(path, [LOCAL, Requirement("modelbay-acme", "modelbay-acme")])
    wishes.add(path, [ACME])
    assert wishes.read(path) == (ACME, LOCAL)
    wishes.remove(path, ["Modelbay_Own"])
    assert wishes.read(path) == (ACME,)
    assert [p.name for p in path.parent.iterdir()] == ["plugins.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"version": 2, "plugins": []}',
        '{"version": 1, "plugins": [{"name": "x", "requirement": "--index-url=y"}]}',
        '{"version": 1, "plugins": [{"name": "x"}]}',
        "[" * 100_000,
    ],
)
def test_a_strange_list_is_an_error_and_stays(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plugins.json"
    path.write_text(text)
    with pytest.raises(ConfigError):
        wishes.read(path)
    with pytest.raises(ConfigError):
        wishes.add(path, [ACME])
    assert path.read_text() == text


# the commands


def test_install_runs_the_command_it_shows_and_remembers(
    invoke: Invoke, installers: Installers, wished: Callable[[], list[str]]
) -> None:
    done = invoke("plugin", "install", "modelbay-acme>=2", "modelbay-two")
    assert done.exit_code == 0, done.output
    words = ["-m", "pip", "install", "modelbay-acme>=2", "modelbay-two"]
    assert installers.calls == [["python", *words]]
    assert f"$ {installers.python} -m pip install 'modelbay-acme>=2' modelbay-two\n" in done.stderr
    assert done.stdout == ""
    assert wished() == ["modelbay-acme>=2", "modelbay-two"]


def test_a_dry_run_does_nothing(
    invoke: Invoke, installers: Installers, wished: Callable[[], list[str]]
) -> None:
    done = invoke("plugin", "install", "--dry-run", "modelbay-acme>=2")
    assert done.stdout == f"{installers.python} -m pip install 'modelbay-acme>=2'\n"
    assert (done.exit_code, installers.calls, wished()) == (0, [], [])


def test_a_failed_install_is_not_remembered(
    invoke: Invoke, installers: Installers, wished: Callable[[], list[str]]
) -> None:
    installers.fail(3)
    done = invoke("plugin", "install", "modelbay-acme")
    assert (done.exit_code, wished()) == (1, [])
    assert "pip ended with exit code 3" in done.stderr


@pytest.mark.parametrize(
    ("marker", "call"),
    [
        ("pipx_metadata.json", ["pipx", "inject", "modelbay-cli", "modelbay-acme"]),
        (
            "uv-receipt.toml",
            ["uv", "tool", "install", *KEPT, "--with", "modelbay-acme", "--python", "3.12"],
        ),
    ],
)
def test_install_takes_the_way_modelbay_came(
    marker: str, call: list[str], invoke: Invoke, installers: Installers
) -> None:
    (installers.prefix / marker).write_text(RECEIPT)
    assert invoke("plugin", "install", "modelbay-acme").exit_code == 0
    assert installers.calls == [call]


@pytest.mark.parametrize("name", ["modelbay", "modelbay-core>9", "Modelbay_CLI"])
def test_modelbay_itself_is_no_plugin(name: str, invoke: Invoke, installers: Installers) -> None:
    done = invoke("plugin", "install", name)
    assert (done.exit_code, installers.calls) == (2, [])
    done = invoke("plugin", "uninstall", name.partition(">")[0])
    assert (done.exit_code, installers.calls) == (1, [])


def test_sync_installs_what_is_wished_and_gone(
    invoke: Invoke, installers: Installers, installation: Installation
) -> None:
    path = installation.home / "data" / "plugins.json"
    assert "all that was asked for" in invoke("plugin", "sync").stderr
    wishes.add(path, [ACME, LOCAL, Requirement("modelbay-fake", "modelbay-fake")])
    assert invoke("plugin", "sync").exit_code == 0
    words = ["-m", "pip", "install", "modelbay-acme>=2", "-e", "/src/own[test]"]
    assert installers.calls == [["python", *words]]


def test_upgrade_is_for_what_was_wished_as_it_was_wished(
    invoke: Invoke, installers: Installers, installation: Installation
) -> None:
    assert "no plugin was installed" in invoke("plugin", "upgrade").stderr
    wishes.add(installation.home / "data" / "plugins.json", [ACME, LOCAL])
    assert invoke("plugin", "upgrade").exit_code == 0
    assert invoke("plugin", "upgrade", "fake").exit_code == 0  # by its kind
    upgrade = ["python", "-m", "pip", "install", "--upgrade"]
    assert installers.calls == [
        [*upgrade, "modelbay-acme>=2", "-e", "/src/own[test]"],
        [*upgrade, "modelbay-fake"],
    ]
    assert invoke("plugin", "upgrade", "modelbay-none").exit_code == 1


BROKEN: Mapping[str, str] = {
    "raises": "raise RuntimeError('at import')",
    "syntax": "def",
    "exits": "import sys; sys.exit(3)",
    "dies": "import os; os._exit(9)",
    "sleeps": "import time; time.sleep(600)",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plugin_can_be_removed(
    how: str,
    invoke: Invoke,
    installers: Installers,
    installation: Installation,
    wished: Callable[[], list[str]],
) -> None:
    points = "[modelbay]\nacme = modelbay_acme\n[modelbay.commands]\nacme = modelbay_acme:c\n"
    install(installation.packages, "modelbay-acme", points, BROKEN[how])
    wishes.add(installation.home / "data" / "plugins.json", [ACME, LOCAL])
    done = invoke("plugin", "uninstall", "acme")
    assert done.exit_code == 0, done.output
    assert done.stdout == "modelbay-acme is removed\n"
    assert installers.calls == [["python", "-m", "pip", "uninstall", "-y", "modelbay-acme"]]
    assert wished() == ["/src/own[test]"]


def test_a_plugin_whose_metadata_is_damaged_can_be_removed(
    invoke: Invoke, installers: Installers, installation: Installation
) -> None:
    folder = installation.packages / "modelbay_acme-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_bytes(b"\xff\xfe\x00")
    (folder / "entry_points.txt").write_text("[[[[\n=\n")
    done = invoke("plugin", "uninstall", "modelbay-acme")
    assert done.exit_code == 0, done.output
    assert installers.calls == [["python", "-m", "pip", "uninstall", "-y", "modelbay-acme"]]


def test_a_damaged_list_does_not_keep_a_plugin(
    invoke: Invoke, installers: Installers, installation: Installation
) -> None:
    path = installation.home / "data" / "plugins.json"
    path.parent.mkdir()
    path.write_text("{")
    done = invoke("plugin", "uninstall", "fake")
    assert done.exit_code == 0, done.output
    assert installers.calls == [["python", "-m", "pip", "uninstall", "-y", "modelbay-fake"]]
    assert path.read_text() == "{"


def test_a_wish_that_is_gone_is_only_forgotten(
    invoke: Invoke,
    installers: Installers,
    installation: Installation,
    wished: Callable[[], list[str]],
) -> None:
    wishes.add(installation.home / "data" / "plugins.json", [ACME])
    assert invoke("plugin", "uninstall", "modelbay-acme").exit_code == 0
    assert (installers.calls, wished()) == ([], [])


@pytest.mark.parametrize("name", ["pytest", "click", "nothing-of-this-name"])
def test_what_is_no_plugin_is_left_alone(name: str, invoke: Invoke, installers: Installers) -> None:
    for verb in ("uninstall", "upgrade"):
        done = invoke("plugin", verb, name)
        assert (done.exit_code, installers.calls) == (1, [])


def test_a_kind_is_never_taken_for_a_package_of_that_name(
    invoke: Invoke, installers: Installers, installation: Installation
) -> None:
    install(installation.packages, "acme", "[console_scripts]\nacme = acme:main\n")
    install(installation.packages, "modelbay-acme", "[modelbay]\nacme = modelbay_acme\n")
    assert invoke("plugin", "uninstall", "acme").exit_code == 0
    assert installers.calls == [["python", "-m", "pip", "uninstall", "-y", "modelbay-acme"]]


def whole(installation: Installation, *parts: str) -> None:
    """The distribution `modelbay` with these parts is installed."""
    folder = installation.packages / "modelbay-9.dist-info"
    folder.mkdir()
    needs = "".join(f"Requires-Dist: {part}\n" for part in parts)
    metadata = f"Metadata-Version: 2.1\nName: modelbay\nVersion: 9\n{needs}"
    (folder / "METADATA").write_text(metadata)


@pytest.mark.parametrize("form", ["-e", "folder", "extra", "wheel", "url"])
def test_nothing_of_ones_own_replaces_a_part_of_the_whole(
    form: str,
    tmp_path: Path,
    invoke: Invoke,
    installers: Installers,
    installation: Installation,
    wished: Callable[[], list[str]],
) -> None:
    whole(installation, "modelbay_fake==9")
    folder = str(project(tmp_path / "own", "Modelbay.Fake"))
    wheel = tmp_path / "modelbay_fake-2-py3-none-any.whl"
    wheel.touch()
    words = {
        "-e": ["-e", folder],
        "folder": [folder],
        "extra": [f"{folder}[test]"],
        "wheel": [str(wheel)],
        "url": ["modelbay-fake @ https://host/fake.whl"],
    }
    done = invoke("plugin", "install", *words[form])
    assert (done.exit_code, installers.calls, wished()) == (2, [], [])
    assert "modelbay-fake is a part of modelbay itself" in done.stderr


def test_a_part_of_the_whole_comes_back_from_the_registry(
    invoke: Invoke, installers: Installers, installation: Installation
) -> None:
    whole(installation, "modelbay-fake==9", "modelbay-gone==9")
    assert invoke("plugin", "install", "modelbay-gone").exit_code == 0
    assert installers.calls == [["python", "-m", "pip", "install", "modelbay-gone"]]


@pytest.mark.parametrize("newcomer", ["aa-fake", "zz-fake", "modelbay-aaa"])
def test_a_kind_that_two_bring_removes_neither_until_one_is_named(
    newcomer: str, invoke: Invoke, installers: Installers, installation: Installation
) -> None:
    module = newcomer.replace("-", "_")
    install(installation.packages, newcomer, f"[modelbay]\nfake = {module}\n")
    for verb in ("uninstall", "upgrade"):
        done = invoke("plugin", verb, "fake")
        assert (done.exit_code, installers.calls) == (1, [])
        told = f"the kind 'fake' is brought by modelbay-fake and by {newcomer}; name the"
        assert told in done.stderr
    hint = f"modelbay plugin uninstall {newcomer}"
    assert f"hint: {hint}\n" in done.stderr
    assert invoke(*hint.split()[1:]).exit_code == 0
    assert installers.calls == [["python", "-m", "pip", "uninstall", "-y", newcomer]]


def test_a_part_of_the_whole_is_switched_off_instead(
    invoke: Invoke, installers: Installers, installation: Installation
) -> None:
    whole(installation, "modelbay_fake==9")
    done = invoke("plugin", "uninstall", "fake")
    assert (done.exit_code, installers.calls) == (1, [])
    assert "hint: export MODELBAY_DISABLE=fake\n" in done.stderr
