"""A server in a few lines (R-9, R-10): serve, advertise under a lease, run until evicted, drain, withdraw.

class EchoSrv:
    async def Echo(self, ctx: RpcContext, request: EchoRequest) -> EchoReply: ...

def main(argv: list[str]) -> None:
    with SigmaSrv("name/echo", EchoSrv()) as srv:
        srv.serve()

``rpcsrv`` says what handlers look like. The server runs on the process's shared loop (``loopthread``): a handler that
blocks is a plain function, which gets a thread, not a coroutine.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Self

from sigmaos_ray import debug, extras, loopthread, serr
from sigmaos_ray.auth.gate import gate_of
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb import observe_pb2
from sigmaos_ray.proc import Status
from sigmaos_ray.procclnt.lives import AskSchedds
from sigmaos_ray.protsrv.server import NEEDED, FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt, SigmaClnt
from sigmaos_ray.sigmap import DMMOUNT, DMSYMLINK, NAMED, Endpoint, path
from sigmaos_ray.tls.identity import identity_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from sigmaos_ray.auth.gate import Gate
    from sigmaos_ray.leaseclnt import AsyncLease
    from sigmaos_ray.protsrv.node import Node

_log = debug.selector("SIGMASRV")

_ASK: Final = observe_pb2.GenerationsRequest()

ENDPOINT_PERM = DMSYMLINK | DMMOUNT | 0o777


class Advertisement:
    """A leased endpoint file that is kept at ``pn`` for as long as the server lives. Whoever starts it stops it.

    The lease removes the name of a server that crashed. If it is lost while the server lives, as after a long stop of
    the process or of named, another one is asked for and the file made anew, for as long as it takes.
    """

    def __init__(self, sc: AsyncSigmaClnt, pn: str, endpoint: Endpoint, *, replace: bool = False) -> None:
        self._sc = sc
        self._pathname = pn
        self._endpoint = endpoint
        self._contents = endpoint.to_bytes()
        self._replace = replace
        self._lease: AsyncLease | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Makes the file, and keeps it from now on. Exists if the name is taken, unless ``replace``: then what a dead
        predecessor left there is removed first."""
        await self._advertise(replace=self._replace)
        self._keeper = asyncio.create_task(self._keep(), name=f"advertise-{self._pathname}")

    async def _advertise(self, *, replace: bool) -> None:
        while True:
            self._lease = await self._sc.leases.ask_lease(self._pathname)
            # Before the put, which may take as long as named takes to fail over: the lease must last until then.
            self._lease.keep_extending()
            try:
                await self._sc.put_leased_file(self._pathname, self._contents, self._lease, ENDPOINT_PERM)
            except serr.IOErr as error:  # its fate is unknown: the next try finds it, or makes it
                _log(f"{self._pathname}: {error}")
            except serr.Exists:
                # What a try of unknown fate made is ours, and so is what hangs on a lease that was lost but not ended
                # yet. Either is made anew, under the lease of now.
                await self._clear(replace=replace)
            else:
                _log(f"{self._pathname} is at {self._endpoint.addrs}")
                return

    async def _clear(self, *, replace: bool) -> None:
        """Takes away what stands at the name: Exists for another server's, unless ``replace``."""
        try:
            if replace:
                # Looked at before it goes: by its name alone no server's entry is removed.
                await self._sc.remove_own(self._pathname, await self._sc.get_file(self._pathname))
            else:
                await self._sc.remove_own(self._pathname, self._contents)
        except serr.NotFound:
            # Gone by itself, or another server's.
            if not replace and await self._is_taken():
                raise serr.Exists(self._pathname, "another server has this name") from None

    async def _is_taken(self) -> bool:
        try:
            await self._sc.stat(self._pathname)
        except serr.NotFound:
            return False
        return True

    async def _keep(self) -> None:
        while True:
            assert self._lease is not None
            await self._lease.lost.wait()
            await self._come_back()

    async def _come_back(self) -> None:
        """For as long as it takes: named may be away, or somebody have the name."""
        while True:
            try:
                # Never in the place of another: whoever has the name by now got it rightly, after ours had gone.
                await self._advertise(replace=False)
            except serr.SigmaError as error:
                debug.error(f"{self._pathname}: cannot advertise: {error}")
                await asyncio.sleep(self._sc.config.walk.retry_pause_s)
            else:
                return

    async def stop(self) -> None:
        """Withdraws the name: from now on nobody finds the server by it. Blocks for named at most as long as a call
        does; if it is away, the lease removes the name. One that another server has by now is left to it. May be
        repeated."""
        if self._keeper is not None:
            # Before the removal: were the lease lost just now, the keeper would make the file anew behind it.
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
            try:
                await self._sc.remove_own(self._pathname, self._contents)
            except serr.SigmaError as error:  # gone already, or named is away and the lease will end it
                _log(f"{self._pathname}: {error}")


