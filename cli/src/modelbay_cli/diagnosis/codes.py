"""Every diagnosis `modelbay doctor` can give: its stable code, what it means, how it is mended.

`docs/doctor.md` holds this as a table, and a test holds the two equal.
"""

from typing import NamedTuple


class Meaning(NamedTuple):
    """What a code stands for, and the usual fix with placeholders in capitals."""

    what: str
    fix: str


FILE: dict[str, Meaning] = {
    "file_malformed": Meaning("providers.json is no JSON", "modelbay config edit"),
    "file_unreadable": Meaning("providers.json is there and cannot be read", "chmod u+r FILE"),
    "file_exposed": Meaning(
        "providers.json holds a key and others on this machine may read it", "chmod 600 FILE"
    ),
    "duplicate_key": Meaning("a key stands twice in one object", "modelbay config edit"),
    "unknown_key": Meaning(
        "a key nobody reads, often a misspelt one", "modelbay config unset KEY, or config edit"
    ),
    "missing_key": Meaning("a key that must be there is not", "modelbay config edit"),
    "wrong_value": Meaning("a value is of the wrong type or form", "modelbay providers set ID KEY"),
    "duplicate_id": Meaning("two providers have one id", "modelbay config edit"),
    "scheme_missing": Meaning(
        "an address without http:// or https://", "modelbay providers set ID baseUrl http://..."
    ),
    "dsn_malformed": Meaning(
        "a provider in one line that is no KIND://TOKEN@HOST:PORT", "modelbay config edit"
    ),
    "variable_malformed": Meaning("a variable holds what its plugin cannot read", "unset VARIABLE"),
    "default_provider_unknown": Meaning(
        "defaultProvider names no provider", "modelbay config set defaultProvider ID"
    ),
    "default_model_unknown": Meaning(
        "the default model is listed by no provider", "modelbay default REF"
    ),
    "default_model_unreachable": Meaning(
        "the default model's provider cannot be asked", "modelbay default REF"
    ),
    "wrapper_missing": Meaning(
        "a wrapper is switched on and not installed", "modelbay config unset wrappers"
    ),
    "wrapper_broken": Meaning(
        "a wrapper cannot be loaded", "modelbay config unset wrappers, or install it again"
    ),
}

PLUGINS: dict[str, Meaning] = {
    "kind_not_installed": Meaning(
        "a provider is of a kind no plugin brings", "modelbay plugin list"
    ),
    "kind_disabled": Meaning(
        "a provider is of a kind that MODELBAY_DISABLE switches off", "unset MODELBAY_DISABLE"
    ),
    "kind_duplicate": Meaning("two packages bring one kind", "modelbay plugin uninstall PACKAGE"),
    "plugin_broken": Meaning(
        "a plugin cannot be imported", "modelbay plugin upgrade PACKAGE, or uninstall it"
    ),
    "plugin_dependency_missing": Meaning(
        "a plugin needs a module that is not installed", "modelbay plugin install PACKAGE"
    ),
    "plugin_incompatible": Meaning(
        "a plugin is for other versions of modelbay-core, and is not imported",
        "modelbay plugin upgrade PACKAGE, or uninstall it",
    ),
    "plugin_mismatch": Meaning(
        "a plugin's hooks do not fit this core", "modelbay plugin upgrade PACKAGE, or uninstall it"
    ),
    "plugin_contract": Meaning(
        "a plugin broke a promise when it was asked",
        "modelbay plugin upgrade PACKAGE, or uninstall it",
    ),
    "plugin_slow": Meaning(
        "a plugin's import takes seconds, at every start", "export MODELBAY_DISABLE=KIND"
    ),
    "plugin_thread": Meaning(
        "a plugin's import leaves a thread running, for which a command's end may wait",
        "modelbay plugin upgrade PACKAGE",
    ),
    "plugin_prints": Meaning(
        "a plugin prints when it is imported", "modelbay plugin upgrade PACKAGE"
    ),
    "plugin_missing": Meaning(
        "a plugin was asked for and is not installed any more", "modelbay plugin sync"
    ),
    "package_damaged": Meaning("a package's metadata cannot be read", "rm -r FOLDER"),
    "command_broken": Meaning(
        "a package's command cannot be loaded", "modelbay plugin upgrade PACKAGE, or uninstall it"
    ),
}

