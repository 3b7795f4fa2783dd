"""One configured instance of a kind of backend."""

import re
from collections.abc import Iterator
from typing import Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, field_validator
from pydantic.alias_generators import to_camel

from modelbay.models.capabilities import Facts
from modelbay.models.frozen import Frozen, JsonObject

ProviderSource: TypeAlias = Literal["configured", "environment", "loopback", "hosted", "bundled"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class ProviderConfig(Frozen):
    """A provider as ``providers.json`` has it, or as a plugin proposes it.

    JSON names are camelCase. Keys this class does not know (``sidecarUrl``, ...) are kept for the
    plugin, which reads them with its own model: see `ProviderContext.options`. ``repr`` shows
    their names alone.

    Attributes:
        id: The part of a ref before the slash.
        base_url: Without a trailing slash.
        api_key: Never shown: not in ``repr``, not in JSON.
        api_key_env: Name of the variable that holds the key; read when the host opens.
        probe_timeout_s: Seconds one look at this provider may take.
        first_byte_timeout_s: Seconds an answer's head may take; ``None`` is without limit.
        idle_timeout_s: Seconds between two pieces of a running stream; ``None`` leaves it to
            the plugin.
        request_timeout_s: Seconds a whole request may take; ``None`` is without limit.
        source: Who configured it. All but ``configured`` are proposals of a plugin.
        models: What the user knows of the models whose wire id matches a glob pattern.
    """

    model_config = ConfigDict(
        frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True
    )

    id: str
    kind: str = Field(min_length=1)
    label: str = ""
    base_url: str = ""
    api_key: SecretStr | None = Field(default=None, exclude=True)
    api_key_env: str | None = None
    headers: dict[str, str] = Field(default={}, repr=False, exclude=True)
    probe_timeout_s: float = Field(default=1.5, gt=0, le=60)
    first_byte_timeout_s: float | None = Field(default=None, gt=0)
    idle_timeout_s: float | None = Field(default=None, gt=0)
    request_timeout_s: float | None = Field(default=None, gt=0)
    enabled: bool = True
    source: ProviderSource = "configured"
    models: dict[str, Facts] = {}
    _from_dsn: bool = PrivateAttr(default=False)

    @classmethod
    def from_dsn(cls, *, id: str, kind: str, base_url: str, api_key: SecretStr | None) -> Self:
        """A provider given in one line: whether its address is http or https says its kind."""
        config = cls(id=id, kind=kind, base_url=base_url, api_key=api_key)
        config._from_dsn = True
        return config

    def over_tls(self) -> Self:
        """The same, its address with https if it was given as a DSN."""
        if not self._from_dsn or not self.base_url.startswith("http://"):
            return self
        return self.model_copy(update={"base_url": f"https{self.base_url[4:]}"})

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Of the plugin's keys the names alone: there may be secrets among them."""
        for name, value in super().__repr_args__():
            yield name, ("***" if name in (self.model_extra or {}) else value)

    @field_validator("id")
    @classmethod
    def _id_fits_in_a_ref(cls, value: str) -> str:
        if not _ID.fullmatch(value):
            raise ValueError(
                "a provider id is letters, digits, '.', '_' and '-', and holds no slash"
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _base_url_without_slash(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("expected an address that starts with http:// or https://")
        return value.rstrip("/")

    @property
    def implicit(self) -> bool:
        """A plugin proposed it; nobody configured it."""
        return self.source != "configured"

    @property
    def name(self) -> str:
        """What people read: the label, else the id."""
        return self.label or self.id

    @property
    def extra(self) -> JsonObject:
        """The keys this class does not know, as they stand in the file."""
        return dict(self.model_extra or {})
