"""Who attaches to a server: what it says of itself, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import ROOT_REALM

if TYPE_CHECKING:
    from sigmaos_ray.auth.gate import Gate
    from sigmaos_ray.pb import sigmap_pb2 as pb


async def caller_of(t: pb.Tattach, session_id: int, gate: Gate | None) -> Caller:
    """Perm for who is not let in; without a gate everybody is, and taken at his word."""
    secrets = tuple(wire.secret_from_pb(secret) for secret in t.secrets)
    if gate is None:
        return Caller(session_id, t.client_id, t.realm, t.principal, t.token, secrets)
    realm = t.realm or ROOT_REALM
    claims = await gate.check_attach(t.token, realm, t.principal)
    return Caller(session_id, t.client_id, realm, t.principal, "", secrets, claims)
