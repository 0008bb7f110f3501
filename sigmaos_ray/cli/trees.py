"""The two places that files are copied between: the namespace, and this machine's disks, each as a tree."""

from __future__ import annotations

import enum
import errno
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final, NamedTuple, Protocol

from sigmaos_ray import localfile, serr
from sigmaos_ray.sigmap import (
    DEV_FENCE,
    DEV_PSTAT,
    DEV_RPC,
    DEV_S3,
    DEV_STAT,
    DMDEVICE,
    DMNAMEDPIPE,
    DMTMP,
    OEXCL,
    OWRITE,
    path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.sigmap import Perm, Stat

PART_BYTES: Final = 1 << 20
_LINKS_MAX: Final = 8
_SERVERS_OWN: Final = frozenset({DEV_FENCE, DEV_PSTAT, DEV_RPC, DEV_STAT})
_IN_PLACE: Final = DMNAMEDPIPE | DMDEVICE | DMTMP
"""What nothing else takes the place of: pipes, devices, leased files."""


class ObjectKind(enum.Enum):
    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "neither a file nor a directory"


class FoundObject(NamedTuple):
    """What has a name."""

    kind: ObjectKind
    identity: tuple[int, int]
    """The same for the same object, within its tree."""
    perm: Perm = 0o777
    is_own: bool = False
    """Its server makes it up as it is read: a copy of the server's files does without."""


class FileTree(Protocol):
    """Where files are. Errors are of ``serr``, or OSErrors with the name in them."""

    def look(self, name: str, *, follow: bool = True) -> FoundObject | None:
        """What has that name; None if nothing has. ``follow``: links are what they lead to."""

    def missing(self, name: str) -> Exception:
        """What is raised where nothing has a name."""

    def names(self, name: str) -> list[str]:
        """The entries of a directory."""

    def below(self, directory: str, name: str) -> str:
        """The name of an entry."""

    def last(self, name: str) -> str:
        """What an entry is called that is copied into a directory; empty for what stays where it is (``.``)."""

    def open(self, name: str) -> IO[bytes]:
        """The contents of a file, links followed."""

    def write(self, name: str, source: IO[bytes], perm: Perm) -> None:
        """Makes a file, or replaces its contents, in one moment where that can be; what fails leaves the old ones."""

    def make_directory(self, name: str, perm: Perm) -> None: ...

    def copy_link(self, name: str, target: str) -> None:
        """A second link, which leads to the same."""


class LocalTree:
    """This machine's disks."""

    def look(self, name: str, *, follow: bool = True) -> FoundObject | None:
        try:
            found = os.stat(name, follow_symlinks=follow)
        except FileNotFoundError:
            return None
        kinds = {stat.S_IFREG: ObjectKind.FILE, stat.S_IFDIR: ObjectKind.DIRECTORY, stat.S_IFLNK: ObjectKind.LINK}
        kind = kinds.get(stat.S_IFMT(found.st_mode), ObjectKind.OTHER)
        return FoundObject(kind, (found.st_dev, found.st_ino))

    def missing(self, name: str) -> Exception:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)

    def names(self, name: str) -> list[str]:
        return sorted(os.listdir(name))

    def below(self, directory: str, name: str) -> str:
        return os.path.join(directory, name)

    def last(self, name: str) -> str:
        last = os.path.basename(name.rstrip("/"))
        # `..` and `/` have names: those that they have from above.
        return "" if last == "." else last if last not in ("", "..") else os.path.basename(os.path.realpath(name))

    def open(self, name: str) -> IO[bytes]:
        return open(name, "rb")

    def write(self, name: str, source: IO[bytes], perm: Perm) -> None:
        with localfile.replacing(name) as file:
            shutil.copyfileobj(source, file, PART_BYTES)

    def make_directory(self, name: str, perm: Perm) -> None:
        os.mkdir(name)

    def copy_link(self, name: str, target: str) -> None:
        os.symlink(os.readlink(name), target)


