"""A service, and the program that serves it: ``sigmaos spawn calculator name/calculator``, in this folder."""

from __future__ import annotations

from sigmaos_ray import serr  # noqa: F401  # you will need it
from sigmaos_ray.rpcsrv import RpcContext
from sigmaos_ray.sigmasrv import SigmaSrv
from user.example_echo_server.echo_pb2 import AddReply, AddRequest, EchoReply, EchoRequest  # noqa: F401


class Calculator:
    """Each public method is offered as ``Calculator.<method>``."""

    async def Echo(self, ctx: RpcContext, request: EchoRequest) -> EchoReply:
        # Your code here: nothing to echo is serr.Inval.
        return EchoReply(text=request.text)

    # Your code here: Add takes an AddRequest (a, b) and returns an AddReply (sum).


def main(argv: list[str]) -> None:
    """Serves under the name ``argv[0]`` until it is evicted."""
    with SigmaSrv(argv[0], Calculator()) as server:
        server.serve()