KEYS: dict[str, Meaning] = {
    "key_missing": Meaning("the server wants a key and none is set", "modelbay keys set ID"),
    "key_refused": Meaning("the server refuses the key", "modelbay keys set ID"),
    "key_for_other_host": Meaning(
        "the stored key is meant for another host, and is not sent", "modelbay keys set ID"
    ),
    "key_unsendable": Meaning(
        "a key or header holds a line end or another character that cannot be sent",
        "modelbay keys set ID",
    ),
    "keys_exposed": Meaning("others on this machine may read the stored keys", "chmod 600 FILE"),
    "keys_damaged": Meaning(
        "the file of stored keys cannot be read", "mv FILE FILE.damaged, then modelbay keys set"
    ),
    "keyring_silent": Meaning(
        "the system's keyring does not answer", "modelbay keys set ID --file"
    ),
}

ADDRESSES: dict[str, Meaning] = {
    "address_missing": Meaning(
        "the provider has no address", "modelbay providers set ID baseUrl URL"
    ),
    "address_unspecified": Meaning(
        "0.0.0.0 or [::] is where a server listens, and no address to connect to",
        "modelbay providers set ID baseUrl http://127.0.0.1:PORT",
    ),
    "address_with_path": Meaning(
        "a path such as /v1 was left on the address", "modelbay providers set ID baseUrl URL"
    ),
    "wrong_port": Meaning(
        "nothing of this kind is here, and it answers at its usual address",
        "modelbay providers set ID baseUrl URL",
    ),
    "wrong_kind": Meaning(
        "a server of another kind answers here", "modelbay providers set ID kind KIND"
    ),
    "ipv6_only": Meaning(
        "the server listens on IPv6 and the address is IPv4",
        "modelbay providers set ID baseUrl http://[::1]:PORT",
    ),
    "ipv4_only": Meaning(
        "the server listens on IPv4 and the address is IPv6",
        "modelbay providers set ID baseUrl http://127.0.0.1:PORT",
    ),
    "tls_on_plain_port": Meaning(
        "https, and the server speaks http", "modelbay providers set ID baseUrl http://..."
    ),
    "plain_on_tls_port": Meaning(
        "http, and the server speaks https", "modelbay providers set ID baseUrl https://..."
    ),
    "name_not_resolved": Meaning(
        "the host's name is not known", "modelbay providers set ID baseUrl URL"
    ),
    "proxy_in_the_way": Meaning(
        "the server answers, but not through the proxy", "export NO_PROXY=HOST"
    ),
    "proxy_unreachable": Meaning("the proxy does not answer", "unset HTTP_PROXY"),
    "redirect": Meaning(
        "the server sends elsewhere, and a key never follows",
        "modelbay providers set ID baseUrl URL",
    ),
    "certificate_untrusted": Meaning(
        "nobody who is trusted signed the certificate", "export SSL_CERT_FILE=CA.pem"
    ),
    "certificate_expired": Meaning("the certificate is too old", "renew it where the server runs"),
    "certificate_not_yet_valid": Meaning(
        "the certificate is from the future: a clock is wrong", "timedatectl set-ntp true"
    ),
    "certificate_wrong_host": Meaning(
        "the certificate is for another name", "modelbay providers set ID baseUrl https://NAME"
    ),
    "certificates_unreadable": Meaning(
        "the file of SSL_CERT_FILE cannot be read", "unset SSL_CERT_FILE"
    ),
    "tls_failed": Meaning("no encrypted connection comes about", "look at the server's own log"),
}

