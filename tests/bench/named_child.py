"""A named as a process of its own: ``python named_child.py ETCD_PORT`` prints its address once it leads."""

from __future__ import annotations

import asyncio
import sys

from kernel.named.server import NamedServer
from kernel.shell import KernelArgs
from sigmaos_ray import config

REALM = "bench"


async def main(etcd_port: str) -> None:
    sys.setswitchinterval(config.current().serving.switch_interval_s)
    args = KernelArgs(kernel_id="sigma-1", realm=REALM, etcd_endpoints=(f"127.0.0.1:{etcd_port}",))
    named = NamedServer(args)
    endpoint = await named.start()
    print(endpoint.addrs[0], flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await named.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
