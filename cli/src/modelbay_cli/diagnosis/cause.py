"""Why a provider fails: one diagnosis from its error and what a bare look saw. Pure."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from modelbay import ModelbayError, ProviderConfig
from modelbay_cli.diagnosis.finding import Finding, Level
from modelbay_cli.diagnosis.network import Look
from modelbay_cli.diagnosis.remedies import ANY, NAMED, change, readdress
from modelbay_cli.output import shown_url

_OWN_LOG = "look at the server's own log"
_ANEW = "modelbay doctor   # after you have stopped the server and started it again"
_TOO_OLD = re.compile(r"\btoo old\b|\bor (later|newer)\b|\b(upgrade|update) ", re.IGNORECASE)
# What the core says of a provider's configuration; the first that fits counts.
_CONFIG = (
    (r"has no address", "address_missing"),
    (r"stored key of '", "key_for_other_host"),
    (r"others on this machine may read", "keys_exposed"),
    (r"file of stored keys", "keys_damaged"),
    (r"keyring", "keyring_silent"),
    (r"cannot be sent", "key_unsendable"),
    (r"this is no KIND://", "dsn_malformed"),
    (r"is not known here", "unknown_key"),
)
# What the loader says of a plugin.
_PLUGIN = (
    ("cannot be imported", "plugin_broken"),
    ("which is not installed", "plugin_dependency_missing"),
    ("it is for modelbay-core", "plugin_incompatible"),
)
_CERTIFICATES = {
    "expired": "certificate_expired",
    "not_yet_valid": "certificate_not_yet_valid",
    "wrong_host": "certificate_wrong_host",
    "untrusted": "certificate_untrusted",
}


@dataclass(frozen=True, slots=True)
class Patient:
    """A provider that fails, and all that is known of it.

    Attributes:
        look: ``None`` if it has no address that could be looked at.
        proxy: The proxy its requests go through; empty for none.
        start_hint: How servers of its kind are started, by its plugin.
        origin: The variable that names the provider, if one does.
        filed: It stands in providers.json.
        key_in_file: Its key stands there too.
    """

    config: ProviderConfig
    problem: ModelbayError
    level: Level
    look: Look | None = None
    proxy: str = ""
    start_hint: str = ""
    origin: str = ""
    filed: bool = True
    key_in_file: bool = False
    disabled: Sequence[str] = ()

    @property
    def subject(self) -> str:
        return f"provider {self.config.id}"

    def finding(self, code: str, fix: str | None = None) -> Finding:
        return Finding.of(self.level, code, self.subject, self.problem, fix)

    def readdress(self, url: str, why: str = "") -> str:
        return readdress(self.config, url, filed=self.filed, why=why)


def is_too_old(problem: ModelbayError) -> bool:
    """The plugin says that the server's version is what is wrong."""
    return bool(_TOO_OLD.search(f"{problem.message} {problem.hint or ''}"))


def cause(patient: Patient) -> Finding:
    """The one diagnosis that explains the problem."""
    problem = patient.problem
    match problem.code:
        case "config_error":
            return _configuration(patient)
        case "plugin_load_error" | "plugin_error" | "plugin_contract_error":
            return _plugin(patient)
        case "authentication_failed":
            return _key(patient)
        case "backend_busy":
            return patient.finding("server_loading", "modelbay doctor   # again in a minute")
        case "rate_limited":
            return patient.finding("rate_limited", "modelbay doctor   # again in a minute")
        case "quota_exceeded":
            return patient.finding("quota_exceeded")
    if is_too_old(problem):
        return patient.finding("server_too_old")
    if "certificates cannot be read" in problem.message:
        return patient.finding("certificates_unreadable", "unset SSL_CERT_FILE")
    if patient.look is not None:
        seen = _seen(patient, patient.look)
        if seen is not None:
            return seen
    return _told(patient)


def _configuration(patient: Patient) -> Finding:
    config, problem = patient.config, patient.problem
    code = next((code for words, code in _CONFIG if re.search(words, problem.message)), None)
    name = config.id
    match code:
        case "address_missing":
            return patient.finding(code, patient.readdress(ANY))
        case "key_unsendable":
            return patient.finding(code, _key_fix(config, patient.key_in_file))
        case "unknown_key":
            key = problem.message.partition("#/")[2].partition(":")[0].partition("/")[0]
            return patient.finding(code, f"modelbay providers unset {name} {shlex.quote(key)}")
        case "dsn_malformed" if patient.origin:
            return patient.finding(code, f"unset {patient.origin}   # {problem.hint}")
        case None if patient.config.implicit:
            return patient.finding("variable_malformed")
        case None:
            key = problem.message.partition("#/")[2].partition(":")[0].partition("/")[0]
            fix = f"modelbay providers unset {name} {shlex.quote(key)}" if key else None
            return patient.finding("wrong_value", fix)
    return patient.finding(code)


