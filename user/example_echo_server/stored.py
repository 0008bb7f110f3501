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
    """Counts each echo before it replies; ``Count`` says how often a text was echoed."""

    def __init__(self, db: AsyncDbClnt) -> None:
        self._db = db

    async def Echo(self, ctx: RpcContext, request: EchoRequest) -> EchoReply:
        """See ``server.EchoSrv.Echo``. Raises the database's errors, too: then it may have been counted or not."""
        reply = await super().Echo(ctx, request)
        while not await self._count_once(request.text, ctx):
            continue
        return reply

    async def _count_once(self, text: str, ctx: RpcContext) -> bool:
        """One try; False if another server was in the way, and nothing was counted."""
        # ``remaining_s``: no longer than the caller waits. A text that is new to two servers at a time is inserted by
        # one of them, and the other one finds it there (Exists).
        try:
            return bool(
                await self._db.execute(_AGAIN, ctx.remaining_s(), text=text)
                or await self._db.execute(_FIRST, ctx.remaining_s(), text=text)
            )
        except (serr.Exists, serr.Retry):
            return False

    async def Count(self, ctx: RpcContext, request: EchoRequest) -> CountReply:
        """How often the text was echoed, by all servers of the database."""
        rows = await self._db.query(_COUNT, ctx.remaining_s(), text=request.text)
        return CountReply(times=int(str(rows[0]["times"])) if rows else 0)


def main(argv: list[str]) -> None:
    """Serves until it is evicted; makes the table first, if it is not there."""
    if not 1 <= len(argv) <= 2:
        sys.exit(USAGE)
    with SigmaClnt() as sc:
        db = AsyncDbClnt(sc.asynchronous, argv[1] if len(argv) > 1 else DEFAULT_PATHNAME)
        sc.run(db.execute(_CREATE))
        server.serve(argv[0], EchoSrv(db), sc=sc)
