"""A provider as an entry of ``providers.json``: to be used, and to be shown."""

from urllib.parse import urlsplit

from modelbay.models.frozen import JsonObject
from modelbay.models.provider import ProviderConfig
from modelbay.testing.recording.redaction import BLOT, Redaction

_OUR_OWN = {"source", "api_key_env"}


def entry_of(config: ProviderConfig) -> JsonObject:
    """The entry, without key and headers."""
    shown: JsonObject = config.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, exclude=_OUR_OWN
    )
    return shown


def shown_entry(config: ProviderConfig, redaction: Redaction) -> JsonObject:
    """The entry for others to read: where a secret was is a blot, so that a key is still there."""
    entry = redaction.object(entry_of(config))
    entry |= {"id": config.id, "kind": config.kind}
    if config.base_url:
        entry["baseUrl"] = redaction.text(public_address(config.base_url))
    if config.api_key is not None:
        entry["apiKey"] = BLOT
    if config.headers:
        entry["headers"] = {
            name: redaction.header(name, value) for name, value in config.headers.items()
        }
    return entry


def public_address(url: str) -> str:
    """An address without user, password and query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def moved(url: str, origin: str) -> str:
    """The address on another origin: path, user and password stay as they are.

    Args:
        origin: Such as ``http://127.0.0.1:8080``.
    """
    parts, there = urlsplit(url), urlsplit(origin)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(scheme=there.scheme, netloc=f"{user}{at}{there.netloc}").geturl()


def origin_of(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
