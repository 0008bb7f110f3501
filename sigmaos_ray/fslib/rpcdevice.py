"""RPC devices of servers: how ``rpcclnt`` gets a channel, and leaves a server that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.sigmap import ORDWR, RPC_DEV, path

if TYPE_CHECKING:
    from sigmaos_ray.fslib.core import FsCore
    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.sigmap import Endpoint


async def open_channel(core: FsCore, pn: str) -> RemoteFid:
    """A new channel of the RPC device of the server at ``pn``; the caller clunks it."""
    return await core.open_fid(path.join(pn, RPC_DEV, "clone"), ORDWR)


async def open_channel_at(core: FsCore, endpoint: Endpoint) -> RemoteFid:
    """The same, of the server that an endpoint names. Unreachable at once if that does not answer."""
    root = await core.fids.attach(endpoint)
    try:
        channel, qids = await root.walk([RPC_DEV, "clone"])
    finally:
        root.free()
    try:
        if len(qids) < 2:
            raise serr.NotFound(RPC_DEV, f"the server at {endpoint.addrs} offers none")
        await channel.open(ORDWR)
    except BaseException:  # cancelled as well: nobody else frees it
        channel.free()
        raise
    return channel


def leave_server(core: FsCore, fid: RemoteFid) -> None:
    """The server of a fid failed, or refuses: later walks go to another one, where a union has another."""
    mount = core.mounts.of_session(fid.session, [])
    if mount is not None:
        core.walker.failed(mount)
