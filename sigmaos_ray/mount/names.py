"""Pathnames of the kernel and of the namespace, and what a link says in each. Pure."""

from __future__ import annotations

import errno
import os
import posixpath
from dataclasses import dataclass

from sigmaos_ray import serr
from sigmaos_ray.sigmap import path as paths


@dataclass(frozen=True)
class MountedNames:
    """A directory of the host, and what of the namespace stands there."""

    directory: str
    """Absolute."""
    root: str
    """Without a slash at its end."""

    def pathname(self, path: str) -> str:
        """Of the kernel's ``path``, which begins with a slash. A union at its end is followed: it is no link that the
        kernel could see. OSError (ENAMETOOLONG) for a name that no server has."""
        if len(os.fsencode(paths.basename(path))) > paths.NAME_BYTES_MAX:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        pathname = self.root + path.rstrip("/")
        return f"{pathname}/" if paths.is_union(paths.basename(pathname)) else pathname

    def shown_target(self, target: str) -> str:
        """What a link says to the kernel: a pathname of the host, if what it leads to is in the directory."""
        below = "/".join(paths.split(target))
        if below == self.root or below.startswith(f"{self.root}/"):
            return self.directory + below[len(self.root) :]
        return target

    def kept_target(self, target: str, link: str) -> str:
        """What a link says in the namespace. NotSupported for a target outside of the directory: on other hosts, and in
        procs, it would lead elsewhere or nowhere."""
        above = posixpath.join(self.directory, posixpath.dirname(link).lstrip("/"))
        whole = posixpath.normpath(posixpath.join(above, target))
        if whole != self.directory and not whole.startswith(f"{self.directory}/"):
            raise serr.NotSupported(target, "a link leads to what is below the mounted directory")
        return self.root + whole[len(self.directory) :]
