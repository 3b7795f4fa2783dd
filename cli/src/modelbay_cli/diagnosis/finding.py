"""One thing that is wrong."""

from dataclasses import dataclass, replace
from typing import Literal, Self, TypeAlias

from modelbay import ModelbayError
from modelbay_cli.diagnosis.codes import CODES
from modelbay_cli.secrecy import Veil

Level: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and what to do.

    Attributes:
        code: The diagnosis; one of `CODES`, and stable.
        subject: What it is about: a file, ``plugin NAME``, ``provider ID``.
        fix: The next step, as something to type; what stands behind ``#`` explains it.
        error: The code of the error it was found by, where there was one.
    """

    level: Level
    code: str
    subject: str
    message: str
    fix: str
    error: str | None = None

    def __post_init__(self) -> None:
        assert self.code in CODES, self.code

    def under(self, veil: Veil) -> Self:
        """The same without secrets."""
        return replace(
            self,
            subject=veil.text(self.subject),
            message=veil.text(self.message),
            fix=veil.text(self.fix),
        )

    @classmethod
    def of(
        cls,
        level: Level,
        code: str,
        subject: str,
        exc: ModelbayError,
        fix: str | None = None,
    ) -> "Finding":
        """A finding in an error's own words."""
        return cls(level, code, subject, exc.message, fix or exc.hint or CODES[code].fix, exc.code)
