"""What the verbs that look at running servers share: finding them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import serr
from sigmaos_ray.sigmap import RPC_DEV, path

if TYPE_CHECKING:
    from sigmaos_ray import SigmaClnt

R = TypeVar("R", bound=Message)


def call(sc: SigmaClnt, pn: str, method: str, request: Message, reply_class: type[R]) -> R:
    """One RPC to the server that a pathname leads to. NotFound, with what is wrong, if no server is there."""
    from sigmaos_ray.rpcclnt import RPCClnt

    clnt = RPCClnt(sc, pn)
    try:
        return clnt.rpc(method, request, reply_class)
    except (serr.NotDir, serr.NotFound) as error:
        # The same classes may come from the server's own handler, of something else: that error is the answer.
        if error.obj not in (RPC_DEV, "clone", pn, *path.split(pn)):
            raise
        raise serr.NotFound(pn, "no server is there") from error
    finally:
        clnt.close()
