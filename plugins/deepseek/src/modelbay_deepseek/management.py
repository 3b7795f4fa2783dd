"""Management: of a hosted API that is looking at the list, the account and the key."""

from collections.abc import AsyncIterator
from decimal import Decimal

import msgspec

from modelbay.context import ProviderContext
from modelbay.errors import ModelNotFoundError, ProtocolError, UnsupportedActionError
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import (
    AccountBalance,
    Action,
    Balance,
    Health,
    HealthReport,
    ListedModel,
    ListModels,
    ManageEvent,
    ModelDetails,
    ModelList,
    Show,
)
from modelbay_deepseek import config
from modelbay_deepseek.client import fetch
from modelbay_deepseek.discovery import describe, entries
from modelbay_deepseek.failures import retired
from modelbay_deepseek.prices import AS_OF, PEAK_FACTOR, PEAK_HOURS, RATES, SOURCE
from modelbay_deepseek.table import RETIRED, TABLE


class BalanceEntry(msgspec.Struct):
    """One currency of an account. Amounts come as texts; a number is taken as well."""

    currency: str
    total_balance: Decimal


class BalanceBody(msgspec.Struct):
    is_available: bool
    balance_infos: list[BalanceEntry] | None = None


def run(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    """The events of one action."""
    match action:
        case ListModels():
            return _list(provider)
        case Show():
            return _show(provider, action.model)
        case Health():
            return _health(provider)
        case Balance():
            return _balance(provider)
        case _:
            raise UnsupportedActionError(
                f"DeepSeek cannot {action.action}",
                provider_id=provider.id,
                hint=TABLE.hints.get(action.action),
            )


async def _list(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    models = [describe(entry) for entry in await entries(provider)]
    yield ModelList(
        models=tuple(
            ListedModel(
                wire_id=model.wire_id,
                details={**({"name": model.name} if model.name else {}), **model.details},
            )
            for model in models
        )
    )


async def _show(provider: ProviderContext, wire_id: str) -> AsyncIterator[ManageEvent]:
    """What there is to say of one model beside its capabilities.

    The list is read, not ``/models/{id}``: that says 404 of ids that can be called all the same.
    """
    found = {entry.id: describe(entry) for entry in await entries(provider)}
    model, old = found.get(wire_id), RETIRED.get(wire_id)
    if model is None and old is not None and not old.routed:
        raise retired(wire_id, old, provider.id)
    if model is None and old is None:
        raise ModelNotFoundError(
            f"DeepSeek lists no model '{wire_id}'",
            provider_id=provider.id,
            hint=f"modelbay models {provider.id} --refresh",
        )
    details: JsonObject = {"listed": model is not None}
    if model is not None:
        if model.name:
            details["served_as"] = model.name  # an id is a route: the model behind it changes
        details |= model.details
    if old is not None:
        details["retired"] = {"note": old.note, "successor": old.successor}
    details |= _prices(wire_id)
    yield ModelDetails(wire_id=wire_id, details=details)


def _prices(wire_id: str) -> JsonObject:
    rate = RATES.get(wire_id)
    if rate is None:
        return {}
    return {
        "prices": {
            "currency": "USD",
            "per_million_tokens": {
                "input_cache_hit": str(rate.hit),
                "input_cache_miss": str(rate.miss),
                "output": str(rate.output),
            },
            "peak_factor": PEAK_FACTOR,
            "peak_hours_utc": [f"Mon-Fri {first:02d}:00-{end:02d}:00" for first, end in PEAK_HOURS],
            "as_of": AS_OF,
            "source": SOURCE,
        }
    }


async def _health(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    """The balance is the cheapest thing a key can be tried on: it costs no token."""
    body = await _account(provider)
    yield HealthReport(
        healthy=body.is_available,
        server="DeepSeek API",
        details={"key": "accepted", "balance": "available" if body.is_available else "used up"},
    )


async def _balance(provider: ProviderContext) -> AsyncIterator[ManageEvent]:
    body = await _account(provider)
    balances: dict[str, Decimal] = {}
    for entry in body.balance_infos or ():
        if not entry.total_balance.is_finite():
            raise ProtocolError("a balance is no number", provider_id=provider.id, stage="decode")
        earlier = balances.get(entry.currency)
        balances[entry.currency] = (
            entry.total_balance if earlier is None else earlier + entry.total_balance
        )
    yield AccountBalance(
        available=body.is_available,
        balances={currency: format(amount, "f") for currency, amount in balances.items()},
    )


async def _account(provider: ProviderContext) -> BalanceBody:
    return await fetch(provider, config.addresses(provider).balance, BalanceBody)
