"""A service, and the program that serves it: ``sigmaos spawn calculator name/calculator``, in this folder."""

from __future__ import annotations

from sigmaos_ray import serr
from sigmaos_ray.rpcsrv import RpcContext
from sigmaos_ray.sigmasrv import SigmaSrv
from user.example_echo_server.echo_pb2 import AddReply, AddRequest, EchoReply, EchoRequest


class Calculator:
    """Each public method is offered as ``Calculator.<method>``."""

    async def Echo(self, ctx: RpcContext, request: EchoRequest) -> EchoReply:
        if not request.text:
            raise serr.Inval("text", "nothing to echo")
        return EchoReply(text=request.text)

    async def Add(self, ctx: RpcContext, request: AddRequest) -> AddReply:
        return AddReply(sum=request.a + request.b)


def main(argv: list[str]) -> None:
    """Serves under the name ``argv[0]`` until it is evicted."""
    with SigmaSrv(argv[0], Calculator()) as server:
        server.serve()
