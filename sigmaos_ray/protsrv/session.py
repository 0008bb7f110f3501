"""The server's side of sigmap: one session's requests, carried out on nodes (P-3 to P-15).

Requests of a session run side by side: at each ``await`` another one may clunk or reuse the fid that this one holds.
So a request looks again after it has waited (``FidTable.has``, ``Fid.is_freed``), and closes what it has opened if the
fid is not its own any more. Atomicity of what happens to files is the nodes' matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from sigmaos_ray import debug, serr
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Reply, Request
from sigmaos_ray.protsrv import limits
from sigmaos_ray.protsrv.callers import caller_of
from sigmaos_ray.protsrv.devices import own_dir
from sigmaos_ray.protsrv.fids import Fid, FidTable
from sigmaos_ray.protsrv.node import ChangeHow, Dir, OpenFile, OpenHow, check_opening, opens_apart
from sigmaos_ray.protsrv.stats import WAITS_OF
from sigmaos_ray.protsrv.transact import change_from_pb
from sigmaos_ray.protsrv.walk import as_dir, read_whole, walk, walk_to, walk_to_dir, walk_to_make
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sessp import wire
from sigmaos_ray.sessp.payload import Answer
from sigmaos_ray.sigmap import (
    DMDIR,
    DMNAMEDPIPE,
    NO_OFFSET,
    OACCESS_MASK,
    OAPPEND,
    OEXCL,
    OREAD,
    OWRITE,
    Fence,
    path,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sigmaos_ray.auth.gate import Gate
    from sigmaos_ray.config import Config
    from sigmaos_ray.protsrv.stats import ServerStats
    from sigmaos_ray.protsrv.watch import ServedWatch, WatchTable
    from sigmaos_ray.sessp.served import Outcome

_log = debug.selector("PROTSRV")

_LOOKS: Final = frozenset({"walk", "read", "stat", "getfile"})
"""Requests that change nothing but fids."""


_Op: TypeAlias = "Callable[[Any], Coroutine[Any, Any, Outcome]]"
_OpWithData: TypeAlias = "Callable[[Any, bytes], Coroutine[Any, Any, Reply]]"


class Signpost(NamedTuple):
    """What a named tells clients that look for their realm's."""

    standbys: Callable[[], Sequence[str]]
    """Where those answer of whom one leads next."""
    named_of: Callable[[str], Awaitable[Sequence[str]]] | None = None
    """Where another realm's named is, of a named that knows."""


