"""Multipart forms: read, and built anew."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_PARAMETER = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class FormError(Exception):
    """The bytes are no form."""


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form; a file if it has a `filename`."""

    name: str
    data: bytes
    filename: str = ""
    content_type: str = ""

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")


def parse_form(body: bytes, content_type: str) -> list[Part]:
    """Raises FormError without a boundary, or when the body does not use it."""
    found = _BOUNDARY.search(content_type)
    if found is None or not content_type.lower().startswith("multipart/form-data"):
        raise FormError("no multipart boundary param in Content-Type")
    mark = b"--" + found.group(1).encode()
    sections = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise FormError("multipart: NextPart: EOF")
    return [_part(section) for section in sections[1:-1]]


def _part(section: bytes) -> Part:
    head, _, data = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    name = filename = kind = ""
    for line in head.decode("utf-8", "replace").split("\r\n"):
        field, _, value = line.partition(":")
        if field.lower() == "content-disposition":
            known = dict(_PARAMETER.findall(value))
            name, filename = known.get("name", ""), known.get("filename", "")
        elif field.lower() == "content-type":
            kind = value.strip()
    return Part(name, data, filename, kind)


def build_form(parts: Sequence[Part]) -> tuple[bytes, str]:
    """The body and content type of a form, as llama-swap builds one anew.

    Plain fields come first, then files, whose content type is lost.
    """
    boundary = secrets.token_hex(30)
    out: list[bytes] = []
    for part in sorted(parts, key=lambda part: bool(part.filename)):
        lines = f'--{boundary}\r\nContent-Disposition: form-data; name="{part.name}"'
        if part.filename:
            lines += f'; filename="{part.filename}"\r\nContent-Type: application/octet-stream'
        out.append(f"{lines}\r\n\r\n".encode() + part.data + b"\r\n")
    out.append(f"--{boundary}--\r\n".encode())
    return b"".join(out), f"multipart/form-data; boundary={boundary}"
