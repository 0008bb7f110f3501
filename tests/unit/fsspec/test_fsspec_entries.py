"""Pathnames and entries in fsspec's terms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fsspec.spec import AbstractFileSystem
from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray import serr
from sigmaos_ray.fsspec import SigmaFileSystem, entries
from sigmaos_ray.sigmap import DMDEVICE, DMDIR, DMMOUNT, DMNAMEDPIPE, DMSYMLINK, Qid, Stat


@pytest.mark.parametrize(
    ("url", "pathname"),
    [
        ("sigma://name/ux/~local/f", "name/ux/~local/f"),
        ("sigma::name/f", "name/f"),
        ("name//a/", "name/a"),
        ("/name/a", "name/a"),
        ("sigma:///name", "name"),
        ("sigma://", ""),
        ("", ""),
    ],
)
def test_strip(url: str, pathname: str) -> None:
    assert entries.strip(url) == pathname
    assert SigmaFileSystem._strip_protocol([url, Path("name")]) == [pathname, "name"]


def test_protocol_and_parents() -> None:
    assert SigmaFileSystem._parent("sigma://name/a/b") == "name/a"
    assert SigmaFileSystem._parent("name") == ""
    assert SigmaFileSystem(skip_instance_cache=True).unstrip_protocol("name/a") == "sigma://name/a"


@pytest.mark.parametrize(
    ("mode", "kind", "size"),
    [
        (0o644, "file", 7),
        (DMDIR | 0o755, "directory", 0),
        (DMSYMLINK | DMMOUNT, "directory", 0),
        (DMSYMLINK, "link", None),
        (DMNAMEDPIPE, "other", None),
        (DMDEVICE, "other", None),
    ],
)
def test_kinds(mode: int, kind: str, size: int | None) -> None:
    entry = entries.entry_of("name/x", Stat(name="x", mode=mode, length=7))
    assert (entry["name"], entry["type"], entry["size"]) == ("name/x", kind, size)


def test_a_link_shows_its_target() -> None:
    link, target = Stat(mode=DMSYMLINK), Stat(mode=0o600, length=3)
    assert entries.link_to("name/l", link, target)["size"] == 3
    assert entries.link_to("name/l", link, None)["type"] == "link"
    assert entries.link_to("name/l", link, target)["islink"]


def test_identity_moves_with_the_version() -> None:
    seen = {
        entries.identity(entries.entry_of("name/x", Stat(qid=Qid(0, version, path), dev=dev)))
        for version in (1, 2)
        for path in (1, 2)
        for dev in (1, 2)
    }
    assert len(seen) == 8
    assert entries.identity(entries.ROOT) == (0, 0, 0, 0)


@given(st.integers(-20, 20) | st.none(), st.integers(-20, 20) | st.none(), st.binary(max_size=12))
def test_ranges_are_slices(start: int | None, end: int | None, data: bytes) -> None:
    offset, count = entries.byte_range(start, end, len(data))
    assert data[offset : offset + count] == data[start:end]
    assert count >= 0


def test_order_of_removing() -> None:
    assert entries.by_depth(["a", "a/b", "c", "a/b/c", "d/e"]) == [["a/b/c"], ["a/b", "d/e"], ["a", "c"]]
    assert entries.topmost(["a/b", "a", "a b", "a-b/c", "b/c", "a"]) == ["a", "a b", "a-b/c", "b/c"]
    assert entries.is_below("a/b", "a")
    assert not entries.is_below("ab", "a")


def test_modes() -> None:
    assert [entries.mode_of(mode) for mode in ("r", "rb", "rt", "w", "xb", "a", "r+", "rb+", "r+b")] == [
        *("rb", "rb", "rb", "wb", "xb", "ab"),
        *("r+b",) * 3,
    ]
    for wrong in ("", "b", "rw", "w+", "+r", "rbt", "rr", "q"):
        with pytest.raises(serr.Inval):
            entries.mode_of(wrong)


def test_every_blocking_call_has_its_coroutine() -> None:
    """What fsspec would do one file at a time must be ours."""
    for name in (
        "cat",
        "cat_file",
        "cat_ranges",
        "find",
        "get",
        "glob",
        "info",
        "ls",
        "mv",
        "pipe",
        "put",
        "rm",
        "walk",
    ):
        ours = getattr(SigmaFileSystem, name)
        assert ours is not getattr(AbstractFileSystem, name)
        assert ours.__doc__ == getattr(AbstractFileSystem, name).__doc__
    assert SigmaFileSystem.download is AbstractFileSystem.download


def test_the_package_does_without_fsspec() -> None:
    script = "import sys, sigmaos_ray; print([m for m in ('fsspec', 'pandas', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
