"""Mirrors modelbay_ollama/config.py: every row of the address table, and whose key goes where."""

from typing import Any

import pytest
from pydantic import SecretStr

from modelbay.errors import ConfigError
from modelbay.models.provider import ProviderConfig
from modelbay_ollama.config import OllamaOptions, connect_url, default_providers, parse_address
from pretend import context

# OLLAMA_HOST, the base URL of Ollama's own client, and where we connect ("" for the same). Wire
# notes, section 2.1, row by row; a slash at the end of a base URL means nothing.
ROWS = [
    (None, "http://127.0.0.1:11434", ""),
    ("", "http://127.0.0.1:11434", ""),
    ("1.2.3.4", "http://1.2.3.4:11434", ""),
    ("1.2.3.4:1234", "http://1.2.3.4:1234", ""),
    (":1234", "http://:1234", "http://127.0.0.1:1234"),
    ("localhost", "http://localhost:11434", ""),
    ("localhost:", "http://localhost:11434", ""),
    ("localhost:abc", "http://localhost:11434", ""),
    ("example.com", "http://example.com:11434", ""),
    ("example.com:1234", "http://example.com:1234", ""),
    ("0.0.0.0", "http://0.0.0.0:11434", "http://127.0.0.1:11434"),
    ("0.0.0.0:8080", "http://0.0.0.0:8080", "http://127.0.0.1:8080"),
    ("[::]", "http://[::]:11434", "http://[::1]:11434"),
    ("http://[::]:1", "http://[::]:1", "http://[::1]:1"),
    ("::1", "http://[::1]:11434", ""),
    ("[::1]", "http://[::1]:11434", ""),
    ("[::1]:1337", "http://[::1]:1337", ""),
    ("http://1.2.3.4", "http://1.2.3.4:80", ""),
    ("https://1.2.3.4", "https://1.2.3.4:443", ""),
    ("https://1.2.3.4:4321", "https://1.2.3.4:4321", ""),
    ("ollama.com", "https://ollama.com:443", ""),
    ("OLLAMA.COM", "http://OLLAMA.COM:11434", ""),
    ("ollama.com:443", "http://ollama.com:443", ""),
    ("https://example.com/ollama", "https://example.com:443/ollama", ""),
    ("https://example.com/ollama/", "https://example.com:443/ollama", ""),
    ("example.com:8080/x/", "http://example.com:8080/x", ""),
    ("http://localhost:11434/v1", "http://localhost:11434/v1", ""),
    (" 1.2.3.4 ", "http://1.2.3.4:11434", ""),
    ("'1.2.3.4'", "http://1.2.3.4:11434", ""),
    ('" 1.2.3.4 "', "http://1.2.3.4:11434", ""),
    (":66000", "http://:11434", "http://127.0.0.1:11434"),
    (":-1", "http://:11434", "http://127.0.0.1:11434"),
    ("http://h:", "http://h:80", ""),
    ("http://", "http://127.0.0.1:80", ""),
    ("[::0]:11434", "http://[::0]:11434", "http://[::1]:11434"),
    ("[0:0:0:0:0:0:0:0]:1", "http://[0:0:0:0:0:0:0:0]:1", "http://[::1]:1"),
]
REJECTED = [
    (":0", "http://:0"),
    ("HTTP://h", "HTTP://h:11434"),
    ("ftp://h", "ftp://h:11434"),
    ("http://h:1?x=1", "http://h:80"),
    ("unix:///run/x.sock", "unix://127.0.0.1:11434/run/x.sock"),
    ("my host", "http://my host:11434"),
    ("http://h:1#x", "http://h:80"),
    ("http://h/a#b", "http://h:80/a#b"),
    ("http://h/a?b=c", "http://h:80/a?b=c"),
]


@pytest.mark.parametrize(("value", "base", "connect"), ROWS)
def test_the_address_variable_means_what_it_means_to_ollama(
    value: str | None, base: str, connect: str
) -> None:
    """S4-24, S4-36, U16; trap 35."""
    address = parse_address(value)

    assert (address.url, connect_url(address)) == (base, connect or base)


@pytest.mark.parametrize(("value", "base"), REJECTED)
def test_an_address_nobody_can_connect_to_is_refused_with_an_example(value: str, base: str) -> None:
    address = parse_address(value)

    assert address.url == base
    with pytest.raises(ConfigError) as raised:
        connect_url(address)
    assert "OLLAMA_HOST" in raised.value.message
    assert raised.value.hint == "export OLLAMA_HOST=http://127.0.0.1:11434"


def test_a_user_in_the_address_becomes_basic_authentication() -> None:
    """Ollama makes nonsense of it: ``http://[user:pw%40h:1234]:80``."""
    (provider,) = default_providers({"OLLAMA_HOST": "http://user:p%40w@h:1234"})

    assert provider.base_url == "http://h:1234"
    assert provider.headers == {"Authorization": "Basic dXNlcjpwQHc="}
    assert "p@w" not in repr(provider)


def test_without_any_variable_the_usual_port_of_this_machine_is_proposed() -> None:
    """S4-07, S4-24: nothing to configure, no key."""
    assert default_providers({}) == [
        ProviderConfig(
            id="ollama",
            kind="ollama",
            label="Ollama",
            base_url="http://127.0.0.1:11434",
            source="loopback",
        )
    ]


def test_a_set_variable_counts_as_the_user_s_word() -> None:
    (provider,) = default_providers({"OLLAMA_HOST": "sam.lan"})

    assert (provider.base_url, provider.source) == ("http://sam.lan:11434", "environment")


@pytest.mark.parametrize(
    ("host", "sent"),
    [
        ("ollama.com", True),
        ("https://ollama.com", True),
        ("http://ollama.com", False),
        ("https://ollama.com.evil.example", False),
        ("sam.lan", False),
        ("", False),
    ],
)
def test_the_cloud_s_key_goes_to_the_cloud_alone(host: str, sent: bool) -> None:
    """Trap 36: a server in the local network would learn it."""
    (provider,) = default_providers({"OLLAMA_HOST": host, "OLLAMA_API_KEY": "secret-key"})

    assert provider.api_key == (SecretStr("secret-key") if sent else None)


def test_options_are_camel_case_and_have_their_defaults() -> None:
    """S4-73: five minutes in memory."""
    given = context(api="openai", numCtx=8192, keepAlive="1d", allowCloud=False)

    assert given.options(OllamaOptions) == OllamaOptions(
        api="openai", num_ctx=8192, keep_alive="24h", allow_cloud=False
    )
    assert OllamaOptions() == OllamaOptions(
        api="native", num_ctx=None, keep_alive="5m", allow_cloud=True, busy_tries=3
    )


@pytest.mark.parametrize(
    "wrong",
    [
        *({"numCtx": "big"}, {"numCtx": 1}, {"numCtx": 10**400}, {"api": "grpc"}, {"numctx": 1}),
        *({"keepAlive": each} for each in ("soon", 10**400, "99999999h", "--5m")),
    ],
    ids=lambda wrong: f"{wrong}"[:30],
)
def test_a_wrong_option_is_a_configuration_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        context(**wrong).options(OllamaOptions)
