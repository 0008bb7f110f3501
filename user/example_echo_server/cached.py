"""An echo server that keeps its replies in a cache, which several servers share.

sigmaos spawn user.example_echo_server.cached PATHNAME CACHE
"""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

from sigmaos_ray import SigmaClnt, serr
from user.cache import AsyncCacheClnt, is_miss
from user.example_echo_server import server
from user.example_echo_server.echo_pb2 import EchoReply, EchoRequest

if TYPE_CHECKING:
    from sigmaos_ray.rpcsrv import RpcContext

USAGE = "usage: user.example_echo_server.cached PATHNAME CACHE"
TTL_S = 600.0
"""How long a reply is good for."""


class EchoSrv(server.EchoSrv):
    """Its replies come from the cache where they can. A cache that does not answer is a miss."""

    def __init__(self, cache: AsyncCacheClnt) -> None:
        self._cache = cache

    async def Echo(self, ctx: RpcContext, request: EchoRequest) -> EchoReply:
        """See ``server.EchoSrv.Echo``."""
        # A key has at most 250 bytes and no spaces: a text may have any.
        key = f"echo-{hashlib.sha256(request.text.encode()).hexdigest()}"
        try:
            return EchoReply.FromString(await self._cache.get(key))
        except serr.NotFound as error:
            if not is_miss(error):  # there is no such cache at all
                raise
        reply = await super().Echo(ctx, request)
        await self._cache.put(key, reply.SerializeToString(), TTL_S)
        return reply


def main(argv: list[str]) -> None:
    """Serves until it is evicted. The cache must run, or the first call says that it does not."""
    if len(argv) != 2:
        sys.exit(USAGE)
    pn, job = argv
    with SigmaClnt() as sc:
        # Handlers are coroutines: they need the asynchronous client of the cache, on the loop of the same client.
        cache = AsyncCacheClnt(sc.asynchronous, job)
        server.serve(pn, EchoSrv(cache), sc=sc)
