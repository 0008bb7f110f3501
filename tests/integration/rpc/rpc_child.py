"""A server of ``Probe`` in a process of its own, which tests stop and let go on."""

from __future__ import annotations

import asyncio
import sys

from probe_service import Probe

from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable


async def main() -> None:
    watches = WatchTable()
    server = FileServer(MemFs(watches).root, watches, services=[Probe("child")])
    endpoint = await server.start()
    print(endpoint.to_bytes().hex(), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


asyncio.run(main())
