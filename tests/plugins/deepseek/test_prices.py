"""Mirrors modelbay_deepseek/prices.py."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from modelbay.models.capabilities import Prices
from modelbay.models.events import Usage
from modelbay_deepseek.prices import FLASH, as_fact, estimate_usd, is_peak

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
USAGE = Usage(1_000_000, 1_000_000, cached_tokens=400_000, reasoning_tokens=900_000)


@pytest.mark.parametrize(
    ("hour", "peak"),
    [(0, False), (1, True), (3, True), (4, False), (6, True), (9, True), (10, False)],
)
def test_peak_hours_are_two_windows_of_a_working_day(hour: int, peak: bool) -> None:
    assert is_peak(MONDAY + timedelta(hours=hour)) is peak
    assert not is_peak(MONDAY + timedelta(days=5, hours=hour))


def test_peak_hours_are_read_in_utc() -> None:
    beijing = timezone(timedelta(hours=8))

    assert is_peak(datetime(2026, 11, 3, 9, tzinfo=beijing))
    assert not is_peak(datetime(2026, 11, 3, 1, tzinfo=beijing))


def test_a_cost_counts_hits_misses_and_output_and_doubles_in_peak_hours() -> None:
    cost = Decimal("0.4") * Decimal("0.003") + Decimal("0.6") * Decimal("0.15") + Decimal("0.60")

    assert estimate_usd("deepseek-flash", USAGE, MONDAY) == cost
    assert estimate_usd("deepseek-flash", USAGE, MONDAY + timedelta(hours=2)) == 2 * cost


def test_more_hits_than_input_give_no_money_back() -> None:
    odd = Usage(input_tokens=10, output_tokens=0, cached_tokens=100)

    assert estimate_usd("deepseek-flash", odd, MONDAY) == 100 * Decimal("0.003") / 1_000_000


def test_a_retired_id_costs_what_its_successor_does() -> None:
    flash = estimate_usd("deepseek-flash", USAGE, MONDAY)

    assert estimate_usd("deepseek-v4-flash", USAGE, MONDAY) == flash


def test_a_model_without_a_price_has_no_estimate() -> None:
    assert estimate_usd("deepseek-v9", USAGE, MONDAY) is None


def test_prices_carry_their_date_and_source() -> None:
    assert as_fact(FLASH) == Prices(
        input_per_mtok=0.15,
        output_per_mtok=0.6,
        cached_input_per_mtok=0.003,
        currency="USD",
        as_of="2026-10",
        source="api-docs.deepseek.com/quick_start/pricing, off-peak; double in peak hours",
    )
