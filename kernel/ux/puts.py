"""Puts: files that appear whole (P-9, design 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.ux import creating
from sigmaos_ray import serr
from sigmaos_ray.sigmap import OEXCL, OTRUNC, Mode

if TYPE_CHECKING:
    from kernel.ux.hostdir import HostDir
    from kernel.ux.nodes import UxDir
    from kernel.ux.state import HostStat
    from kernel.ux.workshop import Prepared
    from sigmaos_ray.protsrv.node import OpenHow


def is_in_place(directory: UxDir, name: str, mode: Mode) -> bool:
    """True if a put goes into a file that is there, without truncation. Exists, IsDir and the like where it cannot."""
    with directory.open_dir() as host:
        found = host.peek(name)
    if found is None:
        return False
    directory.fs.check_shown(name, found)
    if mode & OEXCL:
        raise serr.Exists(name)
    if found.is_dir:
        raise serr.IsDir(name)
    if found.is_pipe:
        raise serr.Inval(name, "a pipe is opened, and written then")
    return not mode & OTRUNC


async def put_in_place(directory: UxDir, name: str, data: bytes, *, how: OpenHow, offset: int) -> int:
    """Writes into a file that is there."""
    with directory.open_dir() as host:
        file = directory.file_of(name, host.look(name)).files.open(writes=True)
    try:
        count = await file.write(offset, data, how.fence, how.lease)
    except BaseException:  # a cancellation too: what was opened is closed, and it goes on
        await file.abort()
        raise
    await file.close()
    return count


async def put_whole(directory: UxDir, name: str, data: bytes, *, host_mode: int, how: OpenHow, offset: int) -> bool:
    """Makes a file, or lets another one take its place. False, and nothing done, if a file came meanwhile that must
    be written in place."""
    store = directory.fs.store
    prepared = await store.prepare(data, offset, host_mode, name)
    try:
        if is_in_place(directory, name, how.mode):
            return False
        directory.fs.check(how.fence, how.lease)
        _place(directory, prepared, name, how.lease)
        return True
    finally:
        store.workshop.drop(prepared)


def _place(directory: UxDir, prepared: Prepared, name: str, lease: int) -> None:
    with directory.open_dir() as host:
        old = host.peek(name)
        if old is None:
            creating.place_new(directory, host, prepared, name, lease)
        else:
            _place_over(directory, host, prepared, name, old, lease)


def _place_over(directory: UxDir, host: HostDir, prepared: Prepared, name: str, old: HostStat, lease: int) -> None:
    """The file has new contents, in a new inode: its node, and who has it open, go over to that, and so does its lease,
    unless the put brings one."""
    workshop = directory.fs.store.workshop
    node = directory.file_of(name, old)
    lease = lease or node.lease
    if not lease:
        workshop.place_over(prepared, host, name, old)
        node.replaced(prepared)
        return
    mark = workshop.place_passing_over(prepared, host, [*directory.way(), name], old)
    node.replaced(prepared)
    directory.fs.ties.tie(node, lease, mark)
