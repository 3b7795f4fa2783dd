"""The report as a file to send: everything doctor found, and not one secret."""

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelbay import Host
from modelbay.errors import ConfigError
from modelbay_cli import layers
from modelbay_cli.diagnosis.redaction import Redaction, of_host
from modelbay_cli.diagnosis.report import Diagnosis

_TELLING = ("MODELBAY_", "LLAMA_", "LLM_", "XDG_", "DEFAULT_MODEL", "SSL_CERT_", "NO_COLOR")
_README = """\
This is a report of `modelbay doctor --bundle`.

report.json         versions, folders, plugins, providers and findings
configuration.json  the providers as they are used, and where each value comes from
states.json         what was kept of each provider's last looks
environment.json    which variables are set, without their values

Keys, tokens, headers, passwords in addresses and the name of the home folder are blotted out.
Read it before you send it on.
"""


def write_bundle(path: Path, diagnosis: Diagnosis, host: Host, file: str | None) -> None:
    """Write the zip file.

    Args:
        file: The text of providers.json; only to know what must not be shown.

    Raises:
        ConfigError: It cannot be written.
    """
    redaction = of_host(host, file)
    parts: dict[str, Any] = {
        "report.json": diagnosis.json(),
        "configuration.json": _configuration(host),
        "states.json": _states(host, redaction),
        "environment.json": _environment(host.env, host),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", _README)
        for name, value in parts.items():
            text = json.dumps(redaction.value(value), ensure_ascii=False, indent=2, default=str)
            archive.writestr(name, redaction.text(text) + "\n")
    try:
        path.write_bytes(packed.getvalue())
    except OSError as exc:
        raise ConfigError(
            f"cannot be written: {os.strerror(exc.errno or 0)}",
            where=str(path),
            hint="modelbay doctor --bundle ~/report.zip",
        ) from exc


def _configuration(host: Host) -> dict[str, Any]:
    return {
        "providers": [layers.shown(config) for config in layers.configured(host)],
        # Not under "key": what has such a name is blotted out.
        "values": [{"name": told.pop("key"), **told} for told in map(asdict, layers.voices(host))],
    }


def _states(host: Host, redaction: Redaction) -> dict[str, Any]:
    """Each provider's last looks, as the cache folder has them, and its state now."""
    states: dict[str, Any] = {}
    for entry in host.catalog.providers:
        states[entry.id] = {
            "status": entry.status,
            "age_s": entry.age_s,
            "took_s": entry.took_s,
            "models": len(entry.models),
            "problem": None if entry.problem is None else entry.problem.model_dump(mode="json"),
            "kept": _kept(host.locations.cache / "models" / f"{entry.id}.json"),
        }
    return states


def _kept(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    models = document.get("models")
    return {
        "read_at": document.get("read_at"),
        "failed_at": document.get("failed_at"),
        "problem": document.get("problem"),
        "models": len(models) if isinstance(models, list) else 0,
    }


def _environment(env: Mapping[str, str], host: Host) -> dict[str, str]:
    named = {handle.config.api_key_env for handle in host.providers}
    return {
        name: "(set)"
        for name in sorted(env)
        if name.startswith(_TELLING) or name.upper().endswith("_PROXY") or name in named
    }
