"""Names: what is behind them, taking them away, giving others, and entries that are no files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.fslib.makedirs import make_dirs
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.part import FsPart, lease_id_of
from sigmaos_ray.fslib.pathnames import parse
from sigmaos_ray.fslib.repeats import LOOKED, MARKED, NEVER_RAN
from sigmaos_ray.sigmap import (
    DMDEVICE,
    DMDIR,
    DMNAMEDPIPE,
    DMTMP,
    NO_FENCE,
    ORDWR,
    OWRITE,
    Endpoint,
    Fence,
    Perm,
    Qid,
    Stat,
    path,
)

if TYPE_CHECKING:
    from sigmaos_ray.fslib.fidclnt import RemoteFid

_ROOT_PERM: Final = DMDIR | 0o777


class EntryCalls(FsPart):
    """Calls on names. Pathnames that end in ``/`` follow a link at their end (N-3)."""

    async def stat(self, pn: str) -> Stat:
        """What the server says of an object; of a link itself, unless ``pn`` ends in ``/``. A root, or what
        ``mount_tree`` mounted, is not asked: its name is then where it is (N-15)."""
        parts, resolve = parse(pn)

        with about(pn):
            if not resolve and (endpoint := await self._mounted_at(parts)) is not None:
                return Stat(name=",".join(endpoint.addrs), mode=_ROOT_PERM)
            return await self.core.fast(parts, resolve, lambda to: to.fid.stat(to.names, resolve=resolve), LOOKED)

    async def _mounted_at(self, parts: list[str]) -> Endpoint | None:
        """The endpoint of a mount that no endpoint file is behind."""
        if self.core.is_closed:
            return None
        if len(parts) == 1:
            return await self.core.mounts.root_endpoint(parts[0])
        mount = self.core.mounts.at(tuple(parts))
        return mount.endpoint if mount is not None and mount.is_asked_for else None

    async def remove(self, pn: str, fence: Fence = NO_FENCE) -> None:
        """Removes a file, a link, or an empty directory; NotEmpty for a full one. ``fence``: instead of the one that
        changes there carry. NoRemove for the name of a server that lives, unless this client gave it that, and for the
        instance's own directories; Inval for a root, and for ``~any`` and ``~local``, which are no names."""
        parts, resolve = parse(pn)
        with about(pn):
            _check_is_entry(pn, parts)
            if not resolve and tuple(parts) in self.core.own_endpoints:
                fid = (walked := await self.core.walker.walk_through(parts, resolve=False)).fid
                await fid.remove(fence or self.core.fence_of(parts, walked.parts))
                self.core.own_endpoints.discard(tuple(parts))
                return
            await self.core.fast(
                parts,
                resolve,
                # Never twice: if the first try worked, a second would find nothing, or take away what somebody made
                # since.
                lambda to: to.fid.remove_file(to.names, resolve=resolve, fence=fence or to.fence),
                NEVER_RAN,
            )

    async def remove_own(self, pn: str, data: bytes) -> None:
        """Removes the file that holds exactly ``data``, up to 1 MiB, which nobody else writes; NotFound if it is gone,
        also if another one has its name by now. Goes on by itself when an outcome is unknown: it is looked up."""
        parts, _ = parse(pn)
        is_asked = False

        async def once() -> None:
            nonlocal is_asked
            try:
                fid = await self._walk_to_own(parts, data)
            except serr.NotFound:
                if is_asked:  # by the try whose outcome was unknown
                    return
                raise
            # Before the message leaves: whatever becomes of it, a file that is gone from now on may be gone by it.
            is_asked = True
            await fid.remove(self.core.fence_of(parts, fid.way))

        with about(pn):
            await self.core.repeats.call(once, MARKED)

    async def _walk_to_own(self, parts: list[str], data: bytes) -> RemoteFid:
        fid = (walked := await self.core.walker.walk_through(parts, resolve=False)).fid
        fid.way = walked.parts
        try:
            if await fid.get_file([], len(data) + 1) != data:
                raise serr.NotFound(parts[-1], "another file has its name")
        except BaseException:  # the server keeps a fid for nobody who was cancelled
            fid.free()
            raise
        return fid

    async def rename(self, old: str, new: str) -> None:
        """Gives an object a new pathname on the same server, in one moment; replaces a file or an empty directory.
        Links are renamed themselves; links on the way are followed. Inval across servers."""
        old_parts, _ = parse(old)
        new_parts, _ = parse(new)
        with about(old):
            _check_is_entry(old, old_parts)
            _check_is_entry(new, new_parts)
            if old_parts[:-1] == new_parts[:-1]:
                await self._rename_in_place(old_parts, new_parts[-1])
            else:
                await self._rename_across(old_parts, new_parts)

    async def _rename_in_place(self, old_parts: list[str], name: str) -> None:
        await self.core.fast(old_parts, False, lambda to: to.fid.rename_to(name, to.fence, to.names), NEVER_RAN)

    async def _rename_across(self, old_parts: list[str], new_parts: list[str]) -> None:
        core = self.core

        async def once() -> None:
            source = await core.walker.walk_through(old_parts[:-1], resolve=True)
            with core.freeing(source):
                target = await core.walker.walk_through(new_parts[:-1], resolve=True)
                with core.freeing(target):
                    if source.fid.session is not target.fid.session:
                        raise serr.Inval("/".join(new_parts), "a rename stays within one server")
                    old_fence = core.fence_of(old_parts, [*source.parts, old_parts[-1]])
                    fence = core.fence_of(new_parts, [*target.parts, new_parts[-1]])
                    try:
                        await source.fid.rename_at(old_parts[-1], target.fid, new_parts[-1], fence, old_fence)
                    except serr.Inval:
                        # Two ways to one directory, through a link: servers take that for a mistake.
                        if not await _are_one(source.fid, target.fid):
                            raise
                        await source.fid.rename_to(new_parts[-1], fence or old_fence, old_parts[-1:])

        await core.repeats.call(once, NEVER_RAN)

    async def new_pipe(self, pn: str, perm: Perm = 0o777) -> None:
        """Makes a pipe (R-12): bytes from those who open it to write, to those who open it to read; 8 KiB lie between
        them. Exists if the name is taken; NotSupported on servers without pipes."""
        with about(pn):
            fid = await self.core.create_fid(pn, DMNAMEDPIPE | perm, ORDWR)
            fid.free()

    async def create_leader_file(self, pn: str, data: bytes, lease: object, fence: Fence = NO_FENCE) -> Qid:
        """Makes a leased device file that holds ``data``, and the directories above it; returns what it was made as:
        in named the version is the epoch of the leadership that it is. Exists if somebody leads."""
        lease_id = lease_id_of(pn, lease)
        parts, _ = parse(pn)
        with about(pn):
            await make_dirs(self.core, parts[:-1], 0o777, fence)
            try:
                fid = await self.core.create_fid(pn, DMDEVICE | DMTMP | 0o777, OWRITE, lease_id, data, fence)
            except serr.NotSupported:  # by servers that cannot make a file with its contents: then in two steps
                fid = await self.core.create_fid(pn, DMDEVICE | DMTMP | 0o777, OWRITE, lease_id, fence=fence)
                await fid.write(0, data, fence or self.core.fence_of(parts, fid.way))
                await fid.clunk()
            else:
                fid.free()
            return fid.made


def _check_is_entry(pn: str, parts: list[str]) -> None:
    """Inval for what is not removed or renamed, since it is no entry of a directory."""
    if len(parts) < 2:
        raise serr.Inval(pn, "the root cannot be removed or renamed")
    if path.is_union(parts[-1]):
        raise serr.Inval(pn, "it stands for one of several: name that one")


async def _are_one(one: RemoteFid, other: RemoteFid) -> bool:
    """True if both fids are of one directory."""
    if one.session is not other.session:
        return False
    first, second = await one.stat(), await other.stat()
    return (first.dev, first.qid.path) == (second.dev, second.qid.path)