class ProtSession:
    """One session's fids, and what its requests do: a ``SessionHandler`` of ``sessp.server``, which closes it.

    ``guard`` raises to refuse a request, before it runs and before what it read goes out. ``stats`` and ``watches`` are
    the server's, shared by its sessions. ``signpost``: of a named. ``gate``: checks who attaches.
    """

    def __init__(
        self,
        session_id: int,
        root: Dir,
        watches: WatchTable,
        stats: ServerStats,
        config: Config,
        guard: Callable[[], None] | None,
        realm: str,
        signpost: Signpost | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate
        self._session_id = session_id
        self._root = root
        self._watches = watches
        self._stats = stats
        self._config = config
        self._guard = guard
        self._realm = realm
        self._signpost = signpost
        self._fids = FidTable(config.session.fids_per_session_max)
        self._watch_count = 0
        self._payload_bytes_min = config.wire.payload_bytes_min
        self._ops, self._ops_with_data = self._operations()
        stats.session_count += 1

    def _operations(self) -> tuple[dict[str, _Op], dict[str, _OpWithData]]:
        ops: dict[str, _Op] = {
            "version": self._version,
            "auth": self._auth,
            "attach": self._attach,
            "walk": self._walk,
            "open": self._open,
            "openfile": self._openfile,
            "read": self._read,
            "clunk": self._clunk,
            "remove": self._remove,
            "removefile": self._removefile,
            "stat": self._stat,
            "wstat": self._wstat,
            "renameat": self._renameat,
            "transact": self._transact,
            "getfile": self._getfile,
            "watch": self._watch,
            "detach": self._detach,
        }
        with_data: dict[str, _OpWithData] = {
            "create": self._create,
            "write": self._write,
            "putfile": self._putfile,
        }
        return ops, with_data

    def handle(self, request: Request, payload: bytes | None = None) -> Outcome | Coroutine[Any, Any, Outcome]:
        """Runs one request: its reply, where a handler of an RPC answers at once, or what to await for it, which blocks
        for as long as its node does. Errors are raised; the session layer makes Rerror of them. ``payload``: the data
        of a request that has them apart."""
        op = request.WhichOneof("op")
        if op is None:
            raise serr.UnknownMsg("request", "no operation that this server knows")
        self._stats.ops[op] += 1
        if op == "writeread":
            return self._begin_call(request.writeread, payload)
        return self._run(op, getattr(request, op), payload)

    async def _run(self, op: str, t: Any, payload: bytes | None) -> Outcome:
        # Known now: when it has run, the fid may be gone.
        kind = WAITS_OF[op] if op in WAITS_OF and self._waits(op, t) else op
        began_ns = perf_counter_ns()
        try:
            # Within the ``try``: a refusal counts as an error of the request that it refuses.
            if self._guard is not None:
                self._guard()
            if (carry_out := self._ops.get(op)) is not None:
                outcome = await carry_out(t)
            else:
                outcome = await self._ops_with_data[op](t, t.data if payload is None else payload)
        except serr.SigmaError as error:
            self._stats.errors[error.code.name.lower()] += 1
            self._check_still_ours(op)  # an error is read, too: NotFound of what the new leader has made, say
            raise
        except (SystemExit, KeyboardInterrupt) as error:
            # By a program's own node: the request's end, and not that of the loop with all that it serves.
            raise serr.wrap(error, op) from error
        finally:
            self._count(kind, began_ns)
        if self._guard is not None:
            self._check_still_ours(op)
        return outcome

    def _count(self, kind: str, began_ns: int) -> None:
        """Counts a request that is over."""
        self._stats.latencies[kind].add(took_ns := perf_counter_ns() - began_ns)
        if _log.on:
            _log(f"{self._session_id:x} {kind} {took_ns / 1e3:.0f} us")

    def _begin_call(self, t: pb.Twriteread, payload: bytes | None) -> Outcome | Coroutine[Any, Any, Outcome]:
        began_ns = perf_counter_ns()
        try:
            if self._guard is not None:
                self._guard()
            fid = self._fids.get(t.fid)
            frames = t.frames if payload is None else [*t.frames, payload]
            limits.check_call(fid.node.name, len(frames), self._config)
            begun = fid.open_file().begin_writeread(frames)
        except serr.SigmaError as error:
            self._stats.errors[error.code.name.lower()] += 1
            self._count("writeread", began_ns)
            raise
        if isinstance(begun, Coroutine):
            return self._finish_call(begun, began_ns)
        self._count("writeread", began_ns)
        return self._called(begun)

    async def _finish_call(self, begun: Coroutine[Any, Any, Sequence[bytes]], began_ns: int) -> Outcome:
        try:
            return self._called(await begun)
        except serr.SigmaError as error:
            self._stats.errors[error.code.name.lower()] += 1
            raise
        finally:
            self._count("writeread", began_ns)

    def _called(self, frames: Sequence[bytes]) -> Outcome:
        reply = Reply()
        # Set in place, as elsewhere: protobuf copies a message put into another.
        if frames and len(frames[-1]) >= self._payload_bytes_min:
            reply.writeread.frames.extend(frames[:-1])
            if len(frames) == 1:
                reply.writeread.SetInParent()
            return Answer(reply, frames[-1])
        reply.writeread.frames.extend(frames)
        return reply

    def _waits(self, op: str, t: Any) -> bool:
        """Whether a request waits for other clients, or for a handler of an RPC."""
        if op == "writeread":
            return True
        fid = self._fids.find(t.fid)
        return fid is not None and (fid.watch is not None or bool(fid.node.perm & DMNAMEDPIPE))

    def _check_still_ours(self, op: str) -> None:
        """What was read may be old by now, if the server lost its role meanwhile: then it does not go out. Of a change
        the client must hear as it is: it was made, or it was not."""
        if op in _LOOKS and self._guard is not None:
            self._guard()

    async def close(self) -> None:
        """The session is over: frees all fids; what was not made durable is dropped. Called once."""
        self._stats.session_count -= 1
        await self._free_all(self._fids.take_client())

    def reply_bytes_max(self, request: Request) -> int | None:
        """How large the reply to a request can be, roughly; None for one that waits for other clients, or for a handler
        of an RPC, for how long nobody knows."""
        op = request.WhichOneof("op")
        if op in WAITS_OF and self._waits(op, getattr(request, op)):
            return None
        if op == "read" or op == "getfile":
            return int(min(getattr(request, op).count, self._config.wire.io_bytes_max))
        return 0

    # -- session and fids

    async def _version(self, t: pb.Tversion) -> Reply:
        msize = min(t.msize or self._config.wire.message_bytes_max, self._config.wire.message_bytes_max)
        return Reply(version=pb.Rversion(msize=msize, version="9P2000"))

    async def _auth(self, t: pb.Tauth) -> Reply:
        raise serr.NotSupported("auth")

    async def _attach(self, t: pb.Tattach) -> Reply:
        """Binds a fid to a directory of the tree. Who the client is stays with this fid and all that come of it."""
        signpost = self._signpost if t.seeks_named else None
        if signpost is not None and t.realm != self._realm and signpost.named_of is not None:
            await self._send_on(t.realm, signpost.named_of)
        limits.check_attach(t, self._config, self._realm)
        caller = await caller_of(t, self._session_id, self._gate)
        self._fids.check_free(t.fid)
        node = await walk_to(self._root, limits.checked_names(path.split(t.aname), self._config), caller)
        self._add(t.fid, Fid(node, caller))
        standbys = signpost.standbys() if signpost is not None else ()
        return Reply(attach=pb.Rattach(qid=wire.qid_to_pb(node.qid()), standbys=standbys))

    async def _send_on(self, realm: str, named_of: Callable[[str], Awaitable[Sequence[str]]]) -> None:
        """NotLeading for a client that looks for its realm's named, if that is elsewhere and it is known where."""
        if leader := await named_of(realm):
            raise serr.NotLeading("named", f"{realm} has another", leader)

    async def _detach(self, t: pb.Tdetach) -> Reply:
        await self._free_all(self._fids.take_client(t.client_id))
        return Reply(detach=pb.Rdetach())

    def _add(self, number: int, fid: Fid) -> None:
        limits.check_fid_count(number, self._stats.fid_count, self._config, self._gate)
        self._fids.add(number, fid)
        self._stats.fid_count += 1

    async def _free(self, fid: Fid, *, abort: bool) -> None:
        """Frees what a fid holds that is in the table no more. Raises what closing its file raises: it is free all the
        same. ``abort``: what is not durable is dropped."""
        self._stats.fid_count -= 1
        fid.is_freed = True  # an open that is under way sees this, and closes what it opened
        if fid.opening is not None:
            fid.opening.cancel()
        if fid.watch is not None:
            self._watch_count -= 1
            self._stats.watch_count -= 1
            self._watches.drop(fid.watch)
        if fid.file is not None:
            file, fid.file = fid.file, None  # before the wait: it is closed once, whoever else comes
            await (file.abort() if abort else file.close())

    async def _free_all(self, fids: list[Fid]) -> None:
        """Frees fids whose client is gone: an error of one does not keep the others from it."""
        for fid in fids:
            try:
                await self._free(fid, abort=True)
            except Exception as error:  # noqa: BLE001  # nobody is left to be told
                debug.error(f"fid of {fid.node.name!r}: {type(error).__name__}: {error}")

    async def _walk(self, t: pb.Twalk) -> Reply:
        fid = self._fids.get(t.fid)
        if t.newfid != t.fid:
            self._fids.check_free(t.newfid)  # before the walk, which may cost; ``add`` looks again
        way = await walk(fid.node, limits.checked_names(t.names, self._config), fid.caller)
        # Also where the walk stopped early: how far it came the client counts by the qids.
        reached = fid.at_end_of(way)
        if t.newfid == t.fid:
            if not self._fids.has(t.fid, fid):
                raise serr.UnknownFid(t.fid, "clunked, or used for something else, while it walked")
            self._fids.replace(t.fid, reached)
            self._stats.fid_count += 1  # _free takes it off again, for the old one
            await self._free(fid, abort=False)
        else:
            self._add(t.newfid, reached)
        return Reply(walk=pb.Rwalk(qids=[wire.qid_to_pb(node.qid()) for node in way]))

    async def _clunk(self, t: pb.Tclunk) -> Reply:
        await self._free(self._fids.take(t.fid), abort=t.abort)
        return Reply(clunk=pb.Rclunk())

    # -- opening and making

    async def _open(self, t: pb.Topen) -> Reply:
        fid = self._fids.get(t.fid)
        limits.check_mode(fid.node.name, t.mode)
        if fid.is_open:
            raise serr.Inval(fid.node.name, "the fid is open already")
        if fid.node.is_dir:
            if t.mode & OACCESS_MASK != OREAD:
                raise serr.IsDir(fid.node.name)
            fid.mode = t.mode
        else:
            await self._open_file_of(t, fid)
        return self._opened(fid)

    def _opened(self, fid: Fid) -> Reply:
        qid = fid.node.qid()
        fid.version = qid.version
        opened = pb.Ropen(qid=wire.qid_to_pb(qid), iounit=self._config.wire.io_bytes_max, perm=fid.node.perm)
        if isinstance(fid.node, Dir):
            opened.removes_all, opened.stays = fid.node.removes_all, fid.node.stays
        opened.one_version = fid.file is not None and fid.file.one_version
        return Reply(open=opened)

    async def _openfile(self, t: pb.Topenfile) -> Reply:
        """Walk and open, or create, in one message, as one operation. NotDir as for a getfile."""
        fid = self._fids.get(t.fid)
        self._fids.check_free(t.newfid)  # before anything is made; ``add`` looks again
        names = limits.checked_names(t.names, self._config)
        last = names[-1] if names else fid.node.name
        limits.check_mode(last, t.mode)
        limits.check_lease(last, t.lease)
        how = OpenHow(t.mode, t.perm, t.lease, wire.fence_from_pb(t.fence), makes=t.makes, follows=t.resolve)
        if not names or last == ".":
            node = await walk_to(fid.node, names, fid.caller)
            check_opening(node, last, how)
            opened, file = Fid(node, fid.caller), None if opens_apart(node) else await node.open(fid.caller, how)
        else:
            opened, file = await self._open_entry(fid, names, how)
        try:
            self._add(t.newfid, opened)
        except serr.SigmaError:
            if file is not None:
                await file.abort()
            raise
        opened.file = file
        # A pipe waits for its other end: that is a Topen, which the clunk of the fid can end.
        opened.mode = None if opened.node.perm & DMNAMEDPIPE else t.mode
        return self._opened(opened)

    async def _open_entry(self, fid: Fid, names: list[str], how: OpenHow) -> tuple[Fid, OpenFile | None]:
        last = names[-1]
        if path.is_union(last):
            raise serr.NotFound(last)
        if how.makes:
            limits.check_new_name(last)
            directory = await walk_to_make(fid.node, names[:-1], fid.caller)
        else:
            directory = await walk_to_dir(fid.node, names[:-1], fid.caller)
        node, file = await directory.open_entry(fid.caller, last, how)
        return Fid(node, fid.caller, directory), file

    async def _open_file_of(self, t: pb.Topen, fid: Fid) -> None:
        """Opens the fid's node. Closed if the fid is clunked meanwhile: the file is not left open."""
        fid.mode = t.mode  # before the first wait: nobody else opens this fid meanwhile
        try:
            file = await self._open_node(fid, OpenHow(t.mode, fence=wire.fence_from_pb(t.fence)))
        except BaseException:
            fid.mode = None
            raise
        if fid.is_freed:
            await file.abort()
            raise serr.Closed(fid.node.name, "clunked while it was opened")
        fid.file = file

    async def _open_node(self, fid: Fid, how: OpenHow) -> OpenFile:
        """Opens the node. A pipe waits for its other end, perhaps for ever: the clunk of its fid ends that."""
        if not fid.node.perm & DMNAMEDPIPE:
            return await fid.node.open(fid.caller, how)
        # In a future of its own, which the clunk can cancel: this request's task is the session's.
        fid.opening = asyncio.ensure_future(fid.node.open(fid.caller, how))
        try:
            return await fid.opening
        except asyncio.CancelledError:
            if fid.is_freed:
                raise serr.Closed(fid.node.name, "clunked while it was opened") from None
            raise
        finally:
            fid.opening = None

    async def _create(self, t: pb.Tcreate, data: bytes) -> Reply:
        """Makes an entry, and a fid of it, or of the directory's fid one of the new object. If that is clunked
        meanwhile the entry is there all the same: only what was open on it is closed."""
        fid = self._fids.get(t.fid)
        if t.newfid:
            self._fids.check_free(t.newfid)  # before anything is made; ``add`` looks again
        directory = await walk_to_make(fid.node, limits.checked_names(t.names, self._config), fid.caller)
        if fid.is_open and not t.newfid:
            raise serr.Inval(fid.node.name, "the fid is open: entries are made through one that is not")
        limits.check_new_name(t.name)
        limits.check_mode(t.name, t.mode)
        limits.check_io(t.name, 0, len(data), self._config)
        limits.check_lease(t.name, t.lease)
        if data and not directory.creates_whole:
            raise serr.NotSupported(t.name, "this server makes files empty: put them whole, or write them")
        how = OpenHow(t.mode, t.perm, t.lease, wire.fence_from_pb(t.fence), data)
        node, file = await directory.create(fid.caller, t.name, how)
        created = Fid(node, fid.caller, directory)
        # A pipe is not open by having been made: its first open waits for the other end.
        created.mode = None if t.perm & DMNAMEDPIPE else OREAD if t.perm & DMDIR else t.mode
        try:
            self._bind_created(t, fid, created)
        except serr.SigmaError:
            # The entry stays: it was made, and others may have seen it.
            if file is not None:
                await file.abort()
            raise
        created.file = file
        qid = wire.qid_to_pb(node.qid())
        return Reply(create=pb.Rcreate(qid=qid, iounit=self._config.wire.io_bytes_max))

    def _bind_created(self, t: pb.Tcreate, fid: Fid, created: Fid) -> None:
        if t.newfid:
            self._add(t.newfid, created)
            return
        if not self._fids.has(t.fid, fid):
            raise serr.UnknownFid(t.fid, "clunked, or used for something else, while the entry was made")
        self._fids.replace(t.fid, created)

    # -- contents

    async def _read(self, t: pb.Tread) -> Outcome:
        """Reads a file at an offset, a directory or a watch from where the last read ended."""
        fid = self._fids.get(t.fid)
        count = min(t.count, self._config.wire.io_bytes_max)
        if fid.watch is not None:
            return self._was_read(await self._read_events(fid.watch))
        if fid.mode is None:
            raise serr.Inval(fid.node.name, "the fid is not open")
        if fid.node.is_dir:
            data, is_end = await self._read_entries(fid, count)
            return self._was_read(data, is_end=is_end)
        file = fid.open_file()
        if fid.mode & OACCESS_MASK == OWRITE:
            raise serr.Perm(fid.node.name, "open for writing only")
        limits.check_io(fid.node.name, t.offset, 0, self._config)
        return self._was_read(await file.read(t.offset, count))

    def _was_read(self, data: bytes, *, is_end: bool = False) -> Outcome:
        reply = Reply()
        read = reply.read  # set in place: protobuf copies a message put into another
        if is_end:
            read.is_end = True
        if len(data) < self._payload_bytes_min:
            read.data = data
            return reply
        read.SetInParent()
        return Answer(reply, data)

    async def _read_events(self, watch: ServedWatch) -> bytes:
        """The events that nobody has read, a page of them; blocks until there is one."""
        events = await watch.read(self._config.wire.watch_page_events)
        encoded = [pb.WatchEvent(kind=int(event.kind), name=event.name) for event in events]  # type: ignore[arg-type]
        return pb.WatchEventList(events=encoded).SerializeToString()

    async def _read_entries(self, fid: Fid, count: int) -> tuple[bytes, bool]:
        """The directory's next entries, in ``count`` bytes at most, and whether they are the last; the fid's cursor
        moves behind them. Inval if not even one fits."""
        directory, limit = as_dir(fid.node), self._config.wire.dir_page_entries
        stats = await directory.entries(fid.caller, fid.dir_cursor, limit)
        data, entry_count = wire.pack_dir(stats, count)
        if stats and not entry_count:
            raise serr.Inval(fid.node.name, f"no entry fits in {count} bytes")
        if entry_count:
            fid.dir_cursor = stats[entry_count - 1].name
        # Said with the last entries: who lists what fits in one message sees it as it was at one moment.
        is_end = directory.short_is_last and entry_count == len(stats) < limit
        return data, is_end

    async def _write(self, t: pb.Twrite, data: bytes) -> Reply:
        fid = self._fids.get(t.fid)
        file, mode = fid.open_to_write()
        # Where the end is, the node says as it writes: an offset worked out here could be old by then.
        offset = NO_OFFSET if mode & OAPPEND else t.offset
        limits.check_io(fid.node.name, offset, len(data), self._config, may_append=True)
        count = await file.write(offset, data, wire.fence_from_pb(t.fence))
        return Reply(write=pb.Rwrite(count=count))

    # -- names

    async def _remove(self, t: pb.Tremove) -> Reply:
        """Frees the fid, as 9P has it also if the object cannot be removed; then removes the object."""
        fid = self._fids.take(t.fid)
        await self._free(fid, abort=False)
        if t.all:
            await as_dir(fid.node).remove_all(fid.caller, wire.fence_from_pb(t.fence))
        else:
            how = ChangeHow(_fences(t.fence), fid.node.qid().path, t.version, knows=True)
            await self._parent_of(fid).remove_entry(fid.caller, fid.name, how)
        return Reply(remove=pb.Rremove())

    def _parent_of(self, fid: Fid) -> Dir:
        """Where a change of the fid's own entry is made: there alone, and only if the entry still is what the fid
        stands for, whatever became of the object."""
        if fid.parent is None:
            raise serr.Inval(fid.name or "/", "the root of an attach cannot be removed or renamed")
        return fid.parent

    async def _removefile(self, t: pb.Tremovefile) -> Reply:
        fid = self._fids.get(t.fid)
        names = limits.checked_names(t.names, self._config)
        how = ChangeHow(_fences(t.fence), t.path, follows=t.resolve, knows=t.path != 0)
        directory, name, how = await self._entry_of(fid, names, how)
        await directory.remove_entry(fid.caller, name, how)
        return Reply(remove=pb.Rremove())

    async def _entry_of(self, fid: Fid, names: list[str], how: ChangeHow) -> tuple[Dir, str, ChangeHow]:
        """The entry that a change is about: its directory, its name, and how it is changed. Without ``names`` it is the
        fid's own, if it still is that. Inval for names that are no entry's."""
        if not names:
            return self._parent_of(fid), fid.name, ChangeHow(how.fences, fid.node.qid().path)
        last = names[-1]
        if last == ".":
            raise serr.Inval(".", "'.' cannot be removed or renamed")
        if path.is_union(last):
            raise serr.NotFound(last)
        return await walk_to_dir(fid.node, names[:-1], fid.caller), last, how

    async def _wstat(self, t: pb.Twstat) -> Reply:
        """Renames an object within its directory, or sets an open file's length: nothing else of a stat can be set."""
        fid = self._fids.get(t.fid)
        if t.HasField("length"):
            return await self._set_length(fid, t)
        names = limits.checked_names(t.names, self._config)
        new_name = t.stat.name
        if not new_name:
            raise serr.Inval(names[-1] if names else fid.name, "of a stat only name and length can be changed")
        limits.check_new_name(new_name)
        directory, name, how = await self._entry_of(fid, names, ChangeHow(_fences(t.fence)))
        target = own_dir(directory, new_name)
        await directory.rename_entry(fid.caller, name, target, new_name, how)
        if not names:
            fid.name = new_name
        return Reply(wstat=pb.Rwstat())

    async def _set_length(self, fid: Fid, t: pb.Twstat) -> Reply:
        if t.names or t.stat.name:
            raise serr.Inval(fid.name, "a length is of an open file, and is changed alone")
        file, _ = fid.open_to_write()
        limits.check_io(fid.node.name, t.length, 0, self._config)
        await file.truncate(t.length, wire.fence_from_pb(t.fence))
        return Reply(wstat=pb.Rwstat())

    async def _renameat(self, t: pb.Trenameat) -> Reply:
        """Moves an entry from one directory to another one of this server."""
        old, new = self._fids.get(t.old_fid), self._fids.get(t.new_fid)
        limits.check_new_name(t.old_name)
        limits.check_new_name(t.new_name)
        directory = as_dir(old.node)
        target = as_dir(new.node)
        if directory.qid().path == target.qid().path:
            raise serr.Inval(t.old_name, "a rename within one directory is a wstat")
        target = own_dir(target, t.new_name)
        how = ChangeHow(_fences(t.fence, t.old_fence))
        await directory.rename_entry(old.caller, t.old_name, target, t.new_name, how)
        return Reply(renameat=pb.Rrenameat())

    async def _transact(self, t: pb.Ttransact) -> Reply:
        """Makes several changes in one moment, or none. All are of one server, so any of its directories can do it."""
        limits.check_changes(t.changes, self._config)
        changes, caller = [], Caller()
        for change in t.changes:
            fid = self._fids.get(change.dirfid)
            caller = fid.caller
            changes.append(change_from_pb(change, own_dir(as_dir(fid.node), change.name)))
        outcomes = await changes[0].directory.transact(caller, changes, _fences(*t.fences))
        changed = [pb.Changed(name=outcome.name, version=outcome.version) for outcome in outcomes]
        return Reply(transact=pb.Rtransact(changed=changed))

    async def _stat(self, t: pb.Tstat) -> Reply:
        fid = self._fids.get(t.fid)
        names = limits.checked_names(t.names, self._config)
        node = await walk_to(fid.node, names, fid.caller, resolve=t.resolve) if names else fid.node
        return Reply(stat=pb.Rstat(stat=wire.stat_to_pb(await node.stat(fid.caller))))

    # -- whole files in one message

    async def _getfile(self, t: pb.Tgetfile) -> Outcome:
        """Walk, open, read and clunk in one message. NotDir where a link is on the way: the client must follow it."""
        fid = self._fids.get(t.fid)
        limits.check_mode(fid.node.name, t.mode)
        limits.check_io(fid.node.name, t.offset, 0, self._config)
        names = limits.checked_names(t.names, self._config)
        count = min(t.count, self._config.wire.io_bytes_max)
        data, qid = None, None
        # Dots are walked by protsrv alone: no node ever sees one (see ``Dir.lookup``).
        if names and isinstance(fid.node, Dir) and not {".", ".."}.intersection(names):
            data = await fid.node.get(fid.caller, names, t.offset, count)
        if data is None:
            node = await walk_to(fid.node, names, fid.caller, resolve=t.resolve)
            # Before the read: a version from behind it could be one that the data are not of.
            qid = node.qid()
            data = await read_whole(node, fid.caller, t.offset, count)
        reply = Reply()
        getfile = reply.getfile  # set in place, as above
        if qid is not None and len(data) == count:
            getfile.qid.CopyFrom(wire.qid_to_pb(qid))
        if len(data) < self._payload_bytes_min:
            getfile.data = data
            return reply
        getfile.SetInParent()
        return Answer(reply, data)

    async def _putfile(self, t: pb.Tputfile, data: bytes) -> Reply:
        """Walk, create or open, write and clunk in one message, as one operation. NotDir as for a getfile."""
        fid = self._fids.get(t.fid)
        names = limits.checked_names(t.names, self._config)
        last = names[-1] if names else fid.node.name
        limits.check_mode(last, t.mode)
        limits.check_io(last, t.offset, len(data), self._config, may_append=True)
        limits.check_lease(last, t.lease)
        if bool(t.mode & OAPPEND) != (t.offset == NO_OFFSET):
            raise serr.Inval(last, "OAPPEND and the offset of an append go together")
        if not names:
            return Reply(write=pb.Rwrite(count=await self._put_here(fid, t, data)))
        if path.is_union(last):
            raise serr.Inval(last, "cannot be created")
        directory = await walk_to_make(fid.node, names[:-1], fid.caller)
        limits.check_new_name(last)
        how = OpenHow(t.mode, t.perm, t.lease, wire.fence_from_pb(t.fence), follows=t.resolve)
        count = await directory.put(fid.caller, last, data, how, t.offset)
        return Reply(write=pb.Rwrite(count=count))

    async def _put_here(self, fid: Fid, t: pb.Tputfile, data: bytes) -> int:
        """The put of a file that the client walked to itself."""
        if t.mode & OEXCL:
            raise serr.Exists(fid.node.name)
        if fid.node.is_dir:
            raise serr.IsDir(fid.node.name)
        if t.lease:
            raise serr.NotSupported(fid.node.name, "a file is put under a lease by its name")
        if fid.node.perm & DMNAMEDPIPE:
            raise serr.NotSupported(fid.node.name, "a pipe is opened, and written then")
        fence = wire.fence_from_pb(t.fence)
        file = await fid.node.open(fid.caller, OpenHow(t.mode, fence=fence))
        try:
            return await file.write(t.offset, data, fence)
        finally:
            await file.close()

    # -- watches

    async def _watch(self, t: pb.Twatch) -> Reply:
        """Sets a watch on an open directory, on a fid of its own. Version if the directory has changed since it was
        opened: the client's listing is old, and an event between the listing and the watch would be lost (W-3)."""
        fid = self._fids.get(t.dirfid)
        node = as_dir(fid.node)
        if not fid.is_open:
            raise serr.Inval(node.name, "the directory is not open")
        # All that may be refused is looked at before the watch is added: one without a fid would never be dropped.
        self._fids.check_free(t.watchfid)
        limits.check_watch_count(node.name, self._watch_count, self._config)
        limits.check_fid_count(t.watchfid, self._stats.fid_count, self._config, self._gate)
        # No await from here to ``add``: a change that comes in between would be in neither.
        qid = node.qid()
        if qid.version != fid.version:
            raise serr.Version(node.name, "the directory changed since it was opened")
        watcher = Fid(node, fid.caller)
        watcher.mode = OREAD
        watcher.watch = self._watches.add(qid.path)
        self._watch_count += 1
        self._stats.watch_count += 1
        self._add(t.watchfid, watcher)
        return Reply(watch=pb.Rwatch())


def _fences(*carried: pb.Fence) -> tuple[Fence, ...]:
    """Those that a request carries, without those that are none."""
    return tuple(filter(None, map(wire.fence_from_pb, carried)))
