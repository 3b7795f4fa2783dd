"""What all public Pydantic models share: frozen, and no field that is not declared."""

from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]


class Frozen(BaseModel):
    # Pydantic would show the wrong value in its error, and that may be a key.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
