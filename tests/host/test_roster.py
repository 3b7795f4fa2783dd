"""Mirrors modelbay/host/roster.py: who is named, who is proposed, and whose key is whose."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from modelbay.errors import ConfigError
from modelbay.host.host import Host
from modelbay.host.loader import Installed
from modelbay.keys import KeyStore, Place
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.provider import ProviderConfig
from pretend import config, installed, plugin


class Ring:
    def __init__(self, held: Mapping[str, str]) -> None:
        self.held = held

    def get_password(self, service_name: str, username: str) -> str | None:
        return self.held.get(username)

    def set_password(self, service_name: str, username: str, password: str) -> None: ...

    def delete_password(self, service_name: str, username: str) -> None: ...


def open_host(
    home: Path,
    *providers: ProviderConfig,
    env: Mapping[str, str] | None = None,
    also: tuple[ProviderConfig, ...] = (),
    plugins: Installed | None = None,
) -> Host:
    return Host.open(
        providers=providers,
        also=also,
        env={"MODELBAY_HOME": str(home), **(env or {})},
        installed=plugins or installed(acme=plugin(), labs=plugin()),
    )


def shown(host: Host) -> list[tuple[str, str, str, str | None]]:
    return [
        (
            c.id,
            c.kind,
            c.base_url,
            None if c.api_key is None else c.api_key.get_secret_value(),
        )
        for c in (handle.config for handle in host.providers)
    ]


def store(home: Path, name: str, key: str, place: Place = "file", host: str | None = None) -> None:
    KeyStore(home / "data" / "keys.json", lambda: Ring({})).set(name, key, place=place, host=host)


# --- who there is ---------------------------------------------------------------------------------


def test_a_variable_that_holds_a_dsn_is_a_provider(tmp_path: Path) -> None:
    """S1-32: LLM_<NAME>. Other programs' variables of that form are none of ours."""
    env = {
        "LLM_BIG_DESK": "acme://token@host:8080",
        "LLM_GATEWAY": "https://gateway.test",
        "LLM_DEEP_KEY": "sk-123",
        "LLM_OTHER": "nobody://host",
        "LLM_": "labs://h",
    }
    host = open_host(tmp_path, env=env)

    assert shown(host) == [
        ("labs", "labs", "http://h", None),
        ("big-desk", "acme", "http://host:8080", "token"),
    ]
    assert host.roster.origins == {"labs": "LLM_", "big-desk": "LLM_BIG_DESK"}
    assert not any(handle.config.implicit for handle in host.providers)


def test_the_file_wins_over_a_variable_and_the_caller_over_both(tmp_path: Path) -> None:
    env = {"LLM_DESK": "acme://from-variable", "LLM_LAB": "acme://from-variable"}
    host = open_host(
        tmp_path,
        config("desk", base_url="http://from-file"),
        config("bench", base_url="http://from-file"),
        env=env,
        also=(config("bench", "labs", base_url="http://from-caller"),),
    )

    assert shown(host) == [
        ("desk", "acme", "http://from-file", None),
        ("bench", "labs", "http://from-caller", None),
        ("lab", "acme", "http://from-variable", None),
    ]


def test_a_variable_with_a_broken_dsn_is_a_row_that_says_so(tmp_path: Path) -> None:
    host = open_host(tmp_path, env={"LLM_DESK": "acme://me:secret@host"})
    [handle] = host.providers

    assert (handle.id, handle.kind, type(handle.problem)) == ("desk", "acme", ConfigError)
    assert str(handle.problem).startswith("LLM_DESK: this is no KIND://TOKEN@HOST:PORT")
    assert "secret" not in str(handle.problem)


@pytest.mark.parametrize(
    ("variable", "row"),
    [("LLM_A+B", "llm_a-b"), ("LLM_.", "llm_."), ("LLM_Ü", "llm_"), ("LLM_DESK", "llm_desk")],
)
def test_a_variable_that_can_name_no_provider_is_a_row_of_its_own(
    tmp_path: Path, variable: str, row: str
) -> None:
    """Not an error of every command, and not one of the provider that has the name."""
    text = "acme://me:secret@host" if variable == "LLM_DESK" else "acme://host"
    host = open_host(tmp_path, env={variable: text, "LLM_ONE": "acme://good#desk"})
    problems = {handle.id: handle.problem for handle in host.providers}

    assert list(problems) == ["desk", row]
    assert problems["desk"] is None
    assert str(problems[row]).startswith(f"{variable}: this is no KIND://TOKEN@HOST:PORT")
    assert host.roster.origins == {"desk": "LLM_ONE", row: variable}


