"""A server of echoes as a process of its own: ``python tls_child.py PLACE`` prints its gRPC and its plain address. With
an empty place it speaks no TLS."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from sigmaos_ray import config
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.tls.identity import identity_at
from user.example_echo_server.echo_pb2 import EchoReply, EchoRequest

if TYPE_CHECKING:
    from sigmaos_ray.rpcsrv import RpcContext


class Echo:
    """A service."""

    async def Say(self, ctx: RpcContext, request: EchoRequest) -> EchoReply:
        return EchoReply(text=request.text)


async def main(place: str) -> None:
    sys.setswitchinterval(config.current().serving.switch_interval_s)
    watches = WatchTable()
    server = FileServer(MemFs(watches).root, watches, services=[Echo()], tls=identity_at(place))
    endpoint = await server.start()
    print(endpoint.addrs[0], dict(endpoint.plain)[endpoint.addrs[0]], flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
