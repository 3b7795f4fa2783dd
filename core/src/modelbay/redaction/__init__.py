"""What looks like a secret, and how a known one may be spelt: one rule for all that redacts."""

from modelbay.redaction.looks import find_keys, find_looks, without_keys, without_looks
from modelbay.redaction.names import is_secret_name
from modelbay.redaction.spans import BLOT, Span, blot, united
from modelbay.redaction.spellings import KnownSecrets

__all__ = [
    "BLOT",
    "KnownSecrets",
    "Span",
    "blot",
    "find_keys",
    "find_looks",
    "is_secret_name",
    "united",
    "without_keys",
    "without_looks",
]
