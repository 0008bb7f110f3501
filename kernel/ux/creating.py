"""Making entries: directories, files, links, pipes, leased or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.ux import hostfile, state
from sigmaos_ray import serr
from sigmaos_ray.sigmap import DMDIR, DMNAMEDPIPE, DMTMP, NO_LEASE

if TYPE_CHECKING:
    from kernel.ux.hostdir import HostDir
    from kernel.ux.nodes import UxDir, UxNode
    from kernel.ux.workshop import Prepared
    from sigmaos_ray.protsrv.node import OpenHow


def host_mode_of(name: str, how: OpenHow) -> int:
    """The mode on the host of what is to be made. Inval and NotSupported for what ux cannot make."""
    if how.lease and how.perm & DMDIR:
        raise serr.NotSupported(name, "ux leases files, not directories")
    if how.perm & DMTMP and not how.lease:
        raise serr.Inval(name, "DMTMP goes with a lease")
    return state.host_mode_of(name, how.perm & ~DMTMP)


async def create(directory: UxDir, name: str, how: OpenHow, host_mode: int) -> tuple[UxNode, int | None]:
    """Makes an entry; returns its node, and for a file the descriptor that made it, which then belongs to the caller.
    Exists if the name is taken."""
    if how.perm & DMNAMEDPIPE:
        return _create_pipe(directory, name, how, host_mode), None
    if how.lease or how.data:
        return await _create_whole(directory, name, how, host_mode)
    with directory.open_dir() as host:
        if how.perm & DMDIR:
            host.make_dir(name, host_mode)
            return directory.made(name, host.look(name)), None
        fd = host.make_file(name, host_mode)
    return directory.made(name, hostfile.status(fd, name)), fd


def _create_pipe(directory: UxDir, name: str, how: OpenHow, host_mode: int) -> UxNode:
    workshop = directory.fs.store.workshop
    with directory.open_dir() as host:
        prepared = workshop.prepare_pipe(host_mode)
        try:
            return place_passing(directory, host, prepared, name, how.lease)
        finally:
            workshop.drop(prepared)


async def _create_whole(directory: UxDir, name: str, how: OpenHow, host_mode: int) -> tuple[UxNode, int]:
    store = directory.fs.store
    prepared = await store.prepare(how.data, 0, host_mode, name)
    try:
        directory.fs.check(how.fence, how.lease)
        with directory.open_dir() as host:
            made = place_new(directory, host, prepared, name, how.lease)
        return made, prepared.take_fd()
    finally:
        store.workshop.drop(prepared)


def place_new(directory: UxDir, host: HostDir, prepared: Prepared, name: str, lease: int) -> UxNode:
    """Lets a prepared file appear. Exists if the name is taken."""
    if lease != NO_LEASE:
        return place_passing(directory, host, prepared, name, lease)
    directory.fs.store.workshop.place_new(prepared, host, name)
    return directory.made(name, hostfile.status(prepared.fd, name))


def place_passing(directory: UxDir, host: HostDir, prepared: Prepared, name: str, lease: int) -> UxNode:
    """Lets something appear that does not outlive the server."""
    ties = directory.fs.ties
    mark = directory.fs.store.workshop.place_passing(prepared, host, [*directory.way(), name])
    node = directory.node_of(name, host.look(name))
    ties.tie(node, lease, mark)
    directory.put_in(node)
    return node
