"""The composite id of a model: `provider/wire-id`."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelbay.errors import UnknownModelError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model of one provider. ``str()`` gives the composite id, the only form that is kept.

    Attributes:
        provider_id: The provider's id; holds no slash.
        wire_id: The name the server knows, byte for byte; may hold ``/`` and ``:``.
        is_legacy_bare: It was written without its provider. Both spellings compare equal.
    """

    provider_id: str
    wire_id: str
    is_legacy_bare: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.provider_id}/{self.wire_id}"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type, handler: "GetCoreSchemaHandler"
    ) -> "CoreSchema":
        """In JSON a ref is its composite id."""
        from pydantic_core import core_schema

        def from_text(text: str) -> "ModelRef":
            provider_id, slash, wire_id = text.partition("/")
            if not (provider_id and slash and wire_id):
                raise ValueError("expected provider/model")
            return cls(provider_id, wire_id)

        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(
                from_text, core_schema.str_schema()
            ),
            python_schema=core_schema.union_schema(
                [
                    core_schema.is_instance_schema(cls),
                    core_schema.no_info_after_validator_function(
                        from_text, core_schema.str_schema()
                    ),
                ]
            ),
            serialization=core_schema.to_string_ser_schema(),
        )


def parse_model_ref(
    text: str, *, default_provider: str, known_providers: Collection[str]
) -> ModelRef:
    """Read a model id as people and old rows write it.

    Splits at the first ``/``, and only where the part before it is a known provider: wire ids such
    as ``hf.co/user/model:q4`` or ``ggml-org/gemma-GGUF:Q4_K_M`` hold slashes of their own (S0-11,
    U10) and stay a bare legacy id of the default provider (S0-31).

    Raises:
        UnknownModelError: The text is empty, or names a provider and no model.
    """
    prefix, slash, rest = text.partition("/")
    if slash and prefix in known_providers:
        if not rest:
            raise UnknownModelError(
                f"'{text}' names a provider but no model", hint=f"modelbay models {prefix}"
            )
        return ModelRef(prefix, rest)
    if not text:
        raise UnknownModelError("the model id is empty", hint="modelbay models")
    return ModelRef(default_provider, text, is_legacy_bare=True)
