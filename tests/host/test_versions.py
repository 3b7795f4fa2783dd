"""Mirrors modelbay/host/versions.py: a range is judged as every installer judges it."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from modelbay.host.versions import API_VERSION, CORE_VERSION, core_range, fit, misfit

CORE = Path(__file__).parents[2] / "core" / "pyproject.toml"

NUMBERS = st.integers(0, 3).map(str)
RELEASES = st.lists(NUMBERS, min_size=1, max_size=4).map(".".join)
ENDS = st.sampled_from(
    [
        "",
        "",
        "",
        "a1",
        "b2",
        "rc1",
        ".dev0",
        ".post1",
        "-2",
        "a1.dev3",
        ".post1.dev2",
        "alpha",
        "c1",
    ]
)
EPOCHS = st.sampled_from(["", "", "", "", "1!"])
VERSIONS = st.builds(lambda epoch, release, end: epoch + release + end, EPOCHS, RELEASES, ENDS)
CLAUSES = st.one_of(
    st.builds("".join, st.tuples(st.sampled_from(["==", "!=", "<=", ">=", "<", ">"]), VERSIONS)),
    st.builds("{}{}{}.*".format, st.sampled_from(["==", "!="]), EPOCHS, RELEASES),
    st.builds("~={}{}.{}{}".format, EPOCHS, RELEASES, NUMBERS, ENDS),
    st.builds("==={}".format, VERSIONS),
)


@given(st.lists(CLAUSES, max_size=3).map(",".join), VERSIONS)
def test_a_range_admits_what_installers_say_it_admits(asked: str, version: str) -> None:
    admitted = SpecifierSet(asked).contains(version, prereleases=True)

    assert (fit(asked, version) == "fits") == admitted


def test_the_version_is_the_one_of_the_distribution_and_its_major_that_of_the_api() -> None:
    project = tomllib.loads(CORE.read_text())["project"]

    assert project["version"] == CORE_VERSION
    assert int(CORE_VERSION.split(".")[0]) == API_VERSION


@pytest.mark.parametrize(
    ("asked", "version", "side"),
    [
        ("", "0.1.0", "fits"),
        (">=0.1,<1", "0.9.9", "fits"),
        (">=0.1,<1", "1.0.0", "too_old"),
        (">=0.1,<1", "1.0.0rc1", "too_old"),
        (">=1,<3", "2.7", "fits"),
        (">=1,<3", "3.0", "too_old"),
        (">=2,<4", "1.9", "too_new"),
        ("~=1.2", "1.1", "too_new"),
        ("~=1.2", "2.0", "too_old"),
        ("==1.*", "2.0", "too_old"),
        ("==1.*", "0.1", "too_new"),
        ("!=0.1.0", "0.1.0", "excluded"),
        (">=1.0", "1.0rc1", "too_new"),
        ("@ https://host/core.whl", "0.1.0", "fits"),
        ("whatever this is", "0.1.0", "fits"),
    ],
)
def test_the_side_on_which_a_plugin_lies_is_known(asked: str, version: str, side: str) -> None:
    assert fit(asked, version) == side


@pytest.mark.parametrize(
    ("requirements", "asked"),
    [
        ([], ""),
        (["pydantic>=2", "modelbay-core>=0.1,<1"], ">=0.1,<1"),
        (["modelbay_core (>=0.1,<2)"], ">=0.1,<2"),
        (["Modelbay.Core[testing] >= 0.1 , < 2"], ">= 0.1 , < 2"),
        (["modelbay-core>=1", "modelbay-core<3"], ">=1,<3"),
        (['modelbay-core[testing]>=9; extra == "test"', "modelbay-core<1"], "<1"),
        (['modelbay-core>=9; python_version < "3"'], ""),
        (["modelbay-core"], ""),
        (["modelbay-corelike>=9"], ""),
    ],
)
def test_the_range_is_read_from_the_requirements(requirements: list[str], asked: str) -> None:
    assert core_range(requirements) == asked


def test_a_plugin_that_does_not_fit_is_named_with_what_to_do() -> None:
    assert misfit("plugin 'acme'", "modelbay-acme", "3.0", f"<={CORE_VERSION}") is None
    assert misfit("plugin 'acme'", "modelbay-acme", "3.0", ">=99") == (
        f"plugin 'acme' (modelbay-acme 3.0) is too new: it is for modelbay-core >=99, and this is"
        f" {CORE_VERSION}",
        "modelbay plugin uninstall modelbay-acme   # or upgrade modelbay to a version it is for",
    )
    assert misfit("plugin 'acme'", "modelbay-acme", "0.1", "<0.0.1") == (
        f"plugin 'acme' (modelbay-acme 0.1) is too old: it is for modelbay-core <0.0.1, and this is"
        f" {CORE_VERSION}",
        "modelbay plugin upgrade modelbay-acme   # or: modelbay plugin uninstall modelbay-acme",
    )
