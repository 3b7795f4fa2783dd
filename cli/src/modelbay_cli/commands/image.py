"""`modelbay image`: a text to images in files."""

import base64
import contextlib
import itertools
import os
import sys
import tempfile
from pathlib import Path

import click

from modelbay import Host, ImagePart, ImageRequest
from modelbay.models.media import ImageResult, image_format
from modelbay_cli.options import deadline_option, examples, json_option, verbose_option
from modelbay_cli.output import Screen
from modelbay_cli.session import Session
from modelbay_cli.waiting import WaitingLine

_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


@click.command(
    epilog=examples(
        "modelbay image -m desk/sdxl 'a quiet bay at dawn' -o bay.png",
        "modelbay image 'four sketches of a crane' -n 4 -o crane.png   # crane-1.png, ...",
        "modelbay image 'make it night' --edit bay.png -o night.png",
        "modelbay image 'a lighthouse' -o - | display",
    )
)
@click.argument("prompt")
@click.option("-m", "--model", metavar="REF", help="The model; otherwise one is chosen.")
@click.option(
    "-o", "--output", metavar="FILE", default="image.png", show_default=True, help="- is stdout."
)
@click.option("-n", "count", type=click.IntRange(1, 16), default=1, help="How many images.")
@click.option("--size", metavar="WxH", help="In pixels, such as 1024x1024.")
@click.option("--seed", type=int, help="The same seed gives the same image.")
@click.option(
    "--edit",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Change this image instead of making a new one.",
)
@click.option("--force", is_flag=True, help="Overwrite files.")
@json_option
@deadline_option
@verbose_option
def command(
    prompt: str,
    model: str | None,
    output: str,
    count: int,
    size: str | None,
    seed: int | None,
    source: Path | None,
    force: bool,
    as_json: bool,
    deadline_s: float | None,
) -> None:
    """Make an image from PROMPT and write it to a file."""
    if output == "-" and (count > 1 or as_json):
        raise click.UsageError("-o - is for one image, without --json")
    paths = [] if output == "-" else _paths(_file(output), count)
    for path in paths:
        _require_free(path, force)
    try:
        request = ImageRequest(
            model=model, prompt=prompt, n=count, size=size, seed=seed, image=_read(source)
        )
    except ValueError as exc:
        raise click.BadParameter("expected WIDTHxHEIGHT", param_hint="--size") from exc
    with Session(deadline_s=deadline_s) as session:
        result = session.run(_made(session.host, request))
    contents = [base64.b64decode(image.data or "") for image in result.images]
    aside = Screen.stderr()
    if len(contents) != count:
        aside.line(f"asked for {_images(count)}, the server made {len(contents)}", "warning")
    if output == "-":
        sys.stdout.buffer.write(contents[0])
        sys.stdout.buffer.flush()
        return
    written = []
    for index, content in enumerate(contents):
        wanted = paths[index] if index < len(paths) else _paths(Path(output), index + 1)[-1]
        named = _with_ending(wanted, content)
        path = named if force else _free(named)
        if path != named:
            # The image is made: it is not thrown away for its name.
            aside.line(f"{named} is there already; --force overwrites it", "warning")
        _write(path, content)
        written.append(path)
    out = Screen.stdout()
    if as_json:
        out.json({"model": result.model, "files": [str(path) for path in written]})
        return
    for path in written:
        out.line(str(path))


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


async def _made(host: Host, request: ImageRequest) -> ImageResult:
    line = WaitingLine(Screen.stderr(), "making the image")
    line.start()
    try:
        return await host.generate_image(request)
    finally:
        line.stop()


def _file(output: str) -> Path:
    """Where the image goes.

    Raises:
        UsageError: Nothing can be written there; told before anything is asked for.
    """
    path = Path(output)
    try:
        if output.endswith(("/", os.sep)) or path.is_dir():
            raise click.UsageError(f"{output} is a folder; give the name of a file in it")
        if not path.parent.is_dir():
            raise click.UsageError(f"there is no folder {path.parent}")
        if not os.access(path.parent, os.W_OK):
            raise click.UsageError(f"nothing can be written into {path.parent}")
        # The longest it may become: another ending, and a number.
        path.with_name(f"{path.name.removesuffix(_ending(path))}-99.jpeg").exists()
    except OSError as exc:
        raise click.UsageError(f"nothing can be written to {output}: {exc.strerror}") from exc
    return path


def _paths(path: Path, count: int) -> list[Path]:
    if count == 1:
        return [path]
    return [_numbered(path, number) for number in range(1, count + 1)]


def _numbered(path: Path, number: int) -> Path:
    ending = _ending(path)
    return path.with_name(f"{path.name.removesuffix(ending)}-{number}{ending}")


def _ending(path: Path) -> str:
    """The ending, if it is one of images: in ``sketch-v1.5`` there is none."""
    return path.suffix if path.suffix.lower() in _ENDINGS else ""


def _require_free(path: Path, force: bool) -> None:
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder; give the name of a file")
    if path.exists() and not force:
        raise click.UsageError(f"{path} is there already; --force overwrites it")


def _free(path: Path) -> Path:
    """The name, or the next one with a number that is not taken."""
    if not path.exists():
        return path
    return next(p for p in (_numbered(path, n) for n in itertools.count(2)) if not p.exists())


def _with_ending(path: Path, content: bytes) -> Path:
    """With its own ending, or the one of what the server really made."""
    kind = image_format(content)
    names = {"jpeg": (".jpg", ".jpeg"), "png": (".png",), "webp": (".webp",)}
    fitting = names.get(kind or "", ())
    ending = _ending(path)
    if not fitting or ending.lower() in fitting:
        return path
    return path.with_name(path.name.removesuffix(ending) + fitting[0])


def _read(source: Path | None) -> ImagePart | None:
    if source is None:
        return None
    content = source.read_bytes()
    kind = image_format(content)
    if kind is None:
        raise click.BadParameter(f"{source} is no PNG, JPEG or WebP", param_hint="--edit")
    return ImagePart(data=base64.b64encode(content).decode(), media_type=f"image/{kind}")


def _write(path: Path, content: bytes) -> None:
    """All or nothing: half an image never stands under its name."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".modelbay-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)  # as any other file; mkstemp makes it private
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
