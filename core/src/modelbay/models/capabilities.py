"""What a model can do, and how we know."""

from typing import Literal, TypeAlias

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from modelbay.models.frozen import Frozen
from modelbay.models.manage import ActionName

Layer: TypeAlias = Literal["user", "measured", "live", "table", "default"]

DEFAULT_MAX_OUTPUT_TOKENS = 16384  # S4-57: the conservative default


class Prices(Frozen):
    """What a model costs, per million tokens. A local model costs 0; ``None`` is not known."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    input_per_mtok: float | None = None
    output_per_mtok: float | None = None
    cached_input_per_mtok: float | None = None
    currency: str = "USD"
    as_of: str | None = Field(default=None, description="ISO date the price was read")
    source: str | None = None


class Facts(Frozen):
    """What one layer says. ``None`` is not known, ``False`` is known not to.

    In ``providers.json`` the names are camelCase.

    Attributes:
        context_window: Tokens a request may use now, prompt and answer together.
        trained_context: Tokens the model was trained for; never a usable size by itself.
        configured_context: Tokens the server was told to use.
        max_output_tokens: Tokens one answer may have.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    context_window: int | None = Field(default=None, gt=0)
    trained_context: int | None = Field(default=None, gt=0)
    configured_context: int | None = Field(default=None, gt=0)
    max_output_tokens: int | None = Field(default=None, gt=0)
    prices: Prices | None = None
    tools: bool | None = None
    parallel_tools: bool | None = None
    vision: bool | None = None
    audio: bool | None = None
    reasoning: bool | None = None
    json_mode: bool | None = None
    json_schema: bool | None = None
    embeddings: bool | None = None
    rerank: bool | None = None
    image_generation: bool | None = None


FACT_NAMES: tuple[str, ...] = tuple(Facts.model_fields)


class Provenance(Frozen):
    """Where one value comes from.

    Attributes:
        layer: Which layer spoke.
        evidence: Why it says so: a field of an answer, a model card, a file and pointer.
        at: When it was found out, in seconds since 1970; ``None`` for what does not age.
    """

    layer: Layer
    evidence: str = ""
    at: float | None = None


class Measurement(Frozen):
    """One field of a model, found out by asking the model itself.

    Attributes:
        field: A field of `Facts`.
        value: ``None`` if asking did not settle it.
        evidence: What was asked and what came, in a few words.
        at: When, in seconds since 1970.
    """

    field: str
    value: bool | int | None
    evidence: str
    at: float


class Capabilities(Frozen):
    """The same fields as `Facts`, resolved, with the provenance of every field.

    A field that no layer knows stays ``None`` with layer ``default``; `max_output_tokens` alone
    has a default value.
    """

    context_window: int | None = None
    trained_context: int | None = None
    configured_context: int | None = None
    max_output_tokens: int = DEFAULT_MAX_OUTPUT_TOKENS
    prices: Prices | None = None
    tools: bool | None = None
    parallel_tools: bool | None = None
    vision: bool | None = None
    audio: bool | None = None
    reasoning: bool | None = None
    json_mode: bool | None = None
    json_schema: bool | None = None
    embeddings: bool | None = None
    rerank: bool | None = None
    image_generation: bool | None = None
    provenance: dict[str, Provenance] = {}


class TableRow(Frozen):
    """Facts about the models whose wire id matches a glob pattern, with the evidence for them."""

    pattern: str
    facts: Facts
    evidence: str


class CapabilityTable(Frozen):
    """What a plugin knows without asking a server.

    Attributes:
        rows: The first row that matches and knows a field decides it.
        every_model: True of all models of this kind; asked after the rows.
        actions: Management actions this kind has. Others are refused before the plugin is asked.
        hints: What to do instead, by the name of an action that is not in `actions`.
        server_checks_names: The server refuses unknown model names. Where it does not, only
            listed models are let through, since such a server answers any name with some model.
        local: Models of this kind run on hardware of the user's own unless discovery says else.
        start_hint: How people start a server of this kind, as something to type.
        lives_with_host: What it loads ends with the host: a command that ends at once can neither
            load nor unload, nor see what runs elsewhere.
        tls_in_dsn: ``KIND://host`` means https here.
    """

    rows: tuple[TableRow, ...] = ()
    every_model: Facts = Facts()
    every_model_evidence: str = "true of every model of this kind"
    actions: frozenset[ActionName] = frozenset()
    hints: dict[ActionName, str] = {}
    server_checks_names: bool = False
    local: bool = True
    lives_with_host: bool = False
    start_hint: str = ""
    tls_in_dsn: bool = False
