"""sigmap's messages as calls on fids, over sessions: one per server address, shared by all mounts of a client."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from sigmaos_ray import debug, serr
from sigmaos_ray.auth import files as credentials
from sigmaos_ray.deadlines import is_cancelled
from sigmaos_ray.fslib.attaching import Search
from sigmaos_ray.fslib.repeats import UnreachableForGood
from sigmaos_ray.instance import find_state_dir
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Reply, Request
from sigmaos_ray.sessp import wire
from sigmaos_ray.sessp.aside import DataRoom, Elsewhere, is_direct
from sigmaos_ray.sessp.channel import FORKED, is_forked
from sigmaos_ray.sessp.client import ClientSession
from sigmaos_ray.sigmap import DMNAMEDPIPE, NO_FENCE, NO_LEASE, OREAD, Endpoint, Fence, Mode, Perm, Qid, Stat
from sigmaos_ray.tls.identity import identity_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from sigmaos_ray.config import Config, Locating, ProcEnv
    from sigmaos_ray.fslib.stats import ClientStats
    from sigmaos_ray.sessp.client import Aside
    from sigmaos_ray.sessp.payload import Answer

_log = debug.selector("SESSCLNT")


class LoopKeeper(Protocol):
    """Who has the loop of a client that may begin without."""

    def without_loop(self) -> AbstractContextManager[object]:
        """Around what a thread begins without the loop, which begins afterwards at the earliest. Elsewhere if it is
        there."""

    def begin_loop(self) -> asyncio.AbstractEventLoop:
        """The loop, which runs by then; from any thread."""


class RemoteFid:
    """A fid that this client holds at a server. Whoever got it clunks it."""

    __slots__ = (
        "_clnt",
        "is_root",
        "made",
        "number",
        "one_version",
        "perm",
        "removes_all",
        "seen",
        "session",
        "standbys",
        "stays",
        "way",
    )

    def __init__(self, clnt: FidClnt, session: ClientSession, number: int) -> None:
        self._clnt = clnt
        self.session = session
        self.number = number
        self.made = Qid()
        """What ``create`` made."""
        self.perm: Perm = 0
        """What ``open`` opened: more than a qid's type tells."""
        self.way: list[str] | None = None
        """The pathname that the links on the way to what was opened led to."""
        self.seen = Qid()
        """What ``open`` opened, as it was then."""
        self.is_root = False
        """What was opened by its pathname is the root of a server, and no entry of a directory."""
        self.one_version = False
        """All reads of what was opened are of that version, or raise Version."""
        self.stays = False
        """What was opened is a directory of the server's own, which is neither removed nor emptied."""
        self.removes_all = False
        """What was opened is a directory that ``remove`` takes with all below it."""
        self.standbys: tuple[str, ...] = ()
        """Of named's root: the addresses of those of whom one leads next."""

    async def _call(self, request: Request) -> Reply:
        return await self._clnt.call(self.session, request)

    async def _exchange(self, request: Request, data: bytes | None = None) -> Answer:
        """A call whose data are large, either way, and may be apart."""
        return await self._clnt.exchange(self.session, request, payload=data)

    def _apart(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Data as they go into a request, and as they go behind it."""
        return (data, None) if len(data) < self._clnt.payload_bytes_min else (b"", data)

    async def _call_for(self, new: RemoteFid, request: Request) -> Reply:
        """A call that binds a new fid. If the caller is cancelled meanwhile, the fid is freed all the same."""
        return await self._clnt.call(self.session, request, new.free)

    def _new(self) -> RemoteFid:
        return RemoteFid(self._clnt, self.session, self._clnt.next_number())

    async def walk(self, names: Sequence[str]) -> tuple[RemoteFid, list[Qid]]:
        """A new fid where the walk ended, and the qids on the way (N-7)."""
        new = self._new()
        request = Request(walk=pb.Twalk(fid=self.number, newfid=new.number, names=names))
        reply = await self._call_for(new, request)
        if len(reply.walk.qids) > len(names):
            raise serr.IOErr(self.session.address, f"the server walked {len(reply.walk.qids)} of {len(names)} names")
        return new, [wire.qid_from_pb(qid) for qid in reply.walk.qids]

    async def open(self, mode: Mode, fence: Fence = NO_FENCE) -> Qid:
        """``fence``: for an open that changes the file (OTRUNC)."""
        request = pb.Topen(fid=self.number, mode=mode, fence=wire.fence_to_pb(fence))
        reply = await self._call(Request(open=request))
        self._see(reply.open)
        return self.seen

    def _see(self, opened: pb.Ropen) -> None:
        self.perm, self.removes_all, self.one_version = opened.perm, opened.removes_all, opened.one_version
        self.stays = opened.stays
        self.seen = wire.qid_from_pb(opened.qid)

    async def open_file(
        self,
        names: Sequence[str],
        mode: Mode,
        *,
        resolve: bool,
        makes: bool = False,
        perm: Perm = 0,
        lease: int = NO_LEASE,
        fence: Fence = NO_FENCE,
    ) -> RemoteFid:
        """A new fid of what the last name stands for then, open. ``makes``: a file that is not there is made; with
        OEXCL it must not be there. A pipe is opened by a second message, as that may wait."""
        new = self._new()
        request = pb.Topenfile(
            fid=self.number,
            newfid=new.number,
            names=names,
            resolve=resolve,
            mode=mode,
            fence=wire.fence_to_pb(fence),
            makes=makes,
            perm=perm,
            lease=lease,
        )
        new._see((await self._call_for(new, Request(openfile=request))).open)
        if new.perm & DMNAMEDPIPE:
            if is_direct():
                new.free()
                raise Elsewhere
            try:
                await new.open(mode, fence)
            except BaseException:  # the server keeps a fid for nobody who was cancelled
                new.free()
                raise
        return new

    async def create_file(
        self,
        names: Sequence[str],
        perm: Perm,
        mode: Mode,
        lease: int = NO_LEASE,
        fence: Fence = NO_FENCE,
        data: bytes = b"",
    ) -> RemoteFid:
        """A new fid of what is made under the last name, open unless it is a pipe. ``data``: as for ``create``."""
        new = self._new()
        request = pb.Tcreate(
            fid=self.number,
            newfid=new.number,
            names=names[:-1],
            name=names[-1],
            perm=perm,
            mode=mode,
            lease=lease,
            fence=wire.fence_to_pb(fence),
            data=data,
        )
        new.made = wire.qid_from_pb((await self._call_for(new, Request(create=request))).create.qid)
        return new

    async def create(
        self,
        name: str,
        perm: Perm,
        mode: Mode,
        lease: int = NO_LEASE,
        fence: Fence = NO_FENCE,
        data: bytes = b"",
    ) -> Qid:
        """Makes an entry in this directory; the fid becomes the new, open file. ``data``: its contents from the start,
        on servers that can (NotSupported elsewhere)."""
        request = pb.Tcreate(
            fid=self.number, name=name, perm=perm, mode=mode, lease=lease, fence=wire.fence_to_pb(fence), data=data
        )
        reply = await self._call(Request(create=request))
        self.made = wire.qid_from_pb(reply.create.qid)
        return self.made

    async def read(self, offset: int, count: int) -> bytes:
        reply, data = await self._exchange(Request(read=pb.Tread(fid=self.number, offset=offset, count=count)))
        return reply.read.data if data is None else data

    def read_into(self, offset: int, room: memoryview) -> int:
        """``read`` of a thread, from a server on this machine, straight to where it wants the data; returns how many
        there are. Elsewhere if the thread cannot send it."""
        request = Request(read=pb.Tread(fid=self.number, offset=offset, count=len(room)))
        aside = self._clnt.begin(self.session, request, only_near=True)
        wanted = DataRoom(room)
        reply, data = self.session.finish_aside(aside, request, None, data_room=wanted)
        if wanted.filled_bytes is not None:
            return wanted.filled_bytes
        data = reply.read.data if data is None else data
        if len(data) > len(room):
            asked = f"where {len(room)} were asked for"
            raise serr.IOErr(self.session.address, f"the server sent {len(data)} bytes {asked}")
        room[: len(data)] = data
        return len(data)

    async def read_entries(self, count: int) -> tuple[bytes, bool]:
        """The next entries of an open directory; and whether they are known to be the last."""
        reply, data = await self._exchange(Request(read=pb.Tread(fid=self.number, count=count)))
        return reply.read.data if data is None else data, reply.read.is_end

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        within, behind = self._apart(data)
        request = pb.Twrite(fid=self.number, offset=offset, data=within, fence=wire.fence_to_pb(fence))
        reply, _ = await self._exchange(Request(write=request), behind)
        return self._all_written(reply.write.count, len(data))

    def _all_written(self, count: int, size: int) -> int:
        """Servers write all or nothing; a count that is none would be written for ever."""
        if count != size:
            raise serr.IOErr(self.session.address, f"the server says that it wrote {count} of {size} bytes")
        return count

    async def clunk(self, *, abort: bool = False) -> None:
        await self._call(Request(clunk=pb.Tclunk(fid=self.number, abort=abort)))

    def free(self, *, abort: bool = False) -> None:
        """Clunks behind the caller, who waits for no server: for fids that only served to get somewhere. They are
        freed before the server sees what is sent next; if it is gone, so are they."""
        self._clnt.post(self.session, Request(clunk=pb.Tclunk(fid=self.number, abort=abort)))

    async def clunk_quietly(self, *, abort: bool = False) -> None:
        """``free``, and waits until the server has done so: for what somebody closes. Who is being cancelled waits for
        nothing. If the server is gone, so is the fid."""
        if is_cancelled():
            self.free(abort=abort)
            return
        try:
            await self.clunk(abort=abort)
        except serr.SigmaError as error:
            _log(f"clunk of fid {self.number}: {error}")

    async def abort_quietly(self) -> None:
        """``clunk_quietly`` that does not make durable what is not yet: an error led here, and that one is to be
        told."""
        await self.clunk_quietly(abort=True)

    async def remove(self, fence: Fence = NO_FENCE, *, everything: bool = False, version: int = 0) -> None:
        """Removes the object, if it still has the name that it was walked to by (else NotFound), in that ``version``
        (else Version; 0: any); ``everything``: with all below it. The fid is gone either way."""
        request = pb.Tremove(fid=self.number, fence=wire.fence_to_pb(fence), all=everything, version=version)
        await self._call(Request(remove=request))

    async def remove_file(
        self, names: Sequence[str], *, resolve: bool, fence: Fence = NO_FENCE, qid_path: int = 0
    ) -> None:
        """Removes what the last name stands for then; ``qid_path``: if it is that object (else NotFound)."""
        request = pb.Tremovefile(
            fid=self.number, names=names, resolve=resolve, fence=wire.fence_to_pb(fence), path=qid_path
        )
        await self._call(Request(removefile=request))

    async def stat(self, names: Sequence[str] = (), *, resolve: bool = False) -> Stat:
        reply = await self._call(Request(stat=pb.Tstat(fid=self.number, names=names, resolve=resolve)))
        return wire.stat_from_pb(reply.stat.stat)

    async def rename_to(self, name: str, fence: Fence = NO_FENCE, names: Sequence[str] = ()) -> None:
        """Renames what the last of ``names`` stands for then, within its directory; without names the fid's object."""
        request = pb.Twstat(fid=self.number, stat=pb.Stat(name=name), fence=wire.fence_to_pb(fence), names=names)
        await self._call(Request(wstat=request))

    async def set_length(self, size: int, fence: Fence = NO_FENCE) -> None:
        """Cuts the file, which is open for writing, or fills it up with zeros."""
        await self._call(Request(wstat=pb.Twstat(fid=self.number, length=size, fence=wire.fence_to_pb(fence))))

    async def rename_at(
        self, old: str, new_dir: RemoteFid, new: str, fence: Fence = NO_FENCE, old_fence: Fence = NO_FENCE
    ) -> None:
        """``fence``: what changes of the new directory carry; ``old_fence``: those of this one."""
        request = pb.Trenameat(
            old_fid=self.number,
            old_name=old,
            new_fid=new_dir.number,
            new_name=new,
            fence=wire.fence_to_pb(fence),
            old_fence=wire.fence_to_pb(old_fence),
        )
        await self._call(Request(renameat=request))

    async def transact(self, changes: Sequence[pb.Change], fences: Iterable[Fence] = ()) -> Sequence[pb.Changed]:
        """Changes below fids of this session, at one moment."""
        carried = [wire.some_fence_to_pb(fence) for fence in fences]
        request = Request(transact=pb.Ttransact(changes=changes, fences=carried))
        changed = (await self._call(request)).transact.changed
        if len(changed) != len(changes):
            raise serr.IOErr(self.session.address, f"the server tells of {len(changed)} of {len(changes)} changes")
        return changed

    async def get_file(self, names: Sequence[str], count: int, *, offset: int = 0, resolve: bool = False) -> bytes:
        """At most ``count`` bytes; fewer mean the file ends there."""
        return (await self.get_part(names, count, offset=offset, resolve=resolve))[0]

    async def get_part(
        self, names: Sequence[str], count: int, *, offset: int = 0, resolve: bool = False
    ) -> tuple[bytes, Qid]:
        """Like ``get_file``; and, if the file may go on, what was read, as it was: empty where nobody can tell."""
        request = pb.Tgetfile(fid=self.number, mode=OREAD, offset=offset, count=count, names=names, resolve=resolve)
        reply, data = await self._exchange(Request(getfile=request))
        return reply.getfile.data if data is None else data, wire.qid_from_pb(reply.getfile.qid)

    async def put_file(
        self,
        names: Sequence[str],
        data: bytes,
        *,
        perm: Perm,
        mode: Mode,
        offset: int,
        resolve: bool,
        lease: int = NO_LEASE,
        fence: Fence = NO_FENCE,
    ) -> int:
        within, behind = self._apart(data)
        request = pb.Tputfile(
            fid=self.number,
            mode=mode,
            perm=perm,
            offset=offset,
            names=names,
            resolve=resolve,
            lease=lease,
            fence=wire.fence_to_pb(fence),
            data=within,
        )
        reply, _ = await self._exchange(Request(putfile=request), behind)
        return self._all_written(reply.write.count, len(data))

    async def watch(self) -> RemoteFid:
        """A fid whose reads return what happens in this open directory. Version if it changed since it was opened."""
        new = self._new()
        await self._call_for(new, Request(watch=pb.Twatch(dirfid=self.number, watchfid=new.number)))
        return new

    async def write_read(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        request, payload = self._write_read_request(frames)
        return _frames_of(await self._exchange(request, payload))

    def begin_write_read(self, frames: Sequence[bytes], ends_s: float | None) -> tuple[Request, Aside]:
        """``write_read`` of a thread, in two halves. Elsewhere if the thread cannot send it. Blocks at most to the
        moment ``ends_s``, for a server that does not take it."""
        request, payload = self._write_read_request(frames)
        return request, self._clnt.begin(self.session, request, ends_s=ends_s, payload=payload)

    def finish_write_read(self, request: Request, aside: Aside, ends_s: float | None) -> Sequence[bytes]:
        """The second half, which blocks. TimeoutError once that moment of ``time.monotonic`` is over."""
        return _frames_of(self.session.finish_aside(aside, request, ends_s))

    def _write_read_request(self, frames: Sequence[bytes]) -> tuple[Request, bytes | None]:
        request = Request()
        call = request.writeread  # set in place: protobuf copies a message put into another
        call.fid = self.number
        if frames and len(frames[-1]) >= self._clnt.payload_bytes_min:
            call.frames.extend(frames[:-1])
            return request, frames[-1]
        call.frames.extend(frames)
        return request, None


def _frames_of(answer: Answer) -> Sequence[bytes]:
    reply, last = answer
    return reply.writeread.frames if last is None else [*reply.writeread.frames, last]


class FidClnt:
    """A client's sessions and fid numbers. ``close`` ends the sessions."""

    def __init__(self, proc_env: ProcEnv, config: Config, stats: ClientStats) -> None:
        self.client_id = secrets.randbits(63) or 1
        self._proc_env = proc_env
        self._tls = identity_at(proc_env.tls)
        self._config = config
        self._stats = stats
        self.payload_bytes_min = config.wire.payload_bytes_min
        """Data of so many bytes go apart from their requests."""
        self._numbers = itertools.count(1)
        self._sessions: dict[str, ClientSession] = {}
        self._plain: dict[str, str] = {}
        """By the addresses of servers: where they take plain connections, as far as endpoints told."""
        self._dialling: dict[str, asyncio.Task[ClientSession]] = {}
        self._closed = False
        self.loop_keeper: LoopKeeper | None = None
        """Of a client that may begin without a loop."""
        self.before_sending: Callable[[Request], Awaitable[None]] | None = None
        """For tests: awaited before each request, so that others can do something between two of a call's messages."""

    @functools.cached_property
    def _token(self) -> str:
        """What servers are shown: not looked for before there is one to be shown it."""
        env = self._proc_env
        if env.token:
            return env.token
        told = (env.state_dir, os.path.dirname(env.state_file), find_state_dir())
        return credentials.token_for(env.realm, *filter(None, told))

    @property
    def limits(self) -> Locating:
        """How servers are looked for."""
        return self._config.locating

    def next_number(self) -> int:
        return next(self._numbers)

    async def call(self, session: ClientSession, request: Request, on_late: Callable[[], None] | None = None) -> Reply:
        return (await self.exchange(session, request, on_late)).whole()

    async def exchange(
        self,
        session: ClientSession,
        request: Request,
        on_late: Callable[[], None] | None = None,
        payload: bytes | None = None,
    ) -> Answer:
        """See ``ClientSession.exchange``."""
        if is_direct():
            ends_s = self._attach_ends_s() if request.HasField("attach") else None
            aside = self.begin(session, request, on_late, ends_s, payload)
            return session.finish_aside(aside, request, ends_s, on_late)
        self._stats.sp[request.WhichOneof("op") or "?"] += 1
        if self.before_sending is not None:
            await self.before_sending(request)
        return await session.exchange(request, on_late, payload)

    def _attach_ends_s(self) -> float:
        """Nobody follows a server while a thread attaches to it: one that is silent is given up, and sought on the
        loop."""
        return time.monotonic() + self._config.session.dial_timeout_s

    def begin(
        self,
        session: ClientSession,
        request: Request,
        on_late: Callable[[], None] | None = None,
        ends_s: float | None = None,
        payload: bytes | None = None,
        *,
        only_near: bool = False,
    ) -> Aside:
        """See ``ClientSession.begin_aside``."""
        if self.before_sending is not None:
            raise Elsewhere
        aside = session.begin_aside(request, on_late, ends_s, payload, only_near=only_near)
        self._stats.sp[request.WhichOneof("op") or "?"] += 1
        return aside

    def post(self, session: ClientSession, request: Request) -> None:
        """Sends what nobody waits for."""
        self._stats.sp[request.WhichOneof("op") or "?"] += 1
        session.post(request)

    async def attach(
        self, endpoint: Endpoint, service: str = "", *, seeks_named: bool = False, but_not: str = ""
    ) -> RemoteFid:
        """A fid of the root that an endpoint names, at whichever of its addresses serves; Unreachable if none does,
        Inval if an address is none and no other serves.
        ``service``: whose secrets of this client's the server is shown. ``seeks_named``: goes where a named that is
        not the one sends it, but for the address ``but_not``."""

        self._plain.update(endpoint.plain)
        if is_direct():
            return await self._attach_here(endpoint, service, seeks_named=seeks_named)

        async def attach_at(address: str) -> RemoteFid:
            session = await self._session(address)
            return await self._attach(session, endpoint.root, service, seeks_named=seeks_named)

        # A session that is there costs nothing: its server is asked before anybody is dialled.
        addresses = sorted(endpoint.addrs, key=lambda address: not self._has_session(address))
        limits = self._config.locating
        return await Search(addresses, attach_at, RemoteFid.free, limits, follows=seeks_named, but_not=but_not).run()

    async def _attach_here(self, endpoint: Endpoint, service: str, *, seeks_named: bool) -> RemoteFid:
        """In this thread, at the first address. Elsewhere if anything is in the way: others are tried on the loop."""
        address = endpoint.addrs[0]
        try:
            session = self._sessions.get(address) or self._dial_here(address)
            return await self._attach(session, endpoint.root, service, seeks_named=seeks_named)
        except (serr.SigmaError, TimeoutError) as error:
            _log(f"{address}: {error}")
            raise Elsewhere from None

    def _dial_here(self, address: str) -> ClientSession:
        if self.loop_keeper is None or self._closed:
            raise Elsewhere
        session = ClientSession(address, self._config, self._plain.get(address, ""), self._token, self._tls)
        session.dial_here(self.loop_keeper.begin_loop)
        self._add(session)
        return session

    def _has_session(self, address: str) -> bool:
        return address in self._sessions and not self._sessions[address].ended

    async def _attach(self, session: ClientSession, root: str, service: str, *, seeks_named: bool) -> RemoteFid:
        fid = RemoteFid(self, session, self.next_number())
        env = self._proc_env
        request = pb.Tattach(
            fid=fid.number,
            aname=root,
            client_id=self.client_id,
            realm=env.realm,
            principal=env.principal or env.pid,
            token=self._token,
            secrets=[wire.secret_to_pb(secret) for secret in env.secrets if secret.service == service],
            seeks_named=seeks_named,
        )
        reply = await self.call(session, Request(attach=request), fid.free)
        fid.standbys = tuple(reply.attach.standbys)
        return fid

    async def detach(self, session: ClientSession) -> None:
        """The server frees all that this client has there."""
        await self.call(session, Request(detach=pb.Tdetach(client_id=self.client_id)))

    async def _session(self, address: str) -> ClientSession:
        if self._closed:
            raise serr.Unreachable(address, "the client is closed")
        session = self._sessions.get(address)
        if session is not None and not session.ended:
            return session
        dialling = self._dialling.get(address)
        if dialling is None:
            dialling = asyncio.create_task(self._dial(address), name=f"dial-{address}")
            self._dialling[address] = dialling
            dialling.add_done_callback(lambda task: self._dialled(address, task))
        # Shielded: others may wait for the same session.
        return await asyncio.shield(dialling)

    def _dialled(self, address: str, task: asyncio.Task[ClientSession]) -> None:
        self._dialling.pop(address, None)
        if not task.cancelled():
            task.exception()  # those who waited have it; all of them may have gone

    async def _dial(self, address: str) -> ClientSession:
        session = ClientSession(address, self._config, self._plain.get(address, ""), self._token, self._tls)
        try:
            await session.dial()
        except serr.Unreachable as error:
            if is_forked():  # then a plain connection was all that could be had, and no repetition brings another one
                raise UnreachableForGood(address, FORKED) from error
            raise
        if self._closed:  # meanwhile: ``close`` did not know of this session yet
            await session.close()
            raise serr.Unreachable(address, "the client is closed")
        self._add(session)
        return session

    def _add(self, session: ClientSession) -> None:
        self._sessions[session.address] = session
        session.tell_end(partial(self._ended, session))
        self._stats.path["Nsession"] += 1

    def _ended(self, session: ClientSession) -> None:
        if self._sessions.get(session.address) is session:
            del self._sessions[session.address]

    async def close(self, *, is_waited_for: bool = True) -> None:
        """Ends all sessions; the servers drop what the client held. Later calls are Unreachable. ``is_waited_for``:
        False if the client holds nothing whose end anybody sees; then this may return before it."""
        self._closed = True
        if self._dialling:
            await asyncio.wait(set(self._dialling.values()))
        sessions = list(self._sessions.values())
        if is_direct():
            for session in sessions:
                session.close_here(waits=is_waited_for)
            return
        self._sessions.clear()
        if sessions:
            await asyncio.gather(*(session.close() for session in sessions))
