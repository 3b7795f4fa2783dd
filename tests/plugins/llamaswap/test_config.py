"""Mirrors modelbay_llamaswap/config.py and table.py: proposals, options and the table."""

import pytest
from pydantic import SecretStr

from modelbay.errors import ConfigError
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.provider import ProviderConfig
from modelbay.resolve import Resolver
from modelbay_llamaswap.config import LlamaSwapOptions, default_providers, options
from modelbay_llamaswap.table import TABLE
from plugins.llamaswap.bay import OpenBay, ask

pytestmark = pytest.mark.anyio


def proposal(**fields: object) -> ProviderConfig:
    return ProviderConfig.model_validate(
        {"id": "llama-swap", "kind": "llama-swap", "label": "llama-swap", **fields}
    )


def test_without_a_variable_the_default_port_of_the_loopback_is_proposed() -> None:
    """S1-22."""
    assert default_providers({}) == [proposal(baseUrl="http://127.0.0.1:8080", source="loopback")]


def test_two_variables_name_the_address_and_the_sidecar() -> None:
    """S0-05, S0-24."""
    env = {"LLAMA_SWAP_URL": "http://box:8401", "LLAMA_SIDECAR_URL": "http://box:8402"}

    assert default_providers(env) == [
        proposal(baseUrl="http://box:8401", source="environment", sidecarUrl="http://box:8402")
    ]


def test_a_sidecar_alone_stands_beside_the_default_port() -> None:
    assert default_providers({"LLAMA_SIDECAR_URL": "box:8402", "LLAMA_SWAP_URL": " "}) == [
        proposal(baseUrl="http://127.0.0.1:8080", source="loopback", sidecarUrl="http://box:8402")
    ]


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("http://box:8080/v1", "http://box:8080"),
        ("http://box:8080/v1/", "http://box:8080"),
        (" box:8080 ", "http://box:8080"),
        ("https://box/swap", "https://box/swap"),
    ],
)
def test_an_address_may_be_written_as_openai_clients_want_it(written: str, address: str) -> None:
    assert [p.base_url for p in default_providers({"LLAMA_SWAP_URL": written})] == [address]


def test_the_variable_may_hold_a_dsn_with_a_key() -> None:
    """S1-07."""
    (given,) = default_providers({"LLAMA_SWAP_URL": "llama-swap://k-123456@box:8080"})

    assert (given.base_url, given.api_key) == ("http://box:8080", SecretStr("k-123456"))
    assert "k-123456" not in repr(given)


def test_a_dsn_in_the_variable_may_name_the_provider() -> None:
    (given,) = default_providers({"LLAMA_SWAP_URL": "llama-swap://box:8080#mine"})

    assert (given.id, given.label, given.base_url) == ("mine", "mine", "http://box:8080")


@pytest.mark.parametrize("variable", ["LLAMA_SWAP_URL", "LLAMA_SIDECAR_URL"])
def test_a_variable_that_is_no_address_is_named_and_its_value_is_not_repeated(
    variable: str,
) -> None:
    with pytest.raises(ConfigError) as caught:
        default_providers({variable: "ftp://user:secret@box"})

    assert caught.value.where == variable
    assert "secret" not in str(caught.value)


async def test_without_an_address_it_fails_at_its_first_use_and_names_both_remedies(
    bay: OpenBay,
) -> None:
    """S1-09, S1-29, S1-32."""
    desk = bay("", id="sam-desktop")

    for use in (desk.discover(), desk.chat(ask())):
        with pytest.raises(ConfigError) as caught:
            await use
        assert caught.value.message == "provider 'sam-desktop' has no address"
        assert caught.value.hint == (
            'set "baseUrl" of provider "sam-desktop" in providers.json, or'
            " LLM_SAM_DESKTOP=llama-swap://TOKEN@HOST:PORT"
        )


async def test_options_are_read_from_the_providers_entry(bay: OpenBay) -> None:
    desk = bay("http://box", sidecarUrl="http://box:1/v1/", sidecarFlags=["a"], pollS=2)

    assert options(desk.context) == LlamaSwapOptions(
        sidecar_url="http://box:1", sidecar_flags=frozenset({"a"}), poll_s=2
    )


async def test_by_default_the_flag_agent_calls_for_the_sidecar(bay: OpenBay) -> None:
    assert options(bay("http://box").context).sidecar_flags == {"agent"}


@pytest.mark.parametrize("entry", [{"sidecarURL": "http://b"}, {"sidecarUrl": "box:1"}])
async def test_a_key_that_is_unknown_or_no_address_is_a_config_error(
    bay: OpenBay, entry: dict[str, object]
) -> None:
    with pytest.raises(ConfigError):
        await bay("http://127.0.0.1:9", **entry).discover()


@pytest.mark.parametrize(
    ("wire_id", "fact"),
    [
        ("nomic-embed-text", "embeddings"),
        ("Qwen3-Embedding-0.6B", "embeddings"),
        ("bge-reranker-v2-m3", "rerank"),
    ],
)
def test_what_the_config_cannot_say_is_read_from_a_name(wire_id: str, fact: str) -> None:
    """There is no word for embeddings in the config, and hardly anybody writes the others."""
    config = ProviderConfig(id="desk", kind="llama-swap")
    found = Resolver(config, TABLE).capabilities(DiscoveredModel(wire_id=wire_id))

    facts = {name: getattr(found, name) for name in ("embeddings", "rerank")}
    assert [name for name, value in facts.items() if value] == [fact]
    assert found.provenance[fact].layer == "table"
