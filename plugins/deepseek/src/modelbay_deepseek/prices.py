"""What DeepSeek charges, as dated data, and what an answer cost by it. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from modelbay.models.capabilities import Prices
from modelbay.models.events import Usage

AS_OF = "2026-10"  # late October
SOURCE = "api-docs.deepseek.com/quick_start/pricing"
PEAK_FACTOR = 2
# Hours of Monday to Friday, UTC. On public holidays in China there is no peak; those are not known
# here.
PEAK_HOURS = ((1, 4), (6, 10))

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per million tokens outside peak hours; in peak hours all three are doubled.

    Attributes:
        hit: Input that was found in the prefix cache.
        miss: Other input.
        output: The answer, thinking included.
    """

    hit: Decimal
    miss: Decimal
    output: Decimal


FLASH = Rate(Decimal("0.003"), Decimal("0.15"), Decimal("0.60"))
PRO = Rate(Decimal("0.022"), Decimal("0.66"), Decimal("1.98"))

# Retired ids that are still routed cost what the model behind them costs.
RATES: dict[str, Rate] = {
    "deepseek-flash": FLASH,
    "deepseek-v4-pro": PRO,
    "deepseek-v4-flash": FLASH,
    "deepseek-v4-flash-vision-exp": FLASH,
}


def as_fact(rate: Rate) -> Prices:
    """A rate as the capability table has it: the off-peak one."""
    return Prices(
        input_per_mtok=float(rate.miss),
        output_per_mtok=float(rate.output),
        cached_input_per_mtok=float(rate.hit),
        as_of=AS_OF,
        source=f"{SOURCE}, off-peak; double in peak hours",
    )


def is_peak(when: datetime) -> bool:
    """Whether the doubled rate holds at a moment, if that day is no public holiday in China.

    Args:
        when: With a time zone.
    """
    utc = when.astimezone(UTC)
    return utc.weekday() < 5 and any(first <= utc.hour < end for first, end in PEAK_HOURS)


def estimate_usd(wire_id: str, usage: Usage, when: datetime) -> Decimal | None:
    """What an answer cost in US dollars by the table; ``None`` for a model it does not know.

    An estimate: the table ages, holidays are unknown, and which moment of a long request decides
    its rate is not documented.

    Args:
        when: The moment the request began, with a time zone.
    """
    rate = RATES.get(wire_id)
    if rate is None:
        return None
    hit = usage.cached_tokens or 0
    miss = max(0, usage.input_tokens - hit)
    cost = (hit * rate.hit + miss * rate.miss + usage.output_tokens * rate.output) / _MILLION
    return cost * PEAK_FACTOR if is_peak(when) else cost
