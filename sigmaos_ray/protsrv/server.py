"""A file server: a tree of nodes, served as sigmap over gRPC, with health and reflection, and plain connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, Final

import grpc

from sigmaos_ray import config as configuration
from sigmaos_ray import extras, serr
from sigmaos_ray.pb import sessp_pb2
from sigmaos_ray.protsrv.devices import OverlayRoot, ReportNode
from sigmaos_ray.protsrv.fences import FencesDir
from sigmaos_ray.protsrv.leases import LeaseSrv
from sigmaos_ray.protsrv.observe import Observe
from sigmaos_ray.protsrv.rpcdev import RpcDevice
from sigmaos_ray.protsrv.session import ProtSession, Signpost
from sigmaos_ray.protsrv.stats import ServerStats
from sigmaos_ray.sessp import grpcdoor
from sigmaos_ray.sessp.allocator import keep_freed_memory
from sigmaos_ray.sessp.channel import server_options
from sigmaos_ray.sessp.plaindoor import PlainDoor
from sigmaos_ray.sessp.server import SessionServer
from sigmaos_ray.sigmap import ROOT_REALM, STATSD, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sigmaos_ray.auth.gate import Gate
    from sigmaos_ray.protsrv.fences import FenceTable
    from sigmaos_ray.protsrv.health import Health
    from sigmaos_ray.protsrv.leases import LeaseKeeper
    from sigmaos_ray.protsrv.node import Dir, Node
    from sigmaos_ray.protsrv.watch import WatchTable
    from sigmaos_ray.tls.identity import TlsIdentity

NEEDED: Final = ("grpc_health", "grpc_reflection", "cryptography")
"""Modules of ``extras.PACKAGES`` that a server cannot do without."""
_SERVICE_NAME = sessp_pb2.DESCRIPTOR.services_by_name["Sigma"].full_name


class FileServer:
    """Serves ``root`` below an overlay with ``.statsd`` and ``rpc``. Whoever starts it stops it, on the same loop.

    ``watches``: the table in which the nodes of ``root`` publish. ``services``: RPC service objects (see ``rpcsrv``),
    offered as ``Class.method``; every server offers ``Observe`` besides. ``guard`` is called before each request, and
    again before what was read goes out; it raises to refuse: a server that lost its role. ``fences``: shown as
    ``.fences``. ``leases``: offered as ``LeaseSrv``, and kept while this serves. ``devices``: files of the server's own
    beside ``.statsd``. ``port`` 0: one that the system chooses. ``tls``: what is shown to
    and asked of those who come over TCP; None: nothing is. ``signpost``: of a named, for clients that look for
    theirs here. ``gate``: lets clients in, and stays its owner's; without one, whoever comes is let in.
    """

    def __init__(
        self,
        root: Dir,
        watches: WatchTable,
        *,
        realm: str = ROOT_REALM,
        services: Sequence[object] = (),
        host: str = configuration.LOOPBACK,
        port: int = 0,
        tls: TlsIdentity | None = None,
        config: configuration.Config | None = None,
        guard: Callable[[], None] | None = None,
        fences: FenceTable | None = None,
        leases: LeaseKeeper | None = None,
        devices: Sequence[Node] = (),
        signpost: Signpost | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.stats = ServerStats()
        self.watches = watches
        self._config = config or configuration.current()
        self._realm = realm
        self._host = host
        self._port = port
        self._tls = tls
        self._guard = guard
        self._leases = leases
        self._signpost = signpost
        self._gate = gate
        services = [*services, Observe(gate)]
        if leases is not None:
            services = [*services, LeaseSrv(leases)]
            # Before each request, since a busy loop runs timers late. The role first: a server that lost it changes
            # nothing any more.
            self._guard = leases.expire if guard is None else _both(guard, leases.expire)
        self.rpc = RpcDevice(services, self.stats, self._config)
        own: list[Node] = [ReportNode(STATSD, 0x10, self.stats.to_json), self.rpc.dir, *devices]
        if fences is not None:
            own.append(FencesDir.of(fences))
        self.root = OverlayRoot(root, own)
        self._sessions = SessionServer(self._make_session, self._config, gate)
        self._plain = PlainDoor(self._sessions, self._config, tls)
        self.stats.sections["connections"] = self._sessions.connections_report
        self._server: grpc.aio.Server | None = None
        self._health: Health | None = None
        self.endpoint = Endpoint()

    def _make_session(self, session_id: int) -> ProtSession:
        return ProtSession(
            session_id,
            self.root,
            self.watches,
            self.stats,
            self._config,
            self._guard,
            self._realm,
            self._signpost,
            self._gate,
        )

    async def start(self) -> Endpoint:
        """Binds and serves; returns where, once it answers. Unreachable if the address cannot be bound; Perm without
        the certificate that it is to show; MissingExtra where only the client is installed. Called once."""
        extras.need(*NEEDED, for_="a server")
        from sigmaos_ray.protsrv.health import Health  # late: clients import this module, and have no such packages

        keep_freed_memory()
        options: list[tuple[str, Any]] = list(server_options(self._config))
        server = grpc.aio.server(options=options)
        grpcdoor.add_to(server, self._sessions, self._config)
        self._health = Health(server, _SERVICE_NAME)
        try:
            port = self._add_port(server)
        except RuntimeError as error:
            raise serr.Unreachable(f"{self._host}:{self._port}", _why_not_bound(self._host, self._port)) from error
        address = f"{self._host}:{port}"
        try:
            self._sessions.plain_address = await self._plain.open(address)
        except OSError as error:
            await server.stop(None)
            raise serr.Unreachable(address, f"no plain connections can be taken: {error.strerror or error}") from error
        await server.start()
        self._server = server
        self.stats.start()
        if self._leases is not None:
            self._leases.start()
        # Last: whoever asks whether it serves may send requests in the same moment.
        await self._health.serves()
        plain = ((address, self._sessions.plain_address),)
        self.endpoint = Endpoint(addrs=(address,), realm=self._realm, plain=plain)
        return self.endpoint

    def _add_port(self, server: grpc.aio.Server) -> int:
        address = f"{self._host}:{self._port}"
        if self._tls is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, self._tls.server_credentials()))

    async def drain(self, timeout_s: float) -> None:
        """Refuses RPCs from now on, and blocks until those that run are answered, at most ``timeout_s``. Files are
        served on: clients fetch results with their requests. The next is ``stop``."""
        await self.rpc.drain(timeout_s)

    async def stop(self, drain_s: float = 1.0) -> None:
        """Refuses new sessions, ends the present ones (fids are clunked), and closes the port. Blocks about ``drain_s``
        at most for what runs. Harmless when called twice or before start."""
        self.rpc.close()
        # Taken before the first wait: a second stop that comes meanwhile finds nothing to do.
        server, self._server = self._server, None
        if server is None:
            return
        self.stats.stop()
        if self._leases is not None:
            self._leases.stop()
        if self._health is not None:
            await self._health.ends()
        # Sessions before the port: closed first, it would cut the streams that the goodbyes go over.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._sessions.close(), drain_s)
        await self._plain.close()
        await server.stop(grace=min(drain_s, 0.1))


def _why_not_bound(host: str, port: int) -> str:
    """gRPC does not say it: in the system's words."""
    try:
        with socket.create_server((host, port)):
            return "the address cannot be bound"
    except OSError as error:
        return f"the address cannot be bound: {error.strerror or error}"


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    """One guard of two."""

    def run() -> None:
        first()
        second()

    return run
