"""Mirrors modelbay_deepseek/config.py."""

import pytest
from pydantic import SecretStr

from modelbay.errors import AuthenticationError, ConfigError
from modelbay.host.resources import HostResources
from modelbay.models.provider import ProviderConfig
from modelbay_deepseek.config import Addresses, addresses, default_providers, require_key
from plugins.deepseek.bay import Bay

KEYED = {"DEEPSEEK_API_KEY": "sk-planted-1234"}


def proposal(base_url: str, source: str) -> ProviderConfig:
    return ProviderConfig.model_validate(
        {
            "id": "deepseek",
            "kind": "deepseek",
            "label": "DeepSeek",
            "baseUrl": base_url,
            "apiKey": "sk-planted-1234",
            "apiKeyEnv": "DEEPSEEK_API_KEY",
            "probeTimeoutS": 5,
            "source": source,
        }
    )


def test_a_key_proposes_the_group_deepseek() -> None:
    """S0-26, S0-27, S0-42: a group of its own, by its key in the environment."""
    assert default_providers(KEYED) == [proposal("https://api.deepseek.com", "hosted")]


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"DEEPSEEK_API_KEY": ""},
        {"DEEPSEEK_API_KEY": "  "},
        {"DEEPSEEK_BASE_URL": "https://api.deepseek.com"},
    ],
)
def test_without_a_key_nothing_is_proposed(env: dict[str, str]) -> None:
    assert default_providers(env) == []


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({"DEEPSEEK_BASE_URL": "https://one.example/"}, "https://one.example"),
        ({"DEEPSEEK_API_BASE": "https://two.example/v1"}, "https://two.example/v1"),
        (
            {
                "DEEPSEEK_BASE_URL": "https://one.example",
                "DEEPSEEK_API_BASE": "https://two.example",
            },
            "https://one.example",
        ),
        (
            {"DEEPSEEK_BASE_URL": " ", "DEEPSEEK_API_BASE": "two.example"},
            "https://two.example",
        ),
    ],
)
def test_the_address_may_be_another(env: dict[str, str], wanted: str) -> None:
    assert default_providers(KEYED | env) == [proposal(wanted, "environment")]


def test_an_address_that_is_none_names_its_variable_and_no_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        default_providers(KEYED | {"DEEPSEEK_BASE_URL": "ftp://one.example"})

    assert caught.value.where == "DEEPSEEK_BASE_URL"
    assert "sk-planted" not in str(caught.value)


def test_the_key_of_a_proposal_is_shown_nowhere() -> None:
    [config] = default_providers(KEYED)

    assert "sk-planted" not in repr(config) + config.model_dump_json()


ROOT = "https://api.example"
PLAIN = Addresses(
    chat=f"{ROOT}/chat/completions",
    beta_chat=f"{ROOT}/beta/chat/completions",
    completions=f"{ROOT}/beta/completions",
    models=f"{ROOT}/models",
    balance=f"{ROOT}/user/balance",
)


@pytest.mark.parametrize(
    ("base", "chat", "models"),
    [
        ("", "/chat/completions", "/models"),
        ("/", "/chat/completions", "/models"),
        ("/v1/", "/v1/chat/completions", "/v1/models"),
        ("/beta", "/beta/chat/completions", "/models"),
        ("/anthropic", "/chat/completions", "/models"),
        ("/v1/beta", "/beta/chat/completions", "/v1/models"),
        ("/beta/v1/", "/beta/chat/completions", "/v1/models"),
        ("/anthropic/v1", "/v1/chat/completions", "/v1/models"),
    ],
)
def test_every_flavour_of_the_address_leads_to_all_endpoints(
    base: str, chat: str, models: str
) -> None:
    bay = Bay(f"{ROOT}{base}", HostResources({}))

    assert addresses(bay.context) == Addresses(
        chat=f"{ROOT}{chat}",
        beta_chat=PLAIN.beta_chat,
        completions=PLAIN.completions,
        models=f"{ROOT}{models}",
        balance=PLAIN.balance,
    )


@pytest.mark.parametrize(
    "config", [{"thinking": "yes please"}, {"effort": "ultra"}, {"retries": -1}, {"retrys": 1}]
)
def test_a_wrong_key_in_the_file_is_told_before_any_question(config: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        Bay(ROOT, HostResources({}), **config)

    assert next(iter(config)) in str(caught.value)


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        ({}, 'set "apiKeyEnv": "DEEPSEEK_API_KEY" for provider "cloud" in providers.json'),
        ({"apiKeyEnv": "MINE"}, "export MINE=sk-..."),
    ],
)
def test_no_key_is_an_authentication_error_with_the_next_step(
    config: dict[str, object], hint: str
) -> None:
    bay = Bay(ROOT, HostResources({}), apiKey=None, **config)

    with pytest.raises(AuthenticationError) as caught:
        require_key(bay.context)

    assert caught.value.hint == hint


def test_an_authorization_header_of_the_user_s_own_is_a_key() -> None:
    bay = Bay(ROOT, HostResources({}), apiKey=None, headers={"Authorization": "Bearer x"})

    require_key(bay.context)


def test_a_blank_key_is_none() -> None:
    bay = Bay(ROOT, HostResources({}), apiKey=SecretStr(" "))

    with pytest.raises(AuthenticationError):
        require_key(bay.context)
