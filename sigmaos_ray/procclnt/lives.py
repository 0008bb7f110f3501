"""Asking schedds of other machines whether a proc's credentials are good still (``auth.gate``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray.config import current
from sigmaos_ray.deadlines import within
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.sigmap import SCHEDD, Endpoint, path

if TYPE_CHECKING:
    from sigmaos_ray.auth.tokens import TokenSlot
    from sigmaos_ray.config import ProcEnv


class AskSchedds:
    """Calls ``Schedd.Lives``, by the address that a token names. Whoever makes it closes it; all on one loop."""

    def __init__(self, env: ProcEnv) -> None:
        """``env``: who asks."""
        self._env = env
        self._fs: AsyncFsLib | None = None
        self._schedds: dict[str, AsyncRPCClnt] = {}

    async def __call__(self, slot: TokenSlot, mark: bytes) -> bool:
        """Whether that token stands in its schedd's table. Timeout if the schedd does not answer in time."""
        request = pb.LivesRequest(table=slot.table, slot=slot.slot, mark=mark)
        async with within(current().auth.ask_timeout_s, slot.address, "no answer"):
            schedd = await self._schedd(slot.address)
            return (await schedd.rpc("Schedd.Lives", request, pb.LivesReply, idempotent=True)).lives

    async def _schedd(self, address: str) -> AsyncRPCClnt:
        schedd = self._schedds.get(address)
        if schedd is None:
            if self._fs is None:
                self._fs = AsyncFsLib(self._env)
            pathname = path.join(SCHEDD, address)
            await self._fs.mount_endpoint(pathname, Endpoint(addrs=(address,)))
            schedd = self._schedds[address] = AsyncRPCClnt(self._fs, pathname)
        return schedd

    async def close(self) -> None:
        """Ends its sessions. May be repeated."""
        fs, self._fs = self._fs, None
        self._schedds.clear()
        if fs is not None:
            await fs.close_fs()
