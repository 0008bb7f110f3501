"""Which kind of connection a session gets: the best that both ends can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import debug
from sigmaos_ray.sessp import plain
from sigmaos_ray.sessp.link import GRPC, KIND_VARIABLE, PLAIN, LinkLost, forced_kind
from sigmaos_ray.sessp.plainlink import connect

if TYPE_CHECKING:
    from sigmaos_ray.config import Config
    from sigmaos_ray.sessp.link import Link

_log = debug.selector("SESSCLNT")


def plain_targets(address: str, plain_address: str) -> list[str]:
    """Where plain connections to the server at ``address`` may be had, best first."""
    if forced_kind() == GRPC:
        return []
    return [plain.local_name(address), *([plain_address] if plain_address else [])]


async def dial(address: str, plain_address: str, config: Config, kind: str = "") -> Link:
    """A connection to the server at ``address``; of one of kind ``grpc`` only its greeting tells whether somebody is
    there. ``kind``: that of the connection before this one, whose way is the one that is open. LinkLost if a plain one
    is asked for and cannot be had."""
    for target in plain_targets(address, plain_address) if kind != GRPC else ():
        try:
            return await connect(target, config)
        except OSError as error:
            _log(f"{address}: no plain connection: {error}")
    if forced_kind() == PLAIN:
        raise LinkLost(f"{KIND_VARIABLE}={PLAIN}, and no plain connection to {address} can be had")
    if kind == PLAIN:
        raise LinkLost("nobody takes a plain connection")
    from sigmaos_ray.sessp.grpclink import GrpcLink  # with gRPC, which most clients do without

    return GrpcLink(address, config)
