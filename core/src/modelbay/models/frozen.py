"""What all public Pydantic models share: frozen, and no field that is not declared."""

from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
