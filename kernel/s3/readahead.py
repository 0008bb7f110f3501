"""Streams of an object: ranges that are fetched ahead of a reader, several at a time, handed on piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from kernel.s3.requests import PIECE_BYTES, Range
from kernel.s3.state import Window
from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.s3.budget import Budget
    from kernel.s3.state import ObjectInfo
    from kernel.s3.store import Account
    from sigmaos_ray.config import Proxy


class Span:
    """One range, while it comes and until it is used. Its task ends by itself, or by ``stop``.

    Two threads share it without a lock: the request's thread hands everything on by ``call_soon_threadsafe``, and of
    what it sets itself the loop reads single values only.
    """

    def __init__(self, wanted: Range) -> None:
        self.start = wanted.offset
        self.count = wanted.count
        self.wanted = wanted
        self._answered: ObjectInfo | None = None
        """``info``, as the request's thread knows it."""
        self.info: ObjectInfo | None = None
        """What object it is of, once S3 has answered."""
        self.came_bytes = 0
        """As the loop knows."""
        self.taken_bytes = 0
        """As the request's thread knows: where a further try goes on."""
        self.dropped_bytes = 0
        """Of the beginning, no longer held."""
        self.error: serr.SigmaError | None = None
        self._pieces: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()
        # Made anew for each wait, and shared by all who wait at that time.
        self._news: asyncio.Future[None] | None = None
        self._is_over = False
        """Nothing more will come."""
        self._is_stopped = False
        self._interrupt: Callable[[], None] | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def end(self) -> int:
        return self.start + self.count

    # -- from the request's thread

    def rest(self) -> Range | None:
        """What a further try must fetch: of the same object. None if all came."""
        answered, wanted = self._answered, self.wanted
        if answered is None:
            return wanted
        start = wanted.offset + self.taken_bytes
        end = min(self.end, answered.size)
        return Range(wanted.bucket, wanted.key, start, end - start, answered.etag) if start < end else None

    def begin(self, info: ObjectInfo, interrupt: Callable[[], None] | None) -> None:
        self._interrupt = interrupt
        """S3 has answered. ``interrupt`` ends the request, called from any thread."""
        self._answered = info
        self._loop.call_soon_threadsafe(self._has_begun, info)

    def piece(self, data: bytes) -> bool:
        """False: no more is wanted."""
        self.taken_bytes += len(data)
        self._loop.call_soon_threadsafe(self._has_come, data)
        return not self._is_stopped

    # -- from the loop

    def _has_begun(self, info: ObjectInfo) -> None:
        self.info = info
        self._wake()

    def _has_come(self, data: bytes) -> None:
        self._pieces.append(data)
        self.came_bytes += len(data)
        self._wake()

    async def fill(self, account: Account) -> None:
        """Runs until all is there, or it failed."""
        try:
            await account.read_pieces(self)
        except serr.SigmaError as error:
            # Who stopped it gave the reason; that the connection broke then is what was to be.
            self.error = self.error or error
        finally:
            self._is_over = True
            self._interrupt = None
            self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _wait_for(self, offset: int) -> None:
        """Returns once the byte is there, or all is that will come. Raises what the fetch ended with."""
        while self.start + self.came_bytes <= offset and not self._is_over:
            await self._wait_for_news()
        if self.start + self.came_bytes <= offset and self.error is not None:
            raise self.error

    async def answer(self) -> ObjectInfo:
        """Waits for S3's answer: what object the range is of. Raises what the fetch ended with before that."""
        while self.info is None and not self._is_over:
            await self._wait_for_news()
        if self.info is None:
            raise self.error or serr.Closed(msg="the fetch was stopped")
        return self.info

    async def _wait_for_news(self) -> None:
        if self._news is None or self._news.done():
            self._news = self._loop.create_future()
        await asyncio.shield(self._news)

    async def read(self, offset: int, end: int) -> bytes:
        """What is there from ``offset`` on, up to ``end`` at most, a piece at a time; empty if no more will come."""
        await self._wait_for(offset)
        start = self.start + self.dropped_bytes
        # A piece is handed on as it came where it fits: copying megabytes would block the loop.
        for piece in self._pieces:
            if start <= offset < start + len(piece):
                whole = offset == start and end >= start + len(piece)
                return piece if whole else piece[offset - start : end - start]
            start += len(piece)
        return b""

    def drop_before(self, offset: int) -> int:
        """Lets go of pieces that end there; returns how many bytes that were."""
        dropped = 0
        while self._pieces and self.start + self.dropped_bytes + len(self._pieces[0]) <= offset:
            size = len(self._pieces.popleft())
            self.dropped_bytes += size
            dropped += size
        return dropped

    @property
    def is_over(self) -> bool:
        return self._is_over

    def _has_more_than_a_piece(self) -> bool:
        """True if the thread's present look at the connection cannot be its last: behind that one the connection is
        another request's. What is less than a piece is there soon anyway."""
        rest = self.rest()
        return rest is not None and rest.count > PIECE_BYTES

    def stop(self, why: serr.SigmaError) -> None:
        """No more is wanted: ends the request, as soon as its thread sees it. Who waits all the same gets ``why``."""
        self._is_stopped = True
        if not self._is_over and self.error is None:
            self.error = why
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None and not self._is_over and self._has_more_than_a_piece():
            with contextlib.suppress(ValueError, OSError, RuntimeError):  # the connection is closed already
                interrupt()
        if self.task is not None:
            self.task.cancel()


