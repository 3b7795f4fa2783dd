"""What looks like a secret wherever it stands: well-known keys, and what telling names hold."""

import re
from collections.abc import Iterator
from functools import cache

from modelbay.redaction.spans import BLOT, Span, blot_text

# Each begins with what its issuer puts first. Words of prose and names of models begin alike, so
# that where an issuer has no more than two letters, a digit must follow.
_KEYS = (
    r"sk[-_](?:proj|ant|svcacct|admin|or|live|test)[-_][\w-]{8,}",
    *(rf"{short}[-_](?=[\w-]{{0,99}}[0-9])[\w-]{{12,}}" for short in ("sk", "csk", "pk", "rk")),
    *(
        rf"{word}[-_](?=[\w-]{{0,99}}[0-9])[\w-]{{16,}}"
        for word in ("xai", "nvapi", "pplx", "tvly", "tgp_v1")
    ),
    r"gsk_\w{16,}",
    r"hf_(?:[A-Za-z0-9]{30,}|(?=\w{0,99}[0-9])\w{16,})",
    r"AIza[\w-]{20,}",
    r"r8_(?=\w{0,99}[0-9])\w{20,}",
    r"gh[opsru]_[A-Za-z0-9]{16,}",
    r"github_pat_\w{16,}",
    r"gl(?:pat|ptt|dt|rt|cbt|ft|oas)-[\w-]{8,}",
    r"xox[abeoprs]-(?=[\w-]{0,99}[0-9])[\w-]{8,}",
    r"xapp-[0-9]-[\w-]{8,}",
    r"A(?:KIA|SIA)[0-9A-Z]{12,}",
    r"ya29\.[\w-]{16,}",
    r"GOCSPX-[\w-]{16,}",
    r"npm_[A-Za-z0-9]{30,}",
    r"pypi-AgE[\w-]{20,}",
    r"dop_v1_[0-9a-f]{32,}",
    r"SG\.[\w-]{16,99}\.[\w-]{16,}",
    r"eyJ[\w-]{8,1024}\.[\w-]{4,}\.[\w-]*",  # a JSON web token
)
# Looked at behind the first letter, so that a search can skip to it. In JSON the letter of an
# escape stands before a key, in an address digits.
_BEGINS = r"(?:(?<![A-Za-z0-9].)|(?<=\\[nrtbf].)|(?<=%[0-9A-Fa-f][0-9A-Fa-f].))"
_REST = r"(?:[.~+/]+[\w-]+)*={0,2}"  # half a key left over would not be known as one
_PRIVATE_KEY = (
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[A-Za-z0-9+/=:,.\s]|-(?!----)|\\{1,8}[nrt/])*(?:-----END [A-Z0-9 ]{1,60}-----)?"
)
# A word of prose may follow as well: "Bearer authentication", "Basic usage".
_SCHEME = (
    r"[bB](?:earer|EARER|asic|ASIC)(?:\s|%20|\+){1,8}"
    r"(?P<bearer>(?=[\w~+/-]{0,99}(?:[0-9=]|[.][\w~+/-]|[a-z][A-Z]))[\w.~+/=-]{12,})"
)
_CREDENTIALS = r"://[^\s/@:\"'\\<>]{0,256}:(?P<credentials>[^\s/@\"'\\<>]{1,256})(?=@)"
# Without one of these nothing above is found, and most messages hold none.
_ALL_HOLD_ONE = re.compile(rb"[\w.~+/=-]{12}|-----BEGIN|://[^\s/@]+@")
_USER = r"://(?!TOKEN@)(?P<user>[^\s/@\"'\\<>]{1,512})(?=@)"  # TOKEN is what our own hints say

