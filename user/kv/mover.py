"""Moves shards from one server to another, one by one: ``mover JOB SOURCE DESTINATION EPOCH SEQNO SHARD...`` (KV-6).

A shard is out of service from its freezing until its destination has it, and no longer. Each step may be repeated: of a
mover that died, the next one finishes the work, and one that was held up meanwhile changes nothing.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Final

from sigmaos_ray import SigmaClnt, Status, crash, debug, serr
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from user.kv import kv_pb2 as pb
from user.kv.paths import KvPaths

if TYPE_CHECKING:
    from typing import TypeVar

    from google.protobuf.message import Message

    from sigmaos_ray import AsyncSigmaClnt

    R = TypeVar("R", bound=Message)

USAGE: Final = "usage: mover JOB SOURCE DESTINATION EPOCH SEQNO SHARD..."
_PAUSE_S: Final = 0.1
_TRIES_S: Final = 60.0
"""A server that is away for so long fails the move; the balancer starts it again."""
_log = debug.selector("KVMV")
_create_crash = crash.point("KVMOVER_CREATE_CRASH")


def main(argv: list[str]) -> Status:
    if len(argv) < 6 or not all(each.isdigit() for each in argv[3:]):
        sys.exit(USAGE)
    job, src, dst = argv[:3]
    epoch, seqno, *shards = map(int, argv[3:])
    paths = KvPaths(job)
    with SigmaClnt() as sc:
        sc.started()
        mover = Mover(sc.asynchronous, paths.group(src), paths.group(dst), pb.Number(epoch=epoch, seqno=seqno))
        longest_s = sc.run(mover.move_all(shards))
    return Status.info("moved", {"shards": len(shards), "longest_s": round(longest_s, 4)})


class Mover:
    """From one server to another, under one move's number."""

    def __init__(self, sc: AsyncSigmaClnt, src: str, dst: str, number: pb.Number) -> None:
        self._src = AsyncRPCClnt(sc, src)
        self._dst = AsyncRPCClnt(sc, dst)
        self._number = number

    async def move_all(self, shards: list[int]) -> float:
        """Returns for how long, at most, a shard was out of service, in seconds."""
        longest_s = 0.0
        for shard in shards:
            longest_s = max(longest_s, await self._move(shard))
        return longest_s

    async def _move(self, shard: int) -> float:
        freeze = pb.FreezeRequest(shard=shard, number=self._number)
        began_s = time.monotonic()
        if (await _asked(self._src, "Freeze", freeze, pb.FreezeReply)).gone:
            return 0.0
        while True:
            try:
                await self._copy(shard)
                break
            except serr.Retry as error:  # the copy has a hole: another mover began one, or a server began anew
                _log(f"shard {shard}: {error}")
                await asyncio.sleep(_PAUSE_S)
        took_s = time.monotonic() - began_s
        if _create_crash.on:
            _create_crash.passed()
        await _asked(self._src, "Drop", freeze, pb.NothingReply)
        return took_s

    async def _copy(self, shard: int) -> None:
        part, last = 0, False
        while not last:
            dump = pb.DumpRequest(shard=shard, number=self._number, part=part)
            try:
                found = await _asked(self._src, "Dump", dump, pb.DumpReply)
            except serr.Inval as error:
                raise serr.Retry(f"shard {shard}", str(error)) from error
            except serr.NotFound:
                return  # another mover dropped it: the destination has it
            last = found.last
            install = pb.InstallRequest(
                shard=shard, number=self._number, part=part, data=found.data, last=last, digest=found.digest
            )
            await _asked(self._dst, "Install", install, pb.NothingReply)
            part += 1


async def _asked(server: AsyncRPCClnt, method: str, request: Message, reply_class: type[R]) -> R:
    """Repeats while the server is away."""
    until_s = time.monotonic() + _TRIES_S
    while True:
        try:
            return await server.rpc(f"KvMove.{method}", request, reply_class, _TRIES_S)
        except (serr.Timeout, *serr.SESSION_ERRORS, serr.NotFound) as error:
            away = not isinstance(error, serr.NotFound) or not str(error.obj).startswith("shard")
            if not away or time.monotonic() > until_s:
                raise
            _log(f"{method}: {error}")
            await asyncio.sleep(_PAUSE_S)
