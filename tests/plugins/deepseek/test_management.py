"""Mirrors modelbay_deepseek/management.py."""

import pytest

from modelbay.errors import AuthenticationError, ModelNotFoundError, ProtocolError
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import (
    AccountBalance,
    Balance,
    Health,
    HealthReport,
    ListedModel,
    ListModels,
    ModelDetails,
    ModelList,
    Show,
)
from modelbay.testing.simulator import Fault
from modelbay_deepseek.simulator import DeepSeekSimulator, Knobs
from plugins.deepseek.bay import FLASH, PRO, OpenBay

pytestmark = pytest.mark.anyio

LEVELS: JsonObject = {"effort_levels": ["low", "high", "max"], "default_effort": "high"}
PRICES: JsonObject = {
    "currency": "USD",
    "per_million_tokens": {
        "input_cache_hit": "0.022",
        "input_cache_miss": "0.66",
        "output": "1.98",
    },
    "peak_factor": 2,
    "peak_hours_utc": ["Mon-Fri 01:00-04:00", "Mon-Fri 06:00-10:00"],
    "as_of": "2026-10",
    "source": "api-docs.deepseek.com/quick_start/pricing",
}


async def test_list(server: DeepSeekSimulator, bay: OpenBay) -> None:
    assert await bay(server.base_url).manage(ListModels()) == [
        ModelList(
            models=(
                ListedModel(wire_id=FLASH, details={"name": "DeepSeek-V4.1-Flash", **LEVELS}),
                ListedModel(wire_id=PRO, details={"name": "DeepSeek-V4-Pro", **LEVELS}),
            )
        )
    ]


async def test_show_says_what_list_and_table_know(server: DeepSeekSimulator, bay: OpenBay) -> None:
    opened = bay(server.base_url)
    live: JsonObject = {"served_as": "DeepSeek-V4-Pro", **LEVELS}

    extended = await opened.manage(Show(model=PRO))
    server.knobs = Knobs(models_shape="classic")
    classic = await opened.manage(Show(model=PRO))

    assert extended == [
        ModelDetails(wire_id=PRO, details={"listed": True, **live, "prices": PRICES})
    ]
    assert classic == [ModelDetails(wire_id=PRO, details={"listed": True, "prices": PRICES})]


async def test_show_of_a_retired_id_names_its_successor(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    opened = bay(server.base_url)
    [shown] = await opened.manage(Show(model="deepseek-v4-flash"))

    assert isinstance(shown, ModelDetails)
    assert shown.details["listed"] is False
    assert shown.details["retired"] == {
        "note": "rerouted on 10 September 2026",
        "successor": FLASH,
    }
    with pytest.raises(ModelNotFoundError) as caught:
        await opened.manage(Show(model="deepseek-chat"))
    assert caught.value.hint == f"modelbay chat -m cloud/{FLASH}"


async def test_show_of_an_unknown_id_is_not_found(server: DeepSeekSimulator, bay: OpenBay) -> None:
    with pytest.raises(ModelNotFoundError):
        await bay(server.base_url).manage(Show(model="deepseek-v9"))


@pytest.mark.parametrize("flavour", ["", "/v1/", "/beta", "/anthropic"])
async def test_balance_has_every_currency_and_exact_amounts(
    server: DeepSeekSimulator, bay: OpenBay, flavour: str
) -> None:
    server.account.balances = {"USD": ("10.00", "100.10"), "CNY": ("0.00", "0.30")}

    assert await bay(f"{server.base_url}{flavour}").manage(Balance()) == [
        AccountBalance(available=True, balances={"USD": "110.10", "CNY": "0.30"})
    ]
    assert [request.path for request in server.requests] == ["/user/balance"]


@pytest.mark.parametrize(
    ("infos", "balances"),
    [
        ("null", {}),
        ('[{"currency":"USD","total_balance":1.50}]', {"USD": "1.50"}),
        ('[{"currency":"USD","total_balance":7}]', {"USD": "7"}),
        ('[{"currency":"USD","total_balance":"1E+3"}]', {"USD": "1000"}),
        (
            '[{"currency":"USD","total_balance":"1.10"},{"currency":"USD","total_balance":"2"}]',
            {"USD": "3.10"},
        ),
    ],
)
async def test_a_balance_is_read_in_other_spellings(
    server: DeepSeekSimulator, bay: OpenBay, infos: str, balances: dict[str, str]
) -> None:
    body = f'{{"is_available":true,"balance_infos":{infos}}}'.encode()
    server.inject(Fault(body=body, content_type="application/json"))

    events = await bay(server.base_url).manage(Balance())

    assert events == [AccountBalance(available=True, balances=balances)]


@pytest.mark.parametrize("amount", ["much", "NaN", ""])
async def test_a_balance_that_is_no_number_is_a_typed_error(
    server: DeepSeekSimulator, bay: OpenBay, amount: str
) -> None:
    body = (
        f'{{"is_available":true,"balance_infos":[{{"currency":"USD","total_balance":"{amount}"}}]}}'
    )
    server.inject(Fault(body=body.encode()))

    with pytest.raises(ProtocolError):
        await bay(server.base_url).manage(Balance())


@pytest.mark.parametrize(("available", "words"), [(True, "available"), (False, "used up")])
async def test_health_tries_the_key_without_spending_a_token(
    server: DeepSeekSimulator, bay: OpenBay, available: bool, words: str
) -> None:
    server.account.is_available = available

    assert await bay(server.base_url).manage(Health()) == [
        HealthReport(
            healthy=available,
            server="DeepSeek API",
            details={"key": "accepted", "balance": words},
        )
    ]
    assert [request.path for request in server.requests] == ["/user/balance"]


@pytest.mark.parametrize("action", [ListModels(), Show(model=FLASH), Health(), Balance()])
async def test_every_action_tells_of_a_wrong_key(
    server: DeepSeekSimulator,
    bay: OpenBay,
    action: ListModels | Show | Health | Balance,
) -> None:
    with pytest.raises(AuthenticationError) as caught:
        await bay(server.base_url, apiKey="sk-planted-1234").manage(action)

    assert "1234" not in f"{caught.value!r}{caught.value.hint}"
