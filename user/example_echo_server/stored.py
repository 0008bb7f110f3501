"""An echo server that counts in a database how often each text was echoed, whichever server did it.

sigmaos spawn user.example_echo_server.stored PATHNAME [DATABASE]
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sigmaos_ray import SigmaClnt, serr
from sigmaos_ray.dbclnt import DEFAULT_PATHNAME, AsyncDbClnt
from user.example_echo_server import server
from user.example_echo_server.echo_pb2 import CountReply, EchoReply, EchoRequest

if TYPE_CHECKING:
    from sigmaos_ray.rpcsrv import RpcContext

USAGE = "usage: user.example_echo_server.stored PATHNAME [DATABASE]"

_CREATE = "CREATE TABLE IF NOT EXISTS echoes (text VARCHAR(500) PRIMARY KEY, times BIGINT NOT NULL)"
_AGAIN = "UPDATE echoes SET times = times + 1 WHERE text = :text"
_FIRST = "INSERT INTO echoes VALUES (:text, 1)"
_COUNT = "SELECT times FROM echoes WHERE text = :text"


class EchoSrv(server.EchoSrv):
    """``Count`` tells how often a text was echoed."""

    def __init__(self, db: AsyncDbClnt) -> None:
        self._db = db

    async def Echo(self, ctx: RpcContext, request: EchoRequest) -> EchoReply:
        reply = await super().Echo(ctx, request)
        while not await self._counted(request.text, ctx):
            continue
        return reply

    async def _counted(self, text: str, ctx: RpcContext) -> bool:
        """One try; False if another server was in the way."""
        try:
            return bool(
                await self._db.execute(_AGAIN, ctx.remaining_s(), text=text)
                or await self._db.execute(_FIRST, ctx.remaining_s(), text=text)
            )
        except (serr.Exists, serr.Retry):
            return False

    async def Count(self, ctx: RpcContext, request: EchoRequest) -> CountReply:
        rows = await self._db.query(_COUNT, ctx.remaining_s(), text=request.text)
        return CountReply(times=int(str(rows[0]["times"])) if rows else 0)


def main(argv: list[str]) -> None:
    if not 1 <= len(argv) <= 2:
        sys.exit(USAGE)
    with SigmaClnt() as sc:
        db = AsyncDbClnt(sc.asynchronous, argv[1] if len(argv) > 1 else DEFAULT_PATHNAME)
        sc.run(db.execute(_CREATE))
        server.serve(argv[0], EchoSrv(db), sc=sc)
