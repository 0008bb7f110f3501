"""Requests to S3: in threads of their own, shared fairly, tried again while that may help, and over in bounded time."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from botocore.parsers import ResponseParserError

from kernel.s3.errors import BOTO_ERRORS, Fate, fate_of, from_boto
from kernel.s3.turns import Turns
from sigmaos_ray import debug, serr

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from mypy_boto3_s3 import S3Client

    from kernel.s3.clients import Clients
    from kernel.s3.errors import About
    from sigmaos_ray.config import Proxy
    from sigmaos_ray.sigmap import Secret

T = TypeVar("T")

_log = debug.selector("S3")


def pauses(limits: Proxy) -> Iterator[float]:
    """How long to wait before each further try: twice as long as before, and never the same for all who wait."""
    pause = limits.s3_pause_s
    while True:
        # At random: those who failed together must not come back together.
        yield pause * (0.5 + random.random() / 2)
        pause = min(pause * 2, limits.s3_pause_s_max)


class Calls:
    """Runs requests. Used from one loop; ``close`` it."""

    def __init__(self, clients: Clients, limits: Proxy) -> None:
        self._clients = clients
        self.limits = limits
        # As many turns as threads: the pool's own queue, which knows no fairness, stays empty.
        self._pool = ThreadPoolExecutor(limits.s3_threads, thread_name_prefix="s3")
        self._turns: Turns[asyncio.Future[None]] = Turns(limits.s3_threads)
        self._closed = False

    def time_for(self, size: int) -> float:
        """Seconds that a request with so many bytes may take."""
        return self.limits.s3_timeout_s + size / self.limits.s3_bytes_per_s_min

    async def run(
        self,
        who: Hashable,
        secret: Secret | None,
        call: Callable[[S3Client], T],
        about: About,
        *,
        timeout_s: float,
        repeats: bool = True,
    ) -> T:
        """The result of ``call``, or the error that it ended with in SigmaOS's words. ``repeats``: try again though it
        may have been carried out. Timeout, or IOErr for a change, when the time is over; the thread may go on for a
        while then. Whoever is cancelled waits for the thread all the same: what the call uses is free then."""
        # One for all tries together, with the waiting for a thread: a client must not wait longer because S3 is slow
        # twice.
        deadline = asyncio.get_running_loop().time() + timeout_s
        for tries, pause in enumerate(pauses(self.limits), 1):
            await self._turn(who, about, deadline)
            try:
                return await self._in_thread(who, secret, call, about, deadline)
            except BOTO_ERRORS as error:
                fate = fate_of(error)
                is_over = asyncio.get_running_loop().time() + pause >= deadline
                # Of a fate that is unknown another try does harm where it may meet its own first one.
                may_help = fate is Fate.REFUSED or (fate is Fate.UNKNOWN and repeats)
                # Where nobody listens, or what listens is no S3, more tries say nothing new: it is mostly the
                # configuration.
                is_away = not _answers(error) and tries >= self.limits.s3_away_tries_max
                is_garbled = isinstance(error, ResponseParserError) and tries >= self.limits.s3_garbled_tries_max
                if not may_help or is_over or is_away or is_garbled or self._closed:
                    raise from_boto(error, about, f" (tried {tries} times)" if tries > 1 else "") from error
                _log(f"{about.name}: again in {pause:.1f} s: {error}")
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: there is always one more pause")

    async def _turn(self, who: Hashable, about: About, deadline: float) -> None:
        """Waits for a thread. Timeout if none came free: nothing was sent."""
        if self._closed:
            raise serr.Closed(about.name, "s3 is stopping")
        if self._turns.take(who):
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._turns.wait(who, turn)
        try:
            await asyncio.wait({turn}, timeout=deadline - loop.time())
        except asyncio.CancelledError:
            self._give_up(who, turn)
            raise
        if not turn.done():
            self._turns.withdraw(who, turn)
            raise serr.Timeout(about.name, "requests before this one keep s3 busy")

    def _give_up(self, who: Hashable, turn: asyncio.Future[None]) -> None:
        # The turn may have come in the same moment as the cancellation: then a thread is held for nobody.
        if turn.done():
            self._leave(who)
        else:
            self._turns.withdraw(who, turn)

    def _leave(self, who: Hashable) -> None:
        for turn in self._turns.leave(who):
            turn.set_result(None)

    async def _in_thread(
        self, who: Hashable, secret: Secret | None, call: Callable[[S3Client], T], about: About, deadline: float
    ) -> T:
        loop = asyncio.get_running_loop()

        def work() -> T:
            with self._clients.use(secret) as client:
                return call(client)

        try:
            running = loop.run_in_executor(self._pool, work)
        except RuntimeError as error:  # the pool is closed
            self._leave(who)
            raise serr.Closed(about.name, "s3 is stopping") from error
        # By the thread's end, not the caller's: whoever gave up waiting still has the thread.
        running.add_done_callback(lambda _: self._leave(who))
        try:
            await asyncio.wait({running}, timeout=max(deadline - loop.time(), 0))
        except asyncio.CancelledError:
            await _until_done(running, deadline)
            raise
        if running.done():
            return running.result()
        running.add_done_callback(_retrieve)
        words = "S3 did not answer in time"
        # The thread goes on, as no request can be taken back: a change may still be made after this.
        raise serr.IOErr(about.name, f"{words}: fate unknown") if about.changes else serr.Timeout(about.name, words)

    def close(self) -> None:
        """Refuses new requests, and blocks until those that run are done."""
        self._closed = True
        # Waited for: a request that is cut off in the middle of a change would have a fate that nobody knows.
        self._pool.shutdown(wait=True, cancel_futures=True)


async def _until_done(running: asyncio.Future[T], deadline: float) -> None:
    loop = asyncio.get_running_loop()
    """Waits for a thread, whoever else cancels meanwhile: what it reads or fills must not be freed under it."""
    running.add_done_callback(_retrieve)
    # Until the deadline at most: a thread that hangs must not hold up a close for ever.
    while not running.done() and loop.time() < deadline:
        try:
            await asyncio.wait({running}, timeout=deadline - loop.time())
        except asyncio.CancelledError:
            continue  # raised by who called


def _retrieve(running: asyncio.Future[T]) -> None:
    """Nobody is left to hear of its error."""
    if not running.cancelled():
        running.exception()


def _answers(error: Exception) -> bool:
    return type(error).__name__ not in ("EndpointConnectionError", "ProxyConnectionError")
