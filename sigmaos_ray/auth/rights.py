"""What who shows a token may do. Pure."""

from __future__ import annotations

from typing import Final

from sigmaos_ray import serr
from sigmaos_ray.auth.tokens import WHAT, Claims, TokenKind
from sigmaos_ray.sigmap import ROOT_REALM

_FOR_OTHERS: Final = frozenset({TokenKind.KERNEL, TokenKind.WORKER})


def check_speaks_for(claims: Claims, realm: str, principal: str) -> None:
    """Perm if who has the token may not attach as that principal of that realm: a tenant's speaks for its realm alone,
    a proc for itself alone."""
    if claims.realm not in (realm, ROOT_REALM):
        raise serr.Perm(WHAT, f"of {claims.realm}, not of {realm}")
    if claims.kind is TokenKind.PROC and principal != claims.subject:
        raise serr.Perm(principal, f"the credentials are those of {claims.subject}")


def check_is_proc(claims: Claims | None, pid: str) -> None:
    """Perm if who has the token is neither that proc nor who runs it: nobody else says that it started, or how it
    ended. None: of a server that lets in whoever comes."""
    if claims is None or claims.kind in _FOR_OTHERS or (claims.kind is TokenKind.PROC and claims.subject == pid):
        return
    raise serr.Perm(pid, f"only the proc itself may do this, not {claims.subject or f'a client of {claims.realm}'}")


def check_is_parent(claims: Claims | None, pid: str) -> None:
    """Perm for a proc that is not the one ``pid``, whose children somebody is about to spawn or collect."""
    if claims is not None and claims.kind is TokenKind.PROC and claims.subject != pid:
        raise serr.Perm(pid, f"not for {claims.subject} to act as")


def check_is_of_instance(claims: Claims | None, what: str) -> None:
    """Perm if this is not for procs and people: ``what`` says what."""
    if claims is not None and claims.kind not in _FOR_OTHERS:
        raise serr.Perm(what, f"not for a {claims.kind.value}")
