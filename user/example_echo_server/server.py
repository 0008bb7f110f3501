"""The service, and how a program serves it.

A service is a class. What it offers follows from its methods alone; where it runs and how clients find it is
``serve``'s business, so that the class can be tested, and extended (``cached``, ``stored``, ``profiled``), without a
server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sigmaos_ray import SigmaClnt, debug, serr
from sigmaos_ray.sigmasrv import SigmaSrv
from user.example_echo_server.echo_pb2 import AddReply, AddRequest, EchoReply, EchoRequest

if TYPE_CHECKING:
    from sigmaos_ray.rpcsrv import RpcContext

DEFAULT_PATHNAME: Final = "name/example/echo-server"

_INT64_MAX: Final = (1 << 63) - 1

# A line per call for those who ask: ``sigmaos debug name/example/echo-server ECHO_SERVER``, also while it runs.
_log = debug.selector("ECHO_SERVER")


class EchoSrv:
    """Each public method is offered as ``EchoSrv.<method>``; the class of its request is read from the annotation.

    Methods are coroutines, and many run at a time, on one loop: one that has to block is a plain ``def``, and runs in a
    thread. ``ctx`` says who calls, and how long the caller waits.
    """

    async def Echo(self, ctx: RpcContext, request: EchoRequest) -> EchoReply:
        """Returns the same text. Inval if there is none."""
        if _log.on:
            _log(f"Echo {request.text!r} for {ctx.caller.principal}")
        # An error of ``serr`` is raised again at the client, as the same class; others arrive as ``RPCError``.
        if not request.text:
            raise serr.Inval("text", "there is nothing to echo")
        return EchoReply(text=request.text)

    async def Add(self, ctx: RpcContext, request: AddRequest) -> AddReply:
        """Returns a + b. Inval for a sum that 64 bits do not hold: protobuf would refuse it with an error of its
        own."""
        total = request.a + request.b
        if _log.on:
            _log(f"Add {request.a} + {request.b}")
        if not -_INT64_MAX - 1 <= total <= _INT64_MAX:
            raise serr.Inval(f"{request.a} + {request.b}", "the sum has more than 64 bits")
        return AddReply(sum=total)


def serve(pn: str, *services: object, sc: SigmaClnt | None = None) -> None:
    """Serves until the proc is evicted, then ends it. Exists if the name is taken. A ``pn`` that ends in ``/`` is a
    directory of servers, as many as you like: each gets a name of its own in it. Closes ``sc``, if there is one."""
    with sc or SigmaClnt() as client:
        client.makedirs(pn.rpartition("/")[0])
        # Entering makes the name, under a lease: it goes with the proc, however that ends. Leaving takes it away, and
        # lets the calls finish that run.
        with SigmaSrv(pn, *services, sc=client) as server:
            # Says that the proc has started, and blocks until it is evicted.
            server.serve()
