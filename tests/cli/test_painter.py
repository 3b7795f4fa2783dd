"""Mirrors commands/image.py and commands/logs.py."""

import json
from pathlib import Path

import pytest

from cli.conftest import Installation, Invoke, install
from cli.fake_painter import JPEG, PNG

SOURCE = Path(__file__).with_name("fake_painter.py")


@pytest.fixture(autouse=True)
def painter(installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A provider that paints, and an empty folder to work in."""
    entry_points = "[modelbay]\npainter = modelbay_painter\n"
    install(installation.packages, "modelbay-painter", entry_points, SOURCE.read_text())
    installation.configure({"id": "desk"}, {"id": "studio", "kind": "painter"})
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_image_is_written_and_its_name_printed(invoke: Invoke, painter: Path) -> None:
    result = invoke("image", "-m", "studio/brush", "a bay", "-o", "bay.png", "--size", "64x32")

    assert (result.exit_code, result.stdout) == (0, "bay.png\n")
    assert files(painter) == {"bay.png": PNG + b"a bay 64x32 None 0"}


def test_several_images_are_numbered(invoke: Invoke, painter: Path) -> None:
    result = invoke("image", "-m", "studio/brush", "a", "-n", "2", "--seed", "7", "--json")

    assert json.loads(result.stdout) == {
        "model": "brush",
        "files": ["image-1.png", "image-2.png"],
    }
    assert files(painter) == {
        "image-1.png": PNG + b"a None 7 0",
        "image-2.png": PNG + b"a None 7 1",
    }


def test_the_ending_says_what_the_file_is(invoke: Invoke, painter: Path) -> None:
    assert invoke("image", "-m", "studio/camera", "a", "-o", "a.png").stdout == "a.jpg\n"
    assert invoke("image", "-m", "studio/camera", "a", "-o", "b.JPEG").stdout == "b.JPEG\n"


def test_an_image_whose_real_name_is_taken_gets_a_free_one(invoke: Invoke, painter: Path) -> None:
    """It is made, and may have taken minutes."""
    (painter / "out.jpg").write_text("mine")
    (painter / "out-2.jpg").write_text("mine too")
    result = invoke("image", "-m", "studio/camera", "a", "-o", "out.png")

    assert (result.exit_code, result.stdout) == (0, "out-3.jpg\n")
    assert "out.jpg is there already; --force overwrites it" in result.stderr
    assert files(painter) == {
        "out.jpg": b"mine",
        "out-2.jpg": b"mine too",
        "out-3.jpg": JPEG + b"a None None 0",
    }
    assert invoke("image", "-m", "studio/camera", "a", "-o", "out.png", "--force").stdout == (
        "out.jpg\n"
    )


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("no/such/out.png", "there is no folder no/such"),
        (".", ". is a folder; give the name of a file in it"),
        ("..", ".. is a folder; give the name of a file in it"),
        ("there", "there is a folder; give the name of a file in it"),
        ("new/", "new/ is a folder; give the name of a file in it"),
        ("x" * 250 + ".png", "name too long"),
        ("x" * 300, "name too long"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_refused_before_anything_is_asked(
    invoke: Invoke, painter: Path, output: str, told: str
) -> None:
    (painter / "there").mkdir()
    # A wrong model would be told first if the provider were asked.
    result = invoke("image", "-m", "studio/nosuch", "a", "-o", output, "--force")

    assert (result.exit_code, told in result.stderr.lower()) == (2, True)
    assert "--force overwrites" not in result.stderr
    assert [path.name for path in painter.iterdir()] == ["there"]


def test_a_long_name_that_fits_is_written(invoke: Invoke, painter: Path) -> None:
    name = "x" * 245 + ".png"

    assert invoke("image", "-m", "studio/brush", "a", "-o", name).stdout == f"{name}\n"


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("sketch-v1.5", "sketch-v1.5.png"),
        ("sketch", "sketch.png"),
        (".hidden", ".hidden.png"),
        ("a.tar", "a.tar.png"),
        ("a.gif", "a.png"),
        ("a.b.JPG", "a.b.png"),
        ("a.PNG", "a.PNG"),
    ],
)
def test_only_an_ending_of_images_is_replaced(
    invoke: Invoke, painter: Path, output: str, name: str
) -> None:
    assert invoke("image", "-m", "studio/brush", "a", "-o", output).stdout == f"{name}\n"
    assert list(files(painter)) == [name]


def test_a_number_stands_before_the_ending_and_never_inside_a_name(
    invoke: Invoke, painter: Path
) -> None:
    made = invoke("image", "-m", "studio/brush", "a", "-n", "2", "-o", "v1.5").stdout

    assert made == "v1.5-1.png\nv1.5-2.png\n"


def test_a_server_that_makes_another_number_of_images_is_told_of(
    invoke: Invoke, painter: Path
) -> None:
    more = invoke("image", "-m", "studio/brush", "three", "-o", "a.png")
    none = invoke("image", "-m", "studio/brush", "three", "-n", "3", "-o", "b.png")

    assert more.stdout == "a.png\na-2.png\na-3.png\n"
    assert "asked for 1 image, the server made 3" in more.stderr
    assert "asked for" not in none.stderr


def test_nothing_is_overwritten_unless_asked(invoke: Invoke, painter: Path) -> None:
    (painter / "image.png").write_text("mine")
    refused = invoke("image", "-m", "studio/brush", "a")
    assert (refused.exit_code, files(painter)) == (2, {"image.png": b"mine"})
    assert "--force" in refused.stderr

    assert invoke("image", "-m", "studio/brush", "a", "--force").exit_code == 0
    assert files(painter) == {"image.png": PNG + b"a None None 0"}


def test_an_image_can_be_changed(invoke: Invoke, painter: Path) -> None:
    (painter / "in.jpg").write_bytes(JPEG + b"source")
    result = invoke("image", "-m", "studio/brush", "night", "--edit", "in.jpg")

    assert result.exit_code == 0
    assert files(painter)["image.png"] == PNG + b"night None None " + JPEG + b"source" + b"0"


def test_one_image_can_go_to_stdout(invoke: Invoke, painter: Path) -> None:
    result = invoke("image", "-m", "studio/brush", "a", "-o", "-")

    assert (result.stdout_bytes, files(painter)) == (PNG + b"a None None 0", {})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("a", "--size", "big"), "expected WIDTHxHEIGHT"),
        (("a", "-o", "-", "-n", "2"), "-o - is for one image"),
        (("a", "-n", "17"), "17"),
        (("a", "--edit", "in.txt"), "no PNG, JPEG or WebP"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_asked(
    invoke: Invoke, painter: Path, arguments: tuple[str, ...], told: str
) -> None:
    (painter / "in.txt").write_text("text")
    result = invoke("image", "-m", "studio/brush", *arguments)

    assert (result.exit_code, told in result.stderr) == (2, True)
    assert list(files(painter)) == ["in.txt"]


def test_a_model_that_does_not_paint_is_refused_with_a_hint(invoke: Invoke, painter: Path) -> None:
    result = invoke("image", "-m", "desk/echo", "a")

    assert result.exit_code != 0
    assert "hint:" in result.stderr
    assert files(painter) == {}


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (("studio",), ["log of all", "until now"]),
        (("studio", "brush"), ["log of brush", "until now"]),
        (("studio/brush", "-f"), ["log of brush", "following"]),
    ],
)
def test_a_log_goes_to_stdout(invoke: Invoke, arguments: tuple[str, ...], lines: list[str]) -> None:
    result = invoke("logs", *arguments)

    assert (result.exit_code, result.stdout.splitlines()) == (0, lines)


def test_how_a_log_ended_goes_to_stderr(invoke: Invoke) -> None:
    followed, looked_at = invoke("logs", "studio", "-f"), invoke("logs", "studio")

    assert followed.stderr == "the server ended its log\n"
    assert looked_at.stderr == ""


def test_a_log_of_two_models_is_refused(invoke: Invoke) -> None:
    result = invoke("logs", "studio/brush", "camera")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "one model, please: 'brush' or 'camera'" in result.stderr


def test_a_log_as_json_is_its_events(invoke: Invoke) -> None:
    events = [json.loads(line) for line in invoke("logs", "studio", "--json").stdout.splitlines()]

    assert [event["type"] for event in events] == ["log", "log", "done"]


def test_a_log_of_nobody_and_of_a_kind_without_logs(invoke: Invoke) -> None:
    nobody, none = invoke("logs", "nobody"), invoke("logs", "desk")

    assert "'nobody' is no provider" in nobody.stderr
    assert nobody.exit_code != 0
    assert none.exit_code != 0
