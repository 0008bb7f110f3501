"""A server of echoes as a process of its own: ``python auth_child.py STATE_DIR`` prints its gRPC and its plain address,
and lets in who shows credentials of the authority there; with an empty STATE_DIR whoever comes."""

from __future__ import annotations

import asyncio
import sys

from tls_child import Echo

from kernel.boot.authority import TokenAuthority
from sigmaos_ray import config
from sigmaos_ray.auth.gate import gate_of
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable


async def main(state_dir: str) -> None:
    sys.setswitchinterval(config.current().serving.switch_interval_s)
    watches = WatchTable()
    gate = gate_of(TokenAuthority(state_dir).trust, state_dir) if state_dir else None
    server = FileServer(MemFs(watches).root, watches, services=[Echo()], gate=gate)
    endpoint = await server.start()
    print(endpoint.addrs[0], dict(endpoint.plain)[endpoint.addrs[0]], flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