def test_of_two_variables_that_name_one_provider_neither_is_believed(tmp_path: Path) -> None:
    env = {"LLM_A": "acme://tok@h:1#x", "LLM_B": "acme://h:2#x", "LLM_C": "acme://h:3#x"}
    [handle] = open_host(tmp_path, env=env).providers

    assert (handle.id, str(handle.problem)) == ("x", "LLM_A and LLM_B both name provider 'x'")
    assert handle.problem is not None
    assert handle.problem.hint == "unset LLM_B   # or end it with another name: #NAME"


@pytest.mark.parametrize("text", ["acme://me:secret@host", "acme://h:1"])
def test_a_variable_says_nothing_of_a_provider_that_the_file_names(
    tmp_path: Path, text: str
) -> None:
    env = {"LLM_DESK": text, "LLM_OTHER": "acme://h:2#desk"}
    host = open_host(tmp_path, config("desk", base_url="http://from-file"), env=env)

    assert [(handle.id, handle.problem) for handle in host.providers] == [("desk", None)]
    assert host.roster.origins == {}


def test_the_one_line_form_means_https_where_the_kind_says_so(tmp_path: Path) -> None:
    """S1-08."""
    table = CapabilityTable(tls_in_dsn=True)
    plugins = installed(acme=plugin(capabilities=lambda: table), labs=plugin())
    host = open_host(
        tmp_path,
        config("plain", base_url="http://h"),
        env={"LLM_A": "acme://token@h:8443", "LLM_B": "labs://h"},
        plugins=plugins,
    )

    assert shown(host) == [
        ("plain", "acme", "http://h", None),
        ("a", "acme", "https://h:8443", "token"),
        ("b", "labs", "http://h", None),
    ]


def test_an_address_that_somebody_named_is_proposed_by_nobody(tmp_path: Path) -> None:
    near = [config("near", base_url="http://127.0.0.1:8080", source="loopback")]
    plugins = installed(acme=plugin(default_providers=lambda: near))

    assert [row[0] for row in shown(open_host(tmp_path, plugins=plugins))] == ["near"]
    named = open_host(tmp_path, env={"LLM_DESK": "acme://127.0.0.1:8080"}, plugins=plugins)
    assert [row[0] for row in shown(named)] == ["desk"]


# --- keys -----------------------------------------------------------------------------------------


def test_a_key_comes_from_the_variable_then_the_entry_then_the_store(tmp_path: Path) -> None:
    store(tmp_path, "desk", "stored-by-id")
    store(tmp_path, "ACME_KEY", "stored-by-variable")
    own = config("desk", apiKey="own", apiKeyEnv="ACME_KEY")
    named = config("desk", apiKeyEnv="ACME_KEY")
    keys = [
        shown(host)[0][3]
        for host in (
            open_host(tmp_path, own, env={"ACME_KEY": "variable"}),
            open_host(tmp_path, own, env={"ACME_KEY": " "}),
            open_host(tmp_path, also=(own,), env={"ACME_KEY": "variable"}),
            open_host(tmp_path, named, env={"ACME_KEY": "variable\n"}),
            open_host(tmp_path, named),
            open_host(tmp_path, config("lab", apiKeyEnv="ACME_KEY")),
            open_host(tmp_path, config("lab")),
        )
    ]

    assert keys == [
        "variable",
        "own",
        "own",  # the caller's
        "variable",
        "stored-by-id",
        "stored-by-variable",
        None,
    ]


def test_where_a_key_came_from_is_known_without_the_key(tmp_path: Path) -> None:
    store(tmp_path, "lab", "stored")
    host = open_host(tmp_path, config("desk", apiKeyEnv="K"), config("lab"), env={"K": "v"})

    assert host.roster.key_places == {"desk": "K", "lab": "file"}


def test_a_blank_variable_hides_no_stored_key(tmp_path: Path) -> None:
    def default_providers(env: Mapping[str, str]) -> list[ProviderConfig]:
        return [config("cloud", source="hosted", apiKey=env["ACME_KEY"], apiKeyEnv="ACME_KEY")]

    store(tmp_path, "ACME_KEY", "sk-1")
    plugins = installed(acme=plugin(default_providers=default_providers))
    blank = {"ACME_KEY": " \n"}

    assert shown(open_host(tmp_path, plugins=plugins, env=blank)) == [("cloud", "acme", "", "sk-1")]
    [named] = shown(open_host(tmp_path, config("desk", apiKeyEnv="ACME_KEY"), env=blank))
    assert named == ("desk", "acme", "", "sk-1")


