"""The part of the examination that asks no server: the file, and what it names."""

from pathlib import Path

from modelbay.errors import ConfigError, ModelbayError
from modelbay_cli.diagnosis import configuration
from modelbay_cli.diagnosis.cause import Patient, cause
from modelbay_cli.diagnosis.finding import Finding
from modelbay_cli.diagnosis.installation import look_at_wrappers
from modelbay_cli.secrecy import veil_of
from modelbay_cli.session import Session


def check_configuration(path: Path) -> list[Finding]:
    """Everything that is wrong with the file, and with the providers it names."""
    file = configuration.look_at_file(path)
    found = [*file.findings]
    whole = not any(finding.level == "error" for finding in found)
    try:
        session = Session() if whole else Session(providers=file.providers)
    except ConfigError:
        session = Session(providers=file.providers)
    named = [config.id for config in file.providers]
    with session:
        host = session.host
        ids = list(dict.fromkeys([*(handle.id for handle in host.providers), *named]))
        found += configuration.default_provider(file, ids)
        found += configuration.provider_of_default_model(file, ids)
        found += look_at_wrappers(host)
        for handle in host.providers:
            problem: ModelbayError | None = handle.problem
            if problem is None or handle.id not in named:
                continue
            disabled = host.env.get("MODELBAY_DISABLE", "").split(",")
            found.append(cause(Patient(handle.config, problem, "error", disabled=disabled)))
    veil = veil_of(file.text)
    return [finding.under(veil) for finding in found]
