"""Open objects for writing: parts that go up side by side, and an object that appears at the close (B-2)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from kernel.s3.requests import UploadPart
from kernel.s3.state import PARTS_MAX, part_bytes
from sigmaos_ray import debug, serr
from sigmaos_ray.protsrv.node import OpenFile
from sigmaos_ray.sigmap import NO_FENCE, NO_OFFSET, Fence

if TYPE_CHECKING:
    from kernel.s3.folder import Folder
    from kernel.s3.requests import Chunk
    from kernel.s3.store import Account

_log = debug.selector("S3")


class Upload:
    """An object that goes up in parts. ``finish`` or ``drop`` ends it."""

    def __init__(self, folder: Folder, account: Account, name: str) -> None:
        self._shared = folder.shared
        self._account = account
        self._bucket = folder.bucket
        self._key = folder.key_of(name)
        self._name = name
        self._id: asyncio.Task[str] | None = None
        """S3's name for it; None before the first part, and once it is over."""
        self._parts: list[asyncio.Task[str]] = []
        self._flying: set[asyncio.Task[str]] = set()
        self._changed = asyncio.Event()
        self._shared.budget.join(self)

    @property
    def next_part_bytes(self) -> int:
        return part_bytes(len(self._parts) + 1, self._shared.limits.s3_part_bytes)

    async def send(self, chunks: list[Chunk]) -> None:
        """Begins to send a part; blocks while as many as may be are under way. Raises what an earlier part met."""
        size = sum(len(chunk) for chunk in chunks)
        await self._wait_for_room(size)
        if len(self._parts) >= PARTS_MAX:
            raise serr.Inval(self._name, f"S3 takes {PARTS_MAX} parts at most: raise Proxy.s3_part_bytes")
        if self._id is None:
            self._id = asyncio.create_task(self._start(), name="s3-upload")
        # The number is given here, in the order of the bytes; in which order parts arrive does not matter to S3.
        task = asyncio.create_task(self._send(len(self._parts) + 1, chunks, size), name="s3-part")
        self._parts.append(task)
        self._flying.add(task)
        task.add_done_callback(self._landed)

    async def _wait_for_room(self, size_bytes: int) -> None:
        # Nothing else runs between this question and the clearing: a part that lands is not missed.
        while not self._has_room(size_bytes):
            self._changed.clear()
            await self._changed.wait()
            self._raise_failure()

    def _has_room(self, size: int) -> bool:
        """Takes memory for a part if there is some. One part at a time goes whatever the others hold."""
        if len(self._flying) >= self._shared.limits.s3_ahead_count:
            return False
        return self._shared.budget.take(self, size, must=not self._flying)

    async def _start(self) -> str:
        # Noted once S3 knows it: a crash in between leaves an upload without parts, which costs nothing.
        upload = await self._account.start_parts(self._bucket, self._key)
        self._shared.uploads.began(self._bucket, self._key, upload)
        return upload

    async def _send(self, number: int, chunks: list[Chunk], size: int) -> str:
        assert self._id is not None
        try:
            upload = await asyncio.shield(self._id)  # a part that is cancelled must not cancel what all wait for
            return await self._account.put_part(UploadPart(self._bucket, self._key, upload, number), chunks)
        finally:
            self._shared.budget.give(self, size)

    def _landed(self, task: asyncio.Task[str]) -> None:
        self._flying.discard(task)
        self._changed.set()

    def _raise_failure(self) -> None:
        for task in self._parts:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def finish(self, *, exclusive: bool) -> str:
        """The object appears; returns its ETag. All parts must have ``arrived``."""
        assert self._id is not None
        upload = self._id.result()
        etags = [task.result() for task in self._parts]
        etag = await self._account.finish_parts(self._bucket, self._key, upload, etags, exclusive=exclusive)
        self._over(upload)
        return etag

    async def arrived(self) -> None:
        """Returns once all parts are there; raises what the first that failed met."""
        for task in self._parts:
            await asyncio.shield(task)

    # An upload that is just being started is waited for: S3 would keep it, and nobody would know its name.
    async def drop(self) -> None:
        """Drops what was sent. S3 that is away then is told again when s3 starts the next time."""
        for task in self._flying:
            task.cancel()
        while self._flying:  # parts that arrive behind the abort would stay
            await asyncio.wait(set(self._flying))
        started, self._id = self._id, None
        if started is None:
            self._shared.budget.leave(self)
            return
        await asyncio.wait({started})
        if not started.cancelled() and started.exception() is None:
            await self._abort(started.result())
        self._shared.budget.leave(self)

    async def _abort(self, upload: str) -> None:
        try:
            await self._account.abort_parts(self._bucket, self._key, upload)
        except serr.SigmaError as error:
            _log(f"upload of {self._key} stays for now: {error}")
        else:
            self._over(upload)

    def _over(self, upload: str) -> None:
        self._id = None
        self._shared.uploads.ended(self._bucket, self._key, upload)
        self._shared.budget.leave(self)


