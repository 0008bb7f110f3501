"""One named as a process of its own: ``python named_process.py JSON``, without Ray and boot.

Ends when it loses the leadership, as its actor does, unless it is told to stay; resigns on SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec

from kernel.named.actor import NamedCandidate
from kernel.shell import KernelArgs
from sigmaos_ray import config


class NamedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a named of a test is started with."""

    args: KernelArgs
    election_ttl_s: int
    etcd_timeout_s: float
    stays: bool
    """Goes on after it lost the leadership, to be asked what it answers then."""


async def _main(request: NamedRequest) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    changed = msgspec.structs.replace(
        config.LOCAL,
        lease=config.Leases(election_ttl_s=request.election_ttl_s),
        named=config.Named(etcd_timeout_s=request.etcd_timeout_s),
    )
    on_lost = (lambda: None) if request.stays else ended.set
    server = NamedCandidate(request.args, on_lost=on_lost, config=changed)
    endpoint = await server.start()
    print(endpoint.addrs[0], flush=True)
    await ended.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(_main(msgspec.json.decode(sys.argv[1], type=NamedRequest)))