class Stream:
    """A reader that goes on where it left off. Owned by an open file, which ends it by ``stop``."""

    def __init__(self, account: Account, bucket: str, key: str, budget: Budget, limits: Proxy) -> None:
        self._account = account
        self._bucket = bucket
        self._key = key
        self._budget = budget
        first_bytes = min(limits.s3_first_range_bytes, limits.s3_range_bytes)
        self._window = Window(first_bytes, limits.s3_range_bytes, limits.s3_ahead_count)
        self._behind_bytes = limits.s3_behind_bytes
        self._spans: deque[Span] = deque()
        self._readers_count = 0
        self.start = 0
        """What is before was let go of."""
        budget.join(self, self._let_go)

    @property
    def is_waited_for(self) -> bool:
        return self._readers_count > 0

    def leads_to(self, offset: int) -> bool:
        """True if a read there goes on with this stream."""
        return bool(self._spans) and self.start <= offset <= self._window.frontier

    @property
    def has_failed(self) -> bool:
        """True if a read through it may meet an error of the past: better begin another one."""
        return any(span.error is not None for span in self._spans)

    async def read(self, offset: int, end: int, info: ObjectInfo) -> tuple[bytes, ObjectInfo]:
        """The bytes of this object, and what object they are of: another one than ``info`` may come at 0 only."""
        if not self._spans:
            self.start = offset
        self._fetch_for(offset, end, info)
        self._readers_count += 1
        try:
            return await self._collect(offset, end, info)
        finally:
            self._readers_count -= 1
            self._drop_before(offset - self._behind_bytes)

    def _fetch_for(self, offset: int, end: int, info: ObjectInfo) -> None:
        """Begins to fetch what a read needs, and what is to be ahead of it."""
        # What a read needs it gets, whatever others hold: only what is fetched ahead may be refused.
        for at, count in self._window.needed(offset, end, info.size):
            self._fetch(at, count, info.etag if at else "", must=True)
        ahead = self._window.ahead(offset, info.size)
        if ahead is not None and not self._fetch(*ahead, info.etag, must=False):
            self._window.frontier -= ahead[1]  # no memory for it: the next read asks once more

    # An empty piece is the end of the object: less came than was asked for, without an error. Mostly one piece is all
    # of the answer, and is not copied.
    async def _collect(self, offset: int, end: int, info: ObjectInfo) -> tuple[bytes, ObjectInfo]:
        pieces: list[bytes] = []
        for span in [span for span in self._spans if span.start < end and offset < span.end]:
            if not offset and not pieces:
                # Who begins gets the object that is there now, which may be another one than at the opening.
                info = await span.answer()
                end = min(end, max(info.size, 0))
            while offset < min(end, span.end):
                piece = await span.read(offset, min(end, span.end))
                if not piece:
                    return b"".join(pieces), info
                pieces.append(piece)
                offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), info

    def _fetch(self, start: int, count: int, etag: str, *, must: bool) -> bool:
        """Begins to fetch a range. False if there is no memory for it, unless it ``must`` be."""
        if not self._budget.take(self, count, must=must):
            return False
        span = Span(Range(self._bucket, self._key, start, count, etag))
        span.task = asyncio.create_task(span.fill(self._account), name=f"s3-read-{start}")
        self._spans.append(span)
        return True

    def _drop_before(self, offset: int) -> None:
        """Gives back the memory of what lies behind a reader."""
        while self._spans and self._spans[0].is_over and self._spans[0].end <= offset:
            span = self._spans.popleft()
            self._budget.give(self, span.count - span.dropped_bytes)
            self.start = span.end
        if self._spans:
            self._budget.give(self, self._spans[0].drop_before(offset))
            self.start = max(self.start, self._spans[0].start + self._spans[0].dropped_bytes)

    def _let_go(self) -> None:
        """Others need the memory. What nobody waits for goes; the next read starts over."""
        if not self.is_waited_for:
            self.stop(serr.Closed(msg="let go of"))

    def stop(self, why: serr.SigmaError) -> list[asyncio.Task[None]]:
        """Ends all that is under way; returns the tasks that end, for who wants to wait for them."""
        tasks = [span.task for span in self._spans if span.task is not None and not span.task.done()]
        for span in self._spans:
            span.stop(why)
        self._spans.clear()
        # Only what is counted leaves at once; a thread that still reads lets go of its piece a moment later.
        self._budget.leave(self)
        return tasks