SERVERS: dict[str, Meaning] = {
    "connection_refused": Meaning("nothing listens there", "start the server"),
    "host_unreachable": Meaning("no way to the host, or no answer from it", "ping HOST"),
    "connection_closed": Meaning(
        "the server closes the connection without an answer", "look at the server's own log"
    ),
    "server_hung": Meaning(
        "the server accepts and never answers", "start it anew, then modelbay doctor"
    ),
    "server_slow": Meaning(
        "the server answers later than probeTimeoutS", "modelbay providers set ID probeTimeoutS S"
    ),
    "server_loading": Meaning("the server is busy or loading", "wait, and run doctor again"),
    "server_unhealthy": Meaning(
        "the server says that it is not healthy", "look at the server's own log"
    ),
    "server_failed": Meaning("the server answers with an error", "look at the server's own log"),
    "server_too_old": Meaning("the server's version lacks what is needed", "upgrade it"),
    "endpoint_missing": Meaning(
        "the server does not know the path (HTTP 404)", "modelbay providers set ID baseUrl URL"
    ),
    "another_product": Meaning(
        "another product answers at the address", "modelbay providers set ID baseUrl URL"
    ),
    "not_json": Meaning(
        "a web page or another text answers instead of the server",
        "modelbay providers set ID baseUrl URL",
    ),
    "answer_unusable": Meaning(
        "the answer is too large or not what its kind sends", "upgrade the server"
    ),
    "rate_limited": Meaning("too many requests", "wait, and run doctor again"),
    "quota_exceeded": Meaning("the account is used up", "top it up at the provider"),
    "autoload_off": Meaning(
        "a router does not load a model by itself when it is asked", "modelbay load REF"
    ),
    "no_models": Meaning("the provider answers and lists no model", "modelbay pull REF"),
    "model_unusable": Meaning("a model is listed and cannot be used", "modelbay show REF"),
    "no_model": Meaning("no provider has a model to answer with", "modelbay providers add"),
}

MACHINE: dict[str, Meaning] = {
    "folder_is_a_file": Meaning("a file stands where a folder should", "mv PATH PATH.old"),
    "folder_unwritable": Meaning("a folder may not be written", "chmod u+rwx FOLDER"),
    "folder_read_only": Meaning("a folder is on a read-only disk", "export MODELBAY_HOME=FOLDER"),
    "disk_full": Meaning("hardly any room is left", "df -h FOLDER, then free some"),
    "cache_damaged": Meaning("a kept list of models cannot be read", "rm FILE"),
    "measurements_damaged": Meaning("kept measurements cannot be read", "rm FILE"),
    "state_damaged": Meaning(
        "the database of favourites and conversations, or a list in it, is damaged",
        "mv FILE FILE.damaged",
    ),
    "clock_wrong": Meaning(
        "this clock and a server's are minutes apart", "timedatectl set-ntp true"
    ),
    "clock_went_back": Meaning("a kept list is from the future", "rm FILE"),
}

OTHER: dict[str, Meaning] = {
    "other": Meaning("anything else; `error` has the error's own code", "modelbay doctor -v"),
}

GROUPS: dict[str, dict[str, Meaning]] = {
    "Configuration": FILE,
    "Plugins": PLUGINS,
    "Keys": KEYS,
    "Addresses": ADDRESSES,
    "Servers": SERVERS,
    "This machine": MACHINE,
    "Anything else": OTHER,
}

CODES: dict[str, Meaning] = {
    code: meaning for group in GROUPS.values() for code, meaning in group.items()
}


def as_markdown() -> str:
    """The tables of `docs/doctor.md`."""
    lines: list[str] = []
    for title, group in GROUPS.items():
        lines += [f"### {title}", "", "| code | what it means | usual fix |", "|---|---|---|"]
        lines += [f"| `{code}` | {what} | `{fix}` |" for code, (what, fix) in group.items()]
        lines.append("")
    return "\n".join(lines)
