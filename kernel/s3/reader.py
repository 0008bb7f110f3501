"""Open objects for reading: streams that fetch ahead (B-2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kernel.s3.readahead import Stream
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenFile
from sigmaos_ray.sigmap import NO_FENCE, Fence

if TYPE_CHECKING:
    from kernel.s3.folder import Folder
    from kernel.s3.state import ObjectInfo
    from kernel.s3.store import Account


class ObjectReader(OpenFile):
    """Reads one object. If it is replaced meanwhile, a read at the beginning goes over to the new one, and one further
    on raises Version, so that nobody gets a mix."""

    one_version = True

    def __init__(self, folder: Folder, account: Account, name: str, info: ObjectInfo) -> None:
        self._folder = folder
        self._account = account
        self._name = name
        self._info = info
        self._streams: list[Stream] = []
        """The one that was used last comes last."""
        self._ending: set[asyncio.Task[None]] = set()

    async def read(self, offset: int, count: int) -> bytes:
        """Version if the object was replaced since this reader's last look at the beginning."""
        if not count or (offset and offset >= self._info.size):
            return b""
        end = min(offset + count, self._info.size) if offset else count
        stream = self._stream_at(offset)
        try:
            data, info = await stream.read(offset, end, self._info)
        except serr.SigmaError as error:
            self._forget(stream, error)
            raise
        if info.etag != self._info.etag:
            # Replaced: what other streams hold is of the old object, and must not be read beside the new one.
            self._info = info
            for other in [each for each in self._streams if each is not stream]:
                self._forget(other, serr.Version(self._name, "replaced since it was opened"))
        return data

    def _stream_at(self, offset: int) -> Stream:
        """The stream that a read there goes on with, or a new one."""
        if not offset:  # looks anew, and whoever begins again needs no more of the last time
            for passed in [each for each in self._streams if not (each.start or each.is_waited_for)]:
                self._forget(passed, serr.Closed(self._name))
        latest = reversed(self._streams)
        stream = next((each for each in latest if offset and each.leads_to(offset) and not each.has_failed), None)
        if stream is None:
            # Streams beyond the limit go, the longest unused first: each holds what it fetched ahead.
            idle = [each for each in self._streams if not each.is_waited_for]
            folder, shared = self._folder, self._folder.shared
            for surplus in idle[: max(len(self._streams) + 1 - shared.limits.s3_streams_max, 0)]:
                self._forget(surplus, serr.Closed(self._name))
            key = folder.key_of(self._name)
            stream = Stream(self._account, folder.bucket, key, shared.budget, shared.limits)
        else:
            self._streams.remove(stream)
        self._streams.append(stream)
        return stream

    def _forget(self, stream: Stream, why: serr.SigmaError) -> None:
        """Ends a stream; who still waits in it gets the error."""
        if stream in self._streams:
            self._streams.remove(stream)
        for task in stream.stop(why):
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        raise serr.NoWrite(self._name, "open for reading")

    async def close(self) -> None:
        """Returns once its requests are over."""
        for stream in list(self._streams):
            self._forget(stream, serr.Closed(self._name))
        if self._ending:
            await asyncio.wait(set(self._ending))
