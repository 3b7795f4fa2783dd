"""The three numbers people call context, and which of them a request gets. Pure.

- trained: what the model was made for; never a usable size by itself.
- configured: what somebody told the server, by ``num_ctx`` in the Modelfile or in our requests.
- effective: what a request gets now. ``/api/ps`` tells it of a loaded model; for one that is not
  loaded it can be known only if somebody configured it, since the server's own default depends on
  the memory of its graphics cards and can be seen nowhere.
"""

from dataclasses import dataclass, field

from modelbay.models.capabilities import Capabilities

# What a server gives a model nobody configured: 4096 until 0.15.4, then by graphics memory.
SERVER_DEFAULTS = (4096, 32768, 262144)
LEAST_VISION = 2048  # tokens


@dataclass(frozen=True, slots=True)
class Windows:
    """Tokens, each with where it stands; ``None`` is not known.

    Attributes:
        loaded: What the runner in memory has, whoever asked for it.
        evidence: By field name of `Facts`.
    """

    trained: int | None = None
    configured: int | None = None
    effective: int | None = None
    loaded: int | None = None
    evidence: dict[str, str] = field(default_factory=dict)


def windows(
    *,
    trained: int | None,
    trained_evidence: str = "",
    modelfile: int | None = None,
    asked: int | None = None,
    asked_by: str = "numCtx of this provider",
    loaded: int | None = None,
    remote: bool = False,
) -> Windows:
    """Put the numbers in their places.

    Args:
        modelfile: ``num_ctx`` among the model's own parameters.
        asked: ``num_ctx`` that our requests will carry; it wins over all others.
        asked_by: Who wants it, in words.
        loaded: ``context_length`` in ``/api/ps``.
        remote: A cloud model runs at its full window.
    """
    evidence: dict[str, str] = {}
    if trained is not None:
        evidence["trained_context"] = trained_evidence
    configured = asked or modelfile
    if configured is not None:
        evidence["configured_context"] = asked_by if asked else "/api/show parameters: num_ctx"
    if remote:
        effective, why = trained, "cloud models run at their full window"
    elif asked is not None:
        effective, why = _least(asked, trained), f"{asked_by}, at most what was trained"
    elif loaded is not None:
        effective, why = loaded, "/api/ps context_length"
    elif modelfile is not None:
        effective, why = _least(modelfile, trained), "num_ctx of the Modelfile"
    else:
        effective, why = None, ""
    if effective is not None:
        evidence["context_window"] = why
    return Windows(trained, configured, effective, loaded, evidence)


def wished_window(known: Capabilities, provider_wide: int | None) -> tuple[int | None, str]:
    """The window the user wants a model to have, and where that stands.

    The user's word on this model (``configuredContext``, else ``contextWindow``, in ``models`` of
    the provider's entry), else the provider's ``numCtx``, else nothing: then the server decides,
    and a model that is loaded already keeps the window it has (S4-74).
    """
    for name, key in (
        ("configured_context", "configuredContext"),
        ("context_window", "contextWindow"),
    ):
        value = getattr(known, name)
        origin = known.provenance.get(name)
        if value is not None and origin is not None and origin.layer == "user":
            return int(value), f"{key} of {origin.evidence}"
    return provider_wide, "numCtx of this provider"


def asked_window(wished: int | None, known: Capabilities) -> int | None:
    """``num_ctx`` for every request to a model: the same each time, or the model is loaded anew.

    At most what it was trained for: the server gives no more.
    """
    return None if wished is None else _least(wished, known.trained_context)


def granted_window(asked: int, known: Capabilities) -> int:
    """What the server makes of a ``num_ctx``: at most the trained length, at least 2048 tokens for
    a model that sees.
    """
    return max(LEAST_VISION if known.vision else 0, _least(asked, known.trained_context))


def _least(wanted: int, trained: int | None) -> int:
    return wanted if trained is None else min(wanted, trained)