def _plugin(patient: Patient) -> Finding:
    message, kind = patient.problem.message, patient.config.kind
    if "is switched off" in message:
        left = ",".join(name for name in patient.disabled if name not in ("", kind))
        fix = f"export MODELBAY_DISABLE={shlex.quote(left)}" if left else "unset MODELBAY_DISABLE"
        return patient.finding("kind_disabled", fix)
    if message.startswith("no plugin for kind"):
        return patient.finding("kind_not_installed")
    if patient.problem.code == "plugin_contract_error":
        return patient.finding("plugin_contract")
    code = next((code for words, code in _PLUGIN if words in message), "plugin_mismatch")
    return patient.finding(code)


def _key(patient: Patient) -> Finding:
    config = patient.config
    has_key = config.api_key is not None or "authorization" in {n.lower() for n in config.headers}
    code = "key_refused" if has_key else "key_missing"
    return patient.finding(code, _key_fix(config, patient.key_in_file))


def _key_fix(config: ProviderConfig, in_file: bool) -> str:
    if config.api_key_env:
        return f"export {config.api_key_env}=KEY   # the one the server knows"
    if in_file:
        return change(config, "apiKey", "KEY", filed=True)
    return f"modelbay keys set {config.id}"


def _seen(patient: Patient, look: Look) -> Finding | None:
    """What the bare look explains; ``None`` for what it does not."""
    config, problem = patient.config, patient.problem
    host = urlsplit(config.base_url).hostname or ""
    if patient.proxy:
        if look.outcome != "answered":
            shown = f"the proxy {shown_url(patient.proxy)} does not answer: {look.detail}"
            scheme = urlsplit(config.base_url).scheme
            fix = f"unset {scheme.upper()}_PROXY {scheme}_proxy ALL_PROXY all_proxy"
            return Finding(
                patient.level, "proxy_unreachable", patient.subject, shown, fix, problem.code
            )
        return None
    if look.outcome == "untrusted":
        return _certificate(patient, look)
    if problem.code not in ("backend_unreachable", "backend_timeout", "stream_interrupted"):
        return None
    match look.outcome:
        case "unresolved":
            why = f"'{host}' is no host that is known here"
            return patient.finding("name_not_resolved", patient.readdress(ANY, why))
        case "refused":
            fix = patient.start_hint.partition("   #")[0] or "start the server"
            return patient.finding(
                "connection_refused", f"{fix}   # so that it listens at {_place(config)}"
            )
        case "unreachable":
            return patient.finding("host_unreachable", f"ping {shlex.quote(host)}")
        case "no_tls":
            return patient.finding("tls_failed", _OWN_LOG)
        case "silent":
            return patient.finding("server_hung", _ANEW)
        case "closed":
            return patient.finding("connection_closed", _OWN_LOG)
    if problem.code == "backend_timeout":
        return patient.finding("server_hung", _ANEW)
    return None


def _certificate(patient: Patient, look: Look) -> Finding:
    code = _CERTIFICATES[look.certificate or "untrusted"]
    fix = {
        "certificate_expired": "renew the certificate where the server runs",
        "certificate_not_yet_valid": "timedatectl set-ntp true",
        "certificate_wrong_host": patient.readdress(NAMED, "the name the certificate is for"),
        "certificate_untrusted": "export SSL_CERT_FILE=CA.pem   # who signed it",
    }[code]
    message = f"the certificate of {_place(patient.config)}: {look.detail}"
    return Finding(patient.level, code, patient.subject, message, fix, patient.problem.code)


def _told(patient: Patient) -> Finding:
    """What the error itself says."""
    problem, look = patient.problem, patient.look
    status = getattr(problem, "status", None)
    base = patient.config.base_url
    match problem.code:
        case "wrong_server":
            return patient.finding("another_product", patient.readdress(ANY, problem.hint or ""))
        case "protocol_error" if status is not None and 300 <= status < 400:
            target = _target(patient)
            return patient.finding("redirect", patient.readdress(target or ANY))
        case "protocol_error" if "html" in problem.message or "text/" in problem.message:
            why = "a web page answers at this one"
            return patient.finding("not_json", patient.readdress(ANY, why))
        case "protocol_error":
            return patient.finding("answer_unusable")
        case "stream_interrupted":
            return patient.finding("connection_closed", _OWN_LOG)
        case "backend_unreachable":
            return patient.finding(
                "host_unreachable", f"ping {urlsplit(base).hostname}" if base else None
            )
        case "backend_timeout":
            return patient.finding("server_hung", _ANEW)
    if status == 404:
        return patient.finding("endpoint_missing", patient.readdress(ANY))
    if status is not None and status >= 500:
        return patient.finding("server_failed", _OWN_LOG)
    if look is not None and look.status is not None and 300 <= look.status < 400:
        return patient.finding("redirect", patient.readdress(_target(patient) or ANY))
    return patient.finding("other")


def _target(patient: Patient) -> str:
    """Where a redirect of the address itself leads, without the path that was asked for."""
    base, look = patient.config.base_url, patient.look
    location = look.location if look is not None else None
    if location is None:
        found = re.search(r"redirects to (\S+?)[;,]?(\s|$)", patient.problem.message)
        location = found[1] if found else None
    if location is None:
        return ""
    parts = urlsplit(urljoin(f"{base}/", location))
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else ""


def _place(config: ProviderConfig) -> str:
    return shown_url(config.base_url)
