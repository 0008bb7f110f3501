"""What the kernel is told: names, links, attributes and numbers of errors."""

from __future__ import annotations

import errno
import os
import stat as modes

import pytest

from sigmaos_ray import serr
from sigmaos_ray.mount.attributes import attributes_of, kind_of
from sigmaos_ray.mount.errnos import errno_of
from sigmaos_ray.mount.names import MountedNames
from sigmaos_ray.sigmap import DMDEVICE, DMDIR, DMMOUNT, DMNAMEDPIPE, DMSYMLINK, Stat

NAMES = MountedNames("/mnt/n", "name/ux")


def test_pathnames() -> None:
    assert NAMES.pathname("/") == "name/ux"
    assert NAMES.pathname("/~local/f") == "name/ux/~local/f"
    assert NAMES.pathname("/~local") == "name/ux/~local/"  # no link that the kernel could see
    with pytest.raises(OSError, match="File name too long"):
        NAMES.pathname("/" + "é" * 128)


def test_links_say_what_leads_there() -> None:
    assert NAMES.shown_target("name/ux/a/b") == "/mnt/n/a/b"
    assert NAMES.shown_target("name/ux") == "/mnt/n"
    assert NAMES.shown_target("name/uxor") == "name/uxor"
    assert NAMES.kept_target("f", "/d/link") == "name/ux/d/f"
    assert NAMES.kept_target("../e/f", "/d/link") == "name/ux/e/f"
    assert NAMES.kept_target("/mnt/n/x", "/d/link") == "name/ux/x"
    for outside in ("../../x", "/etc/passwd", "/mnt/nothing"):
        with pytest.raises(serr.NotSupported):
            NAMES.kept_target(outside, "/d/link")


def test_kinds() -> None:
    kinds = {
        0o644: modes.S_IFREG,
        DMDEVICE: modes.S_IFREG,
        DMDIR | 0o755: modes.S_IFDIR,
        DMSYMLINK | DMMOUNT: modes.S_IFDIR,
        DMSYMLINK: modes.S_IFLNK,
        DMNAMEDPIPE: modes.S_IFSOCK,  # to be seen, not to be opened
    }
    assert {mode: kind_of(Stat(mode=mode)) for mode in kinds} == kinds
    told = attributes_of(Stat(mode=0o640, length=1000, mtime=1.5))
    assert (told["st_mode"], told["st_size"], told["st_blocks"]) == (modes.S_IFREG | 0o640, 1000, 2)
    assert (told["st_mtime"], told["st_uid"]) == (1_500_000_000, os.getuid())


def test_every_error_has_a_number() -> None:
    numbers = {kind: errno_of(kind("f")) for kind in serr.SigmaError.__subclasses__()}
    assert numbers[serr.NotFound] == errno.ENOENT
    assert numbers[serr.NotEmpty] == errno.ENOTEMPTY
    assert numbers[serr.NotSupported] == errno.EOPNOTSUPP
    assert all(number in errno.errorcode for number in numbers.values())