def test_a_stored_key_goes_to_the_server_it_was_stored_for_alone(tmp_path: Path) -> None:
    store(tmp_path, "desk", "sk-secret", host="https://api.acme.test")
    right = open_host(tmp_path, config("desk", base_url="https://api.acme.test:443/v1"))
    assert shown(right)[0][3] == "sk-secret"

    others = ["https://evil.test", "http://api.acme.test", "https://api.acme.test:8443"]
    for url in others:
        [handle] = open_host(tmp_path, config("desk", base_url=url)).providers
        assert handle.config.api_key is None
        assert handle.problem is not None
        assert (str(handle.problem), handle.problem.hint) == (
            "the stored key of 'desk' is for https://api.acme.test, and the provider is at " + url,
            f"modelbay keys set desk   # a key for {url}",
        )


def test_a_variables_stored_key_is_bound_to_the_server_it_is_first_sent_to(tmp_path: Path) -> None:
    store(tmp_path, "ACME_KEY", "sk-secret")
    first = open_host(
        tmp_path, config("desk", base_url="http://127.0.0.1:8080", apiKeyEnv="ACME_KEY")
    )
    moved = config("desk", base_url="http://127.0.0.1:8081", apiKeyEnv="ACME_KEY")

    assert shown(first)[0][3] == "sk-secret"
    [bound] = KeyStore(tmp_path / "data" / "keys.json").list()
    assert bound.host == "http://127.0.0.1:8080"
    [handle] = open_host(tmp_path, moved).providers
    assert (handle.config.api_key, type(handle.problem)) == (None, ConfigError)


def test_two_providers_on_one_variable_may_each_have_a_stored_key(tmp_path: Path) -> None:
    store(tmp_path, "ACME_KEY", "one")
    both = (
        config("desk", base_url="https://a.test", apiKeyEnv="ACME_KEY"),
        config("lab", base_url="https://b.test", apiKeyEnv="ACME_KEY"),
    )
    problem = open_host(tmp_path, *both).providers[1].problem
    assert problem is not None
    assert problem.hint == "modelbay keys set lab   # a key for https://b.test"

    store(tmp_path, "lab", "two", host="https://b.test")  # as the hint says
    assert [row[3] for row in shown(open_host(tmp_path, *both))] == ["one", "two"]


def test_a_stored_key_of_a_one_line_provider_is_for_https_where_the_kind_says_so(
    tmp_path: Path,
) -> None:
    table = CapabilityTable(tls_in_dsn=True)
    plugins = installed(acme=plugin(capabilities=lambda: table))
    store(tmp_path, "a", "sk-1", host="https://h:8443")

    assert shown(open_host(tmp_path, env={"LLM_A": "acme://h:8443"}, plugins=plugins)) == [
        ("a", "acme", "https://h:8443", "sk-1")
    ]


def test_a_stored_key_stands_in_for_a_variable_when_providers_are_proposed(tmp_path: Path) -> None:
    def default_providers(env: Mapping[str, str]) -> list[ProviderConfig]:
        return [config("cloud", source="hosted", apiKeyEnv="ACME_KEY")] if "ACME_KEY" in env else []

    plugins = installed(acme=plugin(default_providers=default_providers))
    assert shown(open_host(tmp_path, plugins=plugins)) == []

    store(tmp_path, "ACME_KEY", "sk-1")
    assert shown(open_host(tmp_path, plugins=plugins)) == [("cloud", "acme", "", "sk-1")]


def test_a_plugin_that_copies_the_variable_gets_the_stored_key_too(tmp_path: Path) -> None:
    def default_providers(env: Mapping[str, str]) -> list[ProviderConfig]:
        return [config("cloud", source="hosted", apiKey=env["ACME_KEY"])]

    plugins = installed(acme=plugin(default_providers=default_providers))
    store(tmp_path, "ACME_KEY", "sk-1")

    assert shown(open_host(tmp_path, plugins=plugins)) == [("cloud", "acme", "", "sk-1")]


def test_a_store_that_cannot_be_read_concerns_those_who_need_it(tmp_path: Path) -> None:
    store(tmp_path, "desk", "sk-1")
    (tmp_path / "data" / "keys.json").chmod(0o644)
    host = open_host(tmp_path, config("desk", apiKeyEnv="K"), config("lab"))

    assert [handle.problem is None for handle in host.providers] == [False, True]


def test_an_empty_key_is_no_key(tmp_path: Path) -> None:
    store(tmp_path, "desk", "")
    host = open_host(tmp_path, config("desk"))

    assert shown(host)[0][3] is None
