"""A named as a process of its own: ``python named_child.py ETCD_PORT [LEASE_S]`` prints its address once it leads."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from kernel.named.server import NamedServer
from kernel.shell import KernelArgs
from sigmaos_ray import config

REALM = "bench"


async def main(etcd_port: str, lease_s: str = "") -> None:
    here = config.current()
    sys.setswitchinterval(here.serving.switch_interval_s)
    if lease_s:
        here = msgspec.structs.replace(here, lease=msgspec.structs.replace(here.lease, election_ttl_s=int(lease_s)))
    args = KernelArgs(kernel_id="sigma-1", realm=REALM, etcd_endpoints=(f"127.0.0.1:{etcd_port}",))
    named = NamedServer(args, config=here)
    endpoint = await named.start()
    print(endpoint.addrs[0], flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await named.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
