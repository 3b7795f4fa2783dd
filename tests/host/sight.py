"""What a model that sees would say of the pictures `verify` shows: their colours."""

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence

_NAMES = {
    b"\xff\x00\x00": "red",
    b"\x00\x00\xff": "blue",
    b"\x00\x80\x00": "green",
    b"\xff\xff\x00": "yellow",
}
_PNG = re.compile(r"iVBORw0KGgo[A-Za-z0-9+/]+=*")


def colours(png: str) -> str:
    """The colours at both ends of the first row of a PNG, given in base64."""
    content = base64.b64decode(png)
    begin = content.index(b"IDAT") + 4
    rows = zlib.decompress(content[begin : content.index(b"IEND") - 8])
    width = int.from_bytes(content[16:20], "big")
    row = rows[1 : 1 + 3 * width]
    return f"{_NAMES[row[:3]]} and {_NAMES[row[-3:]]}"


def sees(messages: Sequence[Mapping[str, object]], otherwise: str = "Hello.") -> str:
    """The colours of the picture in these messages, in whatever form they carry it."""
    found = _PNG.search(json.dumps(list(messages)))
    return otherwise if found is None else f"It is {colours(found[0])}."
