"""A server of a group of which one leads: it says who serves, and leaves a file when it resigns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import SigmaClnt, Status
from sigmaos_ray.electsrv import serve_elected
from sigmaos_ray.ft.leading import Leadership
from sigmaos_ray.rpcsrv import RpcContext  # noqa: TC001  # read at run time
from user.example_echo_server.echo_pb2 import EchoReply, EchoRequest

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt


class WhoSrv:
    """Says who serves."""

    def __init__(self, pid: str) -> None:
        self._pid = pid

    async def Ask(self, ctx: RpcContext, request: EchoRequest) -> EchoReply:
        return EchoReply(text=self._pid)


class Member:
    """Leaves a file with its pid when it resigns."""

    def __init__(self, sc: AsyncSigmaClnt, directory: str) -> None:
        self._sc = sc
        self._directory = directory
        self._leadership = Leadership(sc, f"{directory}/leader")
        self.services = (WhoSrv(sc.pid),)

    async def start(self) -> bool:
        return await self._leadership.lead()

    async def stop(self) -> None:
        # The name is gone by now, and nobody else leads yet.
        for pn, is_there in (("server", False), ("leader", True)):
            names = [stat.name for stat in await self._sc.get_dir(self._directory)]
            assert (pn in names) == is_there, names
        await self._sc.put_file(f"{self._directory}/resigned", self._sc.pid.encode())
        await self._leadership.resign()


def main(argv: list[str]) -> Status:
    with SigmaClnt() as sc:
        member = Member(sc.asynchronous, argv[0])
        return serve_elected(sc, f"{argv[0]}/server", member, crashes="X_CRASH", partitions="X_PARTITION")
