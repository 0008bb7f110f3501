"""Servers behind names: endpoint files, mounts, fences that servers have seen, their counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.fslib.descriptors import lease_id_of
from sigmaos_ray.fslib.jsonfiles import from_json
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.transfer import Transfer
from sigmaos_ray.sigmap import (
    DMMOUNT,
    DMSYMLINK,
    DMTMP,
    FENCES,
    NAMED,
    NO_LEASE,
    OEXCL,
    ORDWR,
    OTRUNC,
    OWRITE,
    PSTATSD,
    REALM,
    RPC_DEV,
    STATSD,
    Endpoint,
    Fence,
    decode_fence,
    path,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigmaos_ray.fslib.fidclnt import RemoteFid

ENDPOINT_PERM = DMSYMLINK | DMMOUNT | 0o777


class Servers(Transfer):
    """Calls about servers."""

    # -- endpoint files

    async def mk_endpoint_file(self, pn: str, endpoint: Endpoint) -> None:
        """Makes a file that leads to a server. Exists if the name is taken."""
        await self._put(pn, endpoint.to_bytes(), ENDPOINT_PERM, OWRITE | OEXCL, 0)

    async def mk_leased_endpoint(self, pn: str, endpoint: Endpoint, lease: object) -> None:
        """``mk_endpoint_file``, for one that goes when ``lease`` ends."""
        lease_id = lease_id_of(pn, lease)
        await self._put(pn, endpoint.to_bytes(), ENDPOINT_PERM | DMTMP, OWRITE | OEXCL, 0, lease_id)

    async def write_endpoint_file(self, pn: str, endpoint: Endpoint) -> None:
        """Makes an endpoint file, or lets the one that exists lead to another server."""
        await self._put(pn, endpoint.to_bytes(), ENDPOINT_PERM, OWRITE | OTRUNC, 0, NO_LEASE)

    async def read_endpoint(self, pn: str) -> Endpoint:
        """What an endpoint file says. Inval for a file that is none."""
        endpoint = Endpoint.from_bytes(await self.get_file(pn.rstrip("/")))
        if endpoint is None:
            raise serr.Inval(pn, "not an endpoint file")
        return endpoint

    async def copy_endpoint(self, pn: str) -> tuple[Endpoint, str]:
        """The server that stores ``pn``, and the rest of the pathname there; nothing need exist at its end."""
        parts, _ = self._split(pn)
        with about(pn):
            mount, rest = await self._last_mount(parts)
            return mount.endpoint, rest

    async def resolve_mount(self, pn: str) -> tuple[str, bool]:
        """``pn`` with its first ``~any`` or ``~local`` replaced by the entry it stands for now; and whether there was
        one."""
        parts, _ = self._split(pn)
        for length in range(1, len(parts) + 1):
            if path.is_union(parts[length - 1]):
                head = await self.resolve_unions("/".join(parts[:length]))
                rest = "/".join(parts[length:])
                slash = "/" if path.resolves(pn) else ""
                return path.join(head, rest) + slash, True
        return pn, False

    async def resolve_mounts(self, pn: str) -> str:
        """``pn`` with each ``~any`` and ``~local`` replaced: a pathname to give to others, for whom they mean something
        else."""
        return await self.resolve_unions(pn)

    # -- mounts

    async def mount_tree(self, endpoint: Endpoint, tree: str, mount: str) -> None:
        """Continues pathnames below ``mount`` in the directory ``tree`` (empty: the root) of a server, for this client
        alone. It stays, over failures of the server too, until ``detach``. Unreachable if the server does not answer;
        NotFound if it has no such directory; Exists if something is mounted there."""
        parts, _ = self._split(mount)
        with about(mount):
            if len(parts) < 2 or parts[0] not in self._mounts.roots():
                raise serr.Inval(mount, "mount below a root, or make a root (new_root_mount)")
            prefix = tuple(parts)
            if (there := self._mounts.at(prefix)) is not None and there.is_asked_for:
                raise serr.Exists(mount, "something is mounted there")
            root = path.join(endpoint.root, tree)
            await self._mounts.mount(prefix, msgspec.structs.replace(endpoint, root=root), is_asked_for=True)

    async def mounts(self) -> dict[str, Endpoint]:
        """What this client has mounted, by pathname: what was asked for, and where walks went."""
        return self._mounts.table()

    async def detach(self, pn: str) -> None:
        """Takes a mount out. The server frees all that this client has open there; a later walk may mount it anew.
        NotFound if nothing is mounted at ``pn``."""
        parts, _ = self._split(pn)
        mount = self._mounts.at(tuple(parts))
        if mount is None:
            raise serr.NotFound(pn, "nothing is mounted there")
        with about(pn):
            await self._mounts.detach(mount)

    async def disconnect(self, pn: str) -> None:
        """For tests: cuts the connection to the server that ``pn`` leads to, for good. What is open there, and every
        pathname through that mount, is Unreachable from now on."""
        parts, _ = self._split(pn)
        with about(pn):
            mount, _ = await self._last_mount(parts)
            self._mounts.cut(mount)

    async def disconnected(self) -> bool:
        """True once ``disconnect`` cut a connection of this client."""
        return self._mounts.is_cut

    async def path_last_mount(self, pn: str) -> tuple[str, str]:
        """The mount through which a walk to ``pn`` goes last, and the rest of the pathname there, links followed."""
        parts, _ = self._split(pn)
        with about(pn):
            mount, rest = await self._last_mount(parts)
            return "/".join(mount.prefix), rest

    async def _last_mount(self, parts: list[str]) -> tuple[Any, str]:
        """The last mount on the way to what is or may be at the pathname."""
        try:
            walked = await self._walker.walk_through(parts, resolve=True)
        except serr.NotFound:
            if len(parts) < 2:
                raise
            walked = await self._walker.walk_through(parts[:-1], resolve=True)
            walked.parts.append(parts[-1])
        await walked.fid.clunk_quietly()
        return walked.mount, "/".join(walked.parts[len(walked.mount.prefix) :])

    # -- RPC devices

    async def open_rpc(self, pn: str) -> RemoteFid:
        """A new channel of the RPC device of the server at ``pn``; the caller clunks it."""
        return await self.open_fid(path.join(pn, RPC_DEV, "clone"), ORDWR)

    async def open_rpc_at(self, endpoint: Endpoint) -> RemoteFid:
        """The same, of the server that an endpoint names. Unreachable at once if that does not answer."""
        root = await self._fids.attach(endpoint)
        try:
            channel, qids = await root.walk([RPC_DEV, "clone"])
        finally:
            await root.clunk_quietly()
        try:
            if len(qids) < 2:
                raise serr.NotFound(RPC_DEV, f"the server at {endpoint.addrs} offers none")
            await channel.open(ORDWR)
        except BaseException:  # a cancellation too: the fid is freed, and it goes on
            await channel.clunk_quietly()
            raise
        return channel

    def leave_server(self, fid: RemoteFid) -> None:
        """The server of a fid failed, or refuses: later walks go to another one, where a union has another."""
        mount = self._mounts.of_session(fid.session, [])
        if mount is not None:
            self._walker.failed(mount)

    async def get_named_endpoint(self, realm: str = "") -> Endpoint:
        """Where a realm's named is, the own one's by default. Of the own realm it may be old news, as long as nothing
        was asked of it; NotFound for a realm that is not, or whose named is away."""
        if not realm or realm == self.realm:
            return await self._mounts.root_endpoint(NAMED)
        return await self.read_endpoint(path.join(REALM, realm))

    async def invalidate_named_endpoint(self) -> None:
        """Forgets where named was found, and looks again."""
        await self._mounts.look_again()

    async def new_root_mount(self, root: str, pn: str) -> None:
        """From now on pathnames of this client may begin with ``root``: they continue in the server that the endpoint
        file ``pn`` leads to. It is read when it is first needed, and again after that server failed."""
        self._split(pn)
        if path.split(root) != [root]:
            raise serr.Inval(root, "a root is one component")

        async def find() -> Endpoint:
            return await self.read_endpoint(pn)

        self._mounts.add_root(root, find)

    # -- what servers tell of themselves

    async def get_fences(self, directory: str) -> list[Fence]:
        """The fences that the server of a directory has seen, in order of their pathnames."""
        with about(directory):
            shown = await self._fences_of(directory)
            fences = []
            for stat in await self.get_dir(shown):
                try:
                    fences.append(_fence_from(await self.get_file(path.join(shown, stat.name))))
                except serr.NotFound:  # forgotten meanwhile
                    continue
            return sorted(fences, key=lambda fence: fence.pathname)

    async def remove_fence(self, directories: Iterable[str]) -> None:
        """Lets the servers of some directories forget all fences: they accept any from now on."""
        for directory in directories:
            with about(directory):
                await self.rmdir_entries(await self._fences_of(directory))

    async def _fences_of(self, directory: str) -> str:
        return path.join(await self.server_of(path.join(directory, "x")), FENCES)

    async def read_srv_stats(self, pn: str) -> dict[str, Any]:
        """The counters of the server that ``pn`` leads to (``.statsd``)."""
        return await self._report(pn, STATSD)

    async def read_rpc_stats(self, pn: str) -> dict[str, Any]:
        """How often each RPC method of the server that ``pn`` leads to was called."""
        return await self._report(pn, f"{RPC_DEV}/stats")

    async def read_pstats(self) -> dict[str, Any]:
        """What named asked of its store, by pathname. NotFound if it keeps no such counters."""
        return await self._report(NAMED, PSTATSD)

    async def _report(self, pn: str, file: str) -> dict[str, Any]:
        pathname = path.join(pn, file)
        report = from_json(pathname, await self.get_file(pathname))
        if not isinstance(report, dict):
            raise serr.Inval(pathname, "not a report")
        return report


def _fence_from(data: bytes) -> Fence:
    try:
        return decode_fence(data)
    except msgspec.DecodeError as error:
        raise serr.IOErr(FENCES, f"not a fence: {error}") from error
