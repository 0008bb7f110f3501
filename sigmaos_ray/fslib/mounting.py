"""Mounts: where pathnames continue in servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.part import FsPart, NeedsEndpoints, NeedsFiles
from sigmaos_ray.fslib.pathnames import checked_endpoint, parse
from sigmaos_ray.instance import NO_REALM, decode_instance
from sigmaos_ray.sigmap import INSTANCE, NAMED, REALM, Endpoint, path

if TYPE_CHECKING:
    from sigmaos_ray.fslib.mounts import Mount
    from sigmaos_ray.instance import Instance


class MountCalls(FsPart, NeedsFiles, NeedsEndpoints):
    """Calls about the servers that this client's pathnames lead to."""

    async def server_of(self, pn: str) -> str:
        """The pathname at which the server that stores ``pn`` is mounted; the entry itself need not exist."""
        return (await self.server_at(pn))[0]

    async def server_at(self, pn: str) -> tuple[str, Endpoint]:
        """Like ``server_of``; also where it is."""
        parts, _ = parse(pn)
        mount = await self.core.mount_of(parts[:-1] or parts)
        return "/".join(mount.prefix), mount.endpoint

    async def mount_endpoint(self, pn: str, endpoint: Endpoint) -> None:
        """Mounts a server whose endpoint is known already, without a walk. Unreachable if it does not answer."""
        parts, _ = parse(pn)
        await self.core.mounts.mount(tuple(parts), checked_endpoint(endpoint))

    async def copy_endpoint(self, pn: str) -> tuple[Endpoint, str]:
        """The server that stores ``pn``, and the rest of the pathname there; nothing need exist at its end."""
        parts, _ = parse(pn)
        with about(pn):
            mount, rest = await self._last_mount(parts)
            return mount.endpoint, rest

    async def mount_tree(self, endpoint: Endpoint, tree: str, mount: str) -> None:
        """Continues pathnames below ``mount`` in the directory ``tree`` (empty: the root) of a server, for this client
        alone. It stays, over failures of the server too, until ``detach``. Unreachable if the server does not answer;
        NotFound if it has no such directory; Exists if something is mounted there."""
        parts, _ = parse(mount)
        with about(mount):
            if len(parts) < 2 or parts[0] not in self.core.mounts.roots():
                raise serr.Inval(mount, "mount below a root, or make a root (new_root_mount)")
            prefix = tuple(parts)
            if (present := self.core.mounts.at(prefix)) is not None and present.is_asked_for:
                raise serr.Exists(mount, "something is mounted there")
            there = checked_endpoint(msgspec.structs.replace(endpoint, root=path.join(endpoint.root, tree)))
            await self.core.mounts.mount(prefix, there, is_asked_for=True)

    async def mounts(self) -> dict[str, Endpoint]:
        """What this client has mounted, by pathname: what was asked for, and where walks went."""
        return self.core.mounts.table()

    async def detach(self, pn: str) -> None:
        """Takes a mount out. The server frees all that this client has open there; a later walk may mount it anew.
        NotFound if nothing is mounted at ``pn``."""
        parts, _ = parse(pn)
        mount = self.core.mounts.at(tuple(parts))
        if mount is None:
            raise serr.NotFound(pn, "nothing is mounted there")
        with about(pn):
            await self.core.mounts.detach(mount)

    async def disconnect(self, pn: str) -> None:
        """For tests: cuts the connection to the server that ``pn`` leads to, for good. What is open there, and every
        pathname through that mount, is Unreachable from now on."""
        parts, _ = parse(pn)
        with about(pn):
            mount, _ = await self._last_mount(parts)
            self.core.mounts.cut(mount)

    async def disconnected(self) -> bool:
        """True once ``disconnect`` cut a connection of this client."""
        return self.core.mounts.is_cut

    async def path_last_mount(self, pn: str) -> tuple[str, str]:
        """The mount through which a walk to ``pn`` goes last, and the rest of the pathname there, links followed."""
        parts, _ = parse(pn)
        with about(pn):
            mount, rest = await self._last_mount(parts)
            return "/".join(mount.prefix), rest

    async def _last_mount(self, parts: list[str]) -> tuple[Mount, str]:
        """The last mount on the way to what is or may be at the pathname."""
        try:
            walked = await self.core.walker.walk_through(parts, resolve=True)
        except serr.NotFound:
            if len(parts) < 2:
                raise
            walked = await self.core.walker.walk_through(parts[:-1], resolve=True)
            walked.parts.append(parts[-1])
        walked.fid.free()
        return walked.mount, "/".join(walked.parts[len(walked.mount.prefix) :])

    async def get_named_endpoint(self, realm: str = "") -> Endpoint:
        """Where a realm's named is, the own one's by default. Of the own realm it may be old news, as long as nothing
        was asked of it; NotFound for a realm that is not, or whose named is away."""
        if not realm or realm == self.core.proc_env.realm:
            return await self.core.mounts.root_endpoint(NAMED)
        try:
            endpoint = Endpoint.from_bytes(await self.get_file(path.join(REALM, realm)))
            # boot keeps a record of the realm there, and says elsewhere where its named is now.
            named = endpoint or (await self.read_instance()).named_of(realm)
        except serr.NotFound as error:
            raise serr.NotFound(realm, NO_REALM) from error
        if named is None or not named.addrs:
            raise serr.NotFound(realm, NO_REALM)
        return named

    async def read_instance(self) -> Instance:
        """What the instance says of itself, for a client of the root realm anywhere. NotFound where boot has not told
        yet."""
        data = await self.get_file(INSTANCE)
        try:
            return decode_instance(data)
        except msgspec.DecodeError as error:
            raise serr.IOErr(INSTANCE, f"does not describe an instance: {error}") from error

    async def invalidate_named_endpoint(self) -> None:
        """Forgets where named was last seen, and looks again."""
        await self.core.mounts.look_again()

    async def new_root_mount(self, root: str, pn: str) -> None:
        """From now on pathnames of this client may begin with ``root``: they continue in the server that the endpoint
        file ``pn`` leads to. It is read when it is first needed, and again after that server failed."""
        parse(pn)
        if path.split(root) != [root]:
            raise serr.Inval(root, "a root is one component")

        async def find() -> Endpoint:
            return await self.read_endpoint(pn)

        self.core.mounts.add_root(root, find)
