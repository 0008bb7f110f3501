"""The client's side: what a program needs to call the service.

Anybody can call it with ``RPCClnt`` and the messages; a class like this one says it in Python's words, once for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from sigmaos_ray.rpcclnt import RPCClnt
from user.example_echo_server.echo_pb2 import AddReply, AddRequest, EchoReply, EchoRequest
from user.example_echo_server.server import DEFAULT_PATHNAME

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray import SigmaClnt


class EchoClnt:
    """A client of the echo server at ``pn``, for any number of threads. ``close`` it, or use it as a context.

    Calls raise the server's errors, and those of the way to it: Unreachable if the call was not made, IOErr or Timeout
    if nobody knows. ``timeout_s``: how long to wait; None: for ever.
    """

    def __init__(self, sc: SigmaClnt, pn: str = DEFAULT_PATHNAME) -> None:
        self._rpc = RPCClnt(sc, pn)

    def echo(self, text: str, timeout_s: float | None = None) -> str:
        """What the server sends back. Inval for no text."""
        return self._rpc.rpc("EchoSrv.Echo", EchoRequest(text=text), EchoReply, timeout_s).text

    def add(self, a: int, b: int, timeout_s: float | None = None) -> int:
        """a + b. Inval for a sum of more than 64 bits."""
        return self._rpc.rpc("EchoSrv.Add", AddRequest(a=a, b=b), AddReply, timeout_s).sum

    def close(self) -> None:
        """May be repeated."""
        self._rpc.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
