"""A cache server: ``user.cache.cached GROUP JOB NAME BYTES``.

``CacheJob`` starts it, as a group of one proc, GROUP, that is started again when it dies. It holds BYTES at most.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sigmaos_ray import SigmaClnt, Status, serr
from sigmaos_ray.sigmasrv import SigmaSrv
from user.cache.config import CacheConfig
from user.cache.paths import CachePaths
from user.cache.service import CacheSrv
from user.cache.state import CacheState

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt

USAGE = "usage: user.cache.cached GROUP JOB NAME BYTES"


def main(argv: list[str]) -> Status:
    """Serves until it is evicted. An error if there is no such cache."""
    if len(argv) != 4 or not argv[3].isdecimal() or not int(argv[3]):
        sys.exit(USAGE)
    _, job, name, size = argv
    paths = CachePaths(job)
    state = CacheState(name, int(size))
    # ``replace``: the name of one that died stays until its lease ends, and the job started this one in its place.
    with SigmaClnt() as sc, SigmaSrv(paths.server(name), CacheSrv(state), sc=sc, replace=True):
        # Only after the name is there: whoever writes a newer configuration from now on finds this server and tells it.
        sc.run(_follow(sc.asynchronous, paths, state))
        sc.started()
        sc.wait_evict()
    return Status.evicted()


async def _follow(sc: AsyncSigmaClnt, paths: CachePaths, state: CacheState) -> None:
    """Follows the present configuration. On the loop, as everything that touches the state."""
    try:
        state.follow(CacheConfig.from_bytes(await sc.get_file(paths.config)))
    except serr.NotFound as error:
        raise serr.NotFound(paths.config, f"there is no cache {paths.job}") from error
