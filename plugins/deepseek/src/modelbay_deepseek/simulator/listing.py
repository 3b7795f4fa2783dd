"""The model list in both shapes, and the account."""

from dataclasses import dataclass, field
from decimal import Decimal

from modelbay_deepseek.simulator.validation import CONTEXT, LISTED, MOST_OUTPUT

Json = dict[str, object]

_NAMES = {"deepseek-flash": "DeepSeek-V4.1-Flash", "deepseek-v4-pro": "DeepSeek-V4-Pro"}


def models(shape: str) -> list[Json]:
    """The entries of ``GET /models``; without ``created``, in either shape."""
    return [_entry(model, shape) for model in LISTED]


def _entry(model: str, shape: str) -> Json:
    entry: Json = {"id": model, "object": "model", "owned_by": "deepseek"}
    if shape == "classic":
        return entry
    return {
        **entry,
        "name": _NAMES[model],
        "context_window": CONTEXT,
        "max_output_tokens": MOST_OUTPUT,
        "input_modalities": ["text", "image"] if model == "deepseek-flash" else ["text"],
        "output_modalities": ["text"],
        "effort": {"supported_levels": ["low", "high", "max"], "default_level": "high"},
        "api_capabilities": {"anthropic_messages": {"system_prompt_update": "in-history"}},
    }


@dataclass
class Account:
    """What is left of the money, by currency: granted and topped up."""

    balances: dict[str, tuple[str, str]] = field(
        default_factory=lambda: {"USD": ("10.00", "100.00")}
    )
    is_available: bool = True

    def as_json(self) -> Json:
        """Amounts are texts."""
        return {
            "is_available": self.is_available,
            "balance_infos": [
                {
                    "currency": currency,
                    "total_balance": str(Decimal(granted) + Decimal(topped_up)),
                    "granted_balance": granted,
                    "topped_up_balance": topped_up,
                }
                for currency, (granted, topped_up) in self.balances.items()
            ],
        }