class NamespaceTree:
    """The namespace, as one client has it. The file of a link is the one that it leads to, and a server's name is a
    directory."""

    def __init__(self, sc: SigmaClnt) -> None:
        self._sc = sc

    def look(self, name: str, *, follow: bool = True) -> FoundObject | None:
        try:
            found = self._sc.stat(_followed(name) if follow else name)
        except serr.NotFound:
            return None
        if found.is_dir or found.is_endpoint:
            kind = ObjectKind.DIRECTORY
        elif found.is_symlink:
            kind = ObjectKind.LINK
        else:
            kind = ObjectKind.OTHER if found.mode & DMNAMEDPIPE else ObjectKind.FILE
        return FoundObject(kind, (found.dev, found.qid.path), found.perm, found.dev in _SERVERS_OWN)

    def missing(self, name: str) -> Exception:
        return serr.NotFound(name)

    def names(self, name: str) -> list[str]:
        return [entry.name for entry in self._sc.get_dir(_followed(name))]

    def below(self, directory: str, name: str) -> str:
        return path.join(directory, name)

    def last(self, name: str) -> str:
        last = path.basename(name)
        return "" if last == "." else last

    def open(self, name: str) -> IO[bytes]:
        return self._sc.open_reader(_followed(name))

    def write(self, name: str, source: IO[bytes], perm: Perm) -> None:
        put_stream(self._sc, name, source, perm)

    def make_directory(self, name: str, perm: Perm) -> None:
        self._sc.mkdir(name, perm)

    def copy_link(self, name: str, target: str) -> None:
        self._sc.symlink(self._sc.get_file(name).decode(), target)


def _followed(name: str) -> str:
    return f"{name.rstrip('/')}/"


def put_stream(sc: SigmaClnt, pathname: str, source: IO[bytes], perm: Perm = 0o777) -> None:
    """Makes a file, or replaces what it holds, by what ``source`` has. The new contents appear in one moment, and only
    if all could be read and sent; a pipe, a device and a leased file are written as the data come. IsDir for a
    directory."""
    pathname, there = _behind_links(sc, pathname)
    if there is not None and (there.is_dir or there.is_endpoint):
        raise serr.IsDir(pathname)
    if there is not None and there.mode & DMNAMEDPIPE:
        with sc.open_writer(pathname) as pipe:
            for part in parts_of(source):
                pipe.write(part)
                pipe.flush()
        return
    first = source.read(PART_BYTES)
    if len(first) < PART_BYTES:
        sc.put_file(pathname, first, perm)
        return
    is_in_place = there is not None and there.mode & _IN_PLACE
    if is_in_place or sc.stat(_followed(path.dirname(pathname))).dev == DEV_S3:  # S3 shows a file when it is complete
        with sc.create_writer(pathname) as writer:
            writer.write(first)
            shutil.copyfileobj(source, writer, PART_BYTES)
        return
    with _beside(sc, pathname) as temporary:
        with sc.create_writer(temporary, there.perm if there is not None else perm, OWRITE | OEXCL) as writer:
            writer.write(first)
            shutil.copyfileobj(source, writer, PART_BYTES)
        sc.rename(temporary, pathname)


def parts_of(source: IO[bytes]) -> Iterator[bytes]:
    """What a file has, as it comes: of a pipe nothing waits for more."""
    read = getattr(source, "read1", source.read)
    while part := read(PART_BYTES):
        yield part


def _behind_links(sc: SigmaClnt, pathname: str) -> tuple[str, Stat | None]:
    """Where what is written ends up, and what is there; None if nothing is."""
    for _ in range(_LINKS_MAX):
        try:
            found = sc.stat(pathname.rstrip("/"))
        except serr.NotFound:
            return pathname, None
        if not found.is_symlink:
            return pathname.rstrip("/"), found
        pathname = sc.get_file(pathname.rstrip("/")).decode()
    raise serr.Unreachable(pathname, "too many symlink cycles")


@contextmanager
def _beside(sc: SigmaClnt, pathname: str) -> Iterator[str]:
    """A name in the same directory that nobody has; what has it when the block raises is removed."""
    name = path.name_beside(path.basename(pathname), f".{secrets.token_hex(8)}")
    temporary = path.join(path.dirname(pathname), name)
    try:
        yield temporary
    except BaseException as error:  # also when it is interrupted: nothing is left
        # If that fails, it was not made, or its server is gone: the first error is the one to tell.
        with suppress(serr.SigmaError):
            sc.remove(temporary)
        if isinstance(error, serr.SigmaError) and error.obj == temporary:
            raise type(error)(pathname, error.msg) from error
        raise
