"""What the kernel asks for, as calls of a client."""

from __future__ import annotations

import errno
import functools
import os
import stat as modes
import time
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

import mfusepy

from sigmaos_ray import config, debug, serr
from sigmaos_ray.mount.attributes import attributes_of, is_stream, kind_of
from sigmaos_ray.mount.errnos import ACROSS, errno_of
from sigmaos_ray.mount.handles import FileHandle, Handles, KernelHandle, ObjectHandle, mode_of
from sigmaos_ray.sigmap import DEV_S3, OEXCL, PERM_MASK, Stat
from sigmaos_ray.sigmap import path as paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmaos_ray.mount.names import MountedNames
    from sigmaos_ray.sigmaclnt import SigmaClnt

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

_log = debug.selector("FUSE")


def _answering(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Errors of the namespace become the kernel's."""

    @functools.wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except serr.SigmaError as error:
            number = errno_of(error)
            if _log.on:
                _log(f"{method.__name__} {args[:1]}: {errno.errorcode[number]}: {error}")
            raise mfusepy.FuseOSError(number) from error

    return call


class SigmaOperations(mfusepy.Operations):  # type: ignore[misc]  # mfusepy's types are not checked here
    """Called by libfuse from threads of its own. Paths begin with a slash; ``fi`` is libfuse's record of an opening."""

    use_ns: Final = True

    def __init__(self, sc: SigmaClnt, names: MountedNames) -> None:
        self._sc = sc
        self._names = names
        self._handles = Handles()

    def destroy(self, path: str) -> None:
        self._handles.close_all()

    # -- looking

    @_answering
    def getattr(self, path: str, fi: Any = None) -> dict[str, Any]:
        written = self._handles.being_written(path)
        if written is not None:
            return attributes_of(Stat(name=paths.basename(path), mode=0o666, length=written.size, mtime=time.time()))
        return attributes_of(self._stat(path))

    def _stat(self, path: str) -> Stat:
        """Of a link itself, but of what an endpoint file leads to; of that itself, if its server is gone."""
        pathname = self._names.pathname(path)
        stat = self._sc.stat(pathname)
        if not stat.is_endpoint:
            return stat
        try:
            return self._sc.stat(f"{pathname}/")
        except serr.SigmaError:
            return stat

    @_answering
    def readdir(self, path: str, fi: Any) -> Iterator[tuple[str, dict[str, Any], int]]:
        entries = self._sc.asynchronous.core.list_dir(f"{self._names.pathname(path)}/", at_once=False)
        stats = self._sc.run(entries)
        listed = [(stat.name, {"st_mode": kind_of(stat)}, 0) for stat in stats]
        return iter([(name, {"st_mode": modes.S_IFDIR}, 0) for name in (".", "..")] + listed)

    @_answering
    def readlink(self, path: str) -> str:
        target = self._sc.get_file(self._names.pathname(path)).decode(errors="surrogateescape")
        return self._names.shown_target(target)

    def statfs(self, path: str) -> dict[str, int]:
        """Nobody knows how much the namespace holds: as much as files can be long."""
        return {"f_bsize": 1 << 20, "f_frsize": 1 << 20, "f_blocks": 1 << 40, "f_bfree": 1 << 40, "f_bavail": 1 << 40}

    # -- opening

    @_answering
    def open(self, path: str, fi: Any) -> int:
        pathname = self._names.pathname(path)
        try:
            stat = self._stat(path)
        except serr.NotFound as error:
            # The kernel believed what it heard a moment ago. By this it looks again, and then makes the file, if it is
            # asked to, or tells the program that there is none.
            raise mfusepy.FuseOSError(errno.ESTALE) from error
        handle: KernelHandle
        if stat.dev == DEV_S3 and fi.flags & os.O_ACCMODE != os.O_RDONLY:
            if stat.length and not fi.flags & os.O_TRUNC:
                raise serr.NotSupported(pathname, "S3 changes nothing in place")
            handle = ObjectHandle(self._sc, pathname, fi.flags & ~os.O_EXCL)
        else:
            handle = FileHandle(self._sc, self._sc.open(pathname, mode_of(fi.flags) & ~OEXCL))
        # Read until it ends, whatever its length was.
        fi.direct_io = is_stream(stat)
        fi.fh = self._handles.add(path, handle)
        return 0

    @_answering
    def create(self, path: str, mode: int, fi: Any) -> int:
        pathname = self._names.pathname(path)
        handle: KernelHandle
        if self._stat(os.path.dirname(path)).dev == DEV_S3:
            handle = ObjectHandle(self._sc, pathname, fi.flags)
        else:
            handle = FileHandle(self._sc, self._created(pathname, mode & PERM_MASK, fi.flags))
        fi.fh = self._handles.add(path, handle)
        return 0

    def _created(self, pathname: str, perm: int, flags: int) -> int:
        try:
            return self._sc.create(pathname, perm, mode_of(flags) & ~OEXCL)
        except serr.Exists:
            if flags & os.O_EXCL:
                raise
            return self._sc.open(pathname, mode_of(flags) & ~OEXCL)  # somebody else was quicker

    # -- reading and writing

    @_answering
    def read(self, path: str, size: int, offset: int, fi: Any) -> bytes:
        return self._handles.get(fi.fh).read(size, offset)

    @_answering
    def write(self, path: str, data: bytes, offset: int, fi: Any) -> int:
        try:
            return self._handles.get(fi.fh).write(data, offset)
        except serr.Inval as error:  # a server says so of a file that would be too large for it
            raise mfusepy.FuseOSError(errno.EFBIG) from error

    @_answering
    def truncate(self, path: str, length: int, fi: Any = None) -> int:
        if fi is not None:
            self._handles.get(fi.fh).truncate(length)
        elif not length:
            self._sc.put_file(self._names.pathname(path), b"")  # which S3 can do, too
        else:
            self._sc.truncate(self._names.pathname(path), length)
        return 0

    @_answering
    def flush(self, path: str, fi: Any) -> int:
        self._handles.get(fi.fh).flush()
        return 0

    @_answering
    def release(self, path: str, fi: Any) -> int:
        self._handles.take(path, fi.fh).close()
        return 0

    def fsync(self, path: str, datasync: int, fi: Any) -> int:
        """What was written is with its server, which keeps it; in S3 it appears at the close."""
        return 0

    # -- names

    @_answering
    def mkdir(self, path: str, mode: int) -> int:
        self._sc.mkdir(self._names.pathname(path), mode & PERM_MASK)
        return 0

    @_answering
    def unlink(self, path: str) -> int:
        self._sc.remove(self._names.pathname(path))
        return 0

    @_answering
    def rmdir(self, path: str) -> int:
        self._sc.remove(self._names.pathname(path))
        return 0

    @_answering
    def rename(self, old: str, new: str) -> int:
        source, target = self._names.pathname(old), self._names.pathname(new)
        try:
            self._sc.rename(source, target)
        except serr.NotSupported as error:
            raise mfusepy.FuseOSError(ACROSS) from error
        except serr.Inval as error:
            if not self._are_on_one_server(source, target):
                raise mfusepy.FuseOSError(ACROSS) from error
            raise
        return 0

    def _are_on_one_server(self, source: str, target: str) -> bool:
        sc = self._sc.asynchronous
        above = target.rpartition("/")[0]
        return bool(self._sc.run(sc.server_of(source)) == self._sc.run(sc.server_of(f"{above}/")))

    @_answering
    def symlink(self, path: str, target: str) -> int:
        self._sc.symlink(self._names.kept_target(target, path), self._names.pathname(path))
        return 0

    def link(self, path: str, target: str) -> int:
        """There is one name for an object."""
        raise mfusepy.FuseOSError(errno.EPERM)

    def mknod(self, path: str, mode: int, dev: int) -> int:
        """Pipes and devices of the host are none of the namespace's."""
        raise mfusepy.FuseOSError(errno.EPERM)

    # -- what sigmap has no call for: what is so already may be asked for

    @_answering
    def chmod(self, path: str, mode: int) -> int:
        if self.getattr(path)["st_mode"] & PERM_MASK != mode & PERM_MASK:
            raise serr.NotSupported(path, "permissions are given when a file is made")
        return 0

    @_answering
    def chown(self, path: str, uid: int, gid: int) -> int:
        if (uid, gid) not in {(user, group) for user in (-1, os.getuid()) for group in (-1, os.getgid())}:
            raise mfusepy.FuseOSError(errno.EPERM)
        return 0

    @_answering
    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        changed_ns = self.getattr(path)["st_mtime"]
        wanted_ns = time.time_ns() if times is None else times[1]
        if abs(wanted_ns - changed_ns) > config.current().mounting.present_s * 1e9:
            raise serr.NotSupported(path, "servers tell when a file was changed")
        return 0
