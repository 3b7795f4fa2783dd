"""What an entry may say, where routes live, and what is proposed without any entry."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from modelbay.config import parse_providers_file
from modelbay.context import ProviderContext
from modelbay.dsn import parse_dsn
from modelbay.errors import ConfigError
from modelbay.host.host import Host
from modelbay.host.resources import HostResources
from modelbay.models.provider import ProviderConfig
from modelbay_openai.address import at, by_host, is_local, native
from modelbay_openai.config import default_providers, options
from modelbay_openai.dialects import BY_NAME, SERVERS, UNKNOWN, version_number
from modelbay_openai.table import table
from plugins.openai.bay import only_ours


def context(base_url: str = "http://127.0.0.1:1234", **config: Any) -> ProviderContext:
    made = ProviderConfig.model_validate(
        {"id": "desk", "kind": "openai", "baseUrl": base_url, **config}
    )
    return ProviderContext(made, HostResources({}))


@pytest.mark.parametrize(
    ("base_url", "path", "root"),
    [
        ("http://h:1234", "v1/chat/completions", "http://h:1234/version"),
        ("http://h:1234/", "v1/chat/completions", "http://h:1234/version"),
        ("http://h:1234/v1", "chat/completions", "http://h:1234/version"),
        ("http://h:1234/v1/", "chat/completions", "http://h:1234/version"),
        ("http://h/llm", "v1/chat/completions", "http://h/llm/version"),
        ("http://h/llm/v1", "chat/completions", "http://h/llm/version"),
        ("https://openrouter.ai", "api/v1/chat/completions", "https://openrouter.ai/version"),
        ("https://openrouter.ai/api", "v1/chat/completions", "https://openrouter.ai/api/version"),
        ("https://openrouter.ai/api/v1", "chat/completions", "https://openrouter.ai/version"),
        ("https://x.example/v1beta/openai", "chat/completions", None),
        ("https://x.example/api/paas/v4", "chat/completions", None),
    ],
)
def test_an_address_may_end_in_v1_or_not(base_url: str, path: str, root: str | None) -> None:
    provider = context(base_url)

    assert at(provider, "chat/completions") == path
    if root is not None:
        assert native(provider, "version") == root


@pytest.mark.parametrize("extra", [{"serverr": "vllm"}, {"server": "novel"}, {"local": "maybe"}])
def test_a_wrong_key_in_the_file_is_told_before_any_question(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        table(context(**extra))

    assert next(iter(extra)) in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "prefix", "path"),
    [
        ("http://h:1234", "", "chat/completions"),
        ("http://h:1234", "/", "chat/completions"),
        ("http://h:1234/llm", "api/v2", "api/v2/chat/completions"),
        ("http://h:1234/v1", "/x/", "x/chat/completions"),
        ("https://openrouter.ai", "", "chat/completions"),
    ],
)
def test_the_user_may_say_where_the_routes_are(base_url: str, prefix: str, path: str) -> None:
    assert at(context(base_url, apiPrefix=prefix), "chat/completions") == path


@pytest.mark.parametrize("prefix", ["http://h", "a?b", "a#b", "a b", "a//b", 1])
def test_what_is_no_path_is_no_prefix(prefix: object) -> None:
    with pytest.raises(ConfigError):
        at(context(apiPrefix=prefix), "models")


@pytest.mark.parametrize(
    ("base_url", "local"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("http://localhost:8000", True),
        ("http://192.168.1.4:8000/v1", True),
        ("http://gpu-box:8000/v1", True),
        ("http://gpu.lan:8000/v1", True),
        ("https://api.openai.com/v1", False),
        ("https://openrouter.ai/api/v1", False),
        ("http://8.8.8.8:8000", False),
    ],
)
def test_an_address_tells_whose_hardware_it_is(base_url: str, local: bool) -> None:
    assert is_local(base_url) is local
    assert table(context(base_url)).local is local


def test_the_user_knows_better_whose_hardware_it_is() -> None:
    assert table(context("https://llm.example.com/v1", local=True)).local
    assert not table(context("http://127.0.0.1:8000", local=False)).local


def test_names_are_asked_for_only_where_a_server_checks_them() -> None:
    assert table(context("https://openrouter.ai/api/v1")).server_checks_names
    assert table(context("http://127.0.0.1:8000", server="vllm")).server_checks_names
    assert not table(context("http://127.0.0.1:8000", server="koboldcpp")).server_checks_names
    assert not table(context("http://127.0.0.1:8000")).server_checks_names


@pytest.mark.parametrize(
    ("extra", "where"),
    [
        ({"servr": "vllm"}, "/servr"),
        ({"server": "vlm"}, "/server"),
        ({"discover": "sometimes"}, "/discover"),
        ({"dialect": {"toolChoice": "single"}}, "/dialect/toolChoice"),
        ({"dialect": {"maxTokensField": "limit"}}, "/dialect/maxTokensField"),
        ({"sidecarUrl": "http://x"}, "/sidecarUrl"),
    ],
)
def test_an_unknown_option_is_refused_by_name(extra: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options(context(**extra))

    assert caught.value.pointer == where
    assert "desk" in str(caught.value)


def test_a_wrong_value_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        options(context(server="sk-planted-key"))

    assert "sk-planted-key" not in str(caught.value)
    assert "vllm" in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("dsn", "address", "key"),
    [
        ("openai://sk-x@box.example.com/v1", "https://box.example.com/v1", "sk-x"),
        ("openai://sk-x@box.example.com:8443", "https://box.example.com:8443", "sk-x"),
        ("openai://box.lan", "https://box.lan", None),
    ],
)
async def test_a_dsn_means_https(dsn: str, address: str, key: str | None) -> None:
    """S1-08."""
    given = parse_dsn(dsn, where="test")
    async with Host.open(providers=[given], env={}, installed=only_ours()) as host:
        config = host.registry.handle("openai").config

    assert config.base_url == address
    assert (config.api_key and config.api_key.get_secret_value()) == key


def summary(env: dict[str, str]) -> list[tuple[str, str, str, str | None]]:
    return [(one.id, one.base_url, one.source, one.api_key_env) for one in default_providers(env)]


LM_STUDIO = ("lmstudio", "http://127.0.0.1:1234", "loopback", None)
KOBOLD = ("koboldcpp", "http://127.0.0.1:5001", "loopback", None)


def test_without_a_key_only_this_machine_is_looked_at() -> None:
    assert summary({}) == [LM_STUDIO, KOBOLD]
    assert summary({"OPENAI_BASE_URL": "http://gw/v1"}) == [LM_STUDIO, KOBOLD]


def test_a_key_proposes_openai() -> None:
    openai = ("openai", "https://api.openai.com/v1", "environment", "OPENAI_API_KEY")
    assert summary({"OPENAI_API_KEY": "sk-x"}) == [openai, LM_STUDIO, KOBOLD]


def test_the_variable_for_the_address_is_honoured() -> None:
    env = {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": " http://gw.lan:4000/v1/ "}
    proposed = default_providers(env)[0]

    assert (proposed.base_url, proposed.label) == ("http://gw.lan:4000/v1", "OpenAI-compatible")


def test_a_variable_that_holds_no_address_is_named() -> None:
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL"):
        default_providers({"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": "gw.lan:4000"})


def test_lm_studio_gets_its_token() -> None:
    proposed = {one.id: one for one in default_providers({"LM_API_TOKEN": "lm-planted"})}

    assert proposed["lmstudio"].api_key_env == "LM_API_TOKEN"
    assert proposed["koboldcpp"].api_key_env is None
    assert "lm-planted" not in repr(proposed["lmstudio"])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.11.2", (0, 11, 2)),
        ("v0.11.2rc1", (0, 11, 2)),
        ("0.10.2.dev5+g12", (0, 10, 2)),
        ("1.123", (1, 123)),
        ("nightly", ()),
        ("", ()),
        (None, ()),
    ],
)
def test_versions_are_compared_by_their_numbers(text: str | None, number: tuple[int, ...]) -> None:
    assert version_number(text) == number


def test_every_row_says_how_it_is_known_and_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(SERVERS)
    assert all(len(server.evidence) > 10 for server in SERVERS)


def test_hosted_services_are_known_by_their_host() -> None:
    assert by_host("https://api.openai.com/v1").name == "openai"
    assert by_host("https://openrouter.ai/api/v1").name == "openrouter"
    assert by_host("https://api.openai.com.evil.example/v1") is UNKNOWN


DOCS = Path(__file__).parents[3] / "docs" / "backends" / "openai.md"
ENTRIES = re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)


@pytest.mark.parametrize("text", ENTRIES, ids=lambda text: str(json.loads(text)["id"]))
def test_an_entry_of_the_page_can_be_copied(text: str) -> None:
    (config,) = parse_providers_file(f'{{"providers": [{text}]}}', "docs").providers
    provider = ProviderContext(config, HostResources({}))

    assert options(provider).discover is (config.id not in ("acme", "bare"))
    assert table(provider).local is (config.id not in ("openai", "openrouter", "acme"))


def test_the_page_has_an_entry_for_every_server_it_names() -> None:
    assert [json.loads(text)["id"] for text in ENTRIES] == [
        *("lmstudio", "gpu", "sgl", "tabby", "kobold", "openrouter", "openai", "acme", "bare")
    ]
