"""Names that tell that what stands under them is a secret."""

import re
from functools import cache

_TELLING = (
    r"(?<!mon)(?<!tur)(?<!don)key(?!board|word|frame|stroke)|token(?!i[sz])|secret(?!ar)|passw"
    r"|passphrase|pwd|credential|cookie|session|signature|^sig$|bearer|jwt"
    r"|auth(?!or(?:s?$|s?[-_]))"  # authorization and oauth, not author
)
# Names of variables, how much is left of a limit, and how many tokens there are.
_OPEN = r"(?:_env|keyenv)$|rate-?limit|tokens|token_(?:count|limit|budget|ids?$|type)"


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is a secret, as far as the name tells."""
    secret, open_ = _compiled()
    return secret.search(name) is not None and open_.search(name) is None


@cache  # made at the first use: a program that redacts nothing should not wait for it
def _compiled() -> tuple[re.Pattern[str], re.Pattern[str]]:
    return re.compile(_TELLING, re.IGNORECASE), re.compile(_OPEN, re.IGNORECASE)
