"""The headers of one request, read once and looked up by name."""

from collections.abc import Iterable
from itertools import chain

from modelbay_gateway.refusal import Refused


class Head:
    """Headers by their names in small letters.

    Attributes:
        fields: All of them, in their order.
        size: Bytes of all names and values.
    """

    __slots__ = ("_first", "_several", "fields", "size")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        self.fields = tuple(fields)
        self._first = dict(self.fields)
        self._several: set[bytes] = set()
        self.size = sum(map(len, chain.from_iterable(self.fields)))
        if len(self._first) < len(self.fields):  # one stands there twice
            self._first.clear()
            for name, value in self.fields:
                if self._first.setdefault(name, value) != value:
                    self._several.add(name)

    def first(self, name: bytes) -> str | None:
        """The value of a header; the first one, if there are several.

        As UTF-8 where it is that, like a path; browsers send Latin-1.
        """
        value = self._first.get(name)
        if value is None:
            return None
        try:
            return value.decode().strip()
        except UnicodeDecodeError:
            return value.decode("latin-1").strip()

    def only(self, name: bytes) -> str | None:
        """The value of a header that may stand once.

        Raises:
            Refused: It stands there with two values.
        """
        value = self._first.get(name)
        if value is None:
            return None
        if name in self._several:
            text = name.decode()
            raise Refused("bad_host", f"the header {text} stands there more than once", field=text)
        return value.decode("latin-1").strip()
