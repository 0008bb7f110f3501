"""Where named is, for procs that no state file tells: their schedd asks Ray, which procs' own processes do not join."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray import debug, serr
from sigmaos_ray.sigmap import SCHEDD, Endpoint, path

if TYPE_CHECKING:
    from sigmaos_ray.config import ProcEnv

_log = debug.selector("MOUNT")


def ask(proc_env: ProcEnv) -> Endpoint | None:
    """None if the schedd does not know, or cannot be asked. Blocks for it; in a thread without a loop."""
    try:
        return asyncio.run(_ask(proc_env))
    except serr.SigmaError as error:
        _log(f"the schedd does not tell where named is: {error}")
        return None


async def _ask(proc_env: ProcEnv) -> Endpoint | None:
    # Seldom needed, and the whole client: not for procs that never ask.
    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.rpcclnt import AsyncRPCClnt

    fs = AsyncFsLib(proc_env)
    try:
        pathname = path.join(SCHEDD, proc_env.schedd_id)
        await fs.mount_endpoint(pathname, proc_env.schedd)
        rpc = AsyncRPCClnt(fs, pathname)
        reply = await rpc.rpc("Schedd.Named", pb.NamedRequest(), pb.NamedReply, idempotent=True)
        return Endpoint.from_bytes(reply.endpoint) if reply.endpoint else None
    finally:
        await fs.close_fs()
