"""Path algebra (N-1, N-3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray.sigmap import path


@pytest.mark.parametrize(
    ("pathname", "parts"),
    [
        ("name/a/b", ["name", "a", "b"]),
        ("name//a///b/", ["name", "a", "b"]),
        ("/name/a", ["name", "a"]),
        ("", []),
        ("/", []),
        ("name/a/.", ["name", "a", "."]),
        ("name/./a", ["name", "a"]),
        ("name/a/../b", ["name", "b"]),
        ("name/../../x", ["name", "x"]),
        ("..", []),
    ],
)
def test_split(pathname: str, parts: list[str]) -> None:
    assert path.split(pathname) == parts


@given(st.text(alphabet="ab./~", max_size=30))
def test_no_pathname_climbs_above_its_first_component(pathname: str) -> None:
    assert ".." not in path.split(pathname)


def test_is_parent_goes_by_components() -> None:
    assert path.is_parent("name/a/b", "name/a")
    assert not path.is_parent("name/ab", "name/a")
    assert path.is_parent("name/a", "name/a/")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 256, "é" * 128, "\udcff"])
def test_bad_names_say_why(name: str) -> None:
    assert path.why_bad_name(name)


@pytest.mark.parametrize("name", ["x" * 255, "~", "a b", "~backup", "日本", ".hidden"])
def test_good_names(name: str) -> None:
    assert path.why_bad_name(name) is None
    assert not path.is_union(name)


def test_resolves_and_parts() -> None:
    assert path.resolves("name/a/")
    assert not path.resolves("name/a")
    assert path.join("name/", "/a/", "", "b") == "name/a/b"
    assert (path.dirname("name/a/b/"), path.basename("name/a/b/")) == ("name/a", "b")