class SigmaSrv:
    """A server of RPC services and of a tree in memory (``memfs``), advertised at ``pn``. A context manager; its
    methods block, and are for threads other than the loop's.

    ``pn``: a name that ends in ``/`` is a directory of servers, and the entry is named after the address; ``""``: not
    advertised. ``sc``: the client to advertise with, which stays its owner's; without it the server makes one and
    closes it. ``host``: where to listen, on a port that the system chooses; by default the address of the client's
    node. It goes into the endpoint file as it is. ``replace``: the name is taken over from a predecessor that is known
    to be gone, as an elected server knows it. ``drain_s``: how long a server that stops waits for the calls that run;
    as ``config.Rpc`` says, by default.
    ``devices``: files of the server's own making at the root of its tree, as ``protsrv.devices`` has them.
    """

    def __init__(
        self,
        pn: str,
        *services: object,
        sc: SigmaClnt | None = None,
        host: str | None = None,
        replace: bool = False,
        drain_s: float | None = None,
        devices: Sequence[Node] = (),
    ) -> None:
        extras.need(*NEEDED, for_="a server")  # before the credentials are looked at, which takes one of them
        self._pathname = pn
        self._replace = replace
        self._services: Sequence[object] = services
        self._own_client = sc is None
        self._sc = sc or SigmaClnt()
        self._host = host or self._sc.proc_env.host
        self._drain_s = self._sc.asynchronous.config.rpc.drain_s if drain_s is None else drain_s
        watches = WatchTable()
        env = self._sc.proc_env
        schedds = AskSchedds(env)
        self._gate = gate_of(env.trust, env.state_dir, schedds)
        self._schedds = schedds
        self._follower: asyncio.Task[None] | None = None
        """Hears of what credentials were revoked."""
        self.memfs = MemFs(watches)
        self._server = FileServer(
            self.memfs.root,
            watches,
            realm=self._sc.realm,
            services=services,
            host=self._host,
            tls=identity_at(self._sc.proc_env.tls),
            fences=self.memfs.fences,
            leases=self.memfs.leases,
            devices=devices,
            gate=self._gate,
        )
        self._advertisement: Advertisement | None = None

    @property
    def sc(self) -> SigmaClnt:
        """The client that the server advertises with, for handlers that need one. Closed with the server if that made
        it."""
        return self._sc

    @property
    def pathname(self) -> str:
        """The name under which it is found, complete once it is started; empty if it is not advertised."""
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
        """Serves and advertises; returns once it answers under its name. Exists if the name is taken, unless
        ``replace``; NotFound or NotDir if the directory of ``pn`` is none; Unreachable if the host cannot be bound.
        Nothing is left behind if it fails."""
        try:
            loopthread.shared().run(self._start())
        except BaseException:
            if self._own_client:
                self._sc.close()
            raise

    async def _start(self) -> None:
        # Serving comes first: whoever finds the name calls at once.
        endpoint = await self._server.start()
        if self._gate is not None:
            self._follower = asyncio.create_task(self._follow_generations(self._gate), name="generations")
        if not self._pathname:
            return
        if self._pathname.endswith("/"):
            self._pathname = path.join(self._pathname, endpoint.addrs[0])
        advertisement = Advertisement(self._sc.asynchronous, self._pathname, endpoint, replace=self._replace)
        try:
            await advertisement.start()
        except BaseException:  # whatever it is: a server that nobody finds must not stay
            await self._stop()
            raise
        self._advertisement = advertisement

    def serve(self) -> None:
        """Runs a proc whose work this server is: says that it started, blocks until it is evicted, then stops and ends
        the proc as evicted. Outside of a proc there is nobody to tell: use ``start`` and ``stop``."""
        self._sc.started()
        self._sc.wait_evict()
        self.exit(Status.evicted())

    def exit(self, status: Status) -> None:
        """Stops, and ends the proc with a status. For servers that find an end of their own."""
        self._stop_serving()
        self._sc.clnt_exit(status)

    def stop(self) -> None:
        """Withdraws the name, refuses new calls, blocks at most about ``drain_s`` for those that run, then ends all
        sessions. Closes the client if the server made it. May be repeated."""
        self._stop_serving()
        if self._own_client:
            self._sc.close()

    def _stop_serving(self) -> None:
        loopthread.shared().run(self._stop())

    async def _stop(self) -> None:
        # The name first: a client that looks it up meanwhile must not find a server that refuses its calls.
        advertisement, self._advertisement = self._advertisement, None
        if advertisement is not None:
            await advertisement.stop()
        await self._server.drain(self._drain_s)
        await self._server.stop()
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.cancel()
            await asyncio.wait({follower})
        await self._schedds.close()
        if self._gate is not None:
            self._gate.close()

    async def _follow_generations(self, gate: Gate) -> None:
        sc = self._sc.asynchronous
        pause_s = sc.config.auth.generations_poll_s
        named = AsyncRPCClnt(sc, NAMED)
        while True:
            await asyncio.sleep(pause_s)
            with contextlib.suppress(serr.SigmaError):  # named is away: what is known holds until it answers
                reply = await named.rpc("Observe.Generations", _ASK, observe_pb2.GenerationsReply, idempotent=True)
                gate.learn(reply.generations)
