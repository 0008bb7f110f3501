"""A server in a few lines (R-9, R-10): serve, advertise under a lease, run until evicted, drain, withdraw."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from sigmaos_ray import debug, loopthread, serr
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.proc import Status
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt, SigmaClnt
from sigmaos_ray.sigmap import DMMOUNT, DMSYMLINK, Endpoint, path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.leaseclnt import AsyncLease
    from sigmaos_ray.protsrv.node import Node

_log = debug.selector("SIGMASRV")

ENDPOINT_PERM = DMSYMLINK | DMMOUNT | 0o777


class Advertisement:
    """A leased endpoint file that is kept at ``pn`` for as long as the server lives.

    If the lease is lost, as after a long stop of this process, another one is asked for and the file made anew.
    """

    def __init__(self, sc: AsyncSigmaClnt, pn: str, endpoint: Endpoint, *, replace: bool = False) -> None:
        self._sc = sc
        self._pathname = pn
        self._endpoint = endpoint
        self._replace = replace
        self._lease: AsyncLease | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Makes the file. Exists if the name is taken, unless ``replace``: then what a dead predecessor left, goes."""
        await self._advertise(replace=self._replace)
        self._keeper = asyncio.create_task(self._keep(), name=f"advertise-{self._pathname}")

    async def _advertise(self, *, replace: bool) -> None:
        self._lease = await self._sc.leases.ask_lease(self._pathname)
        self._lease.keep_extending()
        contents = self._endpoint.to_bytes()
        try:
            await self._sc.put_leased_file(self._pathname, contents, self._lease, ENDPOINT_PERM)
        except serr.Exists:
            if not replace:
                raise
            await _remove_quietly(self._sc, self._pathname)
            await self._sc.put_leased_file(self._pathname, contents, self._lease, ENDPOINT_PERM)
        _log(f"{self._pathname} is at {self._endpoint.addrs}")

    async def _keep(self) -> None:
        while True:
            assert self._lease is not None
            await self._lease.lost.wait()
            try:
                await self._advertise(replace=False)
            except serr.SigmaError as error:  # named is away, or somebody has the name: as long as we live, go on
                debug.error(f"{self._pathname}: cannot advertise: {error}")
                await asyncio.sleep(self._sc.config.walk.retry_pause_s)

    async def stop(self) -> None:
        """Withdraws the name. May be repeated."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
            await _remove_quietly(self._sc, self._pathname)


async def _remove_quietly(sc: AsyncFsLib, pn: str) -> None:
    try:
        await sc.remove(pn)
    except serr.SigmaError as error:  # gone already, or named is away and the lease will end it
        _log(f"{pn}: {error}")


class SigmaSrv:
    """A server of RPC services and of a tree in memory, advertised at ``pn``.

    ``with SigmaSrv("name/echo", EchoSrv()) as srv: srv.serve()`` runs it until the proc is evicted. Entering raises
    Exists if the name is taken, unless ``replace``: for a server that knows its predecessor to be gone, as an elected
    one does. A ``pn`` that ends in ``/`` is a directory of servers: the entry is named after the address; NotFound or
    NotDir if it is none. ``pn=""``: not advertised. ``drain_s``: how long a server that stops waits for the calls that
    run; as ``config.Rpc`` says, by default. ``devices``: files of the server's own making at the root of its tree, as
    ``protsrv.devices`` has them.
    """

    def __init__(
        self,
        pn: str,
        *services: object,
        sc: SigmaClnt | None = None,
        host: str = "127.0.0.1",
        replace: bool = False,
        drain_s: float | None = None,
        devices: Sequence[Node] = (),
    ) -> None:
        self._pathname = pn
        self._replace = replace
        self._services: Sequence[object] = services
        self._own_client = sc is None
        self._sc = sc or SigmaClnt()
        self._host = host
        self._drain_s = self._sc.asynchronous.config.rpc.drain_s if drain_s is None else drain_s
        watches = WatchTable()
        self.memfs = MemFs(watches)
        self._server = FileServer(
            self.memfs.root,
            watches,
            realm=self._sc.realm,
            services=services,
            host=host,
            fences=self.memfs.fences,
            leases=self.memfs.leases,
            devices=devices,
        )
        self._advertisement: Advertisement | None = None

    @property
    def sc(self) -> SigmaClnt:
        return self._sc

    @property
    def pathname(self) -> str:
        """The name under which it is found, once started; empty if it is not advertised."""
        return self._pathname

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers, once started."""
        return self._server.endpoint

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Serves and advertises; returns once it answers. Nothing is left behind if it fails."""
        try:
            loopthread.shared().run(self._start())
        except BaseException:  # a cancellation too: what was begun is undone, and it goes on
            if self._own_client:
                self._sc.close()
            raise

    async def _start(self) -> None:
        endpoint = await self._server.start()
        if not self._pathname:
            return
        if self._pathname.endswith("/"):
            self._pathname = path.join(self._pathname, endpoint.addrs[0])
        advertisement = Advertisement(self._sc.asynchronous, self._pathname, endpoint, replace=self._replace)
        try:
            await advertisement.start()
        except BaseException:  # a cancellation too: what was started is ended, and it goes on
            await self._server.stop()
            raise
        self._advertisement = advertisement

    def serve(self) -> None:
        """Says that the proc started, waits until it is evicted, then drains, withdraws the name and exits evicted."""
        self._sc.started()
        self._sc.wait_evict()
        self.exit(Status.evicted())

    def exit(self, status: Status) -> None:
        """Stops, and ends the proc with a status."""
        self._stop_serving()
        self._sc.clnt_exit(status)

    def stop(self) -> None:
        """Withdraws the name, lets the calls that run finish, then stops serving. May be repeated."""
        self._stop_serving()
        if self._own_client:
            self._sc.close()

    def _stop_serving(self) -> None:
        loopthread.shared().run(self._stop())

    async def _stop(self) -> None:
        advertisement, self._advertisement = self._advertisement, None
        if advertisement is not None:
            await advertisement.stop()
        await self._server.drain(self._drain_s)
        await self._server.stop()
