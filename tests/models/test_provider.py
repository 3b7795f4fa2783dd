"""Mirrors modelbay/models/provider.py and capabilities.py."""

import json

import pytest
from pydantic import SecretStr, ValidationError

from modelbay.models.capabilities import FACT_NAMES, Capabilities, CapabilityTable, Facts, Prices
from modelbay.models.provider import ProviderConfig

KEY = "sk-very-secret"
FULL = {
    "id": "sam-desktop",
    "kind": "acme",
    "label": "Sam",
    "baseUrl": "http://127.0.0.1:8080/",
    "apiKey": KEY,
    "apiKeyEnv": "ACME_KEY",
    "headers": {"X-Token": KEY},
    "probeTimeoutS": 2,
    "firstByteTimeoutS": 3,
    "idleTimeoutS": 4,
    "requestTimeoutS": 5,
    "enabled": False,
    "sidecarUrl": "http://127.0.0.1:9000",
    "models": {"q*": {"contextWindow": 10, "prices": {"cachedInputPerMtok": 1}}},
}


def test_a_provider_reads_camel_case() -> None:
    assert ProviderConfig.model_validate_json(json.dumps(FULL)) == ProviderConfig.model_validate(
        {
            "id": "sam-desktop",
            "kind": "acme",
            "label": "Sam",
            "base_url": "http://127.0.0.1:8080",
            "api_key": SecretStr(KEY),
            "api_key_env": "ACME_KEY",
            "headers": {"X-Token": KEY},
            "probe_timeout_s": 2.0,
            "first_byte_timeout_s": 3.0,
            "idle_timeout_s": 4.0,
            "request_timeout_s": 5.0,
            "enabled": False,
            "sidecarUrl": "http://127.0.0.1:9000",
            "models": {
                "q*": Facts(context_window=10, prices=Prices(cached_input_per_mtok=1)),
            },
        }
    )


def test_the_key_and_the_headers_are_never_shown() -> None:
    provider = ProviderConfig.model_validate(FULL)

    for shown in (
        repr(provider),
        str(provider),
        provider.model_dump_json(),
        provider.model_dump_json(by_alias=True),
        repr(provider.model_dump()),
    ):
        assert KEY not in shown
    assert provider.api_key is not None
    assert provider.api_key.get_secret_value() == KEY


def test_a_wrong_key_is_not_shown_by_the_refusal() -> None:
    with pytest.raises(ValidationError) as caught:
        ProviderConfig.model_validate({"id": "a", "kind": "k", "apiKey": [KEY]})

    assert KEY not in str(caught.value)


@pytest.mark.parametrize("id", ["desk", "a.b-c_d", "7", "A" * 100])
def test_an_id_fits_in_front_of_a_slash(id: str) -> None:
    assert ProviderConfig(id=id, kind="k").id == id


@pytest.mark.parametrize("id", ["", "a/b", "-a", ".a", "a b", "a\n", "ä", "a:b"])
def test_another_id_is_refused(id: str) -> None:
    with pytest.raises(ValidationError, match="holds no slash"):
        ProviderConfig(id=id, kind="k")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("http://a", "http://a"),
        ("https://a/v1/", "https://a/v1"),
        ("http://a//", "http://a"),
    ],
)
def test_an_address_has_no_slash_at_its_end(given: str, kept: str) -> None:
    assert ProviderConfig(id="a", kind="k", base_url=given).base_url == kept


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base_url", "127.0.0.1:80"),
        ("base_url", "ftp://a"),
        ("kind", ""),
        ("probe_timeout_s", 0),
        ("probe_timeout_s", 61),
        ("probe_timeout_s", float("nan")),
        ("first_byte_timeout_s", -1),
        ("idle_timeout_s", 0),
        ("request_timeout_s", 0),
        ("source", "somewhere"),
    ],
)
def test_a_wrong_value_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        ProviderConfig.model_validate({"id": "a", "kind": "k", field: value})


def test_a_provider_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ProviderConfig(id="a", kind="k").id = "b"


@pytest.mark.parametrize(
    ("source", "implicit"),
    [
        ("configured", False),
        ("environment", True),
        ("loopback", True),
        ("hosted", True),
        ("bundled", True),
    ],
)
def test_what_a_plugin_proposed_is_implicit(source: str, implicit: bool) -> None:
    provider = ProviderConfig.model_validate({"id": "a", "kind": "k", "source": source})

    assert provider.implicit is implicit


def test_people_read_the_label_or_else_the_id() -> None:
    assert ProviderConfig(id="a", kind="k").name == "a"
    assert ProviderConfig(id="a", kind="k", label="A box").name == "A box"


# --- capabilities ---------------------------------------------------------------------------------


def test_facts_and_capabilities_have_the_same_fields() -> None:
    assert (*FACT_NAMES, "provenance") == tuple(Capabilities.model_fields)


def test_facts_are_unknown_until_somebody_says() -> None:
    assert {value for _, value in Facts()} == {None}


@pytest.mark.parametrize(
    "fields", [{"contextWindow": 0}, {"maxOutputTokens": -1}, {"tool": True}, {"tools": "no idea"}]
)
def test_wrong_facts_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Facts.model_validate(fields)


def test_a_misspelt_price_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Prices.model_validate({"inputPerMTok": 1})


def test_a_table_says_nothing_by_default() -> None:
    assert CapabilityTable() == CapabilityTable(
        rows=(),
        every_model=Facts(),
        actions=frozenset(),
        hints={},
        server_checks_names=False,
        local=True,
    )


def test_a_table_refuses_an_action_nobody_knows() -> None:
    with pytest.raises(ValidationError):
        CapabilityTable.model_validate({"actions": ["explode"]})


def test_of_the_plugins_own_keys_the_names_alone_are_shown() -> None:
    provider = ProviderConfig.model_validate({**FULL, "sidecarPassword": "planted-secret"})

    for shown in (repr(provider), str(provider), f"{[provider]}"):
        assert "sidecarPassword" in shown
        assert "planted-secret" not in shown
    assert provider.extra["sidecarPassword"] == "planted-secret"
