"""Mirrors modelbay_llamacpp/config.py: proposals and options."""

import pytest
from pydantic import SecretStr

from modelbay.errors import ConfigError
from modelbay.models.provider import ProviderConfig
from modelbay_llamacpp.config import LlamaCppOptions, at, default_providers, options
from plugins.llamacpp.bay import OpenBay

pytestmark = pytest.mark.anyio


def proposal(**fields: object) -> ProviderConfig:
    return ProviderConfig.model_validate(
        {"id": "llamacpp", "kind": "llamacpp", "label": "llama.cpp", **fields}
    )


def test_without_a_variable_the_default_port_of_the_loopback_is_proposed() -> None:
    assert default_providers({}) == [
        proposal(baseUrl="http://127.0.0.1:8080", source="loopback"),
    ]


@pytest.mark.parametrize("variable", ["LLAMA_CPP_URL", "LLAMA_SERVER_URL", "LLAMACPP_API_BASE"])
def test_each_variable_names_the_address(variable: str) -> None:
    assert default_providers({variable: "http://box:9931"}) == [
        proposal(baseUrl="http://box:9931", source="environment"),
    ]


def test_the_first_variable_wins_and_an_empty_one_counts_as_unset() -> None:
    env = {"LLAMA_CPP_URL": "", "LLAMA_SERVER_URL": "http://a", "LLAMACPP_API_BASE": "http://b"}

    assert [provider.base_url for provider in default_providers(env)] == ["http://a"]


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("http://box:8080/v1", "http://box:8080"),
        ("http://box:8080/v1/", "http://box:8080"),
        (" box:8080 ", "http://box:8080"),
        ("https://box/llm/v1", "https://box/llm"),
    ],
)
def test_an_address_may_be_written_as_openai_clients_want_it(written: str, address: str) -> None:
    assert [p.base_url for p in default_providers({"LLAMA_CPP_URL": written})] == [address]


@pytest.mark.parametrize("env", [{}, {"LLAMA_CPP_URL": "http://box"}])
def test_the_servers_own_key_variable_is_used(env: dict[str, str]) -> None:
    (provider,) = default_providers({**env, "LLAMA_API_KEY": "k-123456"})

    assert provider.api_key == SecretStr("k-123456")
    assert provider.api_key_env == "LLAMA_API_KEY"
    assert "k-123456" not in repr(provider)


def test_a_variable_that_is_no_address_is_named_and_its_value_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        default_providers({"LLAMA_CPP_URL": "ftp://user:secret@box"})

    assert caught.value.where == "LLAMA_CPP_URL"
    assert "secret" not in str(caught.value)


async def test_options_are_read_from_the_providers_entry(bay: OpenBay) -> None:
    """S3-74: URL, key, limits and permissions; everything else is the server's own."""
    desk = bay("http://box", allowRemoteMedia=True, loadDeadlineS=30, rescan=True)

    assert options(desk.context) == LlamaCppOptions(
        allow_remote_media=True, load_deadline_s=30, rescan=True
    )


async def test_a_key_this_kind_does_not_know_is_a_config_error(bay: OpenBay) -> None:
    with pytest.raises(ConfigError, match="this key is not known here"):
        await bay("http://127.0.0.1:9", contextSize=8192).discover()


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("http://box", "models"),
        ("http://box/v1", "http://box/models"),
        ("http://box/llm/v1/", "http://box/llm/models"),
    ],
)
async def test_a_v1_left_in_a_configured_address_is_taken_off(
    bay: OpenBay, base_url: str, expected: str
) -> None:
    assert at(bay(base_url).context, "models") == expected
