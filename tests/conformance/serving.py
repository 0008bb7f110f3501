"""A file server of this project, started on a loop in a thread of its own: tests have loops of theirs."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar

from fileservers import SERVERS

from sigmaos_ray import config
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from fileservers import Place, Served

    from sigmaos_ray.sigmap import Endpoint

T = TypeVar("T")


class Site:
    """One server of a kind, and clients' way to it. A context manager."""

    def __init__(self, kind: str, place: Place) -> None:
        self.kind = kind
        self.capabilities = SERVERS[kind].capabilities
        self._place = place
        self._served: Served | None = None
        self._endpoint: Endpoint | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"site-{kind}")

    def new_base(self) -> str:
        return self._place.new_base()

    def proc_env(self) -> ProcEnv:
        assert self._endpoint is not None
        return ProcEnv(pid="conformance", realm=self._place.realm, named=self._endpoint)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self._stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def restart(self) -> None:
        """A new server on the same data."""
        self._run(self._stop())
        self._run(self._start())

    async def _start(self) -> None:
        async with AsyncExitStack() as stack:
            served = SERVERS[self.kind].make(self._place, config.LOCAL)
            stack.push_async_callback(served.stop)
            self._endpoint = await served.start()
            stack.pop_all()
        self._served = served

    async def _stop(self) -> None:
        served, self._served = self._served, None
        if served is not None:
            await served.stop()
        await close_channels()
