"""Whose clients a server lets in (N-16)."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from sigmaos_ray import config, serr
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.protsrv import limits
from sigmaos_ray.sigmap import ROOT_REALM


@pytest.mark.parametrize(
    ("theirs", "ours", "is_let_in"),
    [
        ("red", "red", True),
        (ROOT_REALM, "red", True),
        ("", "red", True),  # a client that says none is of the root realm
        (ROOT_REALM, ROOT_REALM, True),
        ("blue", "red", False),
        ("red", ROOT_REALM, False),
    ],
)
def test_who_may_attach(theirs: str, ours: str, is_let_in: bool) -> None:
    with nullcontext() if is_let_in else pytest.raises(serr.Perm, match="another realm"):
        limits.check_attach(pb.Tattach(fid=1, client_id=1, realm=theirs), config.LOCAL, ours)
