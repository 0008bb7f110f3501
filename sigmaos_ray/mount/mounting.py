"""Mounting, until the end: of the command, of the directory, or of the process."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sigmaos_ray import config, extras, serr
from sigmaos_ray.mount.names import MountedNames
from sigmaos_ray.sigmap import NAMED

if TYPE_CHECKING:
    from types import ModuleType

    from sigmaos_ray.sigmaclnt import SigmaClnt

DEVICE = Path("/dev/fuse")
UNMOUNT = "fusermount3"
_ENDED_BY_A_SIGNAL = 8
"""What libfuse then returns; all was unmounted as it should be."""


def mount(sc: SigmaClnt, directory: Path, root: str = NAMED, *, allow_other: bool = False) -> None:
    """Shows ``root``, a directory of the namespace, at an empty directory of this host, and blocks until that is
    unmounted, or a signal ends it (SIGINT, SIGTERM, SIGHUP). If the process is killed, its helper unmounts. NotFound,
    NotDir or NotEmpty for a directory that cannot be mounted on; MissingExtra without libfuse."""
    fuse = load()
    root = "/".join(part for part in root.split("/") if part)
    if not sc.stat(f"{root}/").is_dir:
        raise serr.NotDir(root)
    _clear(directory)
    names = MountedNames(str(directory.resolve()), root)
    # mfusepy logs what programs ask for and do not get, which is no news.
    logging.getLogger("fuse").setLevel(logging.CRITICAL)
    from sigmaos_ray.mount.operations import SigmaOperations

    limits = config.current().mounting
    try:
        with warnings.catch_warnings(action="ignore"):
            fuse.FUSE(
                SigmaOperations(sc, names),
                names.directory,
                foreground=True,
                raw_fi=True,
                auto_unmount=True,
                allow_other=allow_other,
                attr_timeout=limits.attributes_s,
                entry_timeout=limits.attributes_s,
                **_threads(fuse, limits.threads_max),
                fsname="sigmaos",
                subtype="sigmaos",
            )
    except RuntimeError as error:  # libfuse has said on standard error what it was
        if error.args == (_ENDED_BY_A_SIGNAL,):
            return
        raise serr.Error(names.directory, "cannot be mounted") from error


def _threads(fuse: ModuleType, threads_max: int) -> dict[str, int]:
    """libfuse knows the option since 3.12, and warns of its own default."""
    knows = (fuse.fuse_version_major, fuse.fuse_version_minor) >= (3, 12)
    return {"max_threads": threads_max} if knows else {}


def load() -> ModuleType:
    """mfusepy. MissingExtra, with the command that helps, without it or the library and helper that it needs."""
    extras.need("mfusepy", for_="sigmaos mount")
    remedy = "apt-get install fuse3"
    if not DEVICE.exists():
        raise extras.MissingExtra(f"sigmaos mount needs {DEVICE}: modprobe fuse; a container needs --device {DEVICE}")
    try:
        import mfusepy
    except OSError as error:
        raise extras.MissingExtra(f"sigmaos mount needs libfuse: {remedy}") from error
    module: ModuleType = mfusepy
    return module


def _clear(directory: Path) -> None:
    """Makes sure that the directory can be mounted on; one whose process crashed is unmounted first."""
    try:
        if any(directory.iterdir()):
            raise serr.NotEmpty(str(directory), "mount on an empty directory")
    except FileNotFoundError:
        raise serr.NotFound(str(directory), "make the directory first") from None
    except NotADirectoryError:
        raise serr.NotDir(str(directory)) from None
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        unmount(directory)


def unmount(directory: str | os.PathLike[str]) -> None:
    """Ends a mount, of any process, also of one that is gone. Error with what the helper says."""
    done = subprocess.run([UNMOUNT, "-u", os.fspath(directory)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise serr.Error(str(directory), f"cannot be unmounted: {done.stderr.strip()}")
