"""What a schedd's node has written, as files: ``logs/<part>.log``, ``logs/procs/<pid>.log``, records of ``SIGMAPERF``
in ``perf``. Read-only.

What stands in these directories may be made by procs, so it is not trusted: a name leads to a plain file there or to
nothing, whatever links say. A directory's qid tells it from those of other machines: schedds of several nodes on one
machine show the same logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import heapq
import os
import stat
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.machine import file_identity
from sigmaos_ray.protsrv.node import Dir, Node, OpenFile, OpenHow
from sigmaos_ray.runner import proclog
from sigmaos_ray.sigmap import DEV_PSTAT, DMDIR, NO_FENCE, OACCESS_MASK, OREAD, Fence, Perm, Qid, Stat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sigmaos_ray.rpcsrv import Caller

LOGS: Final = (".log",)
RECORDS: Final = (".out", ".svg", ".json")
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: somebody may have put a pipe there, whose opening would wait for a writer.
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _qid_path(found: os.stat_result) -> int:
    """Beside the numbers that procs have."""
    return 1 << 62 | file_identity(found)


def _converted(name: str, error: OSError) -> serr.SigmaError:
    if isinstance(error, PermissionError):
        return serr.Perm(name, error.strerror)
    # ELOOP: a link, which is never followed.
    if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ELOOP:
        return serr.NotFound(name)
    return serr.IOErr(name, error.strerror)


class LogDir(Dir):
    """A directory of the host, of which only plain files that are logs are shown, and directories that are said."""

    def __init__(self, name: str, host_path: str, *below: LogDir, suffixes: Sequence[str] = LOGS) -> None:
        """``host_path`` "": there are no logs. ``suffixes``: how the names of what is shown end."""
        self._name = name
        self._host_path = host_path
        self._suffixes = tuple(suffixes)
        self._below = {directory.name: directory for directory in below}

    @classmethod
    def of_node(cls, log_dir: str) -> LogDir:
        """That of a node whose parts and procs log to ``log_dir``."""
        procs = os.path.join(log_dir, proclog.DIR) if log_dir else ""
        return cls("logs", log_dir, cls(proclog.DIR, procs))

    @classmethod
    def of_records(cls, directory: str) -> LogDir:
        """Those of ``SIGMAPERF``."""
        return cls("perf", directory, suffixes=RECORDS)

    @property
    def name(self) -> str:
        return self._name

    @property
    def perm(self) -> Perm:
        return DMDIR | 0o555

    def qid(self) -> Qid:
        try:
            return Qid.of(self.perm, 0, _qid_path(os.lstat(self._host_path)))
        except OSError:  # nobody has logged anything yet
            return Qid.of(self.perm, 0, 1 << 62)

    async def stat(self, caller: Caller) -> Stat:
        return Stat(name=self._name, qid=self.qid(), mode=self.perm, dev=DEV_PSTAT)

    async def lookup(self, caller: Caller, name: str) -> Node:
        below = self._below.get(name)
        return below or LogFile(name, self._host_path, await asyncio.to_thread(self._found, name))

    def _found(self, name: str) -> os.stat_result:
        self._check(name)
        descriptor = open_log(self._host_path, name)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def _shows(self, name: str) -> bool:
        """Whether a file of the directory is one of those that are shown, by its name."""
        try:
            name.encode()
        except UnicodeEncodeError:  # bytes that are no text
            return False
        return name.endswith(self._suffixes) and name[0] != "." and "/" not in name and "\0" not in name

    def _check(self, name: str) -> None:
        if not self._host_path or not self._shows(name):
            raise serr.NotFound(name)

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        return await asyncio.to_thread(self._entries, after, limit)

    def _entries(self, after: str, limit: int) -> list[Stat]:
        entries: list[Stat] = []
        # An empty page would be the end, and all names of one may be gone since, or not be what they say.
        while not entries and (names := self._next_names(after, limit)):
            for name in names:
                with contextlib.suppress(serr.SigmaError):
                    entries.append(self._entry(name))
            after = names[-1]
        return entries

    def _entry(self, name: str) -> Stat:
        below = self._below.get(name)
        if below is not None:
            return Stat(name=name, qid=below.qid(), mode=below.perm, dev=DEV_PSTAT)
        return LogFile(name, self._host_path, self._found(name)).status()

    def _next_names(self, after: str, limit: int) -> list[str]:
        return heapq.nsmallest(limit, (name for name in (*self._below, *self._names()) if name > after))

    def _names(self) -> Iterator[str]:
        try:
            directory = os.open(self._host_path, _DIRECTORY_FLAGS)
        except OSError:  # nobody has logged anything yet
            return
        try:
            with os.scandir(directory) as found:
                yield from (entry.name for entry in found if self._shows(entry.name) and not entry.is_symlink())
        finally:
            os.close(directory)

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        raise serr.NotSupported(name, "logs are written by who runs")


def open_log(directory: str, name: str) -> int:
    """A descriptor to read a log from, which the caller closes. NotFound for whatever is no plain file right there."""
    try:
        parent = os.open(directory, _DIRECTORY_FLAGS)
        try:
            descriptor = os.open(name, _FILE_FLAGS, dir_fd=parent)
        finally:
            os.close(parent)
    except OSError as error:
        raise _converted(name, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise serr.NotFound(name)
    return descriptor


class LogFile(Node):
    """One log, as it was when it was looked up; read, it is what it is then."""

    def __init__(self, name: str, directory: str, found: os.stat_result) -> None:
        self._name = name
        self._directory = directory
        self._found = found

    @property
    def name(self) -> str:
        return self._name

    @property
    def perm(self) -> Perm:
        return 0o444

    def qid(self) -> Qid:
        # Logs grow: their length is their version.
        return Qid.of(self.perm, self._found.st_size & 0xFFFF_FFFF, _qid_path(self._found))

    def status(self) -> Stat:
        return Stat(
            name=self._name,
            qid=self.qid(),
            mode=self.perm,
            length=self._found.st_size,
            mtime=self._found.st_mtime,
            dev=DEV_PSTAT,
        )

    async def stat(self, caller: Caller) -> Stat:
        descriptor = await asyncio.to_thread(open_log, self._directory, self._name)
        self._found = os.fstat(descriptor)
        os.close(descriptor)
        return self.status()

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        if how.mode & OACCESS_MASK != OREAD:
            raise serr.NotSupported(self._name, "read-only")
        return OpenLog(self._name, await asyncio.to_thread(open_log, self._directory, self._name))


class OpenLog(OpenFile):
    """A log that is read while others write on: past its end there may be more later."""

    def __init__(self, name: str, descriptor: int) -> None:
        self._name = name
        self._descriptor = descriptor

    async def read(self, offset: int, count: int) -> bytes:
        try:
            return await asyncio.to_thread(os.pread, self._descriptor, count, offset)
        except OSError as error:
            raise _converted(self._name, error) from error

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        raise serr.NotSupported(self._name, "read-only")

    async def close(self) -> None:
        os.close(self._descriptor)
