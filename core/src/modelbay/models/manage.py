"""Management: what can be asked of a backend, and the events that answer.

A stream of management events ends with exactly one outcome: `ModelList`, `RunningModels`,
`ModelDetails`, `HealthReport`, `AccountBalance` or `Done`.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from modelbay.models.frozen import Frozen, JsonObject

ActionName: TypeAlias = Literal[
    "list",
    "running",
    "load",
    "unload",
    "pull",
    "delete",
    "copy",
    "create",
    "show",
    "health",
    "logs",
    "balance",
]


class ListModels(Frozen):
    action: Literal["list"] = "list"


class Running(Frozen):
    action: Literal["running"] = "running"


class Load(Frozen):
    """Make a model ready. Success if it is already; ends when it is, not when it has begun."""

    action: Literal["load"] = "load"
    model: str
    options: JsonObject = {}


class Unload(Frozen):
    """Free a model, or with no model all of them. Success if it was not loaded.

    Attributes:
        force: Also while streams of ours are running on it; they break.
    """

    action: Literal["unload"] = "unload"
    model: str | None = None
    force: bool = False


class Pull(Frozen):
    action: Literal["pull"] = "pull"
    model: str


class Delete(Frozen):
    action: Literal["delete"] = "delete"
    model: str


class Copy(Frozen):
    action: Literal["copy"] = "copy"
    model: str
    to: str


class Create(Frozen):
    action: Literal["create"] = "create"
    model: str
    options: JsonObject = {}


class Show(Frozen):
    action: Literal["show"] = "show"
    model: str


class Health(Frozen):
    action: Literal["health"] = "health"


class Logs(Frozen):
    action: Literal["logs"] = "logs"
    model: str | None = None
    follow: bool = False


class Balance(Frozen):
    action: Literal["balance"] = "balance"


Action: TypeAlias = Annotated[
    ListModels
    | Running
    | Load
    | Unload
    | Pull
    | Delete
    | Copy
    | Create
    | Show
    | Health
    | Logs
    | Balance,
    Field(discriminator="action"),
]


class Progress(Frozen):
    """How far it is.

    Attributes:
        fraction: From 0 to 1, never running backwards; ``None`` if the server does not say.
        done_bytes, total_bytes: Of the whole, for transfers.
    """

    type: Literal["progress"] = "progress"
    status: str
    fraction: float | None = None
    done_bytes: int | None = None
    total_bytes: int | None = None


class LogLine(Frozen):
    type: Literal["log"] = "log"
    text: str


class ListedModel(Frozen):
    wire_id: str
    state: str = "unknown"
    size_bytes: int | None = None
    details: JsonObject = {}


class ModelList(Frozen):
    type: Literal["models"] = "models"
    models: tuple[ListedModel, ...] = ()


class RunningModel(Frozen):
    """A model in memory.

    Attributes:
        expires_in_s: Seconds until the server unloads it by itself.
        raw: The server's own entry, where its shape is no stable contract.
    """

    wire_id: str
    state: str = "loaded"
    size_bytes: int | None = None
    vram_bytes: int | None = None
    context: int | None = None
    active_streams: int | None = None
    expires_in_s: float | None = None
    details: JsonObject = {}
    raw: JsonObject | None = None


class RunningModels(Frozen):
    type: Literal["running"] = "running"
    models: tuple[RunningModel, ...] = ()


class ModelDetails(Frozen):
    """What a server tells about one model; ``details`` in its own words, without secrets."""

    type: Literal["details"] = "details"
    wire_id: str
    details: JsonObject = {}


class HealthReport(Frozen):
    """A server's state.

    Attributes:
        server: What answers there, in words: ``acme-server 2.1``.
    """

    type: Literal["health"] = "health"
    healthy: bool
    server: str = ""
    version: str | None = None
    details: JsonObject = {}


class AccountBalance(Frozen):
    type: Literal["balance"] = "balance"
    available: bool
    balances: dict[str, str] = {}


class Done(Frozen):
    """It is so now. ``changed`` is false if it was so before."""

    type: Literal["done"] = "done"
    message: str = ""
    changed: bool = True


ManageEvent: TypeAlias = Annotated[
    Progress
    | LogLine
    | ModelList
    | RunningModels
    | ModelDetails
    | HealthReport
    | AccountBalance
    | Done,
    Field(discriminator="type"),
]

OUTCOMES = (ModelList, RunningModels, ModelDetails, HealthReport, AccountBalance, Done)
