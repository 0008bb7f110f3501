"""Which kind of connection a session gets: the best that both ends can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sigmaos_ray import debug, serr
from sigmaos_ray.sessp import plain
from sigmaos_ray.sessp.channel import FORKED, is_forked
from sigmaos_ray.sessp.link import GRPC, KIND_VARIABLE, PLAIN, LinkLost, forced_kind
from sigmaos_ray.sessp.plainlink import connect
from sigmaos_ray.tls.identity import TlsRefused

if TYPE_CHECKING:
    from sigmaos_ray.config import Config
    from sigmaos_ray.sessp.link import Link
    from sigmaos_ray.tls.identity import TlsIdentity

_LOOPBACKS: Final = ("127.", "localhost:", "[::1]:")
_log = debug.selector("SESSCLNT")


def plain_targets(address: str, plain_address: str) -> list[str]:
    """Where plain connections to the server at ``address`` may be had, best first."""
    if forced_kind() == GRPC:
        return []
    return [plain.local_name(address), *([plain_address] if plain_address else [])]


async def dial(
    address: str, plain_address: str, config: Config, kind: str = "", tls: TlsIdentity | None = None
) -> Link:
    """A connection to the server at ``address``; of one of kind ``grpc`` only its greeting tells whether somebody is
    there. ``kind``: that of the connection before this one, whose way is the one that is open. ``tls``: what is shown
    and asked over TCP. LinkLost if a plain one is asked for and cannot be had, or the server is none of the
    instance's."""
    for target in plain_targets(address, plain_address) if kind != GRPC else ():
        try:
            return await connect(target, config, tls)
        except TlsRefused as error:
            raise LinkLost(str(error)) from error
        except serr.Perm as error:
            raise LinkLost(str(error), final=True) from error
        except OSError as error:
            _log(f"{address}: no plain connection: {error}")
    if forced_kind() == PLAIN:
        raise LinkLost(f"{KIND_VARIABLE}={PLAIN}, and no plain connection to {address} can be had")
    if kind == PLAIN:
        raise LinkLost("nobody takes a plain connection")
    if is_forked():
        raise LinkLost(FORKED, final=True)
    from sigmaos_ray.sessp.grpclink import GrpcLink  # with gRPC, which most clients do without

    try:
        return GrpcLink(address, config, tls)
    except serr.Perm as error:
        raise LinkLost(str(error), final=True) from error


async def explained(address: str, lost: LinkLost, config: Config, tls: TlsIdentity | None) -> str:
    """Why no session could be opened at an address, in words: TLS may be the reason, of which no kind of connection
    tells. Blocks for a connection at most."""
    if tls is None and address.startswith(_LOOPBACKS):
        return lost.why
    from sigmaos_ray.tls.probe import why_refused  # with ``ssl``

    return await why_refused(address, tls, config.session.connect_timeout_s) or lost.why
