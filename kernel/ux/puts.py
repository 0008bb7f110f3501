"""Puts: files that appear whole (P-9, design 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.ux import hostfile
from sigmaos_ray import serr
from sigmaos_ray.sigmap import OEXCL, OTRUNC, Mode

if TYPE_CHECKING:
    from kernel.ux.nodes import UxDir
    from kernel.ux.workshop import Prepared
    from sigmaos_ray.protsrv.node import OpenHow


def is_in_place(directory: UxDir, name: str, mode: Mode) -> bool:
    """True if a put goes into a file that is there, without truncation. Exists and IsDir where it cannot be."""
    with directory.open_dir() as host:
        found = host.peek(name)
    if found is None:
        return False
    if mode & OEXCL:
        raise serr.Exists(name)
    if found.is_dir:
        raise serr.IsDir(name)
    return not mode & OTRUNC


async def put_whole(directory: UxDir, name: str, data: bytes, *, host_mode: int, how: OpenHow, offset: int) -> bool:
    """Makes a file, or lets another one take its place. False, and nothing done, if a file came meanwhile that must
    be written in place."""
    store = directory.fs.store
    prepared = await store.prepare(data, offset, host_mode, name)
    try:
        if is_in_place(directory, name, how.mode):
            return False
        directory.fs.fences.check(how.fence)
        _place(directory, prepared, name)
        return True
    finally:
        store.workshop.drop(prepared)


def _place(directory: UxDir, prepared: Prepared, name: str) -> None:
    workshop = directory.fs.store.workshop
    with directory.open_dir() as host:
        old = host.peek(name)
        if old is None:
            workshop.place_new(prepared, host, name)
            directory.made(name, hostfile.status(prepared.fd, name))
        else:
            workshop.place_over(prepared, host, name, old)
            directory.replaced(name, old, prepared)
