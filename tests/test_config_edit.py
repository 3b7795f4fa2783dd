"""Mirrors modelbay/config_edit.py: a change of one place leaves the rest as it is."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbay.config_edit import (
    TEMPLATE,
    add_provider,
    provider_ids,
    remove_provider,
    set_value,
)
from modelbay.errors import ConfigError, UnknownProviderError

WHERE = "/etc/providers.json"
DESK: dict[str, Any] = {"id": "desk", "kind": "k"}

FOUR_SPACES = """\
{
    "$schema": "x",

    "providers": [
        {"id": "a", "kind": "k",   "sidecarUrl": "http://s"},
        {
            "kind": "k",
            "id": "b",
            "models": {"*": {"tools": true}}
        }
    ],
    "defaultProvider": "a"
}
"""


def test_a_provider_is_added_at_the_end_laid_out_as_its_neighbours() -> None:
    added = add_provider(FOUR_SPACES, DESK, WHERE)

    assert added == FOUR_SPACES.replace(
        """"tools": true}}
        }
""",
        """"tools": true}}
        },
        {
            "id": "desk",
            "kind": "k"
        }
""",
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            TEMPLATE,
            '{\n  "providers": [\n    {\n      "id": "desk",\n      "kind": "k"\n    }\n'
            "  ]\n}\n",
        ),
        (
            '{"providers": []}',
            '{"providers": [\n  {\n    "id": "desk",\n    "kind": "k"\n  }\n]}',
        ),
        ('{"wrappers": []}', '{"wrappers": [], "providers": [{"id": "desk", "kind": "k"}]}'),
        ("{}", '{\n  "providers": [\n    {\n      "id": "desk",\n      "kind": "k"\n    }\n  ]\n}'),
        (
            '{"providers":[{"id":"a","kind":"k"},{"id":"b","kind":"k"}]}',
            '{"providers":[{"id":"a","kind":"k"},{"id":"b","kind":"k"},'
            '{"id": "desk", "kind": "k"}]}',
        ),
        (
            '{\r\n\t"providers": [\r\n\t\t"k://h#a"\r\n\t]\r\n}',
            '{\r\n\t"providers": [\r\n\t\t"k://h#a",\r\n\t\t{\r\n\t\t\t"id": "desk",'
            '\r\n\t\t\t"kind": "k"\r\n\t\t}\r\n\t]\r\n}',
        ),
        (
            '{\n  "providers": [\n    {"id": "a", "kind": "k"}\n  ]\n}\n',
            '{\n  "providers": [\n    {"id": "a", "kind": "k"},\n'
            '    {"id": "desk", "kind": "k"}\n  ]\n}\n',
        ),
    ],
)  # fmt: skip
def test_line_ends_indentation_and_compactness_are_the_files_own(before: str, after: str) -> None:
    assert add_provider(before, DESK, WHERE) == after


def test_a_provider_in_one_line_is_added_as_it_is() -> None:
    added = add_provider('{"providers": ["k://h#a"]}', "k://tök@h:1#b", WHERE)

    assert added == '{"providers": ["k://h#a", "k://tök@h:1#b"]}'


def test_a_provider_is_removed_with_its_comma_and_nothing_else() -> None:
    first, none = remove_provider(FOUR_SPACES.replace('"a"\n', '"b"\n'), "a", WHERE)
    last, _ = remove_provider(FOUR_SPACES, "b", WHERE)

    assert none == ()
    assert first == FOUR_SPACES.replace('"a"\n', '"b"\n').replace(
        '        {"id": "a", "kind": "k",   "sidecarUrl": "http://s"},\n', ""
    )
    assert last == FOUR_SPACES.replace(
        """},
        {
            "kind": "k",
            "id": "b",
            "models": {"*": {"tools": true}}
        }
