"""The package `modelbay` brings the program, as pipx and uv tool want it, beside `modelbay-cli`.

Needs the package registry for the build backend, as the other tests here do.
"""

import configparser
import subprocess
import venv
import zipfile
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import pytest

from modelbay_cli.ready import VERSION

pytestmark = pytest.mark.soak

BOTH = ("modelbay", "modelbay-cli")


@dataclass(frozen=True, slots=True)
class Place:
    """A virtual environment, and wheels to put into it; nothing comes from elsewhere."""

    folder: Path
    wheels: dict[str, Path]
    pip: tuple[str, ...]
    env: dict[str, str]

    @property
    def script(self) -> Path:
        return self.folder / "bin" / "modelbay"

    def install(self, *names: str) -> None:
        wheels = [str(self.wheels[name]) for name in names]
        self._pip("install", "--no-index", "--no-deps", "--force-reinstall", *wheels)

    def uninstall(self, *names: str) -> None:
        self._pip("uninstall", "-y", *names)

    def said(self, *program: str) -> str:
        command = [*program, "--version"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def _pip(self, *words: str) -> None:
        command = [*self.pip, "--quiet", "--python", str(self.folder), *words]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def builder(
    bare_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[tuple[str, ...], dict[str, str]]:
    folder = tmp_path_factory.mktemp("builder")
    subprocess.run(["python3", "-m", "venv", str(folder)], env=bare_env, check=True)
    return (str(folder / "bin" / "python"), "-m", "pip"), bare_env


@pytest.fixture(scope="module")
def wheels(
    clone: Path,
    builder: tuple[tuple[str, ...], dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    pip, env = builder
    folder = tmp_path_factory.mktemp("wheels")
    parts = [str(clone), str(clone / "cli")]
    command = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), *parts]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.name.partition("-")[0].replace("_", "-"): path for path in folder.iterdir()}


@pytest.fixture
def place(
    wheels: dict[str, Path], builder: tuple[tuple[str, ...], dict[str, str]], tmp_path: Path
) -> Place:
    venv.create(tmp_path / "venv", with_pip=False)
    pip, env = builder
    return Place(tmp_path / "venv", wheels, pip, env)


def scripts(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [one for one in archive.namelist() if one.endswith("/entry_points.txt")]
        parser = configparser.ConfigParser()
        parser.read_string(archive.read(name).decode())
    return dict(parser["console_scripts"])


def test_both_wheels_bring_the_same_program(wheels: dict[str, Path]) -> None:
    assert sorted(wheels) == sorted(BOTH)
    assert {name: scripts(wheel) for name, wheel in wheels.items()} == {
        name: {"modelbay": "modelbay_cli:main"} for name in BOTH
    }


@pytest.mark.parametrize("order", list(permutations(BOTH)), ids=" then ".join)
def test_the_program_is_there_after_every_way_of_installing_and_upgrading(
    place: Place, order: tuple[str, str]
) -> None:
    for name in order:
        place.install(name)
    for again in (*order, *reversed(order)):  # as an upgrade does: the old one goes first
        place.install(again)
        assert place.said(str(place.script)) == f"modelbay {VERSION}\n"


@pytest.mark.parametrize("order", list(permutations(BOTH)), ids=" then ".join)
def test_both_can_be_removed_in_any_order_and_nothing_stays(
    place: Place, order: tuple[str, str]
) -> None:
    place.install(*BOTH)
    for name in order:
        place.uninstall(name)

    left = [path.name for path in place.folder.rglob("*modelbay*")]
    assert left == []


def test_without_the_whole_the_part_still_runs_and_brings_the_program_back(place: Place) -> None:
    place.install(*BOTH)
    place.uninstall("modelbay")

    module = (str(place.folder / "bin" / "python"), "-m", "modelbay_cli")
    assert place.said(*module) == f"modelbay {VERSION}\n"
    place.install("modelbay-cli")
    assert place.said(str(place.script)) == f"modelbay {VERSION}\n"
