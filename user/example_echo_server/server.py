"""The service, and how a program serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sigmaos_ray import SigmaClnt, debug, serr
from sigmaos_ray.sigmasrv import SigmaSrv
from user.example_echo_server.echo_pb2 import AddReply, AddRequest, EchoReply, EchoRequest

if TYPE_CHECKING:
    from sigmaos_ray.rpcsrv import RpcContext

DEFAULT_PATHNAME: Final = "name/example/echo-server"

_INT64_MAX: Final = (1 << 63) - 1
_log = debug.selector("ECHO_SERVER")


class EchoSrv:
    """Each public method is offered as ``EchoSrv.<method>``."""

    async def Echo(self, ctx: RpcContext, request: EchoRequest) -> EchoReply:
        """The same text. Inval if there is none."""
        if _log.on:
            _log(f"Echo {request.text!r} for {ctx.caller.principal}")
        if not request.text:
            raise serr.Inval("text", "there is nothing to echo")
        return EchoReply(text=request.text)

    async def Add(self, ctx: RpcContext, request: AddRequest) -> AddReply:
        """a + b. Inval for a sum that 64 bits do not hold."""
        total = request.a + request.b
        if _log.on:
            _log(f"Add {request.a} + {request.b}")
        if not -_INT64_MAX - 1 <= total <= _INT64_MAX:
            raise serr.Inval(f"{request.a} + {request.b}", "the sum has more than 64 bits")
        return AddReply(sum=total)


def serve(pn: str, *services: object, sc: SigmaClnt | None = None) -> None:
    """Serves until the proc is evicted. Exists if the name is taken. A ``pn`` that ends in ``/`` is a directory of
    servers, as many as you like."""
    with sc or SigmaClnt() as client:
        client.makedirs(pn.rpartition("/")[0])
        with SigmaSrv(pn, *services, sc=client) as server:
            server.serve()