""",
        "}\n",
    )


def test_a_default_that_named_the_removed_provider_goes_with_it() -> None:
    text = '{"defaultProvider": "a", "defaultModel": "a/x", "providers": ["k://h#a"]}'

    assert remove_provider(text, "a", WHERE) == (
        '{"providers": []}',
        ("defaultProvider", "defaultModel"),
    )


def test_a_default_of_a_like_name_stays() -> None:
    text = '{"defaultModel": "ab/x", "providers": ["k://h#a", "k://h#ab"]}'

    assert remove_provider(text, "a", WHERE) == (
        '{"defaultModel": "ab/x", "providers": ["k://h#ab"]}',
        (),
    )


def test_a_provider_that_is_not_in_the_file_is_named() -> None:
    with pytest.raises(UnknownProviderError, match="has no provider 'x' \\(it has: a, b\\)"):
        remove_provider(FOUR_SPACES, "x", WHERE)


def test_a_value_is_replaced_where_it_stands_and_a_new_one_is_put_last() -> None:
    replaced = set_value(FOUR_SPACES, "defaultProvider", "b", WHERE)
    added = set_value(FOUR_SPACES, "defaultModel", "b/ü", WHERE)

    assert replaced == FOUR_SPACES.replace('"defaultProvider": "a"', '"defaultProvider": "b"')
    assert added == FOUR_SPACES.replace('"a"\n}', '"a",\n    "defaultModel": "b/ü"\n}')


def test_a_key_of_a_provider_is_set_and_removed() -> None:
    changed = set_value(FOUR_SPACES, "label", "A", WHERE, provider_id="a")
    back = set_value(changed, "label", None, WHERE, provider_id="a")

    assert '"sidecarUrl": "http://s",   "label": "A"},' in changed
    assert back == FOUR_SPACES
    assert set_value(FOUR_SPACES, "label", None, WHERE, provider_id="a") == FOUR_SPACES


def test_a_provider_in_one_line_becomes_an_object_and_keeps_its_key() -> None:
    text = '{"providers": ["k://tok@h:1#a"]}'

    labelled = set_value(text, "label", "A", WHERE, provider_id="a")
    moved = set_value(text, "baseUrl", "http://i:2", WHERE, provider_id="a")

    assert json.loads(labelled)["providers"] == [
        {"id": "a", "kind": "k", "baseUrl": "k://tok@h:1#a", "label": "A"}
    ]
    assert json.loads(moved)["providers"] == [
        {"id": "a", "kind": "k", "baseUrl": "http://i:2", "apiKey": "tok"}
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"providers": []} // mine',
        '{"providers": [,]}',
        '{"providers": [], "providers": []}',
        "[]",
        '{"providers": {}',
    ],
)
def test_a_malformed_file_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        add_provider(text, DESK, WHERE)
    with pytest.raises(ConfigError):
        set_value(text, "defaultModel", "a/b", WHERE)


@pytest.mark.parametrize(
    "entry", [{"id": "a", "kind": "k"}, {"id": "b/c", "kind": "k"}, {"id": "b"}, "no-dsn"]
)
def test_nothing_wrong_is_added(entry: Any) -> None:
    with pytest.raises(ConfigError):
        add_provider('{"providers": [{"id": "a", "kind": "k"}]}', entry, WHERE)


@pytest.mark.parametrize(
    ("key", "value", "provider_id"),
    [("theme", "dark", None), ("wrappers", "x", None), ("probeTimeoutS", "soon", "a")],
)
def test_nothing_wrong_is_set(key: str, value: str, provider_id: str | None) -> None:
    text = '{"providers": [{"id": "a", "kind": "k"}]}'

    with pytest.raises(ConfigError):
        set_value(text, key, value, WHERE, provider_id=provider_id)


def test_what_is_wrong_already_may_stay_and_may_be_mended() -> None:
    text = '{"theme": 1, "providers": [{"id": "a", "kind": "k", "baseUrl": "h:1"}]}'

    mended = set_value(text, "baseUrl", "http://h:1", WHERE, provider_id="a")

    assert mended == text.replace('"h:1"', '"http://h:1"')
    assert set_value(mended, "theme", None, WHERE) == mended.replace('"theme": 1, ', "")


def test_ids_are_found_in_objects_and_lines() -> None:
    text = '{"providers": [{"id": "a"}, "k://h", {"baseUrl": "k://h#c"}, 7, {"id": 1}, "k://h?x"]}'

    assert provider_ids(text, WHERE) == ("a", "k", "c", None, None, None)


SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(
    extras=st.lists(
        st.dictionaries(st.text(min_size=1).map(lambda k: f"x-{k.replace('_', '')}"), VALUES),
        min_size=1,
        max_size=4,
    ),
    indent=st.sampled_from([None, 0, 1, 2, "\t"]),
    ascii_only=st.booleans(),
)
def test_adding_and_removing_again_gives_the_same_text(
    extras: list[dict[str, Any]], indent: int | str | None, ascii_only: bool
) -> None:
    providers = [{"id": f"p{n}", "kind": "k", **extra} for n, extra in enumerate(extras)]
    text = json.dumps({"providers": providers}, indent=indent, ensure_ascii=ascii_only)

    added = add_provider(text, DESK, WHERE)

    assert json.loads(added)["providers"] == [*providers, DESK]
    assert remove_provider(added, "desk", WHERE) == (text, ())
    for n in range(len(providers)):
        left, _ = remove_provider(text, f"p{n}", WHERE)
        assert json.loads(left)["providers"] == [*providers[:n], *providers[n + 1 :]]


@pytest.mark.parametrize(("key", "value"), [("id", "b"), ("enabled", False)])
def test_the_default_provider_does_not_vanish_under_its_default(key: str, value: object) -> None:
    text = '{"defaultProvider": "a", "providers": [{"id": "a", "kind": "k"}, "k://h#c"]}'

    with pytest.raises(ConfigError, match="would be none any more"):
        set_value(text, key, value, WHERE, provider_id="a")
    assert set_value(text, key, value, WHERE, provider_id="c") != text
    assert set_value(text, "id", "a", WHERE, provider_id="a") == text
    assert '"enabled": true' in set_value(text, "enabled", True, WHERE, provider_id="a")
