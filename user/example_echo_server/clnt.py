"""The client's side: what a program needs to call the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from sigmaos_ray.rpcclnt import RPCClnt
from user.example_echo_server.echo_pb2 import AddReply, AddRequest, EchoReply, EchoRequest
from user.example_echo_server.server import DEFAULT_PATHNAME

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray import SigmaClnt


class EchoClnt:
    """May be shared by threads. A context manager."""

    def __init__(self, sc: SigmaClnt, pn: str = DEFAULT_PATHNAME) -> None:
        self._rpc = RPCClnt(sc, pn)

    def echo(self, text: str, timeout_s: float | None = None) -> str:
        """What the server sends back. Raises as ``RPCClnt.rpc``; Inval for no text."""
        return self._rpc.rpc("EchoSrv.Echo", EchoRequest(text=text), EchoReply, timeout_s).text

    def add(self, a: int, b: int, timeout_s: float | None = None) -> int:
        """a + b, of 64 bits."""
        return self._rpc.rpc("EchoSrv.Add", AddRequest(a=a, b=b), AddReply, timeout_s).sum

    def close(self) -> None:
        self._rpc.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
