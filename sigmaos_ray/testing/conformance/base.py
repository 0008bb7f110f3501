"""What all suites share: a directory to work in, more clients, and ways to wait, to race and to compare errors."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import pytest
import pytest_asyncio

from sigmaos_ray import serr
from sigmaos_ray.fslib import AsyncFsLib, names
from sigmaos_ray.leaseclnt import AsyncLease, AsyncLeaseClnt
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable

    from sigmaos_ray.config import Config
    from sigmaos_ray.sigmap import Endpoint
    from sigmaos_ray.testing.conformance.capabilities import Capabilities

PATIENCE_S = 5.0
"""Tests wait so long for what must come; it comes much sooner."""

T = TypeVar("T")


class Tree:
    """An empty directory of the server under test, ``root``, with a client of it, ``sc``, and what the server can do,
    ``can``. ``tree / "f"`` is a pathname. What a test gets from here is closed or stopped when the test ends."""

    def __init__(self, sc: AsyncFsLib, root: str, can: Capabilities, stack: AsyncExitStack) -> None:
        self.sc = sc
        self.root = root
        self.can = can
        self._stack = stack

    def __truediv__(self, rest: str) -> str:
        return f"{self.root}/{rest}"

    async def names(self, rest: str = "") -> list[str]:
        """The names that a directory lists, in order."""
        return names(await self.sc.get_dir(self / rest if rest else self.root))

    async def client(self, config: Config | None = None) -> AsyncFsLib:
        """One more client, with a session of its own. Closed at the end of the test, if not before."""
        sc = AsyncFsLib(self.sc.proc_env, config or self.sc.config)
        self._stack.push_async_callback(sc.close_fs)
        return sc

    async def clients(self, count: int) -> list[AsyncFsLib]:
        """As many more clients. See ``client``."""
        return [await self.client() for _ in range(count)]

    async def client_of_short_messages(self, io_bytes_max: int = 1500) -> AsyncFsLib:
        """Like ``client``; it reads and lists in many messages what others do in one."""
        wire = msgspec.structs.replace(self.sc.config.wire, io_bytes_max=io_bytes_max)
        return await self.client(msgspec.structs.replace(self.sc.config, wire=wire))

    async def lease(self, sc: AsyncFsLib | None = None, ttl_s: float = 60.0) -> AsyncLease:
        """A client's lease of the server. Ended at the end of the test, if not before."""
        clnt = AsyncLeaseClnt(sc or self.sc)
        self._stack.push_async_callback(clnt.end_leases)
        return await clnt.ask_lease(self / "x", ttl_s)

    async def elsewhere(self) -> Endpoint:
        """Another server: an empty tree in memory, stopped at the end of the test."""
        watches = WatchTable()
        fs = MemFs(watches)
        server = FileServer(fs.root, watches, realm=self.sc.realm, fences=fs.fences, leases=fs.leases)
        self._stack.push_async_callback(server.stop)
        return await server.start()

    async def until_served(self, sc: AsyncFsLib | None = None) -> None:
        """Returns once the server has begun all that was sent to it before: it takes requests up in their order. So a
        test knows that a call waits at the server without sleeping for it."""
        for _ in range(3):
            await (sc or self.sc).get_dir(self.root)

    def start(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Runs a call in the background. It ends with the test at the latest."""
        task = asyncio.create_task(call)
        self._stack.push_async_callback(_ended, task)
        return task


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


class Suite:
    """Base of the suites. A subclass, or the module or ``conftest.py`` around it, has three fixtures:

    - ``sc``: an ``AsyncFsLib`` (an ``AsyncSigmaClnt`` is one),
    - ``root``: the pathname of an empty directory of the server under test,
    - ``capabilities``: what it can do, ``Capabilities``.
    """

    @pytest_asyncio.fixture(autouse=True)
    async def _channels(self) -> AsyncIterator[None]:
        """Set up first, hence torn down last: gRPC's channels belong to a test's loop, and end with it."""
        yield
        await close_channels()

    @pytest_asyncio.fixture
    async def tree(self, sc: AsyncFsLib, root: str, capabilities: Capabilities) -> AsyncIterator[Tree]:
        """What each test of a suite works with."""
        if not isinstance(sc, AsyncFsLib):
            pytest.fail(f"the fixture 'sc' is to be an AsyncFsLib, not a {type(sc).__name__}", pytrace=False)
        async with AsyncExitStack() as stack:
            yield Tree(sc, root.rstrip("/"), capabilities, stack)


async def outcomes(calls: Iterable[Awaitable[T]], *losing: type[serr.SigmaError]) -> list[bool]:
    """Runs calls at the same time; True for each that worked. The others must fail with one of ``losing``."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, losing):
            raise result
    return [not isinstance(result, BaseException) for result in results]


async def all_raise(
    kind: type[serr.SigmaError] | tuple[type[serr.SigmaError], ...], *calls: Awaitable[object]
) -> list[serr.SigmaError]:
    """Makes the calls, one after the other; each must raise an error of that kind. Returns the errors."""
    answers: list[object] = []
    for call in calls:
        try:
            answers.append(await call)
        except serr.SigmaError as error:
            answers.append(error)
    errors = [answer for answer in answers if isinstance(answer, kind)]
    assert errors == answers, f"not all are {kind}"
    return errors


async def soon(call: Awaitable[T]) -> T:
    """The call's result; fails if it does not come."""
    return await asyncio.wait_for(call, PATIENCE_S)
