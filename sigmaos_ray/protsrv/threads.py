"""A bounded set of threads for calls that block: disks, boto3.

Not the loop's default executor: its threads are shared with whatever else the process does, and one slow disk would
hold up all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """At most ``threads_max`` calls run at a time, the others wait their turn. Owned by a store, which closes it."""

    def __init__(self, name: str, threads_max: int) -> None:
        self._pool = ThreadPoolExecutor(threads_max, thread_name_prefix=name)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs ``call`` in a thread and blocks until it has returned, also if the caller is cancelled meanwhile, once
        or several times: a thread cannot be stopped, and what the call uses (descriptors, locks) may be freed as soon
        as this returns or raises."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            if not future.cancelled():
                future.exception()  # looked at: nobody is left to hear of it
            raise

    def close(self) -> None:
        """Refuses new calls, and blocks until those that run are done."""
        self._pool.shutdown(wait=True, cancel_futures=True)