# Sought where all letters are small. "token" alone is also what a list of probabilities is made
# of: only what looks random goes under it.
_NAMES = (
    rb"(?:api[-_ ]?key|access[-_]?key|account[-_]?key|private[-_]?key|secret|master[-_]?key"
    rb"|passw(?:or)?[dt]|passphrase|p(?<![a-z]p)wd|credential|authorization|cookie"
    rb"|access[-_]?token|refresh[-_]?token|i(?<![a-z]i)d[-_]?token|auth[-_]?token"
    rb"|bearer[-_]?token|api[-_]?token|session[-_]?token|security[-_]?token|hf[-_]?token"
    rb"|(?P<bare>t(?<![\w-]t)oken(?![\w-])))"
    # What is said about one: the name of a variable, how many, until when.
    rb"(?!ar)(?![\w-]{0,40}(?:env|count|length|limit|type|name|url|required|[-_]i[dn]|[-_]at)"
    rb"(?![a-z0-9]))[\w-]{0,40}"
)
_IS = r"\s{0,8}[:=]\s{0,8}"
_STRING = r'"(?:[^"\\]|\\.)*"'
# What follows a name.
_HELD = (
    rf'"{_IS}"(?P<text>(?:[^"\\]|\\.)+)',
    # In JSON the quote may end the text in which the name stands.
    rf'{_IS}"(?!\s*[,:}}\]])(?P<text>(?:[^"\\]|\\.)+)',
    rf"'?{_IS}'(?P<text>[^'\"\\\n]+)",
    # JSON in a text of JSON, as the arguments of a tool call are.
    rf'(?:\\{{1,8}}")?{_IS}(?P<quote>\\{{1,8}}")(?P<text>(?:[^"\\]|(?!(?P=quote))\\{{1,16}}.)+)',
    rf'(?P<ends>\\{{0,8}}["\']){_IS}(?P<number>-?[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?)',
    rf'(?P<ends>\\{{0,8}}["\']){_IS}'
    rf'(?P<list>\[\s*(?=["0-9-])(?:{_STRING}|[^"\[\]{{}}])*\]|\[\s*(?=\\)[^\[\]{{}}]*\])',
)
# Neither a call, a variable nor a path. After a colon or a blank words of prose stay.
_WORD = r"[^\s\"'&,;()\[\]{}<>\\|`]"
_BARE = (
    r"(?![\w.]*[(\[])(?!(?i:none|null|true|false|undefined|bearer|basic|token)\b)"
    rf"(?P<text>(?![$/~=:]){_WORD}+)"
)
_ASSIGNED = (
    rf"={_BARE}",
    rf"[\"']?{_IS}(?={_WORD}{{0,99}}?(?:[0-9]|[a-z][A-Z]|\w[!#%^*+=~@])){_BARE}",
    rf"[\"']?{_IS}(?i:bearer|basic|token)\s{{1,8}}(?P<text>{_WORD}+)",
)
_RANDOM = (
    r"[\"']?\s{0,8}[:=]\s{0,8}[\"']?"
    r"(?P<text>(?=[\w.~+/-]{0,99}[0-9])(?=[\w.~+/-]{0,99}[A-Za-z])[\w.~+/=-]{16,})"
)
_IN_A_QUERY = (
    r"(?:\?|&(?:amp;)?|\\u0026|\A)[\w.-]{0,64}?"
    r"(?:key(?!word|board)|token(?!s)|secret|passw|auth(?!ors?=)|signature|credential"
    r"|(?<![A-Za-z])sig(?==)|pwd)[\w.-]{0,64}=(?P<field>[^&\s\"'\\<>]+)"
)


def find_keys(data: bytes) -> Iterator[Span]:
    """Keys that tell by themselves what they are, bearers, private keys, passwords of addresses."""
    if not _ALL_HOLD_ONE.search(data):
        return  # before the patterns are compiled, which takes long
    for pattern in _keys():
        for match in pattern.finditer(data):
            yield Span(*match.span(match.lastgroup or 0))


def find_looks(data: bytes) -> Iterator[Span]:
    """The same, users of addresses, and what stands under a telling name in whatever notation."""
    yield from find_keys(data)
    names, held, random, fields = _held()
    small = data.lower()
    at = 0
    while name := names.search(small, at):
        at = name.end()
        for pattern in random if name["bare"] else held:
            if match := pattern.match(data, at):
                yield _span(match)
                at = match.end()
                break
    for pattern in fields:
        for match in pattern.finditer(data):
            yield Span(*match.span(match.lastgroup or 0))


def without_keys(text: str) -> str:
    """The text without `find_keys`."""
    return blot_text(text, find_keys)


def without_looks(text: str) -> str:
    """The text without `find_looks`."""
    return blot_text(text, find_looks)


def _span(match: re.Match[bytes]) -> Span:
    group = match.lastgroup or ""
    put = BLOT
    if group != "text":
        mark = match["ends"].decode()
        put = f"{mark}{BLOT}{mark}" if group == "number" else f"[{mark}{BLOT}{mark}]"
    return Span(*match.span(group), put)


_Patterns = tuple[re.Pattern[bytes], ...]


# Made at the first use: a program that redacts nothing should not wait for it.
@cache
def _keys() -> _Patterns:
    first = "".join(sorted({key[0] for key in _KEYS}))
    rest = "|".join(f"(?<={key[0]}){key[1:]}" for key in _KEYS)
    return _compiled(f"[{first}]{_BEGINS}(?:{rest}){_REST}", _PRIVATE_KEY, _SCHEME, _CREDENTIALS)


@cache
def _held() -> tuple[re.Pattern[bytes], _Patterns, _Patterns, _Patterns]:
    """Names; for what follows one, for what follows "token", for what has names of its own."""
    fields = re.compile(_IN_A_QUERY.encode(), re.IGNORECASE)
    return (
        re.compile(_NAMES),
        _compiled(*_HELD, *_ASSIGNED),
        _compiled(_RANDOM),
        (fields, *_compiled(_USER)),
    )


def _compiled(*sources: str) -> _Patterns:
    return tuple(re.compile(source.encode(), re.DOTALL) for source in sources)
