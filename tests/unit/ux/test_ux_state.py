"""Modes, identities and versions of ux."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.ux.state import HostStat, InodeVersions, host_mode_of, is_shown, perm_of, qid_path
from sigmaos_ray import serr
from sigmaos_ray.sigmap import DMDEVICE, DMDIR, DMMOUNT, DMNAMEDPIPE, DMSYMLINK, DMTMP


def host_stat(ino: int = 1, ctime_ns: int = 0) -> HostStat:
    return HostStat(dev=1, ino=ino, mode=stat.S_IFREG, length=0, mtime_ns=0, atime_ns=0, ctime_ns=ctime_ns)


@given(st.integers(0, 0o777))
def test_permissions_go_there_and_back(bits: int) -> None:
    assert perm_of(stat.S_IFREG | host_mode_of("f", bits)) == bits
    assert perm_of(stat.S_IFDIR | host_mode_of("d", DMDIR | bits)) == DMDIR | bits


@pytest.mark.parametrize("kind", [DMSYMLINK, DMSYMLINK | DMMOUNT])
@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_kinds_of_links_survive_in_the_mode(kind: int, umask: int) -> None:
    mode = host_mode_of("link", kind | 0o644)
    assert perm_of(stat.S_IFREG | mode & ~umask) == kind | 0o777


@pytest.mark.parametrize(
    "perm",
    [DMTMP, DMDIR | DMSYMLINK, DMDIR | DMMOUNT, DMNAMEDPIPE | DMDIR, DMNAMEDPIPE | DMSYMLINK, 0o7000],
)
def test_other_kinds_are_refused(perm: int) -> None:
    with pytest.raises(serr.Inval):
        host_mode_of("f", perm | 0o644)
    with pytest.raises(serr.NotSupported):
        host_mode_of("f", DMDEVICE | 0o644)


def test_what_kinds_of_entries_are_shown() -> None:
    for kind in (stat.S_IFLNK, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK):
        assert not is_shown(kind | 0o777)
    for kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO):
        assert is_shown(kind)
    assert perm_of(stat.S_IFIFO | 0o640) == DMNAMEDPIPE | 0o640


def test_qid_paths_tell_devices_apart() -> None:
    assert qid_path((5, 7), 5) == 7
    assert len({qid_path((dev, 7), 5) for dev in range(100)}) == 100
    assert all(0 <= qid_path((dev, (1 << 64) - 1), 5) < 1 << 63 for dev in range(10))


@given(st.lists(st.integers(0, 1 << 62)))
def test_versions_grow_whatever_the_clock_does(clock: list[int]) -> None:
    versions = InodeVersions()
    version = versions.first(host_stat(ctime_ns=100))
    for now_ns in clock:
        moved = versions.moved((1, 1), version, now_ns)
        assert moved > version
        version = moved
    assert versions.first(host_stat(ctime_ns=100)) == version


def test_versions_of_objects_that_nobody_holds_are_bounded() -> None:
    versions = InodeVersions(kept_max=2)
    for ino in (1, 2, 3):
        versions.moved((1, ino), 0, 50)
    assert versions.first(host_stat(ino=1, ctime_ns=10)) == 10
    assert versions.first(host_stat(ino=3, ctime_ns=10)) == 50
