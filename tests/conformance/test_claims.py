"""Claims by rename, again and again (P-11): of eight that rename one name within its directory one wins, in each round.

Long, so it runs with ``make soak``; SIGMAOS_SOAK_CLAIMS sets how many rounds. ``MomentTests`` has the short form.
"""

from __future__ import annotations

import os

import pytest

from sigmaos_ray import serr
from sigmaos_ray.testing.conformance.base import Suite, Tree, outcomes
from sigmaos_ray.testing.conformance.refusals import needs

ROUNDS_COUNT = int(os.environ.get("SIGMAOS_SOAK_CLAIMS", "10000"))
CLAIMERS_COUNT = 8


@pytest.mark.soak
class TestClaims(Suite):
    """On each server that renames."""

    @needs("rename")
    async def test_one_of_eight_claims_each_task(self, tree: Tree) -> None:
        """P-11: in each of 10,000 rounds."""
        clients = await tree.clients(CLAIMERS_COUNT)
        for turn in range(ROUNDS_COUNT):
            await tree.sc.put_file(tree / "task", b"")
            claims = [each.rename(tree / "task", tree / f"by-{number}") for number, each in enumerate(clients)]
            won = await outcomes(claims, serr.NotFound)
            assert won.count(True) == 1, f"round {turn}: {won}"
            await tree.sc.remove(tree / f"by-{won.index(True)}")