class ObjectWriter(OpenFile):
    """Writes a new object from its beginning on; it takes its place, and appears, at the close. ``exclusive``: the
    close raises Exists if somebody else's has appeared meanwhile. With ``only_if_written`` nothing happens unless
    something is written."""

    def __init__(
        self,
        folder: Folder,
        account: Account,
        name: str,
        *,
        exclusive: bool,
        only_if_written: bool,
        fence: Fence = NO_FENCE,
    ) -> None:
        self._shared = folder.shared
        self._folder = folder
        self._account = account
        self._name = name
        self._exclusive = exclusive
        self._is_needed = not only_if_written
        self._fence = fence
        self._chunks: deque[Chunk] = deque()
        self._held_bytes = 0
        self._end = 0
        self._upload: Upload | None = None
        self._sending = asyncio.Lock()
        self._failed: serr.SigmaError | None = None

    async def read(self, offset: int, count: int) -> bytes:
        return b""  # a new object is empty until the close

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        """Inval for an offset that is not the end of what was written. An error spoils the whole file."""
        if self._failed is not None:
            raise self._failed
        if offset == NO_OFFSET:
            raise serr.NotSupported(self._name, "S3 cannot append: write the whole file anew")
        if offset != self._end:
            raise serr.Inval(self._name, f"S3 files are written from 0 on, without gaps: {offset}, not {self._end}")
        self._shared.fences.check(fence)
        self._fence = fence or self._fence
        self._is_needed = True
        self._chunks.append(data)
        self._held_bytes += len(data)
        self._end += len(data)
        if self._held_bytes >= self._part_bytes:
            async with self._sending:
                while self._held_bytes >= self._part_bytes:
                    await self._send_part(self._part_bytes)
        return len(data)

    @property
    def _part_bytes(self) -> int:
        if self._upload is not None:
            return self._upload.next_part_bytes
        return part_bytes(1, self._shared.limits.s3_part_bytes)

    async def _send_part(self, size: int) -> None:
        if self._upload is None:
            self._upload = Upload(self._folder, self._account, self._name)
        try:
            await self._upload.send(self._take(size))
        except serr.SigmaError as error:
            self._failed = error
            raise

    def _take(self, size: int) -> list[Chunk]:
        """The first ``size`` bytes of what is held."""
        taken: list[Chunk] = []
        self._held_bytes -= size
        while size:
            chunk = self._chunks.popleft()
            # By views: of a chunk of megabytes both parts share the memory.
            if len(chunk) > size:
                view = memoryview(chunk)
                self._chunks.appendleft(view[size:])
                chunk = view[:size]
            taken.append(chunk)
            size -= len(chunk)
        return taken

    async def close(self) -> None:
        """Nothing has appeared if this raises, save where the connection broke while S3 completed it (IOErr)."""
        async with self._sending:
            try:
                if self._failed is not None:
                    raise self._failed
                if self._is_needed:
                    await self._appear()
            except BaseException:  # cancelled as well: see below
                # Also when it is cancelled: what was sent would stay in S3, and be paid for.
                await self._drop()
                raise

    async def _appear(self) -> None:
        upload = self._upload
        if upload is not None:
            # The last part, and the only one that may be smaller than S3's least.
            if self._held_bytes:
                await self._send_part(self._held_bytes)
            await upload.arrived()
        # The parts first, the lock of the key then: whoever else writes this name waits for the end alone.
        await self._folder.commit(self._account, self._name, self._finish, fence=self._fence, exclusive=self._exclusive)

    async def _finish(self) -> str:
        if self._upload is not None:
            return await self._upload.finish(exclusive=self._exclusive)
        key = self._folder.key_of(self._name)
        return await self._account.put(self._folder.bucket, key, list(self._chunks) or [b""], exclusive=self._exclusive)

    async def abort(self) -> None:
        async with self._sending:
            await self._drop()

    async def _drop(self) -> None:
        self._chunks.clear()
        self._held_bytes = 0
        upload, self._upload = self._upload, None
        if upload is not None:
            await upload.drop()
