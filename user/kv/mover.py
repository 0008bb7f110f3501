"""Moves shards from one server to another, one by one: ``mover JOB SOURCE DESTINATION EPOCH SEQNO SHARD...`` (KV-6).

A shard is out of service from its freezing until its destination has it, and no longer. Each step may be repeated: what
a mover that died left half done, the next one finishes. One that was held up meanwhile changes nothing, since servers
know the number of the newest move of each shard.
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
from user.kv.tuning import MOVER

if TYPE_CHECKING:
    from typing import TypeVar

    from google.protobuf.message import Message

    from sigmaos_ray import AsyncSigmaClnt

    R = TypeVar("R", bound=Message)

USAGE: Final = "usage: mover JOB SOURCE DESTINATION EPOCH SEQNO SHARD..."
_log = debug.selector("KVMV")
_create_crash = crash.point("KVMOVER_CREATE_CRASH")


def main(argv: list[str]) -> Status:
    """OK with how many shards, and the longest time that one was out of service; an error if a server stays away."""
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
        """Moves shards one after the other. Returns for how long, at most, one was out of service, in seconds. Raises
        what the servers say for good, and their absence past ``MoverTuning.absent_s``."""
        longest_s = 0.0
        for shard in shards:
            longest_s = max(longest_s, await self._move(shard))
        return longest_s

    async def _move(self, shard: int) -> float:
        """Moves one shard; for how long it was out of service, in seconds."""
        freeze = pb.FreezeRequest(shard=shard, number=self._number)
        began_s = time.monotonic()
        # Gone: another mover of this move has done it all.
        if (await _ask_patiently(self._src, "Freeze", freeze, pb.FreezeReply)).gone:
            return 0.0
        while True:
            try:
                await self._copy(shard)
                break
            except serr.Retry as error:  # the copy has a hole: another mover began one, or a server began anew
                _log(f"shard {shard}: {error}")
                await asyncio.sleep(MOVER.pause_s)
        took_s = time.monotonic() - began_s
        if _create_crash.on:
            _create_crash.passed()
        # Only now: until the destination serves the shard, the source has the only copy.
        await _ask_patiently(self._src, "Drop", freeze, pb.NothingReply)
        return took_s

    async def _copy(self, shard: int) -> None:
        """Copies a frozen shard, part after part; the destination serves it with the last one. Retry if it has to begin
        anew."""
        part, last = 0, False
        while not last:
            dump = pb.DumpRequest(shard=shard, number=self._number, part=part)
            try:
                dumped = await _ask_patiently(self._src, "Dump", dump, pb.DumpReply)
            except serr.Inval as error:  # a source that began anew cut the shard into fewer parts
                raise serr.Retry(f"shard {shard}", str(error)) from error
            except serr.NotFound:
                return  # another mover dropped it: the destination has it
            last = dumped.last
            install = pb.InstallRequest(
                shard=shard, number=self._number, part=part, data=dumped.data, last=last, digest=dumped.digest
            )
            await _ask_patiently(self._dst, "Install", install, pb.NothingReply)
            part += 1


async def _ask_patiently(server: AsyncRPCClnt, method: str, request: Message, reply_class: type[R]) -> R:
    """Calls a method of ``KvMove``, again and again while the server is away. Raises its errors."""
    until_s = time.monotonic() + MOVER.absent_s
    while True:
        try:
            # Whether the last try was carried out does not matter: each step may be repeated.
            return await server.rpc(f"KvMove.{method}", request, reply_class, MOVER.absent_s)
        except (serr.Timeout, *serr.SESSION_ERRORS, serr.NotFound) as error:
            # NotFound of a shard is the server's answer; of anything else, the server's name is not there.
            is_away = not isinstance(error, serr.NotFound) or not str(error.obj).startswith("shard")
            if not is_away or time.monotonic() > until_s:
                raise
            _log(f"{method}: {error}")
            await asyncio.sleep(MOVER.pause_s)
