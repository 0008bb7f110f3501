"""A ux that a test can kill: ``python crashing.py DIRECTORY`` serves it and prints where."""

from __future__ import annotations

import asyncio
import sys

from kernel.ux.fs import UxFs
from kernel.ux.store import UxStore
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable


async def serve(root: str) -> None:
    watches = WatchTable()
    fs = UxFs(UxStore(root, 2), watches)
    server = FileServer(fs.root, watches, fences=fs.fences, leases=fs.leases)
    endpoint = await server.start()
    print(endpoint.addrs[0], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
